"""Sorting and grouping in bounded memory: what does not fit it goes to the disk."""

import heapq
import itertools
import operator
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from xinst_jax.pipeline.executors import frames
from xinst_jax.pipeline.executors.frames import Weighed

MEMORY_BYTES = 32 * 2**20
"""Most bytes of pickled rows that are held at once; as objects they take more."""

# Each file that is merged has a frame in memory.
_FAN_IN = 32

Key: TypeAlias = Callable[[Any], Any]
"""What rows are sorted by."""


def in_order(
    parts: Iterable[Weighed], key: Key, directory: pathlib.Path
) -> Iterator[Any]:
    """Rows by their keys, equal ones as they came: an external merge sort.

    Args:
      parts: rows, as they come; more than fit the memory are sorted in runs on disk.
      key: what they are sorted by.
      directory: for the runs, of which none is left when all rows were taken.
    """
    held: list[Any] = []
    weight = 0
    runs: list[pathlib.Path] = []
    for rows, size in parts:
        held += rows
        weight += size
        if weight >= MEMORY_BYTES:
            held.sort(key=key)
            runs.append(_run(held, directory, len(runs)))
            held, weight = [], 0
    held.sort(key=key)
    if not runs:
        yield from held
        return
    if held:
        runs.append(_run(held, directory, len(runs)))
        held = []
    made = len(runs)
    while len(runs) > _FAN_IN:
        # Neighbours are merged, so that equal rows stay as they came.
        merged = []
        for some in frames.chunks(runs, _FAN_IN):
            merged.append(_run(_merged(some, key), directory, made))
            made += 1
        runs = merged
    yield from _merged(runs, key)


def by_key(
    parts: Iterable[Weighed], by: Key | None, directory: pathlib.Path
) -> Iterator[tuple[bytes, Iterator[Any]]]:
    """Each key of (key, value) rows with its values, of which none is kept.

    Args:
      parts: the rows.
      by: what a key's values are sorted by; None where any order will do.
      directory: for what does not fit the memory, be it of many keys or of one.
    """
    parts = iter(parts)
    held: list[Weighed] = []
    weight = 0
    for rows, size in parts:
        held.append((rows, size))
        weight += size
        if weight >= MEMORY_BYTES:
            yield from _grouped(itertools.chain(_taken(held), parts), by, directory)
            return
    values: dict[bytes, list[Any]] = {}
    for rows, _ in _taken(held):
        for key, value in rows:
            values.setdefault(key, []).append(value)
    while values:
        key, found = values.popitem()
        if by is not None and len(found) > 1:
            found.sort(key=by)
        yield key, iter(found)


def values_in_order(values: Iterable[Any], by: Key | None) -> Iterator[Any]:
    """One key's values, sorted by `by` if that is given."""
    if by is None:
        return iter(values)
    rest = iter(values)
    few = list(itertools.islice(rest, frames.FRAME_ROWS))
    if len(few) == frames.FRAME_ROWS:
        return _many_in_order(itertools.chain(few, rest), by)
    few.sort(key=by)
    return iter(few)


def _many_in_order(values: Iterable[Any], by: Key) -> Iterator[Any]:
    with tempfile.TemporaryDirectory() as folder:
        yield from in_order(frames.weighed(values), by, pathlib.Path(folder))


def _grouped(
    parts: Iterable[Weighed], by: Key | None, directory: pathlib.Path
) -> Iterator[tuple[bytes, Iterator[Any]]]:
    first = operator.itemgetter(0)
    order = first if by is None else lambda pair: (pair[0], by(pair[1]))
    pairs = in_order(parts, order, directory)
    for key, found in itertools.groupby(pairs, key=first):
        yield key, (value for _, value in found)


def _taken(held: list[Any]) -> Iterator[Any]:
    """The items of a list, which no longer holds those that were taken."""
    held.reverse()
    while held:
        yield held.pop()


def _run(rows: Iterable[Any], directory: pathlib.Path, number: int) -> pathlib.Path:
    return frames.write(directory / f"run-{number:06d}", frames.parts(rows))


def _merged(runs: list[pathlib.Path], key: Key) -> Iterator[Any]:
    yield from heapq.merge(*map(frames.rows, runs), key=key)
    for path in runs:
        path.unlink()
