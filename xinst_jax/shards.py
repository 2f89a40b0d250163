"""Rows on disk: Parquet shards that are either whole or absent.

Every file the pipeline writes goes to a temporary name, is flushed to the disk and then
renamed, so a name that exists is a file that is complete.
"""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import re
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xinst_jax.errors import UserError

PROGRESS = "progress.json"
"""How far a job is or was, under this name or one that ends in it: it depends on when
and how fast it ran, and so is no part of what a stage makes."""

_SHARD = re.compile(r"part-(\d{5,})-of-(\d{5,})\.parquet")


def shard_name(index: int, count: int) -> str:
    """The file name of shard `index`, from 0: part-00003-of-00016.parquet."""
    if not 0 <= index < count:
        raise ValueError(f"shard {index} of {count}")
    return f"part-{index:05d}-of-{count:05d}.parquet"


@contextlib.contextmanager
def told_when_full(path: pathlib.Path) -> Iterator[None]:
    """Says plainly that the disk is full, where the block finds no room for `path`.

    Raises:
      UserError: the disk, or the quota, is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"No space left on the disk while writing {path}. Everything finished "
                "before is intact: free some space and run the same command again."
            ) from error
        raise


@contextlib.contextmanager
def atomic_path(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary name beside `path`; renames it there once the block ends well.

    Raises:
      UserError: the disk is full; what was complete before stays as it was.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with told_when_full(path):
            _make_directory(path.parent)
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
            directory_to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def directory_to_disk(directory: pathlib.Path) -> None:
    """Waits until the names in a directory are on the disk, after any power loss too.

    A file system that cannot be asked, such as a mounted bucket, is not waited for.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
    finally:
        os.close(descriptor)


def _make_directory(directory: pathlib.Path) -> None:
    """Makes a directory and those around it, their names on the disk too."""
    if directory.exists():
        return
    _make_directory(directory.parent)
    directory.mkdir(exist_ok=True)
    directory_to_disk(directory.parent)


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Writes a whole file, or none of it."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_table(path: pathlib.Path, table: pa.Table) -> None:
    """Writes one Parquet file (zstd), or none of it; equal tables give equal bytes."""
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def write_shards(
    directory: pathlib.Path,
    rows: Sequence[dict[str, Any]],
    schema: pa.Schema,
    shard_rows: int,
) -> None:
    """Writes `rows` in order as shards of `shard_rows`; no rows give one empty shard.

    Args:
      directory: where the shards go; made if missing.
      rows: dictionaries with the schema's fields; a missing one is null.
      schema: fields and types of every shard.
      shard_rows: rows of a shard; the last may have fewer.
    """
    count = max(1, -(-len(rows) // shard_rows))
    for index in range(count):
        part = rows[index * shard_rows : (index + 1) * shard_rows]
        table = pa.Table.from_pylist(list(part), schema=schema)
        write_table(directory / shard_name(index, count), table)


class ShardWriter:
    """Writes rows as they come, in the shards that `write_shards` would make of them.

    How many there are is known only at the end, so until `close` the shards lie under
    hidden names, which a later writer of the same directory removes.
    """

    def __init__(self, directory: pathlib.Path, schema: pa.Schema, shard_rows: int):
        """Starts with an empty directory: what lies there is removed.

        Args:
          directory: where the shards go; made if missing.
          schema: fields and types of every shard.
          shard_rows: rows of a shard; the last may have fewer.
        """
        self._directory, self._schema = directory, schema
        self._shard_rows = shard_rows
        self._rows: list[dict[str, Any]] = []
        self._waiting: list[pathlib.Path] = []
        if directory.exists():
            shutil.rmtree(directory)

    def add(self, row: dict[str, Any]) -> None:
        """Adds a row with the schema's fields; a missing one is null."""
        self._rows.append(row)
        if len(self._rows) == self._shard_rows:
            self._flush()

    def close(self) -> None:
        """Writes what is left and gives the shards their names."""
        if self._rows or not self._waiting:
            self._flush()
        for index, path in enumerate(self._waiting):
            path.replace(self._directory / shard_name(index, len(self._waiting)))
        directory_to_disk(self._directory)

    def _flush(self) -> None:
        path = self._directory / f".waiting-{len(self._waiting):05d}"
        write_table(path, pa.Table.from_pylist(self._rows, schema=self._schema))
        self._waiting.append(path)
        self._rows = []


def shard_paths(directory: pathlib.Path) -> list[pathlib.Path]:
    """The shards of a finished directory, in order.

    Raises:
      UserError: the directory is missing, has no shards, or lacks some of them.
    """
    named = ((_SHARD.fullmatch(p.name), p) for p in directory.glob("part-*.parquet"))
    # By number, for names of five digits and of more do not sort as theirs do.
    numbered = sorted((int(match[1]), int(match[2]), p) for match, p in named if match)
    if not numbered:
        raise UserError(f"No Parquet shards in {directory}.")
    found = [path for _, _, path in numbered]
    count = numbered[0][1]
    expected = [directory / shard_name(index, count) for index in range(count)]
    if found != expected:
        missing = sorted({p.name for p in expected} - {p.name for p in found})
        raise UserError(f"{directory} is incomplete: it lacks {', '.join(missing)}.")
    return found


def complete(directory: pathlib.Path) -> bool:
    """Whether a directory has shards, and all of them."""
    try:
        return bool(shard_paths(directory))
    except UserError:
        return False


def read_table(
    directory: pathlib.Path, columns: Sequence[str] | None = None
) -> pa.Table:
    """All shards of a directory as one table, in order."""
    return pa.concat_tables(
        pq.read_table(path, columns=list(columns) if columns else None)
        for path in shard_paths(directory)
    )


def read_rows(
    directory: pathlib.Path, columns: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """All rows of a directory's shards as dictionaries, in order."""
    return read_table(directory, columns).to_pylist()


def file_digest(path: pathlib.Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def each_file(directory: pathlib.Path) -> list[pathlib.Path]:
    """Every finished file under a directory but a job's progress, sorted by path."""
    return sorted(
        path
        for path in directory.rglob("*")
        if path.is_file()
        and not path.name.startswith(".")
        and not path.name.endswith(PROGRESS)
    )


def json_lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """The records of a JSONL file, none if it is missing; a line cut short is ignored.

    Only a process killed while it wrote the last line leaves such a one.
    """
    records = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records
