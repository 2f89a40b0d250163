"""The kernel for CPUs computes what no gradient is asked of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding

from xinst_jax.config import MeshConfig
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models.attention import blockwise_numba
from xinst_jax.models.attention.blockwise import blockwise_attention
from xinst_jax.models.attention.dense import dense_attention
from xinst_jax.models.attention.masks import PackedRows, segment_mask

RULES = ShardingRules()
N, K = 4, 2


def arrays(length, width, starts):
    """Two rows of segments that begin at these columns; the last one is padding."""
    rng = np.random.default_rng(0)
    q, k, v = (
        rng.normal(size=(2, heads, length, width)).astype(np.float32)
        for heads in (N, K, K)
    )
    segments_t = np.searchsorted(starts, np.arange(length), side="right")
    segments_t[starts[-1] :] = 0
    return q, k, v, np.tile(segments_t.astype(np.int32), (2, 1))


def attended(mesh, q, k, v, segments_bt, window=0, **settings):
    """Contexts by the kernel, which must have been there, and by dense attention."""
    specs = [RULES.spec("batch", "heads", "length", "head_dim")]
    specs += [RULES.spec("batch", "kv_heads", None, "head_dim")] * 2
    specs += [RULES.spec("batch", "length"), RULES.spec("batch", None)]
    placed = [
        jax.device_put(a, NamedSharding(mesh, spec))
        for a, spec in zip((q, k, v, segments_bt, segments_bt), specs, strict=True)
    ]

    def by_blocks(q, k, v, *segments):
        return blockwise_attention(
            q, k, v, PackedRows(*segments, window), RULES, scale=0.3, **settings
        )

    with jax.set_mesh(mesh):
        program = jax.jit(by_blocks)
        assert "xinst_blockwise_attention" in program.lower(*placed).as_text()
        found = np.asarray(program(*placed))
    one = make_mesh(MeshConfig(fsdp=1), jax.devices()[:1])
    settings.pop("block", None)
    with jax.set_mesh(one):
        mask = segment_mask(segments_bt, segments_bt, window)
        expected = dense_attention(q, k, v, mask, RULES, scale=0.3, **settings)
    seen = (segments_bt > 0)[:, None, :, None]
    return np.where(seen, found, 0), np.where(seen, expected, 0)


@pytest.mark.parametrize(
    ("settings", "length", "width"),
    [
        ({}, 256, 64),
        ({"block": 32}, 200, 16),
        ({"window": 50}, 256, 32),
        ({"soft_cap": 2.0}, 256, 16),
    ],
    ids=["plain", "no multiple of the block", "window", "soft cap"],
)
@pytest.mark.parametrize(
    "mesh", [{"fsdp": 1}, {"fsdp": 1, "sequence": 2}, {"fsdp": 2, "tensor": 2}], ids=str
)
def test_it_equals_dense_attention(mesh, settings, length, width):
    devices = jax.devices()[: np.prod(list(mesh.values()))]
    if length % 64 and "sequence" in mesh:
        length += 64 - length % 64
    packed = arrays(length, width, [0, 70, 75, length - 9])
    found, expected = attended(
        make_mesh(MeshConfig(**mesh), devices), *packed, **settings
    )
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_a_prompt_has_the_same_bits_wherever_it_lies_at_a_multiple_of_the_block():
    mesh = make_mesh(MeshConfig(fsdp=1), jax.devices()[:1])
    q, k, v, _ = arrays(512, 32, [0, 9])
    found = []
    for first in (0, 64, 320):
        rng = np.random.default_rng(first)
        drawn = [rng.normal(size=a.shape).astype(np.float32) for a in (q, k, v)]
        segments_bt = np.zeros((2, 512), np.int32)
        segments_bt[:, :first], segments_bt[:, first + 128 :] = 1, 3
        segments_bt[:, first : first + 128] = 2
        for mine, other in zip(drawn, (q, k, v), strict=True):
            mine[:, :, first : first + 128] = other[:, :, :128]
        made, _ = attended(mesh, *drawn, segments_bt)
        found.append(made[:, :, first : first + 128])
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_what_is_no_number_is_none_afterwards():
    mesh = make_mesh(MeshConfig(fsdp=1), jax.devices()[:1])
    q, k, v, segments_bt = arrays(256, 16, [0, 128, 247])
    k[0, :, 5] = np.nan
    found, _ = attended(mesh, q, k, v, segments_bt)
    seen = np.isnan(found).all(axis=(1, 3))
    assert seen[0, 5:128].all() and not np.isnan(found[0, :, :5]).any()
    assert not np.isnan(found[1]).any() and not np.isnan(found[0, :, 128:]).any()


@pytest.mark.parametrize(
    ("width", "block", "dtype", "can"),
    [
        (64, 64, "float32", True),
        (24, 64, "float32", False),
        (64, 8, "float32", False),
        (64, 64, "bfloat16", False),
    ],
)
def test_what_it_has_no_vectors_for_is_left_to_xla(width, block, dtype, can):
    q_bkgth = jnp.zeros((1, 1, 1, block, width), dtype)
    assert blockwise_numba.can_compute(q_bkgth, block) == can
