"""Steps compile for TPU slices that are not there; needs libtpu, not a TPU."""

import functools
import importlib.util
import warnings

import jax
import numpy as np
import pytest

from xinst_jax.aot import build, report, topology
from xinst_jax.config import DecodeConfig, MeshConfig, TrainConfig
from xinst_jax.infer import cache as cache_lib
from xinst_jax.infer import decode as decode_lib
from xinst_jax.infer import slots as slots_lib
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import presets
from xinst_jax.models.decoder import abstract_params


@pytest.fixture(autouse=True)
def _compiler():
    if importlib.util.find_spec("libtpu") is None:
        told = (
            "NOT TESTED: compiling for a TPU topology. libtpu is not installed: "
            "pip install --no-deps -r requirements-tpu.txt"
        )
        warnings.warn(pytest.PytestWarning(told), stacklevel=1)
        pytest.skip(told)


def test_a_small_step_compiles_and_gathers_what_it_reduces():
    model = presets.tiny(
        vocab_size=1024,
        embed_dim=512,
        mlp_dim=1024,
        head_dim=128,
        compute_dtype="bfloat16",
        remat="full",
    )
    train = TrainConfig(length=256, global_batch=8)
    found = report.report(
        build.Layout(model, train, MeshConfig(), topology.parse("v5e:2x2"))
    )
    assert found.fits and found.memory.peak < 2**30
    assert found.mesh["fsdp"] == 4
    kinds = {exchange.kind for exchange in found.exchanges}
    assert "all-gather" in kinds and kinds & {"reduce-scatter", "all-reduce"}
    assert 0 < found.mfu(causal=True) < found.mfu(causal=False) <= 1


def test_a_step_that_is_too_large_is_told_by_how_much():
    model = presets.tiny(
        num_layers=1, embed_dim=16384, mlp_dim=65536, remat="full", vocab_size=1024
    )
    found = report.report(
        build.Layout(
            model,
            TrainConfig(length=256, global_batch=4),
            MeshConfig(),
            topology.parse("v5e:2x2"),
        )
    )
    assert not found.fits
    # Parameters and moments alone, float32, over four chips.
    weights = 3 * 16384 * 65536
    assert found.needed > 12 * weights / 4
    assert "too much" in "\n".join(report.lines(found, []))


@pytest.mark.parametrize("cache_dtype", ["bfloat16", "int8"])
@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("v5e:2x2", {"head_dim": 64, "num_kv_heads": 2}),
        ("v6e:2x2", {"head_dim": 128, "num_kv_heads": 8, "window": 512}),
    ],
)
def test_decoding_holds_one_cache_and_lays_it_out_once(name, of, cache_dtype):
    """XLA's own programs hold a second one, which they copy from and to."""
    model = presets.tiny(
        vocab_size=1024,
        num_layers=4,
        embed_dim=512,
        mlp_dim=1024,
        max_length=4096,
        compute_dtype="bfloat16",
        **of,
    )
    rules = ShardingRules()
    mesh = make_mesh(MeshConfig(tensor=2), topology.devices(topology.parse(name)))
    decode = DecodeConfig(batch_rows=64, cache_dtype=cache_dtype)
    with jax.set_mesh(mesh):
        shape = cache_lib.layout(model, 64, 2048, cache_dtype)
        slots = jax.eval_shape(
            functools.partial(
                slots_lib.empty_slots,
                model=model,
                rules=rules,
                shape=shape,
                new=decode.max_new_tokens,
                stops=4,
                history=0,
            )
        )
        keys = jax.ShapeDtypeStruct(
            (4, 2, model.num_kv_heads, 2048 + shape.columns, model.head_dim),
            "bfloat16",
            sharding=jax.NamedSharding(
                mesh, rules.spec("layers", "batch", "kv_heads", None, None)
            ),
        )
        compiled = decode_lib.decode_slots.lower(
            abstract_params(model, rules, mesh),
            (),
            slots,
            (keys, keys, np.zeros((64, 9), np.int32)),
            np.zeros(64, bool),
            np.int32(0),
            np.int32(0),
            np.uint32(0),
            model=model,
            rules=rules,
            shape=shape,
            decode=decode,
            vocab_limit=1024,
        ).compile()
    cache = cache_lib.bytes_of(model, shape) / mesh.size
    memory = compiled.memory_analysis()
    assert memory.alias_size_in_bytes > 0.99 * cache
    assert memory.temp_size_in_bytes < 0.5 * cache


@pytest.mark.slow
def test_llama_3_8b_fits_64_chips_of_v5e():
    model = presets.published("llama_3_8b")
    found = report.report(
        build.Layout(
            model,
            TrainConfig(length=2048, global_batch=64),
            MeshConfig(),
            topology.parse("v5e-64"),
        )
    )
    assert found.fits
    # 8.03 billion parameters and two moments in float32, over 64 chips.
    assert found.memory.arguments / 2**30 == pytest.approx(1.41, abs=0.01)
