"""Attention sees what its mask allows, and shares key/value heads between queries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xinst_jax.config import MeshConfig
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models.attention.dense import dense_attention
from xinst_jax.models.attention.masks import segment_mask


@pytest.fixture(scope="module", autouse=True)
def _one_device():
    with jax.set_mesh(make_mesh(MeshConfig(fsdp=1), jax.devices()[:1])):
        yield


def test_dense_attention_equals_a_loop_over_rows_heads_and_queries():
    rng = np.random.default_rng(2)
    q_bnth = rng.normal(size=(2, 8, 5, 4)).astype(np.float32)
    k_bksh, v_bksh = rng.normal(size=(2, 2, 2, 7, 4)).astype(np.float32)
    mask_bts = rng.random((2, 5, 7)) < 0.5
    mask_bts[..., 0] = True
    found = jax.jit(dense_attention, static_argnums=4)(
        q_bnth, k_bksh, v_bksh, mask_bts, ShardingRules()
    )
    for b, n, t in np.ndindex(2, 8, 5):
        scores = np.array([q_bnth[b, n, t] @ k / 2 for k in k_bksh[b, n // 4]])
        weights = np.exp(scores) * mask_bts[b, t]
        expected = weights @ v_bksh[b, n // 4] / weights.sum()
        np.testing.assert_allclose(found[b, n, t], expected, atol=1e-5)


def test_a_query_that_sees_nothing_stays_finite_and_so_do_its_gradients():
    rng = np.random.default_rng(3)
    q_bnth, k_bksh, v_bksh = rng.normal(size=(3, 1, 2, 3, 4)).astype(np.float32)
    mask_bts = np.zeros((1, 3, 3), bool)

    def total(q, k, v):
        return dense_attention(q, k, v, mask_bts, ShardingRules()).sum()

    made, grads = jax.value_and_grad(total, argnums=(0, 1, 2))(
        *map(jnp.asarray, (q_bnth, k_bksh, v_bksh))
    )
    assert all(np.isfinite(leaf).all() for leaf in (made, *grads))


def test_packed_segments_see_their_own_past_only():
    segments_bt = np.array([[1, 1, 2, 2, 0]])
    expected_ts = [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0],
    ]
    found_bts = segment_mask(segments_bt, segments_bt)
    np.testing.assert_array_equal(found_bts[0], np.array(expected_ts, bool))
