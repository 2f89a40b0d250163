import jax
import numpy as np
import pytest

from xinst_jax.config import MeshConfig, TrainConfig
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
