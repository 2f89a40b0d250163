"""Which row each example goes to, so that rows are as full as can be."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np


def assign(lengths_e: np.ndarray, length: int) -> np.ndarray:
    """The row that each example goes to: longest first, closed by one or two that fit.

    A row begins with the longest example left and takes more of the longest until two
    can fill the rest: then the one, or else the two, that leave the least room. Of the
    pairs that leave as little, the most equal one, which spares the shortest examples
    for later rows. What fills one row fills as many as there are examples for, so the
    work grows with the number of different lengths, not of examples (an idea of Krell
    et al., *Efficient Sequence Packing without Cross-contamination*, arXiv 2107.02027).
    No example would have fitted into a row before its own.

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
    left = _Left(np.bincount(lengths_e, minlength=length + 1).tolist())
    groups = []
    while left:
        content = _filled(left, length)
        more = min(left.counts[size] // times for size, times in content.items())
        if more:
            for size, times in content.items():
                left.take(size, more * times)
        groups.append(_Group(1 + more, tuple(content.items())))
    return _rows_of(lengths_e, groups)


@dataclasses.dataclass(frozen=True)
class _Group:
    """Rows filled alike: how many, and as (size, times) what is in each."""

    rows: int
    content: tuple[tuple[int, int], ...]


class _Left:
    """How many examples of each size are left.

    Sizes are the bits of two numbers as well, so that a question about all of them is
    an operation or two on a few hundred bytes.
    """

    def __init__(self, counts: list[int]):
        self.counts = counts
        self._most = len(counts) - 1
        sizes = [size for size, count in enumerate(counts) if count]
        self._there = sum(1 << size for size in sizes)
        self._mirrored = sum(1 << (self._most - size) for size in sizes)

    def __bool__(self) -> bool:
        return self._there > 0

    def take(self, size: int, times: int = 1) -> None:
        """Takes examples of a size away."""
        self.counts[size] -= times
        if not self.counts[size]:
            self._there ^= 1 << size
            self._mirrored ^= 1 << (self._most - size)

    def longest(self) -> int:
        return self._there.bit_length() - 1

    def shortest(self) -> int:
        return (self._there & -self._there).bit_length() - 1

    def most_equal_pair(self, total: int) -> tuple[int, ...]:
        """Two sizes with this sum; empty where there are none."""
        other_there = self._mirrored >> (self._most - total)
        lower = self._there & other_there & ((1 << (total // 2 + 1)) - 1)
        size = lower.bit_length() - 1
        if 2 * size == total and self.counts[size] == 1:
            size = (lower ^ (1 << size)).bit_length() - 1
        return (size, total - size) if size > 0 else ()


def _filled(left: _Left, length: int) -> Counter[int]:
    """What fills the next row: how often each size is in it. Takes it away."""
    content: Counter[int] = Counter()
    while left and left.shortest() <= length:
        for size in _next(left, length):
            left.take(size)
            content[size] += 1
            length -= size
    return content


def _next(left: _Left, room: int) -> tuple[int, ...]:
    """The sizes that go next into a row with room for the shortest."""
    longest = left.longest()
    if 2 * longest < room:
        return (longest,)
    for total in range(room, left.shortest(), -1):
        if total <= longest and left.counts[total]:
            return (total,)
        if pair := left.most_equal_pair(total):
            return pair
    return (left.shortest(),)


def _rows_of(lengths_e: np.ndarray, groups: Sequence[_Group]) -> np.ndarray:
    """Hands the examples of each length out to the groups that hold such a length."""
    before = np.cumsum([0, *(group.rows for group in groups)])
    # Of every size in a group: the size, the first row, how often in a row, in all.
    size_k, first_k, times_k, all_k = (
        np.array(
            [
                (size, first, times, group.rows * times)
                for group, first in zip(groups, before.tolist(), strict=False)
                for size, times in group.content
            ],
            np.int64,
        )
        .reshape(-1, 4)
        .T
    )
    by_size = np.argsort(size_k, kind="stable")
    all_k = all_k[by_size]
    nth_e = np.arange(lengths_e.size) - np.repeat(np.cumsum(all_k) - all_k, all_k)
    # Of 16 bits and fewer, numpy's stable order is a radix sort.
    narrow_e = lengths_e.astype(np.min_scalar_type(int(lengths_e.max(initial=0))))
    rows_e = np.empty(lengths_e.size, np.int64)
    rows_e[np.argsort(narrow_e, kind="stable")] = np.repeat(
        first_k[by_size], all_k
    ) + nth_e // np.repeat(times_k[by_size], all_k)
    return rows_e
