"""Many examples to a row: packed once, offline, into ArrayRecord files.

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
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from array_record.python import array_record_module

from xinst_jax import shards
from xinst_jax.data import examples as examples_lib
from xinst_jax.data import permutation
from xinst_jax.data.examples import Pair
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


def assign(lengths_e: np.ndarray, length: int) -> np.ndarray:
    """The row that each example goes to: best fit, longest first.

    Rows with the same room are kept as one group, so the work grows with the number of
    different lengths, not of examples (the idea of Krell et al., *Efficient Sequence
    Packing without Cross-contamination*, arXiv 2107.02027, algorithm 1, with best fit
    in place of their shortest-pack-first).

    `assign(np.array([3, 5, 2, 6]), 8)` is `[1, 1, 0, 0]`: 6 + 2 and 5 + 3.

    Args:
      lengths_e: tokens of each example, from 1 to `length`.
      length: tokens of a row.

    Returns:
      int64 row numbers from 0, one an example.

    Raises:
      ValueError: an example that is empty or longer than a row.
    """
    if lengths_e.size and not 1 <= lengths_e.min() <= lengths_e.max() <= length:
        raise ValueError(f"examples must have 1 to {length} tokens")
    counts = np.bincount(lengths_e, minlength=length + 1)
    open_rows = _OpenRows(length)
    for size in np.flatnonzero(counts)[::-1].tolist():
        todo = int(counts[size])
        while todo:
            todo -= open_rows.place(size, todo)
    return _rows_of(lengths_e, open_rows.groups())


@dataclasses.dataclass(frozen=True)
class _Group:
    """Rows filled alike: how many, and as (size, times) what is in each."""

    rows: int
    content: tuple[tuple[int, int], ...]


class _OpenRows:
    """The rows begun so far, as groups by the room left in them."""

    def __init__(self, length: int):
        self._length = length
        self._by_room: list[list[_Group]] = [[] for _ in range(length + 1)]
        self._occupied = np.zeros(length + 1, bool)

    def groups(self) -> list[_Group]:
        return [group for groups in self._by_room for group in groups]

    def place(self, size: int, todo: int) -> int:
        """Puts examples of one size into the fullest rows with room; says how many."""
        room, group = self._take(size, todo)
        each = room // size
        full = min(group.rows, todo // each)
        rest = todo - full * each if full < group.rows else 0
        self._add(room % size, full, group, (size, each))
        if rest:
            self._add(room - rest * size, 1, group, (size, rest))
        untouched = group.rows - full - (rest > 0)
        if group.content and untouched:
            self._add(room, untouched, group)
        return full * each + rest

    def _take(self, size: int, todo: int) -> tuple[int, _Group]:
        room = size + int(self._occupied[size:].argmax())
        if not self._occupied[room]:
            return self._length, _Group(todo, ())
        group = self._by_room[room].pop()
        self._occupied[room] = bool(self._by_room[room])
        return room, group

    def _add(self, room: int, rows: int, group: _Group, *more: tuple[int, int]) -> None:
        if rows:
            self._by_room[room].append(_Group(rows, (*group.content, *more)))
            self._occupied[room] = True


def _rows_of(lengths_e: np.ndarray, groups: Sequence[_Group]) -> np.ndarray:
    """Hands the examples of each length out to the groups that hold such a length."""
    by_length = np.argsort(lengths_e, kind="stable")
    taken = np.searchsorted(
        lengths_e[by_length], np.arange(lengths_e.max(initial=0) + 2)
    )
    rows_e = np.empty(lengths_e.size, np.int64)
    first = 0
    for group in groups:
        for size, times in group.content:
            chosen = by_length[taken[size] : taken[size] + group.rows * times]
            rows_e[chosen] = first + np.repeat(np.arange(group.rows), times)
            taken[size] += chosen.size
        first += group.rows
    return rows_e


def pack(
    pairs: Iterable[Pair | tuple[Sequence[int], Sequence[int]]],
    directory: pathlib.Path,
    *,
    length: int,
    bos: int | None,
    eos: int,
    shard_rows: int = 8192,
    window: int = 131072,
    by_language: bool = False,
) -> Packed:
    """Packs pairs of (prompt ids, response ids) into rows on disk.

    Equal pairs in equal order give equal bytes. The rows of each window are shuffled,
    so that the first rows of a directory are a fair sample of that window.

    Args:
      pairs: token ids without special tokens; as `Pair`s, with ids and languages.
      directory: where the files go; packed rows already there are replaced.
      length: tokens of a row.
      bos: id that begins an example; None for a tokenizer that has none.
      eos: id that ends a response.
      shard_rows: rows of a file.
      window: examples that are packed against each other, and held in memory.
      by_language: no row mixes languages; pairs must come language by language, and so
        do the rows.

    Raises:
      UserError: no pair leaves an example, or the disk is full.
      ValueError: `by_language`, and a language comes again after another.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / SUMMARY).unlink(missing_ok=True)
    for stale in directory.glob("*-*.arrayrecord"):
        stale.unlink()
    tally = _Tally()
    made = _examples(pairs, bos, eos, length, tally)
    rows = _packed_rows(_windows(made, window, by_language), length, tally)
    count = 0
    for index in itertools.count():
        written = _write_shard(directory, index, itertools.islice(rows, shard_rows))
        count += written
        if not written:
            break
    if not count:
        raise UserError(
            f"No example for {directory}: of {sum(tally.refused.values())} pairs every "
            f"one was refused ({tally.refused or 'there were none'}). Rows have "
            f"{length} tokens; raise TrainConfig.length if prompts are too long."
        )
    packed = Packed(
        length=length,
        rows=count,
        shard_rows=shard_rows,
        fill=round(tally.tokens / (count * length), 6),
        **dataclasses.asdict(tally),
    )
    content = json.dumps(dataclasses.asdict(packed), indent=1) + "\n"
    shards.write_bytes(directory / SUMMARY, content.encode())
    return packed


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


