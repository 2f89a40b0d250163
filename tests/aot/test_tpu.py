"""Steps and generation compile for TPUs that are not there; needs libtpu alone."""

import argparse

import pytest

from tests.aot import compilers
from tools import slots
from xinst_jax.aot import build, generation, report, topology
from xinst_jax.config import DecodeConfig, MeshConfig, TrainConfig
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import presets


@pytest.fixture(autouse=True)
def _compiler():
    how = "pip install --no-deps -r requirements-tpu.txt"
    compilers.need("libtpu", "a TPU topology", how)


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
    devices = topology.devices(topology.parse(name))
    mesh = make_mesh(MeshConfig(tensor=2), devices)
    decode = DecodeConfig(
        batch_rows=64, cache_dtype=cache_dtype, prompt_buckets=(1920,)
    )
    built = generation.compiled(model, ShardingRules(), mesh, decode)
    memory = built.decoding.memory_analysis()
    assert memory.alias_size_in_bytes > 0.99 * built.cache
    assert memory.temp_size_in_bytes < 0.5 * built.cache
    given = memory.argument_size_in_bytes
    assert given == pytest.approx(built.weights + built.cache + built.row, rel=0.02)
    assert built.needed > given + built.row + memory.temp_size_in_bytes


def test_prompts_are_read_where_rows_are_divided():
    """The kernel takes 128 columns of a row on each chip that has a part of it."""
    model = presets.tiny(
        vocab_size=1024, embed_dim=512, max_length=4096, compute_dtype="bfloat16"
    )
    devices = topology.devices(topology.parse("v5e:2x2"))
    mesh = make_mesh(MeshConfig(sequence=2), devices)
    decode = DecodeConfig(batch_rows=8, prompt_buckets=(320,), max_new_tokens=32)
    built = generation.compiled(model, ShardingRules(), mesh, decode)
    assert built.prefill.in_avals[0][2].shape == (2, 512)


def test_slots_are_counted_until_they_do_not_fit():
    asked = argparse.Namespace(
        model="llama_3_8b",
        topology="v5e:2x2",
        tensor=4,
        batch_rows=[32, 512],
        cache_dtype="int8",
        prompt=1920,
        max_new_tokens=128,
        prefill_columns=2048,
    )
    columns = [list(column.cells) for column in slots.table(asked).columns]
    assert columns[0] == ["32", "512"] and columns[-1] == ["yes", "no"]
    # 32 blocks of 2 heads a chip, keys and values, 2,048 columns of 128 and a scale.
    cache = 32 * 32 * 2 * 2 * 2048 * (128 + 4) / 2**30
    assert columns[2][0] == f"{cache:.2f}"
    # 8.03 billion weights in bfloat16, over four chips.
    assert columns[1][0] == "3.74"


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
