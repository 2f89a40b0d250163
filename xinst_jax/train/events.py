"""TensorBoard's event files, written without TensorFlow.

An event file is a TFRecord file of `Event` messages. The few fields that a scalar needs
are encoded here, because every package that writes them imports TensorFlow, or torch
where that is installed. The messages are tensorflow/core/util/event.proto and
tensorflow/core/framework/summary.proto.
"""

import pathlib
import struct
import time
from collections.abc import Mapping

_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5
_SESSION_START = 1


class EventFile:
    """One event file, open for writing."""

    def __init__(self, directory: pathlib.Path, first_step: int):
        """Begins a file in `directory`.

        Args:
          directory: what TensorBoard is pointed at.
          first_step: TensorBoard drops what older files say of this step and later
            ones, which a resumed run writes again.
        """
        directory.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns()}.xinst_jax"
        self._file = (directory / name).open("wb", buffering=0)
        self._write(0, _field(3, _BYTES, b"brain.Event:2"))
        start = _field(1, _VARINT, _SESSION_START)
        self._write(first_step, _field(7, _BYTES, start))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes named numbers of a step."""
        summary = b"".join(
            _field(
                1, _BYTES, _field(1, _BYTES, tag.encode()) + _field(2, _FLOAT, value)
            )
            for tag, value in values.items()
        )
        self._write(step, _field(5, _BYTES, summary))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _write(self, step: int, content: bytes) -> None:
        event = _field(1, _DOUBLE, time.time()) + _field(2, _VARINT, step) + content
        length = struct.pack("<Q", len(event))
        parts = (part + _checksum(part) for part in (length, event))
        self._file.write(b"".join(parts))


def _field(number: int, kind: int, value: float | bytes) -> bytes:
    """One field of a protocol buffer message."""
    key = _varint(number << 3 | kind)
    if isinstance(value, bytes):
        return key + _varint(len(value)) + value
    if kind == _VARINT:
        return key + _varint(int(value))
    return key + struct.pack("<d" if kind == _DOUBLE else "<f", value)


def _varint(value: int) -> bytes:
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def _checksum(data: bytes) -> bytes:
    """A TFRecord's masked checksum (tensorflow/core/lib/hash/crc32c.h)."""
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def crc32c(data: bytes) -> int:
    """The Castagnoli checksum (RFC 3720, appendix B.4): of b'123456789' 0xE3069283."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _table() -> list[int]:
    table = []
    for entry in range(256):
        for _ in range(8):
            entry = entry >> 1 ^ (0x82F63B78 if entry & 1 else 0)
        table.append(entry)
    return table


_TABLE = _table()
