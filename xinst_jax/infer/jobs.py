"""Long jobs over rows, shard by shard: a shard that is there is not made again.

Several processes make every shard together, on the devices of all, and process 0 says
which are missing and writes them; or each, or those that hold a model together, takes a
share of the shards, told by arithmetic alone, and writes it.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import pyarrow as pa
import pyarrow.parquet as pq

from xinst_jax import config, distributed, manifest, shards
from xinst_jax.errors import UserError
from xinst_jax.infer.job_progress import Progress

_DIGEST = b"xinst_jax.job"
"""Under this name a shard carries the digest of its job's key."""


@dataclasses.dataclass(frozen=True)
class Share:
    """The shards that a process takes: every `count`-th, from `index` on.

    `Share(1, 3)` of 8 shards are 1, 4 and 7; those of 0, 1 and 2 together are all, and
    no two have one in common.

    Attributes:
      index: which share, from 0.
      count: of how many.
      writes: whether this process writes them: where several have one model together
        and so make the same shards, one of them does.
    """

    index: int = 0
    count: int = 1
    writes: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise UserError(
                f"Share {self.index} of {self.count}: expected a number from 0 to "
                f"{self.count - 1}."
            )

    def of(self, indices: Iterable[int]) -> list[int]:
        """Those of the indices that are in the share."""
        return [index for index in indices if index % self.count == self.index]


@dataclasses.dataclass(frozen=True)
class Part:
    """What is made of a shard's rows.

    Attributes:
      rows: the shard.
      rejected: rows that failed, with their reasons; None in a job that rejects none.
      tokens: computed for it, for the progress.
    """

    rows: pa.Table
    rejected: pa.Table | None = None
    tokens: int = 0


def run_shards(
    directory: pathlib.Path,
    count: int,
    compute: Callable[[int], Part | pa.Table],
    label: str,
    *,
    key: Mapping[str, Any] | None = None,
    rejected: pathlib.Path | None = None,
    share: Share | None = None,
) -> int:
    """Writes the shards of a directory that are not there yet, in order.

    A shard that exists is whole, since it was written under a temporary name, flushed
    to the disk and renamed when complete: a job that was stopped loses at most the
    shard that each process was working on. `progress.json` beside the shards says how
    far the job is (see `Progress`).

    Args:
      directory: where the shards go; made if missing.
      count: shards of the whole job.
      compute: gives shard `index`; a function of the index alone, called by all
        processes of a run, or by the one whose share it is in.
      label: what the progress is called.
      key: all that the shards depend on, by name and ready for JSON, such as settings
        and the digests of model and input. Each shard carries the digest of them all,
        and is made again where that differs; `job.json` says what they are. None trusts
        every shard that is there.
      rejected: where rows that failed go, in a shard for each shard: one is there when
        both are.
      share: the shards that this process takes; None where the processes of a run make
        each shard together.

    Returns:
      How many shards were computed.
    """

    every, digest = range(count), ""
    if key is not None:
        digest = distributed.from_primary(label, lambda: config.digest(dict(key)))
    # Of processes that know nothing of each other each is its own primary.
    notes = share is None or share.index == 0 or jax.process_count() > 1
    if notes and distributed.is_primary():
        _remove_other_progress(directory, share)
        if key is not None:
            _note(directory, count, key, digest)
            _remove_other_cuts((directory, rejected), count)
    missing = distributed.from_primary(
        label,
        lambda: [
            index
            for index in every
            if not all(
                _made(place / shards.shard_name(index, count), digest)
                for place in (directory, rejected)
                if place is not None
            )
        ],
    )
    own = share.of(every) if share else every
    todo = sorted(set(missing) & set(own))
    if share.writes if share else distributed.is_primary():
        progress_path = directory / _progress_name(share)
        with Progress(label, progress_path, len(own), len(own) - len(todo)) as progress:
            for index in todo:
                made = compute(index)
                part = made if isinstance(made, Part) else Part(made)
                name = shards.shard_name(index, count)
                if rejected is not None:
                    assert part.rejected is not None
                    failed = _signed(part.rejected, digest)
                    shards.write_table(rejected / name, failed)
                shards.write_table(directory / name, _signed(part.rows, digest))
                progress.advance(part.rows.num_rows, part.tokens)
    else:
        for index in todo:
            compute(index)
    if share:
        distributed.barrier(label)
    return len(todo)


def _progress_name(share: Share | None) -> str:
    if share is None or share.count == 1:
        return shards.PROGRESS
    return f"{share.index:05d}-of-{share.count:05d}.{shards.PROGRESS}"


def _remove_other_progress(directory: pathlib.Path, share: Share | None) -> None:
    """Removes how far the job was when it had another number of shares."""
    own = {_progress_name(share)}
    if share:
        own = {_progress_name(Share(n, share.count)) for n in range(share.count)}
    for path in directory.glob(f"*{shards.PROGRESS}"):
        if path.name not in own:
            path.unlink()


def _note(
    directory: pathlib.Path, count: int, key: Mapping[str, Any], digest: str
) -> None:
    note = {"digest": digest, "shards": count, "key": dict(key)}
    content = f"{json.dumps(note, indent=1, sort_keys=True)}\n".encode()
    path = directory / manifest.JOB
    if not path.exists() or path.read_bytes() != content:
        shards.write_bytes(path, content)


def _remove_other_cuts(directories: Iterable[pathlib.Path | None], count: int) -> None:
    """Removes shards of a job that had another number of them."""
    for directory in directories:
        for shard in directory.glob("part-*.parquet") if directory else ():
            if not shard.name.endswith(f"-of-{count:05d}.parquet"):
                shard.unlink()


def _made(path: pathlib.Path, digest: str) -> bool:
    """Whether a shard is there, and made from what it would be made from now."""
    if not path.exists() or not digest:
        return path.exists()
    return (pq.read_schema(path).metadata or {}).get(_DIGEST) == digest.encode()


def _signed(table: pa.Table, digest: str) -> pa.Table:
    if not digest:
        return table
    metadata = dict(table.schema.metadata or {}) | {_DIGEST: digest.encode()}
    return table.replace_schema_metadata(metadata)
