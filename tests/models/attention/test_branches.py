"""Branches of a segment: each sees the trunk and itself, as if it were there alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractDevice, AbstractMesh, AxisType, NamedSharding

from xinst_jax.config import MeshConfig
from xinst_jax.mesh import AXES, ShardingRules, make_mesh
from xinst_jax.models.attention import choice
from xinst_jax.models.attention.blockwise import blockwise_attention
from xinst_jax.models.attention.dense import dense_attention
from xinst_jax.models.attention.masks import Branches, PackedRows, segment_mask
from xinst_jax.models.attention.splash import splash_attention
from xinst_jax.models.presets import tiny, tiny_of

RULES = ShardingRules()
SCALE, CAP = 0.3, 2.0
B, N, K, H = 2, 4, 2, 16
FORKS = ((9, 14, 1, 11), (21, 6, 17), (8,))
"""Of each segment of a row the tokens of its trunk and of its branches."""

settings = {"scale": SCALE, "soft_cap": CAP}
dense = functools.partial(dense_attention, **settings)
blockwise = functools.partial(blockwise_attention, block=16, **settings)
splash = functools.partial(splash_attention, interpret=True, **settings)
ONE = MeshConfig(fsdp=1)
DIVIDED = MeshConfig(fsdp=2, sequence=2, tensor=2)


def _drawn(length):
    rng = np.random.default_rng(3)
    return [rng.normal(size=(B, n, length, H)).astype(np.float32) for n in (N, K, K)]


def _layout(length):
    """Segments, branches and positions of two equal rows; padding at the end."""
    segments, branches, positions = np.zeros((3, length), np.int32)
    at = 0
    for segment, (trunk, *others) in enumerate(FORKS, 1):
        for branch, size in enumerate((trunk, *others)):
            here = slice(at, at + size)
            segments[here], branches[here] = segment, branch
            positions[here] = np.arange(size) + (trunk if branch else 0)
            at += size
    return [np.tile(a, (B, 1)) for a in (segments, branches, positions)]


def _attended(attend, mesh_config, length, window):
    """Contexts of forked rows."""
    devices = jax.devices()[:1] if mesh_config is ONE else None
    mesh = make_mesh(mesh_config, devices)

    def run(q_bnth, k_bksh, v_bksh, *rows):
        queries = [jax.reshard(a, RULES.spec("batch", "length")) for a in rows]
        pairs = zip(queries, rows, strict=True)
        segments, ids, positions = pairs
        seen = PackedRows(*segments, window, Branches(*ids, *positions))
        mask = segment_mask(*seen) if attend is dense else seen
        return attend(q_bnth, k_bksh, v_bksh, mask, RULES)

    heads = ("batch", "heads", "length", "head_dim")
    keys = ("batch", "kv_heads", None, "head_dim")
    axes = [heads, keys, keys, *[("batch", None)] * 3]
    placed = [
        jax.device_put(a, NamedSharding(mesh, RULES.spec(*names)))
        for a, names in zip((*_drawn(length), *_layout(length)), axes, strict=True)
    ]
    with jax.set_mesh(mesh):
        return np.asarray(jax.jit(run)(*placed))


def _alone(length, window):
    """Contexts of each trunk with one branch at a time, in NumPy, without a mask."""
    q_bnth, k_bksh, v_bksh = (a.astype(np.float64) for a in _drawn(length))
    made_bnth = np.zeros(q_bnth.shape)
    first = 0
    for trunk, *others in FORKS:
        start = first + trunk
        for size in others or (0,):
            columns = np.r_[first : first + trunk, start : start + size]
            start += size
            k_bnsh = np.repeat(k_bksh[:, :, columns], N // K, axis=1)
            v_bnsh = np.repeat(v_bksh[:, :, columns], N // K, axis=1)
            for place, column in enumerate(columns):
                low = max(0, place + 1 - window) if window else 0
                seen = slice(low, place + 1)
                q_bnh = q_bnth[:, :, column]
                scores_bns = SCALE * np.einsum(
                    "bnh,bnsh->bns", q_bnh, k_bnsh[:, :, seen]
                )
                weights_bns = np.exp(CAP * np.tanh(scores_bns / CAP))
                weights_bns /= weights_bns.sum(-1, keepdims=True)
                made_bnth[:, :, column] = np.einsum(
                    "bns,bnsh->bnh", weights_bns, v_bnsh[:, :, seen]
                )
        first = start
    return made_bnth, first


@pytest.mark.parametrize(
    ("attend", "mesh", "length", "window"),
    [
        (dense, ONE, 96, 13),
        (blockwise, DIVIDED, 96, 0),
        (blockwise, ONE, 96, 13),
        (splash, DIVIDED, 256, 0),
    ],
)
def test_a_branch_is_attended_as_if_it_were_alone(attend, mesh, length, window):
    expected_bnth, end = _alone(length, window)
    found_bnth = _attended(attend, mesh, length, window)
    assert end < length
    np.testing.assert_allclose(
        found_bnth[:, :, :end], expected_bnth[:, :, :end], atol=1e-5
    )


def _mesh_of(kind, platform):
    device = AbstractDevice(device_kind=kind, num_cores=1, platform=platform)
    axes = (AxisType.Explicit,) * len(AXES)
    return AbstractMesh((1, 2, 1, 2), AXES, axes, abstract_device=device)


TPU, GPU = _mesh_of("TPU v5 lite", "tpu"), _mesh_of("NVIDIA H100", "gpu")


@pytest.mark.parametrize(
    ("mesh", "model", "length", "expected"),
    [
        (TPU, tiny(), 2048, "splash"),
        (TPU, tiny(window=2048), 2048, "splash"),
        (TPU, tiny(window=512), 2048, "dense"),
        (GPU, tiny(window=512), 2048, "blockwise"),
        (GPU, tiny(), 2048, "blockwise"),
        (GPU, tiny(attention="triton"), 2048, "dense"),
    ],
)
def test_kernels_that_know_no_branches_give_way_to_dense(mesh, model, length, expected):
    with jax.sharding.use_abstract_mesh(mesh):
        assert choice.kernel(model, RULES, length, forked=True) == expected


def test_the_tpu_program_of_branches_is_made_on_explicit_axes():
    config = tiny_of("gemma2", window=256)
    arrays = [
        jax.ShapeDtypeStruct(
            (2, heads, 256, 128),
            jnp.bfloat16,
            sharding=NamedSharding(TPU, RULES.spec("batch", "heads", None, None)),
        )
        for heads in (4, 2, 2)
    ]
    ids = jax.ShapeDtypeStruct(
        (2, 256), jnp.int32, sharding=NamedSharding(TPU, RULES.spec("batch", None))
    )

    def attend(q_bnth, k_bksh, v_bksh, ids):
        seen = PackedRows(ids, ids, 256, Branches(ids, ids, ids, ids))
        attend = choice.attention_over(config, RULES, seen)
        return attend(q_bnth, k_bksh, v_bksh, seen, RULES, scale=0.1)

    with jax.sharding.use_abstract_mesh(TPU):
        traced = jax.jit(attend).trace(*arrays, ids)
        text = traced.lower(lowering_platforms=("tpu",)).as_text()
    # Both calls are of one kernel, which is written once.
    assert "splash_mha_fwd_segmented_residuals" in text
