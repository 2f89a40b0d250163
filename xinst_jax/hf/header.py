"""The header of a safetensors file: what it holds, and where each tensor lies in it.

A file is the header's length N (eight bytes, little-endian), N bytes of JSON, and the
tensors' bytes. Source: the description of the format in the safetensors repository;
what its reader refuses is refused here.
"""

import dataclasses
import json
import math
import os
import pathlib
import struct
from collections.abc import Mapping
from typing import Any

from xinst_jax.errors import UserError

BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}
"""Bits of one number, by the format's name of its dtype."""

_LONGEST = 100_000_000
_ALIGNMENT = 8


@dataclasses.dataclass(frozen=True)
class Entry:
    """One tensor in a file.

    Attributes:
      dtype: as the format spells it: 'BF16', 'F32'.
      shape: its dimensions.
      start: where its first byte lies, counted from the start of the file.
      size: its bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int


def encode(tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> bytes:
    """What a file begins with whose tensors follow in the order given.

    It says `format: pt`, which older transformers ask for. Spaces fill it up, so that
    the tensors begin at a multiple of eight bytes.

    Args:
      tensors: dtype and shape of each tensor, by name.
    """
    record: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape) in tensors.items():
        start, end = end, end + math.prod(shape) * BITS[dtype] // 8
        offsets = [start, end]
        record[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
    text = json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return struct.pack("<Q", len(text)) + text


def read(path: pathlib.Path) -> dict[str, Entry]:
    """The tensors of a file, by name, in the order in which they lie there.

    Raises:
      UserError: it is not a safetensors file, or is shorter or longer than its header
        says; a tensor's offsets are not those of its shape and dtype, or leave a gap.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            prefix = file.read(8)
            if len(prefix) < 8:
                raise _Damage(f"it has {size} bytes and thus no header")
            (length,) = struct.unpack("<Q", prefix)
            if length > min(_LONGEST, size - 8):
                raise _Damage(f"a header of {length:,} bytes in {size:,}")
            record = _parsed(file.read(length))
        return _entries(record, 8 + length, size)
    except (_Damage, OSError) as error:
        raise UserError(
            f"{path} is not a whole safetensors file: {error}. Download or copy it "
            "again."
        ) from error


class _Damage(Exception):
    """What is wrong with a file, in words."""


def _parsed(text: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise _Damage("its header has a name twice")
        return found

    try:
        if not text.startswith(b"{"):
            raise ValueError("no JSON object")
        return json.loads(text.decode(), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise _Damage(f"its header cannot be read ({error})") from error


def _entries(record: dict[str, Any], start: int, size: int) -> dict[str, Entry]:
    metadata = record.pop("__metadata__", None)
    if metadata is not None and not (
        isinstance(metadata, dict)
        and all(isinstance(value, str) for value in metadata.values())
    ):
        raise _Damage("its header's __metadata__ is not of strings")
    found = {name: _entry(name, fields, start) for name, fields in record.items()}
    ordered = sorted(found.items(), key=lambda item: (item[1].start, item[1].size))
    end = start
    for name, entry in ordered:
        if entry.start != end:
            raise _Damage(
                f"the tensor {name} begins at byte {entry.start:,} and the one before "
                f"ends at {end:,}"
            )
        end += entry.size
    if end != size:
        cut = next((name for name, entry in ordered if _end(entry) > size), None)
        first = f"; the first tensor that is not whole is {cut}" if cut else ""
        raise _Damage(f"its header describes {end:,} bytes and it has {size:,}{first}")
    return dict(ordered)


def _end(entry: Entry) -> int:
    return entry.start + entry.size


def _entry(name: str, fields: Any, start: int) -> Entry:
    try:
        dtype, shape = fields["dtype"], tuple(fields["shape"])
        begin, end = fields["data_offsets"]
    except (KeyError, TypeError, ValueError) as error:
        raise _Damage(f"the tensor {name} lacks a proper field ({error})") from error
    if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)):
        raise _Damage(f"the tensor {name} has a shape or offsets that are no counts")
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _Damage(f"the tensor {name} is of the unknown type {dtype!r}")
    bits = math.prod(shape) * BITS[dtype]
    if bits != 8 * (end - begin):
        raise _Damage(
            f"the tensor {name} has {end - begin:,} bytes, not those of {dtype} in the "
            f"shape {shape}"
        )
    return Entry(dtype, shape, start + begin, end - begin)
