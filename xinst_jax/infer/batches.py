"""Rows that no batch can have are refused, by number, before anything runs."""

from collections.abc import Sequence

from xinst_jax.errors import UserError


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
