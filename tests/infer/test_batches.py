"""Prompts go to the smallest bucket that holds them, and none is lost."""

import numpy as np
import pytest

from xinst_jax.errors import UserError
from xinst_jax.infer.batches import bucketed, check_tokens


def test_every_prompt_is_in_one_batch_of_its_bucket_unchanged():
    rng = np.random.default_rng(0)
    prompts = [rng.integers(1, 99, size).tolist() for size in rng.integers(1, 33, 50)]
    seen = []
    for batch in bucketed(prompts, (4, 16, 32), 3):
        bucket = batch.tokens_bt.shape[1]
        assert batch.tokens_bt.shape == (3, bucket)
        for place, row in enumerate(batch.rows):
            length = batch.lengths_b[place]
            assert batch.tokens_bt[place, :length].tolist() == prompts[row]
            assert bucket == min(size for size in (4, 16, 32) if length <= size)
        assert not batch.lengths_b[len(batch.rows) :].any()
        seen += batch.rows
    assert sorted(seen) == list(range(50))


@pytest.mark.parametrize("prompt", [[], [1] * 9])
def test_an_empty_or_too_long_prompt_is_refused_by_row(prompt):
    with pytest.raises(UserError, match=f"Prompt 1 has {len(prompt)} tokens"):
        list(bucketed([[1, 2], prompt], (4, 8), 2))


@pytest.mark.parametrize("token", [-1, 10])
def test_an_id_without_an_embedding_is_refused_by_row(token):
    check_tokens([[0, 9], []], 10)
    with pytest.raises(UserError, match=r"Row 1 .*tokenizer does not match"):
        check_tokens([[0, 9], [3, token]], 10)
