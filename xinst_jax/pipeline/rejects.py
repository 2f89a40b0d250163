"""What a stage drops, and why: the rows under its `rejected/`."""

import dataclasses
import pathlib

import pyarrow as pa

from xinst_jax.data import raw_rows

REJECTED = pa.schema(
    [
        ("id", pa.string()),
        ("lang", pa.string()),
        ("reason", pa.string()),
        ("value", pa.string()),
        ("threshold", pa.string()),
        ("text", pa.string()),
    ]
)
"""Columns of `rejected/{lang}/part-*.parquet`."""


@dataclasses.dataclass(frozen=True)
class Dropped:
    """A text that is not used.

    Attributes:
      id: the row's; of a row that could not be read, its file's name and line.
      reason: one word, countable.
      value: what was found.
      threshold: what would have been accepted.
      text: the text, as far as it was made.
    """

    id: str
    reason: str
    value: str
    threshold: str
    text: str

    def row(self, code: str) -> dict[str, str]:
        """The row of `REJECTED` for a language."""
        return {"lang": code, **dataclasses.asdict(self)}


def of_bad_row(bad: raw_rows.Rejected) -> Dropped:
    """A row that could not be read, as it is kept: without the folder of its file."""
    file, _, line = bad.place.rpartition(":")
    place = f"{pathlib.Path(file).name}:{line}"
    return Dropped(place, bad.reason, bad.value, bad.threshold, bad.text)
