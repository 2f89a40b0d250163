"""What training carries from step to step."""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from xinst_jax.mesh import replicated
from xinst_jax.models.decoder import Params


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """The whole state: with it and the data, the rest of a run is determined.

    Attributes:
      step: int32 scalar, updates made.
      params: what is trained: the model's parameters, or its adapters.
      opt_state: the optimizer's state; what belongs to a parameter is divided over the
        mesh like it.
    """

    step: jax.Array
    params: Params
    opt_state: optax.OptState


def init_state(
    params: Params, optimizer: optax.GradientTransformation, mesh: jax.sharding.Mesh
) -> TrainState:
    """The state before the first step; `params` are used, not copied."""
    abstract = abstract_state(params, optimizer, mesh)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract.opt_state)
    with jax.set_mesh(mesh):
        opt_state = jax.jit(optimizer.init, out_shardings=shardings)(params)
    step = jax.device_put(jnp.int32(0), replicated(mesh))
    return TrainState(step, params, opt_state)


def abstract_state(
    params: Params, optimizer: optax.GradientTransformation, mesh: jax.sharding.Mesh
) -> TrainState:
    """Shapes, dtypes and shardings of a state, every leaf with a NamedSharding.

    Args:
      params: the parameters, or their `jax.ShapeDtypeStruct`s with shardings.
      optimizer: whose state it is.
      mesh: where it lives.
    """

    def placed(leaf: jax.Array | jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        spec = jax.typeof(leaf).sharding.spec
        sharding = jax.sharding.NamedSharding(mesh, spec)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    def state(params: Params) -> TrainState:
        return TrainState(jnp.int32(0), params, optimizer.init(params))

    with jax.set_mesh(mesh):
        return jax.tree.map(placed, jax.eval_shape(state, params))
