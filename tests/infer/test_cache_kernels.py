"""The kernels of each kind of device give what XLA's program computes elsewhere."""

import functools
import hashlib
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numba.core import caching

from xinst_jax import numba_calls
from xinst_jax.infer import cache_mosaic, cache_numba, cache_triton
from xinst_jax.infer.cache import Store, kept
from xinst_jax.infer.cache_attention import added, attend_blocks

L, C, B, K, S, H = 2, 2, 5, 2, 128, 16
KERNELS = {
    "numba": cache_numba.attend,
    "triton, interpreted": functools.partial(cache_triton.attend, interpret=True),
    "mosaic, interpreted": functools.partial(cache_mosaic.attend, interpret=True),
}


def store(dtype, width=H, block=S):
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(2, L, C, B, K, block, width)).astype(np.float32)
    (k, k_scale), (v, v_scale) = (kept(jnp.asarray(a), jnp.dtype(dtype)) for a in drawn)
    return Store(k, v, *((k_scale, v_scale) if dtype == "int8" else (None, None)))


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
@pytest.mark.parametrize(
    ("dtype", "queries", "window", "soft_cap", "last"),
    [
        ("float32", 4, 0, 0.0, [5, 0, 127, 128, 255]),
        ("float32", 1, 0, 2.0, [5, 0, 127, 128, 200]),
        # Rings: positions beyond the columns overwrote the first.
        ("float32", 4, 100, 0.0, [5, 400, 255, 256, 1001]),
        ("bfloat16", 4, 0, 0.0, [5, 0, 127, 128, 255]),
        ("int8", 4, 0, 0.0, [5, 0, 127, 128, 255]),
    ],
    ids=["grouped", "soft cap", "ring", "bfloat16", "int8"],
)
def test_a_kernel_equals_attention_block_by_block(
    kernel, dtype, queries, window, soft_cap, last
):
    kept_kv, number = store(dtype), jnp.int32(1)
    q_bkgh = jax.random.normal(jax.random.key(0), (B, K, queries, H))
    how = kept_kv, number, q_bkgh, jnp.array(last, jnp.int32), window, soft_cap
    found = kernel(*how)
    expected = attend_blocks(*how)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_a_row_that_sees_nothing_is_a_number_and_disturbs_no_other(kernel):
    kept_kv = store("float32")
    q_bkgh = jax.random.normal(jax.random.key(0), (B, K, 4, H))
    attend = functools.partial(kernel, kept_kv, jnp.int32(0), q_bkgh)
    rows = [
        attend(jnp.array(last, jnp.int32), 0, 0.0)
        for last in ([7, -1, 130, -1, 200], [7, 255, 130, 3, 200])
    ]
    assert np.isfinite(rows[0]).all()
    np.testing.assert_array_equal(rows[0][jnp.array([0, 2, 4])], rows[1][::2])


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_what_is_no_number_is_none_afterwards_and_in_no_other_row(kernel):
    kept_kv = store("float32")
    kept_kv = kept_kv._replace(k_lcbksh=kept_kv.k_lcbksh.at[0, 0, 1, :, 3].set(np.nan))
    q_bkgh = jax.random.normal(jax.random.key(0), (B, K, 4, H))
    last_b = jnp.array([5, 9, 127, 2, 255], jnp.int32)
    found = kernel(kept_kv, jnp.int32(0), q_bkgh, last_b, 0, 0.0)
    assert np.isnan(found).all(axis=(1, 2, 3)).tolist() == [0, 1, 0, 0, 0]
    assert np.isfinite(found[jnp.array([0, 2, 3, 4])]).all()


