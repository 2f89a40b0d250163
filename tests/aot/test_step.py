"""What is read off the traced and the compiled step is what arithmetic says of it."""

import dataclasses
import functools
import math

import jax
import pytest

from xinst_jax.aot import build, collectives, report, topology
from xinst_jax.aot.hlo import Program
from xinst_jax.config import LoraConfig, MeshConfig, TrainConfig
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import decoder, flops, presets
from xinst_jax.train import health, lora

TRAIN = TrainConfig(length=32, global_batch=16, logit_chunk=4096)
MODEL = presets.tiny(embed_dim=64, mlp_dim=96, remat="none")
TOKENS = TRAIN.global_batch * TRAIN.length


def layout(model=MODEL, train=TRAIN, **mesh):
    return build.Layout(model, train, MeshConfig(**mesh), topology.parse("cpu:8"))


@functools.cache
def built(layers):
    return build.build(layout(dataclasses.replace(MODEL, num_layers=layers)))


def by_kind(step):
    program = Program(step.compiled.as_text())
    found = {}
    for exchange in collectives.exchanges(program, step.mesh.shape):
        assert exchange.axes == ("fsdp",) and exchange.group == 8
        found[exchange.kind] = exchange
    return found


def test_fsdp_gathers_a_block_twice_and_reduces_its_gradient_once():
    # Two models that differ in two blocks: table, head and scalars cancel out.
    shallow, deep = by_kind(built(2)), by_kind(built(4))
    sent = {name: deep[name].bytes - shallow[name].bytes for name in deep}
    share = 7 / 8
    block = 4 * flops.block_weights(MODEL) / MODEL.num_layers
    assert sent["all-gather"] == pytest.approx(2 * 2 * block * share)
    assert deep["all-gather"].count - shallow["all-gather"].count == 2 * 2 * 7
    # XLA:CPU reduces and then takes its part, which costs twice a reduce-scatter. With
    # the matrices go the scales of a block's two norms.
    norms = 4 * 2 * MODEL.embed_dim
    assert sent["all-reduce"] == pytest.approx(2 * 2 * (block + norms) * share)


@pytest.mark.parametrize(
    ("told", "gibibytes"),
    [
        (
            "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in "
            "memory space hbm. Used 31.06G of 15.75G hbm. Exceeded hbm capacity by "
            "15.31G.",
            31.06,
        ),
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required "
            "for HLO temporaries (18.25G) exceeds available HBM (15.75G).",
            18.25,
        ),
        ("INTERNAL: Used 31.06G of 15.75G hbm.", None),
        ("RESOURCE_EXHAUSTED: Ran out of memory in memory space vmem.", None),
    ],
)
def test_what_does_not_fit_is_read_from_both_messages_of_libtpu(told, gibibytes):
    found = build.needed_bytes(told)
    assert found == (None if gibibytes is None else pytest.approx(gibibytes * 2**30))


def test_arguments_are_the_state_and_the_batch():
    found = report.memory_of(built(2))
    params = decoder.abstract_params(MODEL, ShardingRules(), make_mesh(MeshConfig()))
    shards = sum(
        leaf.dtype.itemsize * math.prod(leaf.sharding.shard_shape(leaf.shape))
        for leaf in jax.tree.leaves(params)
    )
    rows, losses = 5 * 4 * 2 * TRAIN.length, 4 * health.WINDOW
    # Parameters and two moments, and what tells a bad step; what is left are counts.
    assert 0 <= found.arguments - (3 * shards + rows + losses) <= 64


@pytest.mark.parametrize("sizes", [{"fsdp": 8}, {"fsdp": 4, "tensor": 2}])
def test_executed_flops_are_the_models_without_rematerialisation(sizes):
    chosen = layout(**sizes)
    _, full = report.model_flops(chosen)
    assert build.trace(chosen).flops * 8 == full


def test_executed_flops_count_what_is_computed_again_and_every_microbatch():
    chosen = layout(
        dataclasses.replace(MODEL, remat="full"),
        dataclasses.replace(TRAIN, microbatches=2),
    )
    _, full = report.model_flops(chosen)
    pairs = flops.attended_pairs(MODEL, [32] * 16, causal=False)
    heads = MODEL.num_heads * MODEL.head_dim
    again = 2 * TOKENS * flops.block_weights(MODEL) + 4 * heads * pairs
    # The last product of a block is not needed to compute its gradients.
    unused = 2 * TOKENS * MODEL.num_layers * MODEL.mlp_dim * MODEL.embed_dim
    assert build.trace(chosen).flops * 8 == full + again - unused


def test_executed_flops_of_adapters_leave_out_the_gradients_of_the_weights():
    config = LoraConfig(rank=4, targets=("query", "down"))
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    made = lora.abstract_adapters(MODEL, ShardingRules(), mesh, config)
    numbers = sum(leaf.size for leaf in jax.tree.leaves(made))
    assert lora.count(MODEL, config) == numbers
    chosen = layout(train=dataclasses.replace(TRAIN, lora=config))
    _, full = report.model_flops(chosen)
    assert build.trace(chosen).flops * 8 == full
