"""What carries out work on rows: maps, and group-bys that see all rows of a key."""

import functools
import heapq
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol, TypeAlias

from xinst_jax.pipeline.executors import frames

Mapper: TypeAlias = Callable[[list[Any]], Iterable[Any]]
"""A plain function of some rows; which rows come together must not matter."""

Reducer: TypeAlias = Callable[[bytes, list[Any]], Iterable[Any]]
"""A plain function of a key and of all values with it, in an order that is not said."""

_RUN_ROWS = 20_000


class Keyed(NamedTuple):
    """Rows, and what makes of them (key, value) pairs, the key as bytes."""

    rows: Any
    pairs: Mapper


class Executor(Protocol):
    """Carries out maps and group-bys; what comes out does not depend on which it is.

    Rows are whatever can be pickled. What `map` and `group` return is the executor's
    own, to be given to it again.
    """

    def read(self, *paths: pathlib.Path) -> Any:
        """Rows of files of frames."""

    def map(self, name: str, function: Mapper, rows: Any) -> Any:
        """What the function makes of the rows."""

    def group(self, name: str, function: Reducer, *sources: Keyed) -> Any:
        """What the function makes of each key and its values of all the sources."""

    def save(self, rows: Any, path: pathlib.Path) -> None:
        """Puts what `map` or `group` made into one file of frames, whole or not."""

    def ordered(self, rows: Any) -> Iterator[tuple[bytes, Any]]:
        """Rows that are (key, value) pairs with different keys, by key."""


def by_row(function: Callable[..., Iterable[Any]], **settings: Any) -> Mapper:
    """A function of one row as one of several."""
    return functools.partial(_each, functools.partial(function, **settings))


def _each(function: Callable[[Any], Iterable[Any]], rows: list[Any]) -> Iterator[Any]:
    for row in rows:
        yield from function(row)


def merged(
    rows: Iterable[tuple[bytes, Any]], directory: pathlib.Path
) -> Iterator[tuple[bytes, Any]]:
    """(key, value) rows by key: sorted in parts that fit the memory, then merged."""
    runs = []
    for number, run in enumerate(frames.chunks(rows, _RUN_ROWS)):
        run.sort(key=_key)
        parts = map(frames.packed, frames.chunks(run))
        runs.append(frames.write(directory / f"run-{number:05d}", parts))
    yield from heapq.merge(*map(frames.rows, runs), key=_key)
    for path in runs:
        path.unlink()


def _key(row: tuple[bytes, Any]) -> bytes:
    return row[0]
