"""AdamW, its learning rate, and what it decays."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from xinst_jax.config import TrainConfig
from xinst_jax.models.decoder import Params


def learning_rate(config: TrainConfig) -> Callable[[jax.Array | int], jax.Array]:
    """The learning rate of the update that follows `count` others.

    A line from 0 up to the peak at update `warmup_steps`, then half a cosine down to
    `final_lr_share` of it at update `steps` (Loshchilov and Hutter, arXiv 1608.03983,
    equation 5, without restarts).
    """

    def schedule(count: jax.Array | int) -> jax.Array:
        update = jnp.asarray(count, jnp.float32) + 1
        rise = update / max(config.warmup_steps, 1)
        rest = max(config.steps - config.warmup_steps, 1)
        done = jnp.clip((update - config.warmup_steps) / rest, 0, 1)
        low = config.final_lr_share
        fall = low + (1 - low) * 0.5 * (1 + jnp.cos(jnp.pi * done))
        return config.learning_rate * jnp.where(
            update < config.warmup_steps, rise, fall
        )

    return schedule


@functools.cache
def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """AdamW after clipping by the global norm (Loshchilov and Hutter, 1711.05101)."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(
            learning_rate(config),
            b1=config.b1,
            b2=config.b2,
            weight_decay=config.weight_decay,
            mask=decayed,
        ),
    )


def decayed(params: Params) -> Params:
    """Which parameters decay: matrices; neither norms nor biases.

    The axes at the end of a parameter's name decide, not its rank: stacked over layers,
    the scales of a norm are a matrix to look at. `layers/mlp/gate_ldf` decays,
    `layers/mlp_norm/scale_ld` does not.

    Returns:
      A tree of booleans like `params`.

    Raises:
      ValueError: a name whose axes do not fit the array.
    """

    def decays(path: tuple[jax.tree_util.DictKey, ...], leaf: jax.Array) -> bool:
        name = str(path[-1].key)
        axes = name.rpartition("_")[2]
        if len(axes) != leaf.ndim:
            raise ValueError(f"the parameter {name} of rank {leaf.ndim} misnames it")
        return "bias" not in name and len(axes.replace("l", "")) >= 2

    return jax.tree_util.tree_map_with_path(decays, params)
