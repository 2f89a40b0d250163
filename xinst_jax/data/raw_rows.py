"""A raw row, why one cannot be used, and how many such rows are too many."""

import dataclasses
import json
from typing import Any

from xinst_jax.errors import UserError

PREVIEW_CHARS = 200
"""How much of a row that cannot be used is shown."""

MANY_ROWS = 100
"""Rows after which a source that is mostly bad is known to be."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One raw row.

    Attributes:
      fields: its fields by name.
      place: 'FILE:LINE' for JSONL, 'FILE:ROW' for other files, 'tfds:NAME:ROW' for
        TFDS; lines and rows count from 1.
    """

    fields: dict[str, Any]
    place: str


@dataclasses.dataclass(frozen=True)
class Rejected:
    """A row that cannot be used, and why.

    Attributes:
      place: as `Row.place`.
      reason: one word, countable: 'not_json'.
      value: what was found.
      threshold: what was expected.
      text: the row's text, or the start of it.
    """

    place: str
    reason: str
    value: str
    threshold: str
    text: str


def text_field(row: Row, name: str) -> str | Rejected:
    """A row's field as text, or why it cannot be: missing, or no string.

    >>> text_field(Row({"text": 7}, "fi.jsonl:3"), "text").reason
    'not_a_string'
    """
    found = row.fields.get(name)
    if isinstance(found, str):
        return found
    if found is None:
        names = ", ".join(sorted(map(str, row.fields)))
        reason, value = "missing_field", f"fields: {names}"
    else:
        reason, value = "not_a_string", f"{name}: {type(found).__name__}"
    preview = json.dumps(row.fields, ensure_ascii=False, default=str, sort_keys=True)
    return Rejected(
        row.place, reason, value, f"a string in {name!r}", preview[:PREVIEW_CHARS]
    )


def label(row: Row, name: str, default: str = "") -> str:
    """A row's short field, such as its id or licence, as text; numbers are spelled."""
    found = row.fields.get(name)
    return default if found is None or isinstance(found, (dict, list)) else str(found)


class BadRows:
    """Stops a stage that reads too many rows it cannot use.

    One bad row is never too many, unless the share is 0.
    """

    def __init__(self, path: str, max_share: float, field: str):
        """Starts counting.

        Args:
          path: the configured path, for the message.
          max_share: share of rows, 0 to 1, above which `check` raises.
          field: the configuration's field that sets the share, for the message.
        """
        self._path, self._max_share, self._field = path, max_share, field
        self._rows = self._bad = 0
        self._first: Rejected | None = None

    def add(self, bad: Rejected | None) -> None:
        """Counts a row, bad or (None) good; raises early when most rows are bad."""
        self._rows += 1
        if bad is not None:
            self._bad += 1
            self._first = self._first or bad
            if self._bad > MANY_ROWS and self._bad > self._rows / 2:
                self.check()

    def check(self) -> None:
        """Raises if too many rows were bad.

        Raises:
          UserError: more than the share; the message names the first bad row.
        """
        allowed = max(1, self._max_share * self._rows) if self._max_share else 0
        first = self._first
        if first is None or self._bad <= allowed:
            return
        raise UserError(
            f"{self._bad} of the first {self._rows} rows of {self._path} cannot "
            f"be used, more than {self._field} = {self._max_share} allows. The first "
            f"is {first.place}: {first.reason} (found {first.value}; expected "
            f"{first.threshold}). Repair the file, name the right field, or raise "
            f"{self._field}."
        )
