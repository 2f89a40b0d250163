"""Runs the tests that say something of every family, and writes what they found.

    python tools/families_table.py

A test marked `family_table(COLUMN)` and given the fixture `tiny_model` is one family's
cell of that column in docs/families.md: `yes` where all of its tests passed.
"""

import pathlib
import sys
from collections import defaultdict
from collections.abc import Mapping

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "families.md"
COLUMNS = (
    "import",
    "forward",
    "decode",
    "export",
    "transformers 5",
    "transformers 4",
    "LoRA",
)
START, END = "<!-- tools/families_table.py -->", "<!-- end -->"


class Outcomes:
    """A plugin of pytest that notes how each cell's tests ended.

    Attributes:
      found: outcomes of tests ('passed', 'failed', 'skipped'), by (family, column).
    """

    def __init__(self) -> None:
        self.found: defaultdict[tuple[str, str], set[str]] = defaultdict(set)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        """Notes a test's outcome; what its fixtures do counts where it goes wrong."""
        report = yield
        marker = item.get_closest_marker("family_table")
        if marker and (report.when == "call" or report.outcome != "passed"):
            family = item.callspec.params["tiny_model"]
            self.found[family, marker.args[0]].add(report.outcome)
        return report


def table(titles: Mapping[str, str], found: Mapping[tuple[str, str], set[str]]) -> str:
    """The table in Markdown.

    Args:
      titles: each family's row name, by the name that tests give it.
      found: outcomes, by (family, column).
    """

    def cell(family: str, column: str) -> str:
        outcomes = found.get((family, column), set())
        return "yes" if outcomes == {"passed"} else ", ".join(sorted(outcomes))

    lines = ["| | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for family, title in titles.items():
        cells = [cell(family, column) for column in COLUMNS]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Runs the tests and writes the page; gives pytest's exit code."""
    outcomes = Outcomes()
    code = pytest.main(["-m", "family_table", str(ROOT / "tests")], plugins=[outcomes])
    from tests.hf.tiny_models import FAMILIES

    titles = {name: family.title for name, family in FAMILIES.items()}
    before, _, rest = PAGE.read_text().partition(START)
    _, _, after = rest.partition(END)
    written = table(titles, outcomes.found)
    PAGE.write_text(f"{before}{START}\n{written}\n{END}{after}")
    print(written)
    return int(code)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
