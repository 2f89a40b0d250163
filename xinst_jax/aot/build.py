"""The real training step, traced and compiled for devices that need not be there."""

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding

from xinst_jax.aot import topology as topology_lib
from xinst_jax.aot.executed import executed_flops
from xinst_jax.aot.topology import Topology
from xinst_jax.config import MeshConfig, ModelConfig, TrainConfig
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import decoder
from xinst_jax.train import optim, state, step

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a training is laid out on a topology: all that its program depends on.

    Attributes:
      model: the decoder's shape, `remat` among it.
      train: the training.
      mesh: devices along each mesh axis.
      topology: the devices.
    """

    model: ModelConfig
    train: TrainConfig
    mesh: MeshConfig
    topology: Topology

    def devices_mesh(self) -> Mesh:
        """The mesh of the topology's devices.

        Raises:
          UserError: the sizes do not give the number of devices.
        """
        return make_mesh(self.mesh, topology_lib.devices(self.topology))


class TooLargeError(Exception):
    """The compiler found that the step does not fit a chip's memory.

    Attributes:
      needed: bytes that it would take, or its temporaries alone where these do not fit.
    """

    def __init__(self, needed: float):
        super().__init__(f"needs {needed / 2**30:.2f} GiB")
        self.needed = needed


@dataclasses.dataclass(frozen=True)
class Traced:
    """A step that was traced.

    Attributes:
      mesh: the devices it is for.
      step: the function as traced.
      flops: that a device executes in it, rematerialisation included.
    """

    mesh: Mesh
    step: jax.stages.Traced
    flops: float


@dataclasses.dataclass(frozen=True)
class Built:
    """A step that was compiled.

    Attributes:
      mesh: the devices it was compiled for.
      compiled: the program.
      flops: that a device executes in it, rematerialisation included.
    """

    mesh: Mesh
    compiled: jax.stages.Compiled
    flops: float


def trace(layout: Layout) -> Traced:
    """Traces the step that training runs.

    Raises:
      UserError: the layout does not divide over the devices.
    """
    mesh, rules = layout.devices_mesh(), ShardingRules()
    model, train = layout.model, layout.train
    with jax.set_mesh(mesh):
        arguments = _arguments(layout, mesh, rules)
        update: Any = step.make_train_step(
            model, rules, optim.make_optimizer(train), train
        )
        traced = update.trace(*arguments)
    return Traced(mesh, traced, executed_flops(traced.jaxpr.jaxpr))


def build(layout: Layout) -> Built:
    """Compiles the step that training runs; nothing is run.

    Raises:
      UserError: the layout does not divide over the devices.
      TooLargeError: the step does not fit.
    """
    traced = trace(layout)
    with jax.set_mesh(traced.mesh):
        return Built(traced.mesh, compiled(traced.step.lower()), traced.flops)


_NEEDED = (
    r"Used ([\d.]+)([KMGT]?) of [\d.]+[KMGT]? hbm",
    r"HLO temporaries \(([\d.]+)([KMGT]?)\) exceeds available HBM",
)
"""How libtpu tells what a program would take: all of it, or, where its temporaries
alone do not fit, those."""


def compiled(lowered: jax.stages.Lowered) -> jax.stages.Compiled:
    """Compiles a program.

    Raises:
      TooLargeError: it does not fit.
    """
    try:
        return lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        needed = needed_bytes(str(error))
        if needed is None:
            raise
        raise TooLargeError(needed) from error


def needed_bytes(message: str) -> float | None:
    """Bytes that a program takes at least, of a compiler's complaint about memory.

    Example: 'RESOURCE_EXHAUSTED: ... Used 18.25G of 15.75G hbm. ...' gives 18.25 GiB.

    Returns:
      None where it complains of something else.
    """
    if "RESOURCE_EXHAUSTED" not in message:
        return None
    found = (re.search(pattern, message) for pattern in _NEEDED)
    return next((float(at[1]) * _UNITS[at[2]] for at in found if at), None)


def _arguments(
    layout: Layout, mesh: Mesh, rules: ShardingRules
) -> tuple[state.TrainState, step.Batch, decoder.Params | None]:
    """State, batch and frozen weights: shapes, dtypes and shardings."""
    model, train = layout.model, layout.train
    current = state.abstract_training(model, rules, mesh, train)
    frozen: Any = None
    if train.lora.rank:
        frozen = decoder.abstract_compute_params(model, rules, mesh)
    rows = NamedSharding(mesh, rules.spec("batch", "length"))
    shape = (train.global_batch, train.length)
    dtypes = {
        "tokens": jnp.int32,
        "targets": jnp.int32,
        "segment_ids": jnp.int32,
        "positions": jnp.int32,
        "loss_weights": jnp.float32,
    }
    batch: Any = {
        name: jax.ShapeDtypeStruct(shape, dtype, sharding=rows)
        for name, dtype in dtypes.items()
    }
    return current, batch, frozen
