"""Frames of rows on the file systems that Apache Beam knows."""

import contextlib
import pathlib
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from apache_beam.coders import coders
from apache_beam.io.filebasedsink import FileBasedSink
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from xinst_jax.pipeline.executors import frames, functions

_MIME = "application/octet-stream"
# What one worker reads: many of them make a corpus, and each is worth a start.
_SHARD_BYTES = 64 * 2**20
_PLAIN = CompressionTypes.UNCOMPRESSED


class FrameSink(FileBasedSink):
    """Writes frames, in as many files as there are workers to write them."""

    def __init__(self, prefix: str):
        """Of files whose names begin so."""
        super().__init__(
            prefix,
            coders.BytesCoder(),
            mime_type=_MIME,
            compression_type=_PLAIN,
            max_bytes_per_shard=_SHARD_BYTES,
        )

    def write_encoded_record(self, file_handle: Any, value: bytes) -> None:
        """Writes a frame as it is."""
        file_handle.write(value)


def write(path: str, parts: Iterable[Any]) -> None:
    """Writes a file, and its name only when all is there: workers may be run twice."""
    temporary = f"{path}.{uuid.uuid4().hex}.part"
    with contextlib.closing(FileSystems.create(temporary, _MIME, _PLAIN)) as file:
        for part in parts:
            file.write(part)
    FileSystems.rename([temporary], [path])


def write_shards(prefix: str, parts: Iterable[bytes]) -> None:
    """Writes frames to files whose names begin so, each of some 64 MiB."""
    parts = iter(parts)
    for number, first in enumerate(parts):
        write(f"{prefix}-{number:05d}", _some(first, parts))


def rows(path: str) -> Iterator[Any]:
    """A file's rows in order, one frame in memory."""
    with contextlib.closing(FileSystems.open(path, _MIME, _PLAIN)) as file:
        for found, _ in frames.read(file):
            yield from found


def names(prefix: str) -> list[str]:
    """The files whose names begin so, by name."""
    (found,) = FileSystems.match([f"{prefix}*"])
    return sorted(one.path for one in found.metadata_list)


def exists(path: str) -> bool:
    """Whether there is such a file."""
    return FileSystems.exists(path)


def remove(prefix: str) -> None:
    """Removes the files whose names begin so."""
    FileSystems.delete(names(prefix))


def clear(place: str) -> None:
    """Removes a directory, or all whose names begin as if they were in it, if any."""
    if pathlib.Path(place).exists():
        # Beam leaves folders behind where there are any.
        shutil.rmtree(place)
    elif "://" in place:
        FileSystems.delete([f"{place}/"])


def function(path: str) -> Any:
    """The function of a file: of one of this machine shared by its processes."""
    if pathlib.Path(path).exists():
        return functions.load(pathlib.Path(path))
    with tempfile.NamedTemporaryFile() as copy:
        with contextlib.closing(FileSystems.open(path, _MIME, _PLAIN)) as file:
            while piece := file.read(_SHARD_BYTES):
                copy.write(piece)
        copy.flush()
        return functions.load(pathlib.Path(copy.name))


def _some(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    size = len(first)
    while size < _SHARD_BYTES and (part := next(rest, None)) is not None:
        yield part
        size += len(part)
