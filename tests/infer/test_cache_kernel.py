"""The kernel for GPUs, interpreted, gives what the other devices compute."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xinst_jax.infer import cache_kernel
from xinst_jax.infer.cache import Store, kept
from xinst_jax.infer.cache_attention import attend_blocks

L, C, B, K, S, H = 2, 2, 5, 2, 128, 16


def store(dtype, width=H, block=S):
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(2, L, C, B, K, block, width)).astype(np.float32)
    (k, k_scale), (v, v_scale) = (kept(jnp.asarray(a), jnp.dtype(dtype)) for a in drawn)
    return Store(k, v, *((k_scale, v_scale) if dtype == "int8" else (None, None)))


@pytest.mark.parametrize(
    ("dtype", "queries", "window", "soft_cap", "last"),
    [
        ("float32", 4, 0, 0.0, [5, 0, 127, 128, 255]),
        ("float32", 1, 0, 2.0, [5, 0, 127, 128, 200]),
        # Rings: positions beyond the columns overwrote the first.
        ("float32", 4, 100, 0.0, [5, 400, 255, 256, 1001]),
        ("int8", 4, 0, 0.0, [5, 0, 127, 128, 255]),
    ],
    ids=["grouped", "soft cap", "ring", "int8"],
)
def test_the_kernel_equals_attention_block_by_block(
    dtype, queries, window, soft_cap, last
):
    kept_kv, number = store(dtype), jnp.int32(1)
    q_bkgh = jax.random.normal(jax.random.key(0), (B, K, queries, H))
    how = kept_kv, number, q_bkgh, jnp.array(last, jnp.int32), window, soft_cap
    found = cache_kernel.attend(*how, interpret=True)
    expected = attend_blocks(*how)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_row_that_sees_nothing_is_a_number_and_disturbs_no_other():
    kept_kv = store("float32")
    q_bkgh = jax.random.normal(jax.random.key(0), (B, K, 4, H))
    attend = functools.partial(cache_kernel.attend, kept_kv, jnp.int32(0), q_bkgh)
    rows = [
        attend(jnp.array(last, jnp.int32), 0, 0.0, interpret=True)
        for last in ([7, -1, 130, -1, 200], [7, 255, 130, 3, 200])
    ]
    assert np.isfinite(rows[0]).all()
    np.testing.assert_array_equal(rows[0][jnp.array([0, 2, 4])], rows[1][::2])


@pytest.mark.parametrize(("width", "block", "can"), [(64, 256, True), (96, 256, False)])
def test_what_triton_has_no_shape_for_is_left_to_xla(width, block, can):
    assert cache_kernel.can_compute(store("float32", width, block)) == can
