"""What is left to draw from is what transformers leaves."""

import jax
import numpy as np
import pytest
import torch
from transformers.generation import logits_process

from xinst_jax.config import MeshConfig
from xinst_jax.infer.repeats import without_repeats
from xinst_jax.infer.sample import sample
from xinst_jax.mesh import ShardingRules, make_mesh

RULES = ShardingRules()


@pytest.mark.parametrize(
    ("top_k", "top_p", "min_p"),
    [(5, 1.0, 0.0), (7, 0.8, 0.0), (0, 1.0, 0.1), (9, 0.95, 0.2), (50, 0.9, 0.0)],
)
def test_draws_follow_the_distribution_that_transformers_leaves(top_k, top_p, min_p):
    logits_v = np.random.default_rng(2).normal(size=23).astype(np.float32)
    left_1v = torch.tensor(logits_v)[None] / 0.8
    if top_k:
        left_1v = logits_process.TopKLogitsWarper(top_k)(None, left_1v)
    if top_p < 1:
        left_1v = logits_process.TopPLogitsWarper(top_p)(None, left_1v)
    if min_p:
        left_1v = logits_process.MinPLogitsWarper(min_p)(None, left_1v)
    expected_v = torch.softmax(left_1v, -1)[0].numpy()
    assert 1 < (expected_v > 0).sum() < 23
    uniforms_b = ((np.arange(5000) + 0.5) / 5000).astype(np.float32)
    logits_bv = np.tile(logits_v, (5000, 1))
    tokens_b = sample(logits_bv, uniforms_b, 0.8, top_p, top_k, min_p)
    shares_v = np.bincount(tokens_b, minlength=23) / 5000
    np.testing.assert_allclose(shares_v, expected_v, atol=2 / 5000)


def test_of_equally_likely_tokens_top_k_keeps_the_lower_ids():
    uniforms_b = np.linspace(0, 0.999, 40, dtype=np.float32)
    tokens_b = sample(np.zeros((40, 6), np.float32), uniforms_b, 1.0, 1.0, 2)
    assert set(tokens_b.tolist()) == {0, 1}


@pytest.mark.parametrize("size", [2, 3, 6])
def test_the_tokens_ruled_out_are_those_of_transformers(size):
    rng = np.random.default_rng(3)
    rows, columns, vocab = 16, 40, 2
    history_bs = rng.integers(0, vocab, (rows, columns)).astype(np.int32)
    length_b = rng.integers(1, columns + 1, rows).astype(np.int32)
    length_b[0] = size - 1
    logits_bv = rng.normal(size=(rows, 8)).astype(np.float32)
    processor = logits_process.NoRepeatNGramLogitsProcessor(size)
    expected_bv = [
        processor(
            torch.tensor(history_bs[row : row + 1, : length_b[row]]),
            torch.tensor(logits_bv[row : row + 1]),
        )[0].numpy()
        for row in range(rows)
    ]
    assert np.isinf(expected_bv).any()
    mesh = make_mesh(MeshConfig())
    with jax.set_mesh(mesh):
        placed = [
            jax.device_put(a, RULES.spec("batch", *(None,) * (a.ndim - 1)))
            for a in (logits_bv, history_bs, length_b)
        ]
        found_bv = jax.jit(without_repeats, static_argnums=(3, 4))(*placed, size, RULES)
    np.testing.assert_array_equal(found_bv, expected_bv)
