"""docs/families.md says of every family what the tests found."""

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


@pytest.mark.parametrize(
    ("outcomes", "cell"),
    [({"passed"}, "yes"), ({"passed", "failed"}, "failed, passed"), (set(), "")],
)
def test_a_cell_is_yes_only_where_all_its_tests_passed(outcomes, cell):
    found = {("llama2", "export"): outcomes}
    lines = families_table.table({"llama2": "Llama 2"}, found).splitlines()
    column = 1 + families_table.COLUMNS.index("export")
    assert lines[2].strip("|").split("|")[column].strip() == cell
