"""What carries out work on rows: maps, and group-bys that see all rows of a key."""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol, TypeAlias

from xinst_jax.pipeline.executors.sorting import Key

Mapper: TypeAlias = Callable[[list[Any]], Iterable[Any]]
"""A plain function of some rows; which rows come together must not matter."""

Reducer: TypeAlias = Callable[[bytes, Iterator[Any]], Iterable[Any]]
"""A plain function of a key and of all values with it, which come one by one: there may
be more than fit the memory."""


class Keyed(NamedTuple):
    """Rows, and what makes of them (key, value) pairs, the key as bytes."""

    rows: Any
    pairs: Mapper


class Executor(Protocol):
    """Carries out maps and group-bys; what comes out does not depend on which it is.

    Rows are whatever can be pickled. What `read`, `map` and `group` return is the
    executor's own, to be given to it again, until something is saved or brought here:
    what is wanted later is saved, and read again.
    """

    def put(self, rows: Iterable[Any], name: str) -> None:
        """Keeps rows of this process under a name, to be read by workers."""

    def save(self, rows: Any, name: str) -> None:
        """Keeps what `map` or `group` made under a name, whole or not."""

    def saved(self, name: str) -> bool:
        """Whether there are rows under a name."""

    def read(self, *names: str) -> Any:
        """The rows that were kept under names."""

    def remove(self, name: str) -> None:
        """Removes what was kept under a name."""

    def clear(self) -> None:
        """Removes all that was kept and made; nothing is to be asked any more."""

    def map(self, name: str, function: Mapper, rows: Any) -> Any:
        """What the function makes of the rows."""

    def group(
        self, name: str, function: Reducer, *sources: Keyed, by: Key | None = None
    ) -> Any:
        """What the function makes of each key and its values of all the sources.

        Values come sorted by `by`, or in an order that is not said. What is sorted by
        must tell any two values of a key apart that the function treats differently.
        """

    def stream(self, rows: Any) -> Iterator[Any]:
        """Brings rows here, one by one, in an order that is not said."""

    def ordered(
        self, rows: Any, shard: Callable[[bytes], bytes]
    ) -> Iterator[tuple[bytes, Any]]:
        """Brings rows here that are (key, value) pairs with different keys, by key.

        Workers sort them in shards, which are read one behind the other.

        Args:
          rows: the pairs.
          shard: the shard of a key; greater keys have the same one or a greater one.
        """


def by_row(function: Callable[..., Iterable[Any]], **settings: Any) -> Mapper:
    """A function of one row as one of several."""
    return functools.partial(_each, functools.partial(function, **settings))


def itself(value: Any) -> Any:
    """What values are sorted by that are sorted as they are."""
    return value


def key_of(row: tuple[bytes, Any]) -> bytes:
    """The key of a (key, value) row."""
    return row[0]


def with_shard(
    row: tuple[bytes, Any], shard: Callable[[bytes], bytes]
) -> Iterator[tuple[bytes, Any]]:
    """A (key, value) row behind the shard of its key."""
    yield shard(row[0]), row


def _each(function: Callable[[Any], Iterable[Any]], rows: list[Any]) -> Iterator[Any]:
    for row in rows:
        yield from function(row)
