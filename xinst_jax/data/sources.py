"""Raw rows from JSONL, Parquet or TFDS, each with the place that it stands at."""

import dataclasses
import gzip
import hashlib
import io
import json
import pathlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from glob import glob
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from xinst_jax import shards
from xinst_jax.errors import UserError

TFDS_PREFIX = "tfds:"
_PARQUET_ROWS = 256
_PREVIEW_CHARS = 200
_PROBED_ROWS = 100


@dataclasses.dataclass(frozen=True)
class Row:
    """One raw row.

    Attributes:
      fields: its fields by name.
      place: 'FILE:LINE' for JSONL, 'FILE:ROW' for Parquet, 'tfds:NAME:ROW' for TFDS;
        lines and rows count from 1.
    """

    fields: dict[str, Any]
    place: str


@dataclasses.dataclass(frozen=True)
class Rejected:
    """A row that cannot be used, and why.

    Attributes:
      place: as `Row.place`.
      reason: one word, countable: 'not_json'.
      value: what was found.
      threshold: what was expected.
      text: the row's text, or the start of it.
    """

    place: str
    reason: str
    value: str
    threshold: str
    text: str


def patterns(path: str, code: str) -> list[str]:
    """The patterns of a configured path for one language.

    >>> patterns("web/{lang}/*.jsonl, tfds:wiki/{lang}", "fi")
    ['web/fi/*.jsonl', 'tfds:wiki/fi']
    """
    parts = (part.strip() for part in path.split(","))
    return [part.replace("{lang}", code) for part in parts if part]


def files(path: str, code: str) -> list[pathlib.Path]:
    """The files that a configured path matches for one language, sorted, each once."""
    found = {
        pathlib.Path(name)
        for pattern in patterns(path, code)
        if not pattern.startswith(TFDS_PREFIX)
        # pathlib's own glob refuses absolute patterns.
        for name in glob(pattern, recursive=True)  # noqa: PTH207
        if pathlib.Path(name).is_file()
    }
    return sorted(found)


def exists(path: str, code: str) -> bool:
    """Whether the path names a TFDS dataset or matches a file for the language."""
    named = any(p.startswith(TFDS_PREFIX) for p in patterns(path, code))
    return named or bool(files(path, code))


def digests(path: str, code: str) -> dict[str, str]:
    """What the rows depend on: the SHA-256 of each file, a TFDS builder's version.

    Raises:
      UserError: a file cannot be read, or a TFDS dataset is unknown or not prepared.
    """
    found = {}
    for file in files(path, code):
        try:
            found[str(file)] = shards.file_digest(file)
        except OSError as error:
            raise UserError(f"{file} cannot be read: {error.strerror}.") from error
    for name in _tfds_names(path, code):
        info = _tfds_builder(name).info
        record = {"name": info.full_name, "splits": _split_sizes(info)}
        content = json.dumps(record, sort_keys=True).encode()
        found[TFDS_PREFIX + name] = hashlib.sha256(content).hexdigest()
    return found


def preflight(path: str, code: str, fields: Sequence[Sequence[str]]) -> None:
    """Checks, by reading the first rows of each file, that there is something to read.

    Args:
      path: as configured, e.g. `CorpusConfig.path`.
      code: the language code that stands for '{lang}'.
      fields: alternative sets of fields; a row must have all fields of one of them.

    Raises:
      UserError: no file matches; a file or dataset cannot be opened, is empty, or none
        of its first rows has the fields.
    """
    found, names = files(path, code), _tfds_names(path, code)
    if not found and not names:
        tried = ", ".join(patterns(path, code)) or repr(path)
        raise UserError(
            f"No file for language {code!r}: nothing matches {tried}. Give the path of "
            "files that exist ('{lang}' stands for the language code), or leave the "
            "language out of RunConfig.languages."
        )
    seen = False
    for name in [*map(str, found), *(TFDS_PREFIX + name for name in names)]:
        if name.startswith(TFDS_PREFIX):
            rows = _tfds_rows(name.removeprefix(TFDS_PREFIX))
        else:
            rows = _file_rows(pathlib.Path(name))
        seen |= _probe(name, rows, fields)
    if not seen:
        raise UserError(
            f"The corpus of language {code!r} is empty: {', '.join(map(str, found))} "
            "hold no row. Give files with at least one."
        )


def read(path: str, code: str) -> Iterator[Row | Rejected]:
    """The rows of all that a configured path names: files in order, then TFDS.

    A row that cannot be read is yielded as `Rejected` with reason 'not_json',
    'not_an_object' or 'not_utf8'; blank lines are passed over.

    Raises:
      UserError: a file ends before it should or is damaged as a whole.
    """
    for file in files(path, code):
        yield from _file_rows(file)
    for name in _tfds_names(path, code):
        yield from _tfds_rows(name)


def text_field(row: Row, name: str) -> str | Rejected:
    """A row's field as text, or why it cannot be: missing, or no string.

    >>> text_field(Row({"text": 7}, "fi.jsonl:3"), "text").reason
    'not_a_string'
    """
    found = row.fields.get(name)
    if isinstance(found, str):
        return found
    if found is None:
        names = ", ".join(sorted(map(str, row.fields)))
        reason, value = "missing_field", f"fields: {names}"
    else:
        reason, value = "not_a_string", f"{name}: {type(found).__name__}"
    preview = json.dumps(row.fields, ensure_ascii=False, default=str, sort_keys=True)
    return Rejected(
        row.place, reason, value, f"a string in {name!r}", preview[:_PREVIEW_CHARS]
    )


