import dataclasses

import jax
import numpy as np
import pytest

from xinst_jax.config import LoraConfig, MeshConfig, RunConfig, TrainConfig
from xinst_jax.errors import UserError
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import decoder, presets
from xinst_jax.train import optim, state

RULES = ShardingRules()


@pytest.mark.parametrize("sizes", [{"fsdp": 8}, {"fsdp": 4, "tensor": 2}])
def test_every_leaf_has_a_named_sharding_and_moments_lie_with_their_parameter(sizes):
    mesh = make_mesh(MeshConfig(**sizes))
    model, optimizer = presets.tiny(), optim.make_optimizer(TrainConfig())
    shapes = decoder.abstract_params(model, RULES, mesh)
    params = jax.tree.map(
        lambda leaf: jax.device_put(np.ones(leaf.shape, leaf.dtype), leaf.sharding),
        shapes,
    )
    found = state.init_state(params, optimizer, mesh)
    abstract = state.abstract_state(shapes, optimizer, mesh)
    assert jax.tree.structure(found) == jax.tree.structure(abstract)
    for leaf, expected in zip(
        jax.tree.leaves(found), jax.tree.leaves(abstract), strict=True
    ):
        assert isinstance(leaf.sharding, jax.sharding.NamedSharding)
        assert leaf.sharding == expected.sharding
        assert (leaf.shape, leaf.dtype) == (expected.shape, expected.dtype)
    adam = found.opt_state[1][0]
    for moment in (adam.mu, adam.nu):
        shardings = jax.tree.map(lambda leaf: leaf.sharding, moment)
        assert shardings == jax.tree.map(lambda leaf: leaf.sharding, found.params)
    assert "fsdp" in str(adam.mu["embedding"]["table_vd"].sharding.spec)
    assert adam.count.sharding.is_fully_replicated


def test_factors_and_the_average_lie_along_their_parameter_s_axes():
    mesh = make_mesh(MeshConfig(fsdp=4, tensor=2))
    model = presets.tiny(embed_dim=128, mlp_dim=256)
    optimizer = optim.make_optimizer(TrainConfig(optimizer="adafactor"))
    params = decoder.abstract_params(model, RULES, mesh)
    found = state.abstract_state(params, optimizer, mesh, ema=True)
    for leaf, average in zip(
        jax.tree.leaves(params), jax.tree.leaves(found.ema), strict=True
    ):
        assert (average.shape, average.sharding) == (leaf.shape, leaf.sharding)
    sharded = [
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(found.opt_state)
        if "gate_ldf" in jax.tree_util.keystr(path) and leaf.size > 2
    ]
    layers = model.num_layers
    assert sorted((leaf.shape, str(leaf.sharding.spec)) for leaf in sharded) == sorted(
        [
            ((layers, 128), str(jax.P(None, "fsdp"))),
            ((layers, 256), str(jax.P(None, "tensor"))),
        ]
    )


def test_all_weights_are_trained_in_float32_only_and_under_adapters_in_either():
    model, mesh = presets.tiny(param_dtype="bfloat16"), make_mesh(MeshConfig())
    whole = TrainConfig(global_batch=8)
    adapted = dataclasses.replace(whole, lora=LoraConfig(rank=2))
    with pytest.raises(UserError, match=r"param_dtype = 'bfloat16' is too coarse"):
        state.abstract_training(model, RULES, mesh, whole)
    found = state.abstract_training(model, RULES, mesh, adapted)
    assert {leaf.dtype for leaf in jax.tree.leaves(found.params)} == {
        np.dtype("float32")
    }
    names = ("generator", "rater", "follower", "sft")
    given = {"name": "x", "languages": ("fi",), "model": model, "base_model": "folder"}
    RunConfig(**given, **dict.fromkeys(names, adapted))
    tuned = dict.fromkeys(names, adapted) | {"rater": whole}
    with pytest.raises(UserError, match=r"^rater: .*'bfloat16' is too coarse"):
        RunConfig(**given, **tuned)
