"""Maps and group-bys by the processes of one machine, with the rows on its disk."""

import collections
import concurrent.futures
import contextlib
import functools
import itertools
import multiprocessing
import os
import pathlib
import shutil
import tempfile
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from xinst_jax import shards
from xinst_jax.pipeline.executors import executor, frames, functions, progress, sorting
from xinst_jax.pipeline.executors.executor import Keyed, Mapper, Reducer
from xinst_jax.pipeline.executors.frames import Frame
from xinst_jax.pipeline.executors.sorting import Key

# Half of what is held at once: keys do not fall on files quite evenly.
_PARTITION_BYTES = sorting.MEMORY_BYTES // 2
# All of them are open at once.
_MAX_PARTITIONS = 512
# What is spread over many files goes to each of them in pieces worth compressing.
_SPREAD_BYTES = 4 * 2**20
_FEW_ITEMS = 8
_Rows: TypeAlias = tuple[pathlib.Path, ...]


class Local:
    """A pool of processes, with group-by on disk.

    A group-by spreads its pairs over as many files as it takes for each to fit the
    memory, by a digest of the key. A file that does not fit, because there is too much
    or because one key has it all, is sorted on the disk. Frames keep their order, and a
    file its pairs', so what comes out does not depend on how many processes there are.
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

    def put(self, rows: Iterable[Any], name: str) -> None:
        """See `Executor`."""
        with shards.told_when_full(self._directory):
            self.save((frames.write(self._new(), frames.parts(rows)),), name)

    def save(self, rows: _Rows, name: str) -> None:
        """See `Executor`."""
        self.remove(name)
        unfinished = self._new()
        unfinished.mkdir()
        for number, path in enumerate(rows):
            path.replace(unfinished / f"rows-{number:05d}")
        unfinished.replace(self._directory / name)

    def saved(self, name: str) -> bool:
        """See `Executor`."""
        return (self._directory / name).exists()

    def read(self, *names: str) -> _Rows:
        """See `Executor`."""
        found = (sorted((self._directory / name).iterdir()) for name in names)
        return tuple(itertools.chain.from_iterable(found))

    def remove(self, name: str) -> None:
        """See `Executor`."""
        shutil.rmtree(self._directory / name, ignore_errors=True)

    def clear(self) -> None:
        """See `Executor`."""
        shutil.rmtree(self._directory)

    def map(self, name: str, function: Mapper, rows: _Rows) -> _Rows:
        """See `Executor`."""
        with self._saved(function) as saved, shards.told_when_full(self._directory):
            work = functools.partial(_mapped, saved)
            done = self._each(name, work, lambda: _index(rows))
            return (frames.write(self._new(), done),)

    def group(
        self, name: str, function: Reducer, *sources: Keyed, by: Key | None = None
    ) -> _Rows:
        """See `Executor`."""
        size = sum(frame[-1] for source in sources for frame in _index(source.rows))
        count = min(_MAX_PARTITIONS, 1 + size // _PARTITION_BYTES)
        paths = [self._new() for _ in range(count)]
        most = _SPREAD_BYTES if count > 1 else 0
        with shards.told_when_full(self._directory), contextlib.ExitStack() as stack:
            files = [stack.enter_context(path.open("wb")) for path in paths]
            for source in sources:
                saved = stack.enter_context(self._saved(source.pairs))
                spread = functools.partial(_spread, saved, count)
                batches = functools.partial(_batches, source.rows, most)
                for parts in self._each(name, spread, batches):
                    for number, part in parts:
                        files[number].write(part)
        made = [(path, self._new()) for path in paths]
        with (
            self._saved((function, by)) as saved,
            shards.told_when_full(self._directory),
        ):
            work = functools.partial(_grouped, saved)
            return tuple(self._each(name, work, lambda: iter(made), few=1))

    def stream(self, rows: _Rows) -> Iterator[Any]:
        """See `Executor`."""
        return itertools.chain.from_iterable(map(frames.rows, rows))

    def ordered(
        self, rows: _Rows, shard: Callable[[bytes], bytes]
    ) -> Iterator[tuple[bytes, Any]]:
        """See `Executor`."""
        directory = self._new()
        directory.mkdir()
        pairs = executor.by_row(executor.with_shard, shard=shard)
        write = functools.partial(_written, directory)
        keyed = Keyed(rows, pairs)
        made = self.group("in order", write, keyed, by=executor.key_of)
        for _, path in sorted(self.stream(made)):
            yield from frames.rows(path)
            path.unlink()

    def _new(self) -> pathlib.Path:
        path = self._directory / f"rows-{next(self._numbers):05d}"
        if path.is_dir():
            # Of a run that was stopped.
            shutil.rmtree(path)
        return path

    @contextlib.contextmanager
    def _saved(self, function: Any) -> Iterator[str]:
        """A file with the function, which a process reads once: it may hold much."""
        # Its name is not used again in this process, which remembers what it read.
        path = self._directory / f"function-{uuid.uuid4().hex}"
        with shards.told_when_full(path), path.open("wb") as file:
            file.writelines(functions.parts(function))
        try:
            yield str(path)
        finally:
            path.unlink(missing_ok=True)

    def _each(
        self,
        name: str,
        work: Callable[[Any], Any],
        items: Callable[[], Iterator[Any]],
        few: int = _FEW_ITEMS,
    ) -> Iterator[Any]:
        """Results in the order of the items, a few of which are worked on ahead."""
        total = sum(1 for _ in items())
        with progress.bar(name, total) as advance:
            if self._workers == 1 or total <= few:
                for item in items():
                    yield work(item)
                    advance(1)
                return
            pool = self._pool = self._pool or concurrent.futures.ProcessPoolExecutor(
                self._workers, multiprocessing.get_context("spawn")
            )
            waiting: collections.deque[concurrent.futures.Future] = collections.deque()
            for item in items():
                waiting.append(pool.submit(work, item))
                if len(waiting) > 2 * self._workers:
                    yield waiting.popleft().result()
                    advance(1)
            for future in waiting:
                yield future.result()
                advance(1)


def _index(rows: _Rows) -> Iterator[Frame]:
    return itertools.chain.from_iterable(map(frames.index, rows))


def _batches(rows: _Rows, most: int) -> Iterator[list[Frame]]:
    """Frames, as many at once as have some `most` bytes of pickled rows."""
    batch: list[Frame] = []
    for frame in _index(rows):
        batch.append(frame)
        if sum(size for *_, size in batch) >= most:
            yield batch
            batch = []
    if batch:
        yield batch


@functools.lru_cache(2)
def _function(path: str) -> Any:
    return functions.load(pathlib.Path(path))


def _mapped(function: str, frame: Frame) -> bytes:
    return b"".join(frames.parts(_function(function)(frames.load(frame))))


def _spread(function: str, count: int, batch: list[Frame]) -> list[tuple[int, bytes]]:
    pairs_of = _function(function)
    pairs = itertools.chain.from_iterable(pairs_of(frames.load(one)) for one in batch)
    if count == 1:
        return [(0, b"".join(frames.parts(pairs)))]
    parts: dict[int, list[Any]] = {}
    for pair in pairs:
        parts.setdefault(zlib.crc32(pair[0]) % count, []).append(pair)
    return [(n, b"".join(frames.parts(parts[n]))) for n in sorted(parts)]


def _grouped(function: str, paths: tuple[pathlib.Path, pathlib.Path]) -> pathlib.Path:
    """Writes what the function makes of a file's pairs, which are then removed."""
    pairs, made = paths
    reduce, by = _function(function)
    with (
        tempfile.TemporaryDirectory(dir=made.parent) as folder,
        pairs.open("rb") as file,
    ):
        keys = sorting.by_key(frames.read(file), by, pathlib.Path(folder))
        rows = (row for key, values in keys for row in reduce(key, values))
        frames.write(made, frames.parts(rows))
    pairs.unlink()
    return made


def _written(
    directory: pathlib.Path, shard: bytes, rows: Iterator[Any]
) -> Iterator[tuple[bytes, pathlib.Path]]:
    yield shard, frames.write(directory / shard.hex(), frames.parts(rows))