def label(row: Row, name: str, default: str = "") -> str:
    """A row's short field, such as its id or licence, as text; numbers are spelled."""
    found = row.fields.get(name)
    return default if found is None or isinstance(found, (dict, list)) else str(found)


class BadRows:
    """Stops a stage that reads too many rows it cannot use.

    One bad row is never too many, unless the share is 0.
    """

    def __init__(self, path: str, max_share: float, field: str):
        """Starts counting.

        Args:
          path: the configured path, for the message.
          max_share: share of rows, 0 to 1, above which `check` raises.
          field: the configuration's field that sets the share, for the message.
        """
        self._path, self._max_share, self._field = path, max_share, field
        self._rows = self._bad = 0
        self._first: Rejected | None = None

    def add(self, bad: Rejected | None) -> None:
        """Counts a row, bad or (None) good; raises early when most rows are bad."""
        self._rows += 1
        if bad is not None:
            self._bad += 1
            self._first = self._first or bad
            if self._bad > _PROBED_ROWS and self._bad > self._rows / 2:
                self.check()

    def check(self) -> None:
        """Raises if too many rows were bad.

        Raises:
          UserError: more than the share; the message names the first bad row.
        """
        allowed = max(1, self._max_share * self._rows) if self._max_share else 0
        first = self._first
        if first is None or self._bad <= allowed:
            return
        raise UserError(
            f"{self._bad} of the first {self._rows} rows of {self._path} cannot "
            f"be used, more than {self._field} = {self._max_share} allows. The first "
            f"is {first.place}: {first.reason} (found {first.value}; expected "
            f"{first.threshold}). Repair the file, name the right field, or raise "
            f"{self._field}."
        )


def _probe(
    name: str, rows: Iterator[Row | Rejected], fields: Sequence[Sequence[str]]
) -> bool:
    """Whether there is a row; raises if none of the first ones has the fields."""
    found: set[str] = set()
    bad: Rejected | None = None
    for number, row in enumerate(rows):
        if number >= _PROBED_ROWS:
            break
        if isinstance(row, Rejected):
            bad = bad or row
        elif any(all(field in row.fields for field in names) for names in fields):
            return True
        else:
            found |= set(map(str, row.fields))
    if not found and bad is None:
        return False
    wanted = " or ".join(" and ".join(map(repr, names)) for names in fields)
    where = f"fields {', '.join(sorted(found))}" if found else "no readable row"
    hint = f" {bad.place}: {bad.reason} ({bad.value})." if bad else ""
    raise UserError(
        f"{name}: found {where}, expected rows with {wanted}.{hint} Set the field "
        "names in the gin file to those of your rows."
    )


def _file_rows(path: pathlib.Path) -> Iterator[Row | Rejected]:
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
    preview = line.decode("utf-8", "replace").strip()[:_PREVIEW_CHARS]
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


def _tfds_names(path: str, code: str) -> list[str]:
    return [
        pattern.removeprefix(TFDS_PREFIX)
        for pattern in patterns(path, code)
        if pattern.startswith(TFDS_PREFIX)
    ]


def _tfds_builder(name: str) -> Any:
    """The prepared TFDS builder of a name.

    Raises:
      UserError: no such dataset, or it has not been prepared.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, try_gcs=False)
    except (
        tfds.core.registered.DatasetNotFoundError,
        ValueError,
        AssertionError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"Unknown TFDS dataset {name!r}: {reason}. Expected "
            "'tfds:NAME[/CONFIG][:VERSION]' of a dataset that tensorflow_datasets "
            "knows, or that lies under TFDS_DATA_DIR."
        ) from error
    if not builder.is_prepared():
        raise UserError(
            f"The TFDS dataset {name!r} is not prepared in {builder.data_dir}. Prepare "
            f"it first: tensorflow_datasets.builder({name!r}).download_and_prepare()."
        )
    return builder


def _split_sizes(info: Any) -> dict[str, int]:
    return {name: split.num_examples for name, split in sorted(info.splits.items())}


def _tfds_rows(name: str) -> Iterator[Row | Rejected]:
    """The rows of the 'train' split, or of every split where there is none of it."""
    import tensorflow_datasets as tfds

    builder = _tfds_builder(name)
    splits = sorted(builder.info.splits)
    number = 0
    for split in ["train"] if "train" in splits else splits:
        if builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD:
            records = iter(builder.as_data_source(split))
        else:
            config = tfds.ReadConfig(interleave_cycle_length=1)
            dataset = builder.as_dataset(split, read_config=config)
            records = dataset.as_numpy_iterator()
        for record in records:
            number += 1
            yield _decoded(record, f"{TFDS_PREFIX}{name}:{number}")


def _decoded(record: dict[str, Any], place: str) -> Row | Rejected:
    """A TFDS example with its bytes as text and its scalars as Python numbers."""
    fields: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, bytes):
            try:
                fields[name] = value.decode("utf-8")
            except UnicodeDecodeError as error:
                found = f"{name}: byte 0x{value[error.start]:02x} at {error.start}"
                preview = value.decode("utf-8", "replace")[:_PREVIEW_CHARS]
                return Rejected(place, "not_utf8", found, "UTF-8", preview)
        else:
            fields[name] = value.item() if getattr(value, "ndim", None) == 0 else value
    return Row(fields, place)
