"""Packed rows as batches: which rows a step sees is arithmetic on its number.

The row at place p of training, p counting from 0 over all steps, is the p-th of a
permutation keyed by (seed, epoch): every row once an epoch, the same batches on any
number of hosts, and nothing to save for a resume.
"""

import functools
import json
import pathlib
from collections.abc import Callable, Iterator

import jax
import numpy as np
from array_record.python import array_record_module

from xinst_jax.data import packed_files, permutation
from xinst_jax.errors import UserError
from xinst_jax.mesh import ShardingRules

_NO_ROW = -1
_OPTIONS = "readahead_buffer_size:0"


class Rows:
    """The packed rows of a directory, read by number.

    Attributes:
      summary: what the directory holds.
    """

    def __init__(self, directory: pathlib.Path):
        """Opens a directory that `packing.pack` has written.

        Raises:
          UserError: it is not finished, or a file of it is missing or damaged.
        """
        self.summary = packed_files.read_summary(directory)
        self._dtype = packed_files.row_dtype(self.summary.length)
        shards = -(-self.summary.rows // self.summary.shard_rows)
        self._paths = [packed_files.shard_path(directory, i) for i in range(shards)]
        self._readers = [self._open(index) for index in range(shards)]

    def __len__(self) -> int:
        return self.summary.rows

    def row_numbers(self, step: int, global_batch: int, seed: int) -> np.ndarray:
        """The rows of a step's global batch, (B,) int64; steps count from 0."""
        places_b = step * global_batch + np.arange(global_batch)
        epochs_b, places_b = np.divmod(places_b, len(self))
        rows_b = np.empty(global_batch, np.int64)
        for epoch in np.unique(epochs_b).tolist():
            chosen = epochs_b == epoch
            rows_b[chosen] = permutation.permute(
                places_b[chosen], len(self), seed, epoch
            )
        return rows_b

    def batch(
        self,
        step: int,
        global_batch: int,
        mesh: jax.sharding.Mesh,
        rules: ShardingRules,
        seed: int,
    ) -> dict[str, jax.Array]:
        """A training step's batch, divided over the mesh; a host reads its own rows.

        Returns:
          tokens, targets, segment_ids, positions (B, T) int32; loss_weights (B, T)
          float32.
        """
        rows_b = self.row_numbers(step, global_batch, seed)
        return _on_mesh(self.read, rows_b, self.summary.length, mesh, rules)

    def in_order(
        self,
        batch_rows: int,
        mesh: jax.sharding.Mesh,
        rules: ShardingRules,
        limit: int,
    ) -> Iterator[tuple[dict[str, jax.Array], jax.Array]]:
        """The first rows as batches, for evaluation, with the language of each row.

        Of rows packed by language, the first of each, as many of one as of another if
        there are, `limit` in all, but one of each at least. The last batch is filled up
        with rows of padding, which have no loss weight.

        Yields:
          The batch, and int32 (B,): each row's language, as a place in
          `summary.languages`; 0 where rows mix languages.
        """
        rows_n, language_n = self._first_of_each(limit)
        batch_axes = rules.divide(mesh.shape, (batch_rows,), ("batch",))
        sharding = jax.sharding.NamedSharding(mesh, batch_axes)
        for start in range(0, len(rows_n), batch_rows):
            filled = np.s_[start : start + batch_rows]
            rows_b = np.full(batch_rows, _NO_ROW)
            language_b = np.zeros(batch_rows, np.int32)
            rows_b[: len(rows_n[filled])] = rows_n[filled]
            language_b[: len(rows_n[filled])] = language_n[filled]
            batch = _on_mesh(self.read, rows_b, self.summary.length, mesh, rules)
            yield (
                batch,
                jax.make_array_from_callback(
                    language_b.shape, sharding, language_b.__getitem__
                ),
            )

    def _first_of_each(self, limit: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the rows to evaluate, and the language of each; both (N,)."""
        there_g = np.array([*self.summary.languages.values()] or [len(self)])
        taken_g = _evenly(there_g, limit)
        begins_g = np.cumsum(there_g) - there_g
        rows_n = np.concatenate(
            [begin + np.arange(n) for begin, n in zip(begins_g, taken_g, strict=True)]
        )
        return rows_n, np.repeat(np.arange(len(there_g), dtype=np.int32), taken_g)

    def read(self, rows_b: np.ndarray) -> dict[str, np.ndarray]:
        """The rows of these numbers as (B, T) arrays; number -1 is a row of padding.

        Raises:
          UserError: a file is damaged.
        """
        records_b = np.zeros(rows_b.size, self._dtype)
        shards_b, offsets_b = np.divmod(rows_b, self.summary.shard_rows)
        for shard in np.unique(shards_b[rows_b != _NO_ROW]).tolist():
            chosen = (shards_b == shard) & (rows_b != _NO_ROW)
            content = self._read_shard(shard, offsets_b[chosen].tolist())
            records_b[chosen] = np.frombuffer(content, self._dtype)
        fields = {name: records_b[name] for name in self._dtype.names or ()}
        return fields | {"positions": positions(fields["segment_ids"])}

    def names(self, row: int) -> list[str]:
        """The examples in a row, segment by segment: 'fi/doc-7#2', language and id.

        Raises:
          UserError: the file with the names is missing or damaged.
        """
        shard, offset = divmod(row, self.summary.shard_rows)
        path = packed_files.names_path(self._paths[shard].parent, shard)
        try:
            reader = array_record_module.ArrayRecordReader(str(path), _OPTIONS)
            return json.loads(reader.read([offset])[0])
        except (RuntimeError, ValueError, IndexError) as error:
            raise self._damaged(shard, f"{path.name}: {error}") from error

    def _read_shard(self, shard: int, offsets: list[int]) -> bytes:
        try:
            return b"".join(self._readers[shard].read(offsets))
        except RuntimeError as error:
            raise self._damaged(shard, str(error)) from error

    def _open(self, shard: int) -> array_record_module.ArrayRecordReader:
        expected = min(
            self.summary.shard_rows,
            self.summary.rows - shard * self.summary.shard_rows,
        )
        if not self._paths[shard].exists():
            raise self._damaged(shard, "the file is missing")
        reader = array_record_module.ArrayRecordReader(
            str(self._paths[shard]), _OPTIONS
        )
        if (found := reader.num_records()) != expected:
            raise self._damaged(shard, f"{found} rows found, {expected} expected")
        return reader

    def _damaged(self, shard: int, what: str) -> UserError:
        path = self._paths[shard]
        return UserError(
            f"{path}: {what}. Remove {path.parent} and run the stage that packs it."
        )


def _evenly(there_g: np.ndarray, limit: int) -> np.ndarray:
    """How many to take of each of some groups: equally many where there are.

    Of 9, 2 and 5, if 10 are wanted: 4, 2 and 4.

    Args:
      there_g: how many each has, one at least.
      limit: how many are taken in all; but one of each at least.
    """
    most = np.arange(1, int(there_g.max()) + 1)
    totals = np.minimum(there_g, most[:, None]).sum(axis=1)
    share = most[max(int(np.searchsorted(totals, limit, side="right")) - 1, 0)]
    taken_g = np.minimum(there_g, share)
    for group in np.flatnonzero(there_g > taken_g)[: max(limit - taken_g.sum(), 0)]:
        taken_g[group] += 1
    return taken_g


def positions(segment_ids_bt: np.ndarray) -> np.ndarray:
    """Each token's position in its own example, (B, T) int32.

    Segment ids `[1 1 1 2 2 0]` give `[0 1 2 0 1 0]`.
    """
    place_t = np.arange(segment_ids_bt.shape[1], dtype=np.int32)
    begins_bt = np.ones(segment_ids_bt.shape, bool)
    begins_bt[:, 1:] = segment_ids_bt[:, 1:] != segment_ids_bt[:, :-1]
    starts_bt = np.maximum.accumulate(np.where(begins_bt, place_t, 0), axis=1)
    return np.where(segment_ids_bt > 0, place_t - starts_bt, 0).astype(np.int32)


def _on_mesh(
    read: Callable[[np.ndarray], dict[str, np.ndarray]],
    rows_b: np.ndarray,
    length: int,
    mesh: jax.sharding.Mesh,
    rules: ShardingRules,
) -> dict[str, jax.Array]:
    """These rows as global arrays, of which this process reads its part."""
    shape = (rows_b.size, length)
    spec = rules.divide(mesh.shape, shape, ("batch", "length"))
    sharding = jax.sharding.NamedSharding(mesh, spec)

    @functools.cache
    def block(first: int, end: int) -> dict[str, np.ndarray]:
        return read(rows_b[first:end])

    def part(name: str, index: tuple[slice, ...]) -> np.ndarray:
        first, end, _ = index[0].indices(rows_b.size)
        return block(first, end)[name][:, index[1]]

    names = (*(packed_files.row_dtype(length).names or ()), "positions")
    return {
        name: jax.make_array_from_callback(
            shape, sharding, functools.partial(part, name)
        )
        for name in names
    }
