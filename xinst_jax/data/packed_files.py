"""Packed rows on disk: what a record is, and the files that hold them.

A directory of packed rows holds `rows-00000.arrayrecord` and so on, each of
`shard_rows` records but the last, `names-00000.arrayrecord` and so on beside them, and
`packed.json`, written last, which counts them. A record is one row: the bytes of a
`row_dtype(length)`. Padding is where the segment id is 0 and nowhere else: no token id
is taken for it. A record of names is a JSON list of the row's examples, 'fi/doc-7#2' by
language and id, so that a row's text is found again.
"""

import contextlib
import dataclasses
import errno
import itertools
import json
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
from array_record.python import array_record_module

from xinst_jax import shards
from xinst_jax.errors import UserError

SUMMARY = "packed.json"
# One record a group, so that a row is read alone; zstd's first level reads 20,000 rows
# of 2,048 tokens a second and takes 1.4 bytes a token.
_OPTIONS = "group_size:1,zstd:1"


@dataclasses.dataclass(frozen=True)
class Packed:
    """What a directory of packed rows holds.

    Attributes:
      length: tokens of a row, padding included.
      rows: packed rows.
      shard_rows: rows of each file but the last.
      examples: examples in them.
      tokens: tokens in them, padding not counted.
      response_tokens: targets with a loss weight.
      row_targets: most targets with a loss weight in a row.
      fill: tokens / (rows * length).
      cut: examples whose response did not fit and was cut at its end.
      refused: pairs left out, by reason.
      languages: rows of each language, in their order, where rows were not to mix
        languages; else empty.
    """

    length: int
    rows: int
    shard_rows: int
    examples: int
    tokens: int
    response_tokens: int
    row_targets: int
    fill: float
    cut: int
    refused: dict[str, int]
    languages: dict[str, int] = dataclasses.field(default_factory=dict)


def row_dtype(length: int) -> np.dtype:
    """The layout of a record: four little-endian arrays of `length`."""
    fields: list[tuple[str, str, tuple[int]]] = [
        ("tokens", "<i4", (length,)),
        ("targets", "<i4", (length,)),
        ("segment_ids", "<i4", (length,)),
        ("loss_weights", "<f4", (length,)),
    ]
    return np.dtype(fields)


def shard_path(directory: pathlib.Path, index: int) -> pathlib.Path:
    """The file of shard `index` (from 0)."""
    return directory / f"rows-{index:05d}.arrayrecord"


def names_path(directory: pathlib.Path, index: int) -> pathlib.Path:
    """The file with the names of the examples in each row of shard `index`."""
    return directory / f"names-{index:05d}.arrayrecord"


def read_summary(directory: pathlib.Path) -> Packed:
    """What a directory of packed rows holds.

    Raises:
      UserError: the directory was not packed to its end.
    """
    path = directory / SUMMARY
    try:
        return Packed(**json.loads(path.read_bytes()))
    except FileNotFoundError as error:
        raise UserError(
            f"{directory} holds no finished packed rows: {path} is missing. Run the "
            "stage that packs them again."
        ) from error
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{path} is not a summary of packed rows ({error}). Remove {directory} and "
            "run the stage that packs it again."
        ) from error


def write_summary(directory: pathlib.Path, packed: Packed) -> None:
    """Writes `packed.json`, by which a directory is known to be whole."""
    content = json.dumps(dataclasses.asdict(packed), indent=1) + "\n"
    shards.write_bytes(directory / SUMMARY, content.encode())


def clear(directory: pathlib.Path) -> None:
    """Removes the packed rows of a directory, if there are any."""
    (directory / SUMMARY).unlink(missing_ok=True)
    for stale in directory.glob("*-*.arrayrecord"):
        stale.unlink()


def write_shard(
    directory: pathlib.Path, index: int, rows: Iterator[tuple[bytes, bytes]]
) -> int:
    """Writes a shard's two files; none of them if there are no rows.

    Args:
      directory: where they go.
      index: of the shard, from 0.
      rows: each row's record, and the record of its examples' names.

    Returns:
      How many rows were written.
    """
    first = next(rows, None)
    if first is None:
        return 0
    written = 0
    with (
        _writer(shard_path(directory, index)) as write_row,
        _writer(names_path(directory, index)) as write_names,
    ):
        for row, names in itertools.chain([first], rows):
            write_row(row)
            write_names(names)
            written += 1
    return written


@contextlib.contextmanager
def _writer(path: pathlib.Path) -> Iterator[Callable[[bytes], None]]:
    """Writes records to a file that is there once it is whole."""
    with shards.atomic_path(path) as temporary:
        writer = array_record_module.ArrayRecordWriter(str(temporary), _OPTIONS)

        def write(record: bytes) -> None:
            with _disk_errors(path):
                writer.write(record)

        yield write
        with _disk_errors(path):
            writer.close()


@contextlib.contextmanager
def _disk_errors(path: pathlib.Path) -> Iterator[None]:
    """Turns the writer's RuntimeErrors into the OSErrors that they are."""
    try:
        yield
    except RuntimeError as error:
        full = "No space left" in str(error) or "quota" in str(error)
        raise OSError(
            errno.ENOSPC if full else errno.EIO, str(error), str(path)
        ) from error
