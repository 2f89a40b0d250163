"""Rows of the pipeline's Parquet directories as a seqio data source."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from xinst_jax import shards
from xinst_jax.data.quiet_tensorflow import seqio, tf

TRAIN, VALIDATION = "train", "validation"
_SHUFFLED_ROWS = 10_000
_SPLIT_OF = {"train": TRAIN, "held_out": VALIDATION}


@dataclasses.dataclass(frozen=True)
class Part:
    """Rows of one directory that belong to a source.

    A directory holds shards, or a directory of shards for each language. A column
    `split` sends its rows 'train' and 'held_out' to the splits 'train' and
    'validation'; where there is none, rows are for training unless `held_out_share`
    says otherwise.

    Attributes:
      directory: where the rows are.
      style: a word that every row of the part carries as its field `style`.
      min_score: lowest value of a column `score`; None keeps every row.
      weighted: whether rows are drawn by their column `weight`.
      held_out_share: share of documents, 0 to 1, by a digest of their id, that is held
        out; of two or more documents at least one. Texts cut from one document are on
        one side.
    """

    directory: pathlib.Path
    style: str = ""
    min_score: float | None = None
    weighted: bool = False
    held_out_share: float = 0.0


@dataclasses.dataclass(frozen=True)
class _Shard:
    """A shard's rows of one language and split, and how often each is drawn."""

    path: pathlib.Path
    style: str
    index_n: np.ndarray
    rate_n: np.ndarray


class RowSource(seqio.DataSource):
    """One language's rows of some directories.

    An example is a dictionary of scalars: each of `columns`, `style` and `row`,
    strings, and `rate`, float32: how often the row is drawn in a pass on average, 1 but
    for weighted parts, where a row of weight w among n rows has n * w / (sum of the
    weights). `row` is 'fi/doc-7#2', the language and the row's id.
    """

    def __init__(self, code: str, parts: Sequence[Part], columns: Sequence[str]):
        """Looks through the rows' ids, splits, scores and weights; reads no text.

        Args:
          code: the language.
          parts: the directories.
          columns: string columns of a row to give.
        """
        self.columns = tuple(columns)
        self._code = code
        self.weighted = any(part.weighted for part in parts)
        self._shards: dict[str, list[_Shard]] = {TRAIN: [], VALIDATION: []}
        for part in parts:
            for split, found in _scan(code, part).items():
                self._shards[split] += found
        sizes = {
            split: sum(len(shard.index_n) for shard in found)
            for split, found in self._shards.items()
        }
        sizes = {split: size for split, size in sizes.items() if size}
        super().__init__(
            splits=sizes, num_input_examples=sizes, performs_internal_shuffling=True
        )

    @property
    def supports_arbitrary_sharding(self) -> bool:
        """Whether a shard can be divided: it cannot."""
        return False

    def list_shards(self, split: str) -> list[str]:
        """Names of the split's shards, those without a row left out."""
        return [str(shard.path) for shard in self._shards[split]]

    def get_dataset(
        self,
        split: str = TRAIN,
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        **_: Any,
    ) -> tf.data.Dataset:
        """The rows in order, or shuffled anew in each repetition, each once in it."""
        found = self._shards[split]

        def read(number: np.int64) -> list[np.ndarray]:
            return self._read(found[number])

        names = [*self.columns, "row", "style", "rate"]
        types = [tf.string] * (len(names) - 1) + [tf.float32]

        def rows(number: tf.Tensor) -> tf.data.Dataset:
            # A stateful op would keep the iterator from being saved.
            values = tf.numpy_function(read, [number], types, stateful=False)
            for value in values:
                value.set_shape([None])
            return tf.data.Dataset.from_tensor_slices(
                dict(zip(names, values, strict=True))
            )

        numbers = tf.data.Dataset.range(len(found))
        if shard_info is not None:
            numbers = numbers.shard(shard_info.num_shards, shard_info.index)
        if not shuffle:
            return numbers.flat_map(rows)
        window = min(self.num_input_examples(split), _SHUFFLED_ROWS)
        return (
            numbers.shuffle(len(found), seed=seed)
            .flat_map(rows)
            .shuffle(window, seed=seed)
        )

    def _read(self, shard: _Shard) -> list[np.ndarray]:
        """Columns, rows' names and style, bytes, and rates, float32; each (rows,)."""
        table = pq.read_table(shard.path, columns=list({*self.columns, "id"}))
        table = table.take(pa.array(shard.index_n))
        values = [
            np.array([text.encode() for text in table[name].to_pylist()], object)
            for name in self.columns
        ]
        row_n = np.array(
            [f"{self._code}/{id}".encode() for id in table["id"].to_pylist()], object
        )
        style_n = np.array([shard.style.encode()] * len(table), object)
        return [*values, row_n, style_n, shard.rate_n]


