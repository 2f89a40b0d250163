"""Rows on disk while they are worked on, in frames that are read at once."""

import pathlib
import pickle
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, TypeAlias

import zstandard

FRAME_ROWS = 256
"""Most rows of a frame that is made of rows that come one by one."""

_LENGTH_BYTES = 8
# Fast rather than small: signatures are not to be compressed, and files live briefly.
_LEVEL = -3

Frame: TypeAlias = tuple[str, int, int]
"""A frame's file, and its offset and length in bytes."""


def packed(rows: Sequence[Any]) -> bytes:
    """Rows as bytes: pickled and compressed."""
    content = pickle.dumps(rows, protocol=pickle.HIGHEST_PROTOCOL)
    return zstandard.ZstdCompressor(_LEVEL).compress(content)


def unpacked(content: bytes) -> list[Any]:
    """The rows of `packed` bytes."""
    return pickle.loads(zstandard.ZstdDecompressor().decompress(content))


def append(file: BinaryIO, content: bytes) -> None:
    """Adds packed rows to a file, behind their length."""
    file.write(len(content).to_bytes(_LENGTH_BYTES, "little"))
    file.write(content)


def write(path: pathlib.Path, parts: Iterable[bytes]) -> pathlib.Path:
    """Writes packed frames, and the name only when all are there."""
    temporary = path.with_name(f"{path.name}.part")
    with temporary.open("wb") as file:
        for part in parts:
            append(file, part)
    return temporary.replace(path)


def index(path: pathlib.Path) -> list[Frame]:
    """Where a file's frames lie, in order."""
    found: list[Frame] = []
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at < size:
            file.seek(at)
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            found.append((str(path), at + _LENGTH_BYTES, length))
            at += _LENGTH_BYTES + length
    return found


def load(frame: Frame) -> list[Any]:
    """A frame's rows."""
    name, offset, length = frame
    with pathlib.Path(name).open("rb") as file:
        file.seek(offset)
        return unpacked(file.read(length))


def rows(path: pathlib.Path) -> Iterator[Any]:
    """A file's rows in order, one frame in memory."""
    for frame in index(path):
        yield from load(frame)


def chunks(
    items: Iterable[Any],
    max_rows: int = FRAME_ROWS,
    max_weight: int = 0,
    weigh: Any = len,
) -> Iterator[list[Any]]:
    """Rows in lists of at most `max_rows`; shorter from `max_weight` on, if set."""
    chunk: list[Any] = []
    weight = 0
    for item in items:
        chunk.append(item)
        weight += weigh(item) if max_weight else 0
        if len(chunk) == max_rows or (max_weight and weight >= max_weight):
            yield chunk
            chunk, weight = [], 0
    if chunk:
        yield chunk
