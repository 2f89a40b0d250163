"""A table of the page."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of the page; the first cell of a row is its heading.

    Attributes:
      caption: what it shows.
      groups: (title, columns) of each run of columns, the first column's included.
      headings: one a column.
      rows: cells as they are written.
      words: whether the cells are words, to be set from the left, and not figures.
    """

    caption: str
    groups: list[tuple[str, int]]
    headings: list[str]
    rows: list[list[str]]
    words: bool = False
