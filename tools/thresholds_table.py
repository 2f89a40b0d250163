"""Writes the tables of thresholds in docs/, from what their classes say of them.

python tools/thresholds_table.py
"""

import pathlib
import sys
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from xinst_jax.config import registry

ROOT = pathlib.Path(__file__).resolve().parents[1]
START, END = "<!-- tools/thresholds_table.py -->", "<!-- end -->"


def table(page: str) -> str:
    """The Markdown table of a page's thresholds."""
    lines = ["| threshold | default | meaning |", "|---|---|---|"]
    for one in registry.thresholds(*registry.PAGES[page]):
        lines.append(f"| `{one.name}` | {_shown(one.default)} | {one.meaning} |")
    return "\n".join(lines)


def _shown(default: Any) -> str:
    if default is None:
        return "published"
    return "none" if default == () else f"{default:,}"


def written(page: str) -> str:
    """A page's text with its table between the two marks."""
    head, rest = (ROOT / "docs" / f"{page}.md").read_text("utf-8").split(START)
    _, tail = rest.split(END, 1)
    return f"{head}{START}\n{table(page)}\n{END}{tail}"


def main() -> None:
    """Writes each page."""
    for page in registry.PAGES:
        (ROOT / "docs" / f"{page}.md").write_text(written(page), "utf-8")


if __name__ == "__main__":
    main()
