"""Many examples to a row: packed once, offline."""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from xinst_jax.data import best_fit, packed_files, permutation
from xinst_jax.data import examples as examples_lib
from xinst_jax.data.examples import Pair
from xinst_jax.errors import UserError


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
) -> packed_files.Packed:
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
    packed_files.clear(directory)
    tally = _Tally()
    made = _examples(pairs, bos, eos, length, tally)
    rows = _packed_rows(_windows(made, window, by_language), length, tally)
    count = 0
    for index in itertools.count():
        written = packed_files.write_shard(
            directory, index, itertools.islice(rows, shard_rows)
        )
        count += written
        if not written:
            break
    if not count:
        raise UserError(
            f"No example for {directory}: of {sum(tally.refused.values())} pairs every "
            f"one was refused ({tally.refused or 'there were none'}). Rows have "
            f"{length} tokens; raise TrainConfig.length if prompts are too long."
        )
    packed = packed_files.Packed(
        length=length,
        rows=count,
        shard_rows=shard_rows,
        fill=round(tally.tokens / (count * length), 6),
        **dataclasses.asdict(tally),
    )
    packed_files.write_summary(directory, packed)
    return packed


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
        rows_e = best_fit.assign(
            np.array([one.example.tokens_t.size for one in held]), length
        )
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
    row: Any = np.zeros((), packed_files.row_dtype(length))
    start = 0
    for segment, one in enumerate(examples, 1):
        end = start + one.tokens_t.size
        row["tokens"][start:end] = one.tokens_t
        row["targets"][start:end] = one.targets_t
        row["segment_ids"][start:end] = segment
        row["loss_weights"][start:end] = one.loss_weights_t
        start = end
    return row
