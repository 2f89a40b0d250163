"""Rows of a JSONL, Parquet, Arrow or WET file; JSONL and WET also as .gz and .zst."""

import contextlib
import gzip
import io
import json
import pathlib
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from xinst_jax.data import storage, wet_files
from xinst_jax.data.raw_rows import PREVIEW_CHARS, Rejected, Row
from xinst_jax.errors import UserError

_BATCH_ROWS = 256
_PACKED = (".gz", ".zst")


def read(name: str) -> Iterator[Row | Rejected]:
    """The rows of a file, in its order; blank lines of JSONL are passed over.

    Never more of it is in memory than a line, a record or a batch of rows.

    Args:
      name: path or URL; its ending says what it is: '.parquet', '.arrow', '.wet' or
        '.warc', else JSONL.

    Raises:
      UserError: the file cannot be opened, ends before it should, or is damaged.
    """
    damaged: tuple[type[Exception], ...] = (
        OSError,
        EOFError,
        zlib.error,
        zstandard.ZstdError,
        pa.ArrowException,
    )
    if storage.is_remote(name):
        # Each storage has errors of its own, of no common kind.
        damaged = (Exception,)
    place = name
    try:
        for row in _rows(name):
            place = row.place
            yield row
    except UserError:
        raise
    except damaged as error:
        detail = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UserError(
            f"{name} cannot be read (after {place}): {detail}. Expected a whole JSONL, "
            "Parquet, Arrow or WET file; fetch or write it again."
        ) from error


def _rows(name: str) -> Iterator[Row | Rejected]:
    with storage.opened(name) as file:
        suffixes = pathlib.PurePath(name).suffixes
        packed = suffixes.pop() if suffixes and suffixes[-1] in _PACKED else ""
        kind = suffixes[-1] if suffixes else ""
        if kind == ".parquet" and not packed:
            yield from _parquet_rows(file, name)
        elif kind == ".arrow" and not packed:
            yield from _arrow_rows(file, name)
        else:
            with _unpacked(file, packed) as plain:
                is_wet = kind in (".wet", ".warc")
                yield from (wet_files.rows if is_wet else _json_rows)(plain, name)


def _json_rows(file: BinaryIO, name: str) -> Iterator[Row | Rejected]:
    for number, line in enumerate(file, 1):
        place = f"{name}:{number}"
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line.strip():
            continue
        yield _parse(line, place)


def _parse(line: bytes, place: str) -> Row | Rejected:
    preview = line.decode("utf-8", "replace").strip()[:PREVIEW_CHARS]
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        found = f"byte 0x{line[error.start]:02x} at {error.start}"
        return Rejected(place, "not_utf8", found, "UTF-8", preview)
    except (ValueError, RecursionError) as error:
        return Rejected(
            place, "not_json", str(error), "one JSON object a line", preview
        )
    if not isinstance(record, dict):
        found = type(record).__name__
        return Rejected(place, "not_an_object", found, "a JSON object", preview)
    return Row(record, place)


def _unpacked(
    file: BinaryIO, packed: str
) -> contextlib.AbstractContextManager[BinaryIO]:
    """The bytes of a file that is packed as its last ending says, or is not ('')."""
    if packed == ".gz":
        return cast(BinaryIO, gzip.GzipFile(fileobj=file))
    if packed == ".zst":
        return cast(BinaryIO, io.BufferedReader(_Zstandard(file), 1 << 20))
    return contextlib.nullcontext(file)


class _Zstandard(io.RawIOBase):
    """Bytes of a .zst file; raises EOFError where it was cut, which the library's own
    reader passes over in silence.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self._frame: Any = None
        self._pending, self._ready = b"", b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and self._fill():
            pass
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _fill(self) -> bool:
        """Decompresses some more; False at the end of the file."""
        compressed = self._pending or self._file.read(1 << 16)
        if not compressed:
            if self._frame is not None:
                raise EOFError("the last zstandard frame is cut")
            return False
        if self._frame is None:
            self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._ready = self._frame.decompress(compressed)
        self._pending = b""
        if self._frame.eof:
            self._pending, self._frame = self._frame.unused_data, None
        return True


def _parquet_rows(file: BinaryIO, name: str) -> Iterator[Row]:
    with pq.ParquetFile(file) as parquet:
        yield from _numbered(parquet.iter_batches(_BATCH_ROWS), name)


def _arrow_rows(file: BinaryIO, name: str) -> Iterator[Row]:
    with pa.ipc.open_stream(file) as batches:
        yield from _numbered(batches, name)


def _numbered(batches: Iterator[pa.RecordBatch], name: str) -> Iterator[Row]:
    number = 0
    for batch in batches:
        for start in range(0, batch.num_rows, _BATCH_ROWS):
            for fields in batch.slice(start, _BATCH_ROWS).to_pylist():
                number += 1
                yield Row(fields, f"{name}:{number}")
