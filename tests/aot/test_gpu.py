"""Generation compiles for GPUs that are not there; needs JAX's plugin, not a GPU."""

import re

import jax
import pytest
from jax.experimental import topologies

from tests.aot import compilers
from xinst_jax.aot import generation
from xinst_jax.config import DecodeConfig, MeshConfig
from xinst_jax.infer import decode as decode_lib
from xinst_jax.infer.loops import compiler_options
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import presets

H100 = """
gpu_device_info {
  cuda_compute_capability { major: 9 }
  core_count: 132
  fpus_per_core: 128
  clock_rate_ghz: 1.98
  memory_bandwidth: 3352320000000
  device_memory_size: 84929347584
  l2_cache_size: 52428800
  threads_per_warp: 32
  threads_per_block_limit: 1024
  threads_per_core_limit: 2048
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  shared_memory_per_core: 233472
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  driver_version: "12.9.0"
  runtime_version: "12.9.0"
  compile_time_toolkit_version: "12.9.0"
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 7 }
runtime_version { major: 12 minor: 8 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
"""What XLA must know of the card: NVIDIA's figures of it."""


@pytest.fixture(autouse=True)
def _compiler():
    how = "pip install -r requirements-cuda.txt"
    compilers.need("jax_cuda12_plugin", "a GPU", how)


def _model(head_dim):
    return presets.tiny(
        vocab_size=1024,
        num_layers=4,
        embed_dim=512,
        mlp_dim=1024,
        num_heads=8,
        num_kv_heads=2,
        head_dim=head_dim,
        max_length=4096,
        compute_dtype="bfloat16",
    )


def _cards(topology):
    return topologies.get_topology_desc(
        platform="cuda", target_config=H100, topology=topology
    ).devices


@pytest.mark.parametrize("head_dim", [64, 128, 256])
@pytest.mark.parametrize("cache_dtype", ["bfloat16", "int8"])
def test_kernels_compile_and_decoding_holds_one_cache(head_dim, cache_dtype):
    model = _model(head_dim)
    mesh = make_mesh(MeshConfig(), _cards("1x1x1"))
    decode = DecodeConfig(
        batch_rows=64, cache_dtype=cache_dtype, prompt_buckets=(1920,)
    )
    built = generation.compiled(model, ShardingRules(), mesh, decode, apart=True)
    # Of the last block prefill needs keys and values only.
    assert _calls(built.prefill, "packed_attention") == model.num_layers - 1
    assert _calls(built.decoding, "cache_attention") == model.num_layers
    memory = built.decoding.memory_analysis()
    assert memory.alias_size_in_bytes > 0.99 * built.cache
    assert memory.temp_size_in_bytes < 0.5 * built.cache


@pytest.mark.parametrize(
    ("topology", "in_one_graph"), [("1x1x1", True), ("1x1x2", False)]
)
def test_decoding_is_one_graph_where_no_numbers_are_exchanged(
    topology, in_one_graph, tmp_path, monkeypatch
):
    """Its loops too, which the host leads where cards decode together."""
    dumped = {"xla_dump_to": str(tmp_path)}
    decode_slots = jax.jit(
        decode_lib.decode_slots.__wrapped__,
        static_argnames=("model", "rules", "shape", "decode", "vocab_limit"),
        donate_argnames=("slots",),
        compiler_options=compiler_options(12090, "") | dumped,
    )
    monkeypatch.setattr(decode_lib, "decode_slots", decode_slots)
    cards = _cards(topology)
    mesh = make_mesh(MeshConfig(tensor=len(cards)), cards)
    decode = DecodeConfig(batch_rows=64, prompt_buckets=(1920,))
    generation.compiled(_model(64), ShardingRules(), mesh, decode, apart=True)
    (thunks,) = tmp_path.glob("*thunk_sequence_after_thunk_passes.txt")
    # What stands within another is indented.
    launched = re.findall(r"^\d+: (\w+)", thunks.read_text(), re.MULTILINE)
    assert (launched == ["kCommandBuffer"]) == in_one_graph
    assert ("kWhile" in launched) != in_one_graph


def _calls(compiled, kernel):
    """How often a program calls a kernel."""
    return sum(
        "custom-call(" in line and f"{kernel}/pallas_call" in line
        for line in compiled.as_text().splitlines()
    )
