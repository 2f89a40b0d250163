"""Each kernel equals dense attention over packed rows, its gradients included."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding

from xinst_jax.config import MeshConfig
from xinst_jax.errors import UserError
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models.attention.blocks import visible
from xinst_jax.models.attention.blockwise import blockwise_attention
from xinst_jax.models.attention.dense import dense_attention
from xinst_jax.models.attention.masks import PackedRows, segment_mask
from xinst_jax.models.attention.splash import splash_attention
from xinst_jax.models.attention.triton import _seen_whole, triton_attention

RULES = ShardingRules()
SCALE = 0.3
B, N, K, H = 2, 4, 2, 16

dense = functools.partial(dense_attention, scale=SCALE)
blockwise = functools.partial(blockwise_attention, scale=SCALE, block=16)
splash = functools.partial(splash_attention, scale=SCALE, interpret=True)
triton = functools.partial(triton_attention, scale=SCALE, interpret=True)


def one_device():
    return make_mesh(MeshConfig(fsdp=1), jax.devices()[:1])


def packed(length, seed=0):
    """Queries, keys, values, segment ids and a factor for contexts, 0 on padding.

    Two segments a row, then padding; the second row begins with padding.
    """
    rng = np.random.default_rng(seed)
    drawn = [
        rng.normal(size=(B, heads, length, H)).astype(np.float32)
        for heads in (N, K, K, N)
    ]
    segments_bt = np.zeros((B, length), np.int32)
    for row in range(B):
        cuts = np.sort(rng.choice(np.arange(3, length - 3), 2, replace=False))
        for segment, (start, end) in enumerate(
            itertools.pairwise([3 * row, *cuts]), start=1
        ):
            segments_bt[row, start:end] = segment
    drawn[3] *= (segments_bt > 0)[:, None, :, None]
    return *drawn[:3], segments_bt, drawn[3]


def differentiated(attend, arrays, mesh, *, window=0, dtype="float32", **settings):
    """Contexts, 0 on padding, and gradients of queries, keys and values."""
    q_bnth, k_bksh, v_bksh, segments_bt, factor_bnth = arrays
    heads = ("batch", "heads", "length", "head_dim")
    keys = ("batch", "kv_heads", None, "head_dim")

    def loss(q_bnth, k_bksh, v_bksh, seen, factor_bnth):
        mask = seen if attend is not dense else segment_mask(*seen)
        made_bnth = attend(q_bnth, k_bksh, v_bksh, mask, RULES, **settings)
        assert made_bnth.dtype == dtype
        kept_bnth = made_bnth.astype(jnp.float32) * factor_bnth
        return jnp.sum(kept_bnth), kept_bnth

    def run(q_bnth, k_bksh, v_bksh, queries_bt, keys_bs, factor_bnth):
        seen = PackedRows(queries_bt, keys_bs, window)
        grad = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)
        grads, kept_bnth = grad(q_bnth, k_bksh, v_bksh, seen, factor_bnth)
        return kept_bnth, *grads

    placed = [
        jax.device_put(a, NamedSharding(mesh, RULES.spec(*axes)))
        for a, axes in (
            (q_bnth.astype(dtype), heads),
            (k_bksh.astype(dtype), keys),
            (v_bksh.astype(dtype), keys),
            (segments_bt, ("batch", "length")),
            (segments_bt, ("batch", None)),
            (factor_bnth, heads),
        )
    ]
    with jax.set_mesh(mesh):
        return [np.asarray(a, np.float32) for a in jax.jit(run)(*placed)]


def assert_equal_to_dense(found, arrays, share, **how):
    expected = differentiated(dense, arrays, one_device(), **how)
    for ours, theirs in zip(found, expected, strict=True):
        assert np.abs(theirs).max() > 0.1
        assert np.abs(ours - theirs).max() <= share * np.abs(theirs).max()


@pytest.mark.parametrize("attend", [blockwise, splash], ids=["blockwise", "splash"])
@pytest.mark.parametrize(
    "how", [{}, {"window": 20, "soft_cap": 2.0}], ids=["causal", "window and cap"]
)
def test_a_kernel_equals_dense_attention(attend, how):
    arrays = packed(50)  # no multiple of a block
    found = differentiated(attend, arrays, one_device(), **how)
    assert_equal_to_dense(found, arrays, 5e-6, **how)


def test_the_gpu_kernel_equals_dense_attention():
    arrays = packed(70)
    found = differentiated(triton, arrays, one_device())
    assert_equal_to_dense(found, arrays, 5e-6)


@pytest.mark.parametrize(
    ("segments", "scale"),
    [
        ([(1, 700), (0, 68)], 64**-0.5),
        ([(0, 5), (1, 60), (2, 500), (3, 130), (0, 73)], 128**-0.5),
        # Ids out of order, and one that comes again: no run of whole blocks, and first
        # blocks of which a query sees nothing.
        ([(2, 300), (1, 140), (2, 328)], SCALE),
        ([(2, 300), (1, 140), (2, 328)], H**-0.5),
        ([(1, 20), (2, 30), (3, 20)], 64**-0.5),
    ],
    ids=["one", "many", "again", "again, of these heads", "short"],
)
def test_the_gpu_kernel_undifferentiated_equals_dense_attention(segments, scale):
    ids, lengths = zip(*segments, strict=True)
    segments_1t = np.repeat(ids, lengths)[None].astype(np.int32)
    rng = np.random.default_rng(0)
    q_bnth, k_bksh, v_bksh = (
        rng.normal(size=(1, heads, sum(lengths), H)).astype(np.float32)
        for heads in (N, K, K)
    )
    mesh = one_device()
    q_bnth, k_bksh, v_bksh, segments_1t = (
        jax.device_put(a, NamedSharding(mesh, RULES.spec(*axes)))
        for a, axes in (
            (q_bnth, ("batch", "heads", "length", "head_dim")),
            (k_bksh, ("batch", "kv_heads", None, "head_dim")),
            (v_bksh, ("batch", "kv_heads", None, "head_dim")),
            (segments_1t, ("batch", None)),
        )
    )
    with jax.set_mesh(mesh):
        seen = PackedRows(segments_1t, segments_1t, 0)
        heads = q_bnth, k_bksh, v_bksh
        found = np.asarray(
            triton_attention(*heads, seen, RULES, scale=scale, interpret=True)
        )
        mask = segment_mask(*seen)
        expected = np.asarray(dense_attention(*heads, mask, RULES, scale=scale))
    kept = np.asarray(segments_1t[0]) > 0
    np.testing.assert_allclose(found[:, :, kept], expected[:, :, kept], atol=5e-6)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        # The first block of a prompt may be another's in part; the last is its own.
        ([1] * 8, ([0, 0, 0, 0], [0, 1, 2, 3])),
        ([1, 2, 2, 2, 2, 2, 3, 0], ([0, 0, 1, 3], [0, 0, 2, 3])),
        ([2, 2, 1, 1, 2, 2, 2, 2], ([0, 1, 0, 0], [0, 1, 1, 0])),
    ],
    ids=["one", "many", "again"],
)
def test_blocks_that_need_no_mask(ids, expected):
    segments_1t = jnp.asarray([ids], jnp.int32)
    first_1i, _ = visible(segments_1t, segments_1t, 0, 0, 2)
    found = _seen_whole(segments_1t, first_1i, 2)
    assert [a[0].tolist() for a in found] == list(expected)


def test_bfloat16_is_as_near_to_float32_as_dense_attention_is():
    arrays = packed(50)
    exact = differentiated(dense, arrays, one_device())
    near = differentiated(dense, arrays, one_device(), dtype="bfloat16")
    found = differentiated(blockwise, arrays, one_device(), dtype="bfloat16")
    for ours, theirs, wanted in zip(found, near, exact, strict=True):
        assert np.abs(ours - wanted).max() <= 1.5 * np.abs(theirs - wanted).max()


@pytest.mark.parametrize(
    ("attend", "length"), [(blockwise, 64), (splash, 256)], ids=["blockwise", "splash"]
)
def test_rows_length_and_heads_divided_over_devices_change_nothing(attend, length):
    arrays, how = packed(length), {"window": 40}
    mesh = make_mesh(MeshConfig(fsdp=2, sequence=2, tensor=2))
    found = differentiated(attend, arrays, mesh, **how)
    assert_equal_to_dense(found, arrays, 5e-6, **how)


@pytest.mark.parametrize("attend", [blockwise, splash], ids=["blockwise", "splash"])
def test_a_window_may_be_chosen_when_it_runs(attend):
    arrays = packed(50)
    chosen = functools.partial(attend, **({"window": 20} if attend is splash else {}))
    for window in (0, 20):
        found = differentiated(
            chosen, arrays, one_device(), window=jnp.asarray(window, jnp.int32)
        )
        assert_equal_to_dense(found, arrays, 5e-6, window=window)


def test_splash_refuses_a_divided_length_that_its_blocks_do_not_fit():
    mesh = make_mesh(MeshConfig(fsdp=2, sequence=2, tensor=2))
    with pytest.raises(UserError, match=r"Rows of 192 tokens .* multiple of 256"):
        differentiated(splash, packed(192), mesh)


def temporary(attend, length):
    """Bytes that the gradient takes beside its arguments and results."""
    mesh = one_device()

    def array(dtype, shape, *axes):
        sharding = NamedSharding(mesh, RULES.spec(*axes))
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    arrays = [
        array(jnp.float32, (1, heads, length, H), "batch", axis, None, None)
        for heads, axis in ((N, "heads"), (K, "kv_heads"), (K, "kv_heads"))
    ]
    ids = array(jnp.int32, (1, length), "batch", None)

    def loss(q_bnth, k_bksh, v_bksh, ids):
        seen = PackedRows(ids, ids, 0)
        mask = seen if attend is not dense else segment_mask(*seen)
        return jnp.sum(jnp.square(attend(q_bnth, k_bksh, v_bksh, mask, RULES)))

    with jax.set_mesh(mesh):
        lowered = jax.jit(jax.grad(loss, argnums=(0, 1, 2))).lower(*arrays, ids)
        return lowered.compile().memory_analysis().temp_size_in_bytes


def test_blockwise_memory_is_linear_in_length_where_dense_is_quadratic():
    assert temporary(blockwise, 1024) < 4.5 * temporary(blockwise, 256)
    assert temporary(dense, 1024) > 10 * temporary(dense, 256)
