"""Sampling is exact in its set, its frequencies and its independence of the batch."""

import hashlib

import jax
import numpy as np
import pytest

from xinst_jax.infer.sample import greedy, nucleus, row_hash, row_uniforms, sample


def _nucleus_by_sorting(probs_v, top_p):
    order = np.argsort(-probs_v, kind="stable")
    count = 1
    while count < len(order) and probs_v[order[:count]].sum() < top_p:
        count += 1
    return set(order[:count].tolist())


@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.9, 0.99])
def test_the_nucleus_is_the_smallest_set_that_reaches_top_p(top_p):
    logits_bv = np.random.default_rng(0).normal(size=(40, 97)) * 2
    probs_bv = np.exp(logits_bv) / np.exp(logits_bv).sum(-1, keepdims=True)
    found_bv = nucleus(probs_bv.astype(np.float32), top_p)
    for probs_v, found_v in zip(probs_bv, found_bv, strict=True):
        expected = _nucleus_by_sorting(probs_v, top_p)
        assert set(np.flatnonzero(found_v).tolist()) == expected


def test_of_equally_likely_tokens_the_lower_ids_are_in_the_nucleus():
    probs_bv = np.array([[0.25, 0.25, 0.25, 0.25], [0.125, 0.5, 0.25, 0.125]])
    found_bv = np.asarray(nucleus(probs_bv.astype(np.float32), 0.5))
    assert found_bv.tolist() == [
        [True, True, False, False],
        [False, True, False, False],
    ]
    found_bv = np.asarray(nucleus(probs_bv.astype(np.float32), 0.8))
    assert found_bv.tolist() == [[True, True, True, True], [True, True, True, False]]


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 0.9), (2.0, 0.5)])
def test_tokens_are_drawn_in_proportion_to_their_tempered_probability(
    temperature, top_p
):
    logits_v = np.random.default_rng(1).normal(size=23) * 2
    logits_v[[3, 11]] = -np.inf
    probs_v = np.exp(logits_v / temperature)
    probs_v /= probs_v.sum()
    chosen = _nucleus_by_sorting(probs_v, top_p)
    kept_v = np.array([p if v in chosen else 0 for v, p in enumerate(probs_v)])
    uniforms_b = ((np.arange(5000) + 0.5) / 5000).astype(np.float32)
    logits_bv = np.tile(logits_v.astype(np.float32), (5000, 1))
    tokens_b = sample(logits_bv, uniforms_b, temperature, top_p)
    shares_v = np.bincount(tokens_b, minlength=23) / 5000
    np.testing.assert_allclose(shares_v, kept_v / kept_v.sum(), atol=2 / 5000)


def test_the_ends_of_the_unit_interval_draw_possible_tokens():
    logits_bv = np.full((2, 9), -np.inf, np.float32)
    logits_bv[:, [2, 6]] = 0
    ends_b = np.array([0, np.nextafter(np.float32(1), 0)], np.float32)
    assert set(sample(logits_bv, ends_b, 1.0, 0.9).tolist()) == {2, 6}


def test_greedy_takes_the_first_of_the_likeliest():
    logits_bv = np.array([[0, 3, 1, 3], [-np.inf, -np.inf, -5, -6]], np.float32)
    assert greedy(logits_bv).tolist() == [1, 2]


def test_a_row_draws_the_same_numbers_in_any_company():
    hashes_b = np.array([row_hash(name) for name in "abcdef"], np.uint32)
    draw = jax.jit(row_uniforms)
    step_b = np.full(6, 5, np.int32)
    alone_b = draw(np.uint32(3), hashes_b, step_b)
    turned_b = draw(np.uint32(3), hashes_b[::-1], step_b)
    np.testing.assert_array_equal(alone_b, turned_b[::-1])
    others = (
        draw(np.uint32(4), hashes_b, step_b),
        draw(np.uint32(3), hashes_b, step_b + 1),
    )
    drawn = np.concatenate([alone_b, *others])
    assert len(set(drawn.tolist())) == 18
    assert ((drawn >= 0) & (drawn < 1)).all()


def test_a_row_hash_is_the_head_of_its_sha256():
    head = bytes.fromhex(hashlib.sha256("สวัสดี".encode()).hexdigest()[:8])
    assert row_hash("สวัสดี") == int.from_bytes(head, "little")
