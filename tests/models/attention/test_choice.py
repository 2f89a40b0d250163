"""The attention is chosen by the mesh's devices, and refused where it cannot run."""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractDevice, AbstractMesh, AxisType, NamedSharding

from xinst_jax.config import ModelConfig
from xinst_jax.errors import UserError
from xinst_jax.mesh import AXES, ShardingRules
from xinst_jax.models.attention import choice
from xinst_jax.models.attention.masks import PackedRows
from xinst_jax.models.presets import tiny, tiny_of

RULES = ShardingRules()
KINDS = {"cpu": "cpu", "gpu": "NVIDIA H100", "tpu": "TPU v5 lite"}


def mesh_of(platform, sizes=(1, 1, 1, 1)):
    device = AbstractDevice(device_kind=KINDS[platform], num_cores=1, platform=platform)
    return AbstractMesh(
        sizes, AXES, (AxisType.Explicit,) * len(AXES), abstract_device=device
    )


def kernel(platform, length=2048, sizes=(1, 1, 1, 1), **settings):
    with jax.sharding.use_abstract_mesh(mesh_of(platform, sizes)):
        return choice.kernel(tiny(**settings), RULES, length)


def test_auto_takes_what_the_devices_are_fast_at():
    assert kernel("tpu") == "splash"
    assert kernel("tpu", length=16) == "splash"
    assert kernel("gpu") == "triton"
    assert kernel("cpu") == kernel("gpu", window=8) == "blockwise"
    assert kernel("gpu", attention_soft_cap=50.0) == "blockwise"
    assert kernel("gpu", sizes=(1, 1, 2, 1)) == "blockwise"
    assert kernel("gpu", length=16) == kernel("cpu", length=16) == "dense"


def test_a_name_is_taken_at_its_word_where_it_can_run():
    for name in ("dense", "blockwise"):
        assert {kernel(platform, attention=name) for platform in KINDS} == {name}
    assert kernel("tpu", attention="splash") == "splash"
    assert kernel("gpu", attention="triton") == "triton"


@pytest.mark.parametrize(
    ("platform", "settings", "told"),
    [
        ("cpu", {"attention": "splash"}, "'splash' runs on a TPU, .* kind 'cpu'"),
        ("tpu", {"attention": "triton"}, "'triton' runs on a GPU, .* kind 'tpu'"),
        ("gpu", {"attention": "triton", "window": 8}, "no ModelConfig.window, found 8"),
        (
            "gpu",
            {"attention": "triton", "attention_soft_cap": 50.0},
            "no ModelConfig.attention_soft_cap, found 50",
        ),
        (
            "gpu",
            {"attention": "triton", "sizes": (1, 1, 2, 1)},
            "no division of the length",
        ),
    ],
)
def test_a_kernel_is_refused_where_it_cannot_run(platform, settings, told):
    with pytest.raises(UserError, match=told):
        kernel(platform, **settings)


def test_an_unknown_name_is_refused():
    with pytest.raises(UserError, match="expected one of auto, splash, triton"):
        ModelConfig(attention="flash")


@pytest.mark.parametrize("windowed", [None, True], ids=["one window", "two"])
def test_the_tpu_program_is_made_on_explicit_axes(windowed):
    """Forward and backward kernels pass the TPU compiler's front end."""
    config = tiny_of("gemma2")
    mesh = mesh_of("tpu", (1, 2, 1, 2))
    shapes = [(2, heads, 256, 128) for heads in (4, 2, 2)]
    arrays = [
        jax.ShapeDtypeStruct(
            shape,
            jnp.bfloat16,
            sharding=NamedSharding(mesh, RULES.spec("batch", "heads", None, None)),
        )
        for shape in shapes
    ]
    ids = jax.ShapeDtypeStruct(
        (2, 256), jnp.int32, sharding=NamedSharding(mesh, RULES.spec("batch", None))
    )

    def loss(q_bnth, k_bksh, v_bksh, ids):
        window = config.window if windowed is None else jnp.max(ids)
        seen = PackedRows(ids, ids, window)
        attend = functools.partial(
            choice.attention_over(config, RULES, seen),
            scale=0.1,
            soft_cap=config.attention_soft_cap,
        )
        return jnp.sum(attend(q_bnth, k_bksh, v_bksh, seen, RULES) ** 2)

    with jax.sharding.use_abstract_mesh(mesh):
        traced = jax.jit(jax.grad(loss, argnums=(0, 1, 2))).trace(*arrays, ids)
        text = traced.lower(lowering_platforms=("tpu",)).as_text()
    for kernel_of in ("fwd", "dq", "dkv"):
        assert f"splash_mha_{kernel_of}" in text
