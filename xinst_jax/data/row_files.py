"""Rows of a JSONL (.gz, .zst) or Parquet file."""

import gzip
import io
import json
import pathlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from xinst_jax.data.raw_rows import PREVIEW_CHARS, Rejected, Row
from xinst_jax.errors import UserError

_PARQUET_ROWS = 256


def read(path: pathlib.Path) -> Iterator[Row | Rejected]:
    """The rows of a file, in its order; blank lines are passed over.

    Raises:
      UserError: the file cannot be opened, ends before it should, or is damaged.
    """
    damaged = (OSError, EOFError, zlib.error, zstandard.ZstdError, pa.ArrowException)
    place = str(path)
    try:
        rows = _parquet_rows if path.suffix == ".parquet" else _json_rows
        for row in rows(path):
            place = row.place
            yield row
    except damaged as error:
        detail = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UserError(
            f"{path} cannot be read (after {place}): {detail}. Expected a whole JSONL, "
            "JSONL.gz, JSONL.zst or Parquet file; fetch or write it again."
        ) from error


def _json_rows(path: pathlib.Path) -> Iterator[Row | Rejected]:
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            place = f"{path}:{number}"
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


def _open(path: pathlib.Path) -> BinaryIO:
    openers: dict[str, Callable[[pathlib.Path], Any]] = {
        ".gz": gzip.open,
        ".zst": _open_zstandard,
    }
    opener = openers.get(path.suffix, lambda p: p.open("rb"))
    return opener(path)


def _open_zstandard(path: pathlib.Path) -> BinaryIO:
    return io.BufferedReader(_Zstandard(path), 1 << 20)


class _Zstandard(io.RawIOBase):
    """Bytes of a .zst file; raises EOFError where it was cut, which the library's own
    reader passes over in silence.
    """

    def __init__(self, path: pathlib.Path):
        self._file = path.open("rb")
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

    def close(self) -> None:
        self._file.close()
        super().close()

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


def _parquet_rows(path: pathlib.Path) -> Iterator[Row]:
    number = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_PARQUET_ROWS):
            for fields in batch.to_pylist():
                number += 1
                yield Row(fields, f"{path}:{number}")
