"""Maps and group-bys by Apache Beam, whose runners spread them over many machines."""

import itertools
import os
import pathlib
import pickle
import types
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from xinst_jax.errors import UserError
from xinst_jax.pipeline.executors import executor, frames
from xinst_jax.pipeline.executors.executor import Keyed, Mapper, Reducer

_LOCAL_RUNNER = "--runner=FnApiRunner"
# Rows are of several classes, which our own type checker knows about.
_UNTYPED = "--no_pipeline_type_check"
_RECORD_HEADER, _RECORD_FOOTER = 12, 4


class Beam:
    """Rows as Beam's collections, on whatever runner the options name.

    Files of frames are read by the workers, and what is saved is written by them: the
    directory must be one that all of them see.
    """

    def __init__(self, directory: pathlib.Path, options: Sequence[str] = ()):
        """Starts nothing.

        Args:
          directory: for files that are of no use later; it must exist.
          options: flags of Beam's pipeline. Without a '--runner=' one process does all.

        Raises:
          UserError: Beam is not installed.
        """
        self._beam = _imported()
        named = any(option.startswith("--runner") for option in options)
        self._options = [_UNTYPED, *options, *(() if named else (_LOCAL_RUNNER,))]
        self._directory = directory
        self._numbers = itertools.count()
        self._pipeline = self._new_pipeline()

    def __enter__(self) -> "Beam":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def read(self, *paths: pathlib.Path) -> Any:
        """See `Executor`."""
        found = [frame for path in paths for frame in frames.index(path)]
        beam = self._beam
        named = self._pipeline | self._name("frames") >> beam.Create(found)
        spread = named | self._name("spread") >> beam.Reshuffle()
        return spread | self._name("read") >> beam.FlatMap(frames.load)

    def map(self, name: str, function: Mapper, rows: Any) -> Any:
        """See `Executor`."""
        beam = self._beam
        batches = rows | self._name(f"{name}: batches") >> beam.BatchElements(
            min_batch_size=1, max_batch_size=frames.FRAME_ROWS
        )
        return batches | self._name(name) >> beam.FlatMap(function)

    def group(self, name: str, function: Reducer, *sources: Keyed) -> Any:
        """See `Executor`."""
        beam = self._beam
        pairs = tuple(
            self.map(f"{name}: pairs", source.pairs, source.rows) for source in sources
        )
        together = pairs | self._name(f"{name}: together") >> beam.Flatten()
        grouped = together | self._name(f"{name}: by key") >> beam.GroupByKey()
        return grouped | self._name(name) >> beam.FlatMap(_reduced, function)

    def save(self, rows: Any, path: pathlib.Path) -> None:
        """See `Executor`; runs all that the rows are made by."""
        beam = self._beam
        prefix = self._directory / f"written-{next(self._numbers):05d}"
        _ = (
            rows
            | self._name("pickle") >> beam.Map(_pickled)
            | self._name("write") >> beam.io.WriteToTFRecord(str(prefix))
        )
        self._pipeline.run().wait_until_finish()
        self._pipeline = self._new_pipeline()
        written = sorted(self._directory.glob(f"{prefix.name}-*-of-*"))
        records = itertools.chain.from_iterable(map(_records, written))
        frames.write(path, map(frames.packed, frames.chunks(records)))
        for file in written:
            file.unlink()

    def ordered(self, rows: Any) -> Iterator[tuple[bytes, Any]]:
        """See `Executor`; runs all that the rows are made by."""
        path = self._directory / f"rows-{next(self._numbers):05d}"
        self.save(rows, path)
        yield from executor.merged(frames.rows(path), self._directory)

    def _new_pipeline(self) -> Any:
        from apache_beam.options.pipeline_options import PipelineOptions

        return self._beam.Pipeline(options=PipelineOptions(self._options))

    def _name(self, words: str) -> str:
        """A step's name, of which Beam wants each once."""
        return f"{next(self._numbers)} {words}"


def _imported() -> types.ModuleType:
    try:
        import apache_beam
    except ImportError as error:
        raise UserError(
            "CorpusConfig.executor = 'beam' needs Apache Beam, which is not installed: "
            "pip install -r requirements-beam.txt, into an environment of its own. Or "
            "set CorpusConfig.executor = 'local'."
        ) from error
    return apache_beam


def _reduced(item: tuple[bytes, Iterable[Any]], function: Reducer) -> Iterable[Any]:
    key, values = item
    return function(key, list(values))


def _pickled(row: Any) -> bytes:
    return pickle.dumps(row, protocol=pickle.HIGHEST_PROTOCOL)


def _records(path: pathlib.Path) -> Iterator[Any]:
    """The rows of a TFRecord file: lengths and check sums around each pickled one."""
    with path.open("rb") as file:
        while header := file.read(_RECORD_HEADER):
            yield pickle.loads(file.read(int.from_bytes(header[:8], "little")))
            file.seek(_RECORD_FOOTER, os.SEEK_CUR)
