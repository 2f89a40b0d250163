"""Writes the tables of thresholds in docs/, from what their classes say of them.

python tools/thresholds_table.py
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from xinst_jax.config import registry

ROOT = pathlib.Path(__file__).resolve().parents[1]
START, END = "<!-- tools/thresholds_table.py -->", "<!-- end -->"


def table(page: str) -> str:
    """The Markdown table of a page's thresholds."""
    lines = ["| threshold | default | meaning |", "|---|---|---|"]
    for one in registry.thresholds(*registry.PAGES[page]):
        default = "published" if one.default is None else f"{one.default:,}"
        meaning = one.meaning.replace("|", "\\|")
        lines.append(f"| `{one.name}` | {default} | {meaning} |")
    return "\n".join(lines)


def main() -> None:
    """Puts each page's table between its two marks."""
    for page in registry.PAGES:
        path = ROOT / "docs" / f"{page}.md"
        head, rest = path.read_text("utf-8").split(START)
        _, tail = rest.split(END, 1)
        path.write_text(f"{head}{START}\n{table(page)}\n{END}{tail}", "utf-8")


if __name__ == "__main__":
    main()
