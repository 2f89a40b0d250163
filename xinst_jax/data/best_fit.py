"""Which row each example goes to, so that rows are as full as can be."""

import dataclasses
from collections.abc import Sequence

import numpy as np


def assign(lengths_e: np.ndarray, length: int) -> np.ndarray:
    """The row that each example goes to: best fit, longest first.

    Rows with the same room are kept as one group, so the work grows with the number of
    different lengths, not of examples (the idea of Krell et al., *Efficient Sequence
    Packing without Cross-contamination*, arXiv 2107.02027, algorithm 1, with best fit
    in place of their shortest-pack-first).

    `assign(np.array([3, 5, 2, 6]), 8)` is `[1, 1, 0, 0]`: 6 + 2 and 5 + 3.

    Args:
      lengths_e: tokens of each example, from 1 to `length`.
      length: tokens of a row.

    Returns:
      int64 row numbers from 0, one an example.

    Raises:
      ValueError: an example that is empty or longer than a row.
    """
    if lengths_e.size and not 1 <= lengths_e.min() <= lengths_e.max() <= length:
        raise ValueError(f"examples must have 1 to {length} tokens")
    counts = np.bincount(lengths_e, minlength=length + 1)
    open_rows = _OpenRows(length)
    for size in np.flatnonzero(counts)[::-1].tolist():
        todo = int(counts[size])
        while todo:
            todo -= open_rows.place(size, todo)
    return _rows_of(lengths_e, open_rows.groups())


@dataclasses.dataclass(frozen=True)
class _Group:
    """Rows filled alike: how many, and as (size, times) what is in each."""

    rows: int
    content: tuple[tuple[int, int], ...]


class _OpenRows:
    """The rows begun so far, as groups by the room left in them."""

    def __init__(self, length: int):
        self._length = length
        self._by_room: list[list[_Group]] = [[] for _ in range(length + 1)]
        self._occupied = np.zeros(length + 1, bool)

    def groups(self) -> list[_Group]:
        return [group for groups in self._by_room for group in groups]

    def place(self, size: int, todo: int) -> int:
        """Puts examples of one size into the fullest rows with room; says how many."""
        room, group = self._take(size, todo)
        each = room // size
        full = min(group.rows, todo // each)
        rest = todo - full * each if full < group.rows else 0
        self._add(room % size, full, group, (size, each))
        if rest:
            self._add(room - rest * size, 1, group, (size, rest))
        untouched = group.rows - full - (rest > 0)
        if group.content and untouched:
            self._add(room, untouched, group)
        return full * each + rest

    def _take(self, size: int, todo: int) -> tuple[int, _Group]:
        room = size + int(self._occupied[size:].argmax())
        if not self._occupied[room]:
            return self._length, _Group(todo, ())
        group = self._by_room[room].pop()
        self._occupied[room] = bool(self._by_room[room])
        return room, group

    def _add(self, room: int, rows: int, group: _Group, *more: tuple[int, int]) -> None:
        if rows:
            self._by_room[room].append(_Group(rows, (*group.content, *more)))
            self._occupied[room] = True


def _rows_of(lengths_e: np.ndarray, groups: Sequence[_Group]) -> np.ndarray:
    """Hands the examples of each length out to the groups that hold such a length."""
    by_length = np.argsort(lengths_e, kind="stable")
    taken = np.searchsorted(
        lengths_e[by_length], np.arange(lengths_e.max(initial=0) + 2)
    )
    rows_e = np.empty(lengths_e.size, np.int64)
    first = 0
    for group in groups:
        for size, times in group.content:
            chosen = by_length[taken[size] : taken[size] + group.rows * times]
            rows_e[chosen] = first + np.repeat(np.arange(group.rows), times)
            taken[size] += chosen.size
        first += group.rows
    return rows_e
