"""Prompts of many lengths as batches of few shapes."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from xinst_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Batch:
    """Prompts of like length, padded on the right to one shape.

    Attributes:
      rows: number of each prompt in the input; fewer than B in one not full.
      tokens_bt: int32 token ids, T a bucket.
      lengths_b: int32 tokens of each prompt; 0 in the rows that only fill the batch.
    """

    rows: tuple[int, ...]
    tokens_bt: np.ndarray
    lengths_b: np.ndarray


def bucketed(
    prompts: Sequence[Sequence[int]], buckets: Sequence[int], batch_rows: int
) -> Iterator[Batch]:
    """Puts each prompt into the smallest bucket that holds it, batch by batch.

    Example: prompts of 3, 9 and 2 tokens, buckets (4, 16) and 2 rows give a batch of
    shape (2, 4) with rows (0, 2), then one of shape (2, 16) with rows (1,).

    Args:
      prompts: token ids of each prompt.
      buckets: ascending lengths, in tokens.
      batch_rows: rows B of every batch.

    Raises:
      UserError: a prompt is empty or longer than the last bucket.
    """
    check_lengths(prompts, buckets[-1])
    groups: dict[int, list[int]] = {bucket: [] for bucket in buckets}
    for row, prompt in enumerate(prompts):
        groups[next(size for size in buckets if len(prompt) <= size)].append(row)
    for bucket, members in groups.items():
        for start in range(0, len(members), batch_rows):
            rows = tuple(members[start : start + batch_rows])
            tokens_bt = np.zeros((batch_rows, bucket), np.int32)
            lengths_b = np.zeros(batch_rows, np.int32)
            for place, row in enumerate(rows):
                lengths_b[place] = len(prompts[row])
                tokens_bt[place, : lengths_b[place]] = prompts[row]
            yield Batch(rows, tokens_bt, lengths_b)


def check_lengths(prompts: Sequence[Sequence[int]], longest: int) -> None:
    """Raises UserError if a prompt is empty or has more than `longest` tokens."""
    for row, prompt in enumerate(prompts):
        if not 0 < len(prompt) <= longest:
            raise UserError(
                f"Prompt {row} has {len(prompt)} tokens; expected 1 to {longest}. Cut "
                "the prompt, or add a longer bucket."
            )


def check_tokens(rows: Sequence[Sequence[int]], size: int) -> None:
    """Refuses token ids that the model has no embedding for.

    Raises:
      UserError: an id is not in [0, size): the tokenizer is not the model's.
    """
    for number, row in enumerate(rows):
        if row and not (min(row) >= 0 and max(row) < size):
            raise UserError(
                f"Row {number} has a token id outside 0 to {size - 1} (found "
                f"{min(row)} to {max(row)}): the tokenizer does not match the model."
            )
