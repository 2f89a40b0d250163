"""Rows that the model cannot read are refused before anything runs."""

import pytest

from xinst_jax.errors import UserError
from xinst_jax.infer.batches import check_lengths, check_tokens


@pytest.mark.parametrize("prompt", [[], [1] * 9])
def test_an_empty_or_too_long_prompt_is_refused_by_row(prompt):
    check_lengths([[1], [1] * 8], 8)
    with pytest.raises(UserError, match=f"Prompt 1 has {len(prompt)} tokens"):
        check_lengths([[1, 2], prompt], 8)


@pytest.mark.parametrize("token", [-1, 10])
def test_an_id_without_an_embedding_is_refused_by_row(token):
    check_tokens([[0, 9], []], 10)
    with pytest.raises(UserError, match=r"Row 1 .*tokenizer does not match"):
        check_tokens([[0, 9], [3, token]], 10)
