"""Functions in files: what they hold is read once by each process, or shared by all."""

import mmap
import pathlib
import pickle
import struct
from collections.abc import Callable, Iterator
from typing import Any

# Arrays must begin where their items may.
_ALIGNMENT = 64
_HEADER = struct.Struct("<Q")


def parts(function: Any) -> Iterator[Any]:
    """A function and all that it holds, as the bytes of a file: arrays as they are."""
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(function, protocol=5, buffer_callback=buffers.append)
    raws = [buffer.raw() for buffer in buffers]
    head = pickle.dumps((body, [raw.nbytes for raw in raws]))
    yield _HEADER.pack(len(head)) + head
    at = _HEADER.size + len(head)
    for raw in raws:
        yield bytes(-at % _ALIGNMENT)
        yield raw
        at += -at % _ALIGNMENT + raw.nbytes


def unpacked(content: Any) -> Callable[..., Any]:
    """The function of such bytes, its arrays read-only and within those bytes."""
    view = memoryview(content)
    (length,) = _HEADER.unpack(view[: _HEADER.size])
    at = _HEADER.size + length
    body, sizes = pickle.loads(view[_HEADER.size : at])
    buffers = []
    for size in sizes:
        at += -at % _ALIGNMENT
        buffers.append(view[at : at + size])
        at += size
    return pickle.loads(body, buffers=buffers)


def load(path: pathlib.Path) -> Callable[..., Any]:
    """The function of a file, whose arrays all processes of a machine share."""
    with path.open("rb") as file:
        return unpacked(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
