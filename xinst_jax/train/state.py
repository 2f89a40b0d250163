"""What training carries from step to step."""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from xinst_jax.config import ModelConfig, TrainConfig
from xinst_jax.mesh import ShardingRules
from xinst_jax.models import decoder
from xinst_jax.models.decoder import Params
from xinst_jax.train import health as health_lib
from xinst_jax.train import lora, optim
from xinst_jax.train.health import Health


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """The whole state: with it and the data, the rest of a run is determined.

    Attributes:
      step: int32 scalar, steps made, bad ones too.
      params: what is trained: the model's parameters, or its adapters.
      opt_state: the optimizer's state; what belongs to a parameter is divided over the
        mesh like it.
      health: what tells a bad step.
      ema: float32, the exponential moving average of the parameters; None without.
    """

    step: jax.Array
    params: Params
    opt_state: optax.OptState
    health: Health
    ema: Params | None = None

    @property
    def final_params(self) -> Params:
        """What is evaluated and handed on: the average, if there is one."""
        return self.params if self.ema is None else self.ema


def init_state(
    params: Params,
    optimizer: optax.GradientTransformation,
    mesh: jax.sharding.Mesh,
    ema: bool = False,
) -> TrainState:
    """The state before the first step; `params` are used, not copied.

    Args:
      params: what is trained.
      optimizer: whose state it is.
      mesh: where it lives.
      ema: whether a moving average of the parameters is kept.
    """
    abstract = abstract_state(params, optimizer, mesh, ema)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    with jax.set_mesh(mesh):
        opt_state = jax.jit(optimizer.init, out_shardings=shardings.opt_state)(params)
        average = (
            jax.jit(_average, out_shardings=shardings.ema)(params) if ema else None
        )
    step, health = jax.device_put(
        (jnp.int32(0), health_lib.begin()), (shardings.step, shardings.health)
    )
    return TrainState(step, params, opt_state, health, average)


def abstract_state(
    params: Params,
    optimizer: optax.GradientTransformation,
    mesh: jax.sharding.Mesh,
    ema: bool = False,
) -> TrainState:
    """Shapes, dtypes and shardings of a state, every leaf with a NamedSharding.

    Args:
      params: the parameters, or their `jax.ShapeDtypeStruct`s with shardings.
      optimizer: whose state it is.
      mesh: where it lives.
      ema: whether a moving average of the parameters is kept.
    """

    def placed(leaf: jax.Array | jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        spec = jax.typeof(leaf).sharding.spec
        sharding = jax.sharding.NamedSharding(mesh, spec)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    def state(params: Params) -> TrainState:
        return TrainState(
            step=jnp.int32(0),
            params=params,
            opt_state=optimizer.init(params),
            health=health_lib.begin(),
            ema=_average(params) if ema else None,
        )

    with jax.set_mesh(mesh):
        return jax.tree.map(placed, jax.eval_shape(state, params))


def abstract_training(
    model: ModelConfig,
    rules: ShardingRules,
    mesh: jax.sharding.Mesh,
    config: TrainConfig,
) -> TrainState:
    """Shapes, dtypes and shardings of a training's state, of adapters or of weights.

    Raises:
      UserError: a weight, an adapter, or a microbatch of the training's rows does not
        divide over the mesh, or weights would be trained in a dtype that is too coarse.
    """
    config.check_precision(model.param_dtype)
    microbatch = (config.microbatch_rows, config.length)
    rules.divide(mesh.shape, microbatch, ("batch", "length"))
    if config.lora.rank:
        params = lora.abstract_adapters(model, rules, mesh, config.lora)
    else:
        params = decoder.abstract_params(model, rules, mesh)
    optimizer = optim.make_optimizer(config)
    return abstract_state(params, optimizer, mesh, ema=config.ema_decay > 0)


def _average(params: Params) -> Params:
    """An average of one: copies, so that it shares no memory with the parameters."""
    return jax.tree.map(lambda leaf: jnp.array(leaf, jnp.float32, copy=True), params)
