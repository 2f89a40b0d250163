"""Where generation runs: a model over the mesh, or a replica on each host or slice."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from xinst_jax import distributed
from xinst_jax.config import ModelConfig
from xinst_jax.errors import UserError
from xinst_jax.mesh import AXES, ShardingRules
from xinst_jax.models.decoder import Params, compute_params


class Placed(NamedTuple):
    """The model on the devices that this process generates with.

    Attributes:
      params: the weights as inference multiplies them.
      mesh: the devices.
      replica: which of the replicas they hold.
      replicas: how many there are.
      leads: whether this process is the first of those that hold the replica.
    """

    params: Params
    mesh: Mesh
    replica: int
    replicas: int
    leads: bool


def place(
    params: Params, model: ModelConfig, rules: ShardingRules, mesh: Mesh, placement: str
) -> Placed:
    """The weights where they are used; called by all processes of a run together.

    Args:
      params: the weights, on `mesh`.
      model: the decoder's shape.
      rules: how arrays are divided.
      mesh: all devices of the run.
      placement: a value of `DecodeConfig.placement`.

    Raises:
      UserError: the devices of a host, or of a slice, cannot hold a whole replica.
    """
    if placement == "mesh":
        leads = distributed.is_primary()
        return Placed(compute_params(model, rules, mesh, params), mesh, 0, 1, leads)
    grid = grouped(mesh.devices, placement)
    own = [
        number
        for number, devices in enumerate(grid)
        if any(one.process_index == jax.process_index() for one in devices.flat)
    ]
    if len(own) != 1:
        raise UserError(
            f"DecodeConfig.placement = {placement!r}: this process has devices of "
            f"{len(own)} replicas and can work for one. Start a process for each, or "
            "set the placement to 'mesh'."
        )
    return replica(params, model, rules, grid, own[0])


def grouped(grid: np.ndarray, placement: str) -> np.ndarray:
    """A mesh's devices with its replicas along the first axis.

    Example: 2 slices of 8 devices on 2 hosts each, fsdp = 8, are a grid (2, 8, 1, 1);
    by slice they stay it, and by host they become (4, 4, 1, 1).

    Args:
      grid: the devices along `mesh.AXES`.
      placement: 'slice' or 'host'.

    Raises:
      UserError: sequence or tensor divide over several hosts.
    """
    if placement == "slice":
        return grid
    rows = grid.reshape(-1, *grid.shape[2:])
    hosts = [{device.process_index for device in row.flat} for row in rows]
    count = len(set.union(*hosts))
    if len(rows) % count == 0:
        by_host = rows.reshape(count, -1, *grid.shape[2:])
        if all(len({one.process_index for one in part.flat}) == 1 for part in by_host):
            return by_host
    raise UserError(
        "DecodeConfig.placement = 'host', but with MeshConfig(slice="
        f"{grid.shape[0]}, fsdp={grid.shape[1]}, sequence={grid.shape[2]}, tensor="
        f"{grid.shape[3]}) a model's weights are divided over several of the "
        f"{count} hosts. Make sequence and tensor smaller, or set it to 'mesh'."
    )


def replica_shape(mesh: Mesh, placement: str) -> Mapping[str, int]:
    """The size of each mesh axis on the devices that continue a row together.

    Example: on 8 hosts of 8 devices, fsdp = 64, a replica of 'host' has fsdp = 8.

    Args:
      mesh: all devices of the run.
      placement: a value of `DecodeConfig.placement`.

    Raises:
      UserError: sequence or tensor divide over several hosts.
    """
    if placement == "mesh":
        return mesh.shape
    return dict(
        zip(AXES, (1, *grouped(mesh.devices, placement).shape[1:]), strict=True)
    )


def replica(
    params: Params,
    model: ModelConfig,
    rules: ShardingRules,
    grid: np.ndarray,
    number: int,
) -> Placed:
    """One of the replicas, each of which has all weights divided over its devices.

    Args:
      params: the weights, anywhere on the grid's devices.
      model: the decoder's shape.
      rules: how arrays are divided.
      grid: the devices, replicas first.
      number: which one.
    """
    explicit = (jax.sharding.AxisType.Explicit,) * len(AXES)
    # Weights are not divided over the first axis: each replica gets all of them.
    everywhere = compute_params(model, rules, Mesh(grid, AXES, explicit), params)
    own = Mesh(grid[number : number + 1], AXES, explicit)
    devices = set(own.devices.flat)

    def here(leaf: jax.Array) -> jax.Array:
        assert isinstance(leaf.sharding, NamedSharding)
        parts = [one.data for one in leaf.addressable_shards if one.device in devices]
        sharding = NamedSharding(own, leaf.sharding.spec)
        return jax.make_array_from_single_device_arrays(leaf.shape, sharding, parts)

    holders = {device.process_index for device in devices}
    leads = jax.process_index() == min(holders)
    return Placed(jax.tree.map(here, everywhere), own, number, len(grid), leads)
