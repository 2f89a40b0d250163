"""Rows on disk while they are worked on, in frames that are read at once."""

import io
import itertools
import pathlib
import pickle
import struct
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, TypeAlias

import zstandard

FRAME_ROWS = 256
"""Most rows of a frame."""

_FRAME_BYTES = 2**20
# Rows are weighed by what they are pickled to, this many at once.
_PICKLED_ROWS = 32
# Fast rather than small: signatures are not to be compressed, and files live briefly.
_LEVEL = -3
_HEADER = struct.Struct("<QQ")

Frame: TypeAlias = tuple[str, int, int, int]
"""A frame's file, its offset and length in bytes, and the bytes of its pickled rows."""

Weighed: TypeAlias = tuple[list[Any], int]
"""Rows, and the bytes that they have when they are pickled."""


def parts(rows: Iterable[Any]) -> Iterator[bytes]:
    """Rows as frames, each of some 1 MiB of pickled rows at most.

    A frame is a header, of the lengths of what follows and of what that holds, and the
    pickled rows, compressed.
    """
    pickles: list[bytes] = []
    count = size = 0
    for batch in chunks(rows, _PICKLED_ROWS):
        pickles.append(pickle.dumps(batch, protocol=pickle.HIGHEST_PROTOCOL))
        count, size = count + len(batch), size + len(pickles[-1])
        if count >= FRAME_ROWS or size >= _FRAME_BYTES:
            yield _frame(b"".join(pickles))
            pickles, count, size = [], 0, 0
    if pickles:
        yield _frame(b"".join(pickles))


def write(path: pathlib.Path, made: Iterable[bytes]) -> pathlib.Path:
    """Writes frames, and the name only when all are there."""
    temporary = path.with_name(f"{path.name}.part")
    with temporary.open("wb") as file:
        file.writelines(made)
    return temporary.replace(path)


def index(path: pathlib.Path) -> Iterator[Frame]:
    """Where a file's frames lie, in order."""
    end, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at < end:
            file.seek(at)
            length, size = _HEADER.unpack(file.read(_HEADER.size))
            yield str(path), at + _HEADER.size, length, size
            at += _HEADER.size + length


def load(frame: Frame) -> list[Any]:
    """A frame's rows."""
    name, offset, length, _ = frame
    with pathlib.Path(name).open("rb") as file:
        file.seek(offset)
        return _rows(file.read(length))


def read(file: BinaryIO) -> Iterator[Weighed]:
    """The rows of each frame of an open file, from where it stands."""
    while header := file.read(_HEADER.size):
        length, size = _HEADER.unpack(header)
        yield _rows(file.read(length)), size


def rows(path: pathlib.Path) -> Iterator[Any]:
    """A file's rows in order, one frame in memory."""
    with path.open("rb") as file:
        for found, _ in read(file):
            yield from found


def weighed(rows: Iterable[Any]) -> Iterator[Weighed]:
    """Rows with the bytes that they have when they are pickled, a few at once."""
    for batch in chunks(rows, _PICKLED_ROWS):
        yield batch, len(pickle.dumps(batch, protocol=pickle.HIGHEST_PROTOCOL))


def chunks(items: Iterable[Any], most: int) -> Iterator[list[Any]]:
    """Rows in lists of at most that many."""
    rest = iter(items)
    while chunk := list(itertools.islice(rest, most)):
        yield chunk


def _frame(pickles: bytes) -> bytes:
    content = zstandard.ZstdCompressor(_LEVEL).compress(pickles)
    return _HEADER.pack(len(content), len(pickles)) + content


def _rows(content: bytes) -> list[Any]:
    pickles = zstandard.ZstdDecompressor().decompress(content)
    file, found = io.BytesIO(pickles), []
    while file.tell() < len(pickles):
        found += pickle.load(file)
    return found