@pytest.mark.parametrize(
    ("kernel", "width", "block", "can"),
    [
        (cache_triton, 64, 256, True),
        (cache_triton, 96, 256, False),
        (cache_mosaic, 128, 256, True),
        (cache_mosaic, 128, 96, False),
    ],
)
def test_what_a_kernel_has_no_shape_for_is_left_to_xla(kernel, width, block, can):
    assert kernel.can_compute(store("float32", width, block)) == can


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_mosaics_kernel_adds_tokens_where_their_positions_fall(dtype):
    kept_kv = store(dtype)
    rng = np.random.default_rng(1)
    (k, k_scale), (v, v_scale) = (
        kept(jnp.asarray(a, jnp.float32), jnp.dtype(dtype))
        for a in rng.normal(size=(2, B, K, 1, H))
    )
    scales = (k_scale, v_scale) if dtype == "int8" else (None, None)
    # The last two lie in a ring that was gone round before.
    position_b = jnp.array([0, 31, 127, 256, 700], jnp.int32)
    how = kept_kv, jnp.int32(1), position_b, Store(k, v, *scales)
    found, expected = cache_mosaic.added(*how, interpret=True), added(*how)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    changed = np.asarray(found.k_lcbksh != kept_kv.k_lcbksh).any(axis=(3, 5))
    places = [(1, 0, 0, 0), (1, 0, 1, 31), (1, 0, 2, 127), (1, 0, 3, 0), (1, 1, 4, 60)]
    assert np.argwhere(changed).tolist() == [list(place) for place in places]


@pytest.mark.parametrize(
    ("groups", "size", "heads"),
    [(8, 2**16, 8), (32, 2**16, 16), (40, 2**16, 8), (36, 2**16, 36), (1, 2**22, 1)],
)
def test_a_program_of_mosaics_has_all_key_heads_or_whole_tiles(groups, size, heads):
    assert cache_mosaic._heads(groups, size) == heads


@pytest.mark.parametrize("cores", [1, 2, 64])
def test_a_row_is_the_same_however_many_cores_there_are(cores, monkeypatch):
    q_bkgh = jax.random.normal(jax.random.key(0), (B, K, 4, H))
    how = store("float32"), jnp.int32(0), q_bkgh, jnp.array([5, 0, 127, -1, 255])
    expected = cache_numba.attend(*how, 0, 0.0)
    monkeypatch.setattr(numba_calls, "_cores", lambda: cores)
    np.testing.assert_array_equal(cache_numba.attend(*how, 0, 0.0), expected)


def test_compiled_now_or_by_an_earlier_process_it_gives_the_same_bits(tmp_path):
    """A job that was stopped goes on with what the stopped process compiled."""
    digests = [_digest_of_a_new_process(tmp_path) for _ in range(2)]
    assert list(tmp_path.rglob("*.nbi")), "nothing was kept for the second process"
    assert digests[0] == digests[1] == digest()


def test_where_nothing_can_be_kept_a_process_compiles_for_itself(monkeypatch):
    q_bkgh = jax.random.normal(jax.random.key(0), (B, K, 4, H))
    how = store("float32"), jnp.int32(0), q_bkgh, jnp.array([5, 0, 127, -1, 255])
    expected = cache_numba.attend(*how, 0, 0.0)
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    compiled = numba_calls._compiled.__wrapped__
    again = functools.partial(numba_calls.computed, "unkept")
    monkeypatch.setattr(numba_calls, "_compiled", functools.cache(compiled))
    monkeypatch.setattr(cache_numba.calls, "computed", lambda name, *rest: again(*rest))
    np.testing.assert_array_equal(cache_numba.attend(*how, 0, 0.0), expected)


def digest():
    q_bkgh = jax.random.normal(jax.random.key(0), (B, K, 4, H))
    how = store("bfloat16"), jnp.int32(0), q_bkgh, jnp.array([5, 0, 127, -1, 255])
    return hashlib.sha256(np.asarray(cache_numba.attend(*how, 0, 0.0))).hexdigest()


def _digest_of_a_new_process(kept_in):
    name = pathlib.Path(__file__).stem
    made = subprocess.run(
        [sys.executable, "-c", f"import {name}; print({name}.digest())"],
        cwd=pathlib.Path(__file__).parent,
        env={
            **os.environ,
            "NUMBA_CACHE_DIR": str(kept_in),
            "PYTHONPATH": str(pathlib.Path(__file__).parents[2]),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return made.stdout.strip()
