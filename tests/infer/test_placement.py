"""A replica holds the whole model on its own devices, and continues rows with it."""

import types

import jax
import numpy as np
import pytest

from xinst_jax.config import DecodeConfig, MeshConfig
from xinst_jax.errors import UserError
from xinst_jax.infer import engine as engine_lib
from xinst_jax.infer import placement
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models.decoder import init_params
from xinst_jax.models.presets import tiny

RULES = ShardingRules()
MODEL = tiny(vocab_size=64)
DECODE = DecodeConfig(
    max_new_tokens=5, temperature=0, batch_rows=4, prompt_buckets=(8,)
)


def _grid(hosts, shape):
    """Devices that know their host, in the order of a mesh of this shape."""
    count = int(np.prod(shape))
    grid = np.empty(count, object)
    for at in range(count):
        grid[at] = types.SimpleNamespace(process_index=at * hosts // count)
    return grid.reshape(shape)


def test_replicas_of_hosts_and_slices_come_first():
    grid = _grid(4, (2, 8, 1, 1))
    assert placement.grouped(grid, "slice").shape == (2, 8, 1, 1)
    by_host = placement.grouped(grid, "host")
    assert by_host.shape == (4, 4, 1, 1)
    for host, devices in enumerate(by_host):
        assert {one.process_index for one in devices.flat} == {host}
    assert list(map(id, by_host.flat)) == list(map(id, grid.flat))


@pytest.mark.parametrize("shape", [(1, 1, 1, 8), (1, 2, 4, 1)])
def test_a_model_over_several_hosts_has_no_replica_on_one(shape):
    with pytest.raises(UserError, match="divided over several of the 4 hosts"):
        placement.grouped(_grid(4, shape), "host")


def test_a_replica_has_all_weights_and_gives_the_tokens_of_the_mesh(monkeypatch):
    mesh = make_mesh(MeshConfig(slice=2, fsdp=2, tensor=2))
    params = init_params(MODEL, RULES, mesh, jax.random.key(3))
    prompts, ids = [[5, 6, 7], [8], [9, 10, 11, 12]], ["a", "b", "c"]

    def made():
        engine = engine_lib.Engine(params, MODEL, RULES, mesh, DECODE, (), 64)
        return engine, engine.generate(prompts, ids, seed=0)

    engine, expected = made()
    assert (engine.replica, engine.replicas) == (0, 1)
    monkeypatch.setattr(
        engine_lib,
        "place",
        lambda params, model, rules, mesh, _: placement.replica(
            params, model, rules, mesh.devices, 1
        ),
    )
    engine, found = made()
    assert (engine.replica, engine.replicas, engine.leads) == (1, 2, True)
    used = {
        device
        for leaf in jax.tree.leaves(engine._params)
        for device in leaf.sharding.device_set
    }
    assert used == set(mesh.devices[1].flat)
    assert [one.tokens for one in found] == [one.tokens for one in expected]


def test_a_process_of_several_replicas_is_refused():
    mesh = make_mesh(MeshConfig(slice=2, fsdp=4))
    params = init_params(MODEL, RULES, mesh, jax.random.key(3))
    with pytest.raises(UserError, match="devices of 2 replicas"):
        placement.place(params, MODEL, RULES, mesh, "slice")