def _scan(code: str, part: Part) -> dict[str, list[_Shard]]:
    """The part's shards by split, without those that have no row in it."""
    own = part.directory / code
    paths = shards.shard_paths(own if own.is_dir() else part.directory)
    tables = [_light_columns(path) for path in paths]
    held_out = _held_out_rule(tables, code, part.held_out_share)
    found: dict[str, list[tuple[pathlib.Path, np.ndarray, np.ndarray]]] = {
        TRAIN: [],
        VALIDATION: [],
    }
    for path, table in zip(paths, tables, strict=True):
        usable_n = _usable(table, code, part.min_score)
        split_n = _splits(table, held_out)
        weight_n = np.ones(len(table))
        if part.weighted and "weight" in table.column_names:
            weight_n = table["weight"].to_numpy().astype(np.float64)
        for split, chosen in found.items():
            index_n = np.flatnonzero(usable_n & (split_n == split))
            if len(index_n):
                chosen.append((path, index_n, weight_n[index_n]))
    return {
        split: [
            _Shard(path, part.style, index_n, _rates(weight_n, chosen))
            for path, index_n, weight_n in chosen
        ]
        for split, chosen in found.items()
    }


def _light_columns(path: pathlib.Path) -> pa.Table:
    names = set(pq.read_schema(path).names)
    light = [n for n in ("id", "lang", "split", "score", "weight") if n in names]
    return pq.read_table(path, columns=light)


def _usable(table: pa.Table, code: str, min_score: float | None) -> np.ndarray:
    usable_n = np.asarray(pc.equal(table["lang"], code))
    if min_score is not None:
        usable_n = usable_n & np.asarray(pc.greater_equal(table["score"], min_score))
    return usable_n


def _splits(table: pa.Table, held_out: Callable[[str], bool]) -> np.ndarray:
    if "split" in table.column_names:
        return np.array([_SPLIT_OF[name] for name in table["split"].to_pylist()])
    ids = table["id"].to_pylist()
    return np.array([VALIDATION if held_out(id) else TRAIN for id in ids])


def _held_out_rule(
    tables: Sequence[pa.Table], code: str, share: float
) -> Callable[[str], bool]:
    """Which ids are held out, where no column says so."""
    if not share:
        return lambda id: False
    documents = {
        _document(id)
        for table in tables
        for id, lang in zip(
            table["id"].to_pylist(), table["lang"].to_pylist(), strict=True
        )
        if lang == code
    }
    smallest = min(map(_place, documents), default=0.0)
    limit = max(share, smallest) if len(documents) > 1 else -1.0
    return lambda id: _place(_document(id)) <= limit


def _document(id: str) -> str:
    return id.partition("#")[0]


def _place(document: str) -> float:
    """Where the digest of a document's id lies in [0, 1)."""
    digest = hashlib.sha256(document.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _rates(
    weight_n: np.ndarray, chosen: Sequence[tuple[pathlib.Path, np.ndarray, np.ndarray]]
) -> np.ndarray:
    weights = [part_n for _, _, part_n in chosen]
    total = sum(part_n.sum() for part_n in weights)
    if not total > 0:
        return np.ones(len(weight_n), np.float32)
    return (weight_n * (sum(map(len, weights)) / total)).astype(np.float32)
