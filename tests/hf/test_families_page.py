"""docs/families.md says of every family what the tests found."""

import itertools

import pytest

from tests.hf.tiny_models import FAMILIES
from tools import families_table


def page_cells() -> dict[str, list[str]]:
    text = families_table.PAGE.read_text()
    inside = text.split(families_table.START)[1].split(families_table.END)[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in inside.strip().splitlines()
    ]
    assert rows[0][1:] == list(families_table.COLUMNS)
    return {row[0]: row[1:] for row in rows[2:]}


def test_the_page_has_every_family_and_no_cell_without_a_yes():
    cells = page_cells()
    assert list(cells) == [family.title for family in FAMILIES.values()]
    for title, row in cells.items():
        assert row == ["yes"] * len(families_table.COLUMNS), title


class Collected:
    """A plugin of pytest that notes which tests it has found."""

    def pytest_collection_finish(self, session):
        self.items = session.items


def _column(item: pytest.Item) -> str:
    return item.get_closest_marker("family_table").args[0]


def test_every_cell_of_the_page_has_a_test():
    """Collected as tools/families_table.py does, which writes what these tests find."""
    collected = Collected()
    files = [
        str(path)
        for path in (families_table.ROOT / "tests").rglob("test_*.py")
        if "@pytest.mark.family_table(" in path.read_text()
    ]
    chosen = ["-m", "family_table", "--collect-only", "-qq", "-p", "no:cacheprovider"]
    assert pytest.main([*chosen, *files], plugins=[collected]) == pytest.ExitCode.OK
    tested = {
        (item.callspec.params["tiny_model"], _column(item)) for item in collected.items
    }
    assert tested == {*itertools.product(FAMILIES, families_table.COLUMNS)}


@pytest.mark.parametrize(
    ("outcomes", "cell"),
    [({"passed"}, "yes"), ({"passed", "failed"}, "failed, passed"), (set(), "")],
)
def test_a_cell_is_yes_only_where_all_its_tests_passed(outcomes, cell):
    found = {("llama2", "export"): outcomes}
    lines = families_table.table({"llama2": "Llama 2"}, found).splitlines()
    column = 1 + families_table.COLUMNS.index("export")
    assert lines[2].strip("|").split("|")[column].strip() == cell