@dataclasses.dataclass
class _Tally:
    examples: int = 0
    tokens: int = 0
    response_tokens: int = 0
    row_targets: int = 0
    cut: int = 0
    refused: dict[str, int] = dataclasses.field(default_factory=dict)
    languages: dict[str, int] = dataclasses.field(default_factory=dict)


class _Held(NamedTuple):
    """An example that waits for its row."""

    example: examples_lib.Example
    name: str
    lang: str


def _examples(
    pairs: Iterable[Pair | tuple[Sequence[int], Sequence[int]]],
    bos: int | None,
    eos: int,
    length: int,
    tally: _Tally,
) -> Iterator[_Held]:
    for pair in pairs:
        prompt_ids, response_ids, id, lang = Pair(*pair)
        try:
            made = examples_lib.example(prompt_ids, response_ids, bos, eos, length)
        except examples_lib.RefusedExample as refusal:
            reason = str(refusal)
            tally.refused[reason] = tally.refused.get(reason, 0) + 1
            continue
        tally.examples += 1
        tally.tokens += made.tokens_t.size
        tally.response_tokens += int(np.count_nonzero(made.loss_weights_t))
        tally.cut += made.cut > 0
        yield _Held(made, f"{lang}/{id}" if lang else id, lang)


def _windows(
    made: Iterator[_Held], window: int, by_language: bool
) -> Iterator[tuple[str, list[_Held]]]:
    """A language, empty where they mix, and the examples of a window."""
    seen = set()
    for lang, group in itertools.groupby(
        made, lambda one: one.lang if by_language else ""
    ):
        if lang in seen:
            raise ValueError(f"pairs of {lang} come again after another language's")
        seen.add(lang)
        while held := list(itertools.islice(group, window)):
            yield lang, held


def _packed_rows(
    windows: Iterator[tuple[str, list[_Held]]], length: int, tally: _Tally
) -> Iterator[tuple[bytes, bytes]]:
    """Each row's record, and the record of its names."""
    for number, (lang, held) in enumerate(windows):
        rows_e = assign(np.array([one.example.tokens_t.size for one in held]), length)
        count = int(rows_e.max()) + 1
        if lang:
            tally.languages[lang] = tally.languages.get(lang, 0) + count
        rows_e = permutation.permute(rows_e, count, number)
        order = np.argsort(rows_e, kind="stable")
        starts = np.searchsorted(rows_e[order], np.arange(count + 1))
        for start, end in itertools.pairwise(starts.tolist()):
            here = [held[i] for i in order[start:end].tolist()]
            row = lay_out([one.example for one in here], length)
            targets = int(np.count_nonzero(row["loss_weights"]))
            tally.row_targets = max(tally.row_targets, targets)
            names = json.dumps([one.name for one in here], ensure_ascii=False)
            yield row.tobytes(), names.encode()


def lay_out(examples: Sequence[examples_lib.Example], length: int) -> np.ndarray:
    """One row with the examples side by side, as a `row_dtype(length)` scalar array.

    Two examples of 3 and 2 tokens in a row of 6 (loss weights and targets likewise):

        tokens       1 11 21 1 31 0
        segment_ids  1  1  1 2  2 0
    """
    row: Any = np.zeros((), row_dtype(length))
    start = 0
    for segment, one in enumerate(examples, 1):
        end = start + one.tokens_t.size
        row["tokens"][start:end] = one.tokens_t
        row["targets"][start:end] = one.targets_t
        row["segment_ids"][start:end] = segment
        row["loss_weights"][start:end] = one.loss_weights_t
        start = end
    return row


def _write_shard(
    directory: pathlib.Path, index: int, rows: Iterator[tuple[bytes, bytes]]
) -> int:
    """Writes a shard's two files; none of them if there are no rows."""
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
