"""Optimizers: their learning rate, what they decay, an average of what they give."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from xinst_jax.config import TrainConfig
from xinst_jax.models.decoder import Params


def learning_rate(config: TrainConfig) -> Callable[[jax.Array | int], jax.Array]:
    """The learning rate of the update that follows `count` others.

    A line from 0 up to the peak at update `warmup_steps`, or at the last one where
    there are fewer, then half a cosine down to `final_lr_share` of it at update `steps`
    (Loshchilov and Hutter, arXiv 1608.03983, equation 5, without restarts).
    """
    warmup = min(config.warmup_steps, config.steps)

    def schedule(count: jax.Array | int) -> jax.Array:
        update = jnp.asarray(count, jnp.float32) + 1
        rise = update / max(warmup, 1)
        rest = max(config.steps - warmup, 1)
        done = jnp.clip((update - warmup) / rest, 0, 1)
        low = config.final_lr_share
        fall = low + (1 - low) * 0.5 * (1 + jnp.cos(jnp.pi * done))
        return config.learning_rate * jnp.where(update < warmup, rise, fall)

    return schedule


@functools.cache
def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """What `config.optimizer` names, after clipping by the global norm.

    AdamW: Loshchilov and Hutter, arXiv 1711.05101.

    Adafactor: Shazeer and Stern, arXiv 1804.04235, with the changes of Zhai et al.,
    arXiv 2106.04560, section 3.4: no scale by the parameter, so that `learning_rate` is
    a step's size as it is AdamW's, and decay multiplied by it. No momentum. An array
    whose two longest axes are of 128 and more has of its second moment the means along
    each of the two, a column and a row of a matrix; another has it whole, as a query's
    (D, N, H) of narrow heads. Each block's, where blocks are stacked.
    """
    if config.optimizer == "adafactor":
        scaled = [
            _of_each_block(
                optax.chain(optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0))
            )
        ]
    else:
        scaled = [optax.scale_by_adam(config.b1, config.b2, mu_dtype=config.mu_dtype)]
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.chain(
            *scaled,
            optax.add_decayed_weights(config.weight_decay, mask=decayed),
            optax.scale_by_learning_rate(learning_rate(config)),
        ),
    )


def _of_each_block(
    transformation: optax.GradientTransformation,
) -> optax.GradientTransformation:
    """Treats each block's part of a stacked parameter as a parameter by itself."""

    def stacked(params: Params) -> optax.GradientTransformation:
        def label(path: tuple[jax.tree_util.DictKey, ...], leaf: jax.Array) -> str:
            return "stacked" if _axes(path, leaf).startswith("l") else "single"

        return optax.partition(
            {"stacked": _over_blocks(transformation), "single": transformation},
            jax.tree_util.tree_map_with_path(label, params),
        )

    def init(params: Params) -> optax.OptState:
        return stacked(params).init(params)

    def update(
        updates: Params, state: optax.OptState, params: Params | None = None
    ) -> tuple[Params, optax.OptState]:
        return stacked(updates).update(updates, state, params)

    return optax.GradientTransformation(init, update)


def _over_blocks(
    transformation: optax.GradientTransformation,
) -> optax.GradientTransformation:
    return optax.GradientTransformation(
        jax.vmap(transformation.init), jax.vmap(transformation.update)
    )


def moving_average(
    average: Params, params: Params, decay: float, updates: jax.Array
) -> Params:
    """The exponential moving average of the parameters after each of `updates` updates.

    Parameters after update k have the weight `decay ** (updates - k)`, and the weights
    are divided by their sum: where the run began has none, as with Adam's bias
    correction (Kingma and Ba, arXiv 1412.6980, section 3).

    Args:
      average: float32, that after the update before; of no account at the first.
      params: after this update.
      decay: between 0 and 1.
      updates: int32 scalar, from 1.
    """
    rate = (1 - decay) / -jnp.expm1(updates * math.log(decay))
    return jax.tree.map(
        lambda old, new: old + rate * (new.astype(jnp.float32) - old), average, params
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
        matrix = len(_axes(path, leaf).replace("l", "")) >= 2
        return "bias" not in str(path[-1].key) and matrix

    return jax.tree_util.tree_map_with_path(decays, params)


def _axes(path: tuple[jax.tree_util.DictKey, ...], leaf: jax.Array) -> str:
    """The letters of a parameter's axes, from its name."""
    name = str(path[-1].key)
    axes = name.rpartition("_")[2]
    if len(axes) != leaf.ndim:
        raise ValueError(f"the parameter {name} of rank {leaf.ndim} misnames it")
    return axes
