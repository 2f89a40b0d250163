"""Maps and group-bys by the processes of one machine, with the rows on its disk."""

import collections
import concurrent.futures
import contextlib
import functools
import itertools
import multiprocessing
import os
import pathlib
import pickle
import zlib
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from xinst_jax import shards
from xinst_jax.pipeline.executors import executor, frames, progress
from xinst_jax.pipeline.executors.executor import Keyed, Mapper, Reducer

_PARTITION_BYTES = 32 * 2**20
_MAX_PARTITIONS = 512
_FEW_FRAMES = 8
_Rows: TypeAlias = tuple[pathlib.Path, ...]


class Local:
    """A pool of processes, with group-by on disk.

    A group-by spreads its pairs over as many files as it takes for each to fit the
    memory, by a digest of the key, and then reads each whole; one key's values must
    fit. Frames keep their order, and a file its pairs', so what comes out does not
    depend on how many processes there are.
    """

    def __init__(self, directory: pathlib.Path, workers: int = 0):
        """Starts no process: that is done for the first work that has many frames.

        Args:
          directory: for files that are of no use later; it must exist.
          workers: processes; 0 for as many as this one may use processors.
        """
        self._directory = directory
        self._workers = workers or len(os.sched_getaffinity(0))
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None
        self._numbers = itertools.count()

    def __enter__(self) -> "Local":
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def read(self, *paths: pathlib.Path) -> tuple[pathlib.Path, ...]:
        """See `Executor`."""
        return paths

    def map(self, name: str, function: Mapper, rows: _Rows) -> _Rows:
        """See `Executor`."""
        work = functools.partial(_mapped, self._saved(function))
        with shards.told_when_full(self._directory):
            done = self._each(name, work, _index(rows))
            return (frames.write(self._new(), done),)

    def save(self, rows: _Rows, path: pathlib.Path) -> None:
        """See `Executor`."""
        (made,) = rows
        made.replace(path)

    def group(self, name: str, function: Reducer, *sources: Keyed) -> _Rows:
        """See `Executor`."""
        size = sum(path.stat().st_size for source in sources for path in source.rows)
        count = min(_MAX_PARTITIONS, 1 + size // _PARTITION_BYTES)
        paths = [self._new() for _ in range(count)]
        with shards.told_when_full(self._directory), contextlib.ExitStack() as stack:
            files = [stack.enter_context(path.open("wb")) for path in paths]
            for source in sources:
                spread = functools.partial(_spread, self._saved(source.pairs), count)
                for parts in self._each(name, spread, _index(source.rows)):
                    for number, part in parts:
                        frames.append(files[number], part)
        work = functools.partial(_grouped, self._saved(function))
        with shards.told_when_full(self._directory):
            done = self._each(name, work, list(map(str, paths)), few=1)
            found = frames.write(self._new(), itertools.chain.from_iterable(done))
        for path in paths:
            path.unlink()
        return (found,)

    def ordered(self, rows: _Rows) -> Iterator[tuple[bytes, Any]]:
        """See `Executor`."""
        found = itertools.chain.from_iterable(map(frames.rows, rows))
        return executor.merged(found, self._directory)

    def _new(self) -> pathlib.Path:
        return self._directory / f"rows-{next(self._numbers):05d}"

    def _saved(self, function: Any) -> str:
        """A file with the function, which a process reads once: it may hold much."""
        path = self._directory / f"function-{next(self._numbers):05d}"
        path.write_bytes(pickle.dumps(function))
        return str(path)

    def _each(
        self,
        name: str,
        work: Callable[[Any], Any],
        items: list[Any],
        few: int = _FEW_FRAMES,
    ) -> Iterator[Any]:
        """Results in the order of the items, a few of which are worked on ahead."""
        with progress.bar(name, len(items)) as advance:
            if self._workers == 1 or len(items) <= few:
                for item in items:
                    yield work(item)
                    advance(1)
                return
            pool = self._pool = self._pool or concurrent.futures.ProcessPoolExecutor(
                self._workers, multiprocessing.get_context("spawn")
            )
            waiting: collections.deque[concurrent.futures.Future] = collections.deque()
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > 2 * self._workers:
                    yield waiting.popleft().result()
                    advance(1)
            for future in waiting:
                yield future.result()
                advance(1)


def _index(rows: _Rows) -> list[frames.Frame]:
    return [frame for path in rows for frame in frames.index(path)]


@functools.lru_cache(4)
def _function(path: str) -> Any:
    return pickle.loads(pathlib.Path(path).read_bytes())


def _mapped(function: str, frame: frames.Frame) -> bytes:
    return frames.packed(list(_function(function)(frames.load(frame))))


def _spread(function: str, count: int, frame: frames.Frame) -> list[tuple[int, bytes]]:
    pairs = _function(function)(frames.load(frame))
    if count == 1:
        return [(0, frames.packed(list(pairs)))]
    parts: dict[int, list[Any]] = {}
    for pair in pairs:
        parts.setdefault(zlib.crc32(pair[0]) % count, []).append(pair)
    return [(number, frames.packed(parts[number])) for number in sorted(parts)]


def _grouped(function: str, path: str) -> list[bytes]:
    values: dict[bytes, list[Any]] = {}
    for key, value in frames.rows(pathlib.Path(path)):
        values.setdefault(key, []).append(value)
    reduce = _function(function)
    made = (row for key, found in values.items() for row in reduce(key, found))
    return [frames.packed(chunk) for chunk in frames.chunks(made)]
