"""Maps and group-bys by Apache Beam, whose runners spread them over many machines."""

import functools
import itertools
import types
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from xinst_jax.errors import UserError
from xinst_jax.pipeline.executors import executor, frames, functions, sorting
from xinst_jax.pipeline.executors.executor import Keyed, Mapper, Reducer
from xinst_jax.pipeline.executors.sorting import Key

_LOCAL_RUNNER = "--runner=FnApiRunner"
# Rows are of several classes, which our own type checker knows about.
_UNTYPED = "--no_pipeline_type_check"


class Beam:
    """Rows as Beam's collections, on whatever runner the options name.

    What is kept is read and written by the workers, in many files; the process that
    starts them reads some of those, one frame in memory.
    """

    def __init__(self, place: str, options: Sequence[str] = ()):
        """Starts nothing.

        Args:
          place: directory, or a URL that Beam knows how to read and write, that all
            workers see, for files that are of no use later.
          options: flags of Beam's pipeline. Without a '--runner=' one process does all.

        Raises:
          UserError: Beam is not installed.
        """
        self._beam, self._files = _imported()
        named = any(option.startswith("--runner") for option in options)
        self._options = [_UNTYPED, *options, *(() if named else (_LOCAL_RUNNER,))]
        self._place = place.rstrip("/")
        self._numbers = itertools.count()
        self._pipeline = self._new_pipeline()

    def __enter__(self) -> "Beam":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def put(self, rows: Iterable[Any], name: str) -> None:
        """See `Executor`."""
        self.remove(name)
        self._files.write_shards(self._prefix(name), frames.parts(rows))
        self._files.write(self._mark(name), ())

    def save(self, rows: Any, name: str) -> None:
        """See `Executor`; runs all that the rows are made by."""
        self.remove(name)
        beam = self._beam
        sink = self._files.FrameSink(self._prefix(name))
        _ = (
            self._batches(name, rows)
            | self._name(f"{name}: frames") >> beam.FlatMap(frames.parts)
            | self._name(f"{name}: write") >> beam.io.Write(sink)
        )
        self._pipeline.run().wait_until_finish()
        self._pipeline = self._new_pipeline()
        self._files.write(self._mark(name), ())

    def saved(self, name: str) -> bool:
        """See `Executor`."""
        return self._files.exists(self._mark(name))

    def read(self, *names: str) -> Any:
        """See `Executor`."""
        beam = self._beam
        found = [file for name in names for file in self._found(name)]
        files = self._pipeline | self._name("files") >> beam.Create(found)
        # Else one worker would read them all.
        spread = files | self._name("spread") >> beam.Reshuffle()
        return spread | self._name("read") >> beam.FlatMap(self._files.rows)

    def remove(self, name: str) -> None:
        """See `Executor`."""
        self._files.remove(self._mark(name))
        self._files.remove(self._prefix(name))

    def clear(self) -> None:
        """See `Executor`."""
        self._files.clear(self._place)

    def map(self, name: str, function: Mapper, rows: Any) -> Any:
        """See `Executor`."""
        work = functools.partial(_mapped, self._saved(function))
        batches = self._batches(name, rows)
        return batches | self._name(name) >> self._beam.FlatMap(work)

    def group(
        self, name: str, function: Reducer, *sources: Keyed, by: Key | None = None
    ) -> Any:
        """See `Executor`."""
        beam = self._beam
        pairs = tuple(
            self.map(f"{name}: pairs", source.pairs, source.rows) for source in sources
        )
        together = pairs | self._name(f"{name}: together") >> beam.Flatten()
        grouped = together | self._name(f"{name}: by key") >> beam.GroupByKey()
        work = functools.partial(_reduced, self._saved((function, by)))
        return grouped | self._name(name) >> beam.FlatMap(work)

    def stream(self, rows: Any) -> Iterator[Any]:
        """See `Executor`; runs all that the rows are made by."""
        name = f"streamed-{next(self._numbers)}"
        self.save(rows, name)
        for path in self._found(name):
            yield from self._files.rows(path)
        self.remove(name)

    def ordered(
        self, rows: Any, shard: Callable[[bytes], bytes]
    ) -> Iterator[tuple[bytes, Any]]:
        """See `Executor`; runs all that the rows are made by."""
        prefix = f"{self._place}/ordered-{next(self._numbers)}"
        keyed = Keyed(rows, executor.by_row(executor.with_shard, shard=shard))
        write = functools.partial(_written, prefix)
        made = self.group("in order", write, keyed, by=executor.key_of)
        for _, path in sorted(self.stream(made)):
            yield from self._files.rows(path)
            self._files.remove(path)

    def _batches(self, name: str, rows: Any) -> Any:
        """Rows in lists."""
        return rows | self._name(f"{name}: batches") >> self._beam.BatchElements(
            min_batch_size=1, max_batch_size=frames.FRAME_ROWS
        )

    def _saved(self, function: Any) -> str:
        """A file with the function: what describes a pipeline may not be large."""
        path = f"{self._place}/function-{uuid.uuid4().hex}"
        self._files.write(path, functions.parts(function))
        return path

    def _found(self, name: str) -> list[str]:
        return self._files.names(self._prefix(name))

    def _prefix(self, name: str) -> str:
        return f"{self._place}/{name}/rows"

    def _mark(self, name: str) -> str:
        """A file that is there when all of a name's are."""
        return f"{self._place}/{name}/whole"

    def _new_pipeline(self) -> Any:
        from apache_beam.options.pipeline_options import PipelineOptions

        return self._beam.Pipeline(options=PipelineOptions(self._options))

    def _name(self, words: str) -> str:
        """A step's name, of which Beam wants each once."""
        return f"{next(self._numbers)} {words}"


def _imported() -> tuple[types.ModuleType, types.ModuleType]:
    """Beam, and what needs it."""
    try:
        import apache_beam
    except ImportError as error:
        raise UserError(
            "CorpusConfig.executor = 'beam' needs Apache Beam, which is not installed: "
            "pip install -r requirements-beam.txt, into an environment of its own. Or "
            "set CorpusConfig.executor = 'local'."
        ) from error
    from xinst_jax.pipeline.executors import beam_files

    return apache_beam, beam_files


@functools.lru_cache(8)
def _function(path: str) -> Any:
    from xinst_jax.pipeline.executors import beam_files

    return beam_files.function(path)


def _mapped(function: str, rows: list[Any]) -> Iterable[Any]:
    return _function(function)(rows)


def _reduced(function: str, item: tuple[bytes, Iterable[Any]]) -> Iterable[Any]:
    reduce, by = _function(function)
    key, values = item
    return reduce(key, sorting.values_in_order(values, by))


def _written(
    prefix: str, shard: bytes, rows: Iterator[Any]
) -> Iterator[tuple[bytes, str]]:
    from xinst_jax.pipeline.executors import beam_files

    path = f"{prefix}-{shard.hex()}"
    beam_files.write(path, frames.parts(rows))
    yield shard, path
