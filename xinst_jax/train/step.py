"""One update of the trained parameters, and one look at the loss."""

import functools
from collections.abc import Callable
from typing import Protocol, TypeAlias, cast

import jax
import jax.numpy as jnp
import optax

from xinst_jax.config import ModelConfig, TrainConfig
from xinst_jax.mesh import ShardingRules
from xinst_jax.models import decoder as decoder_lib
from xinst_jax.models.decoder import Params
from xinst_jax.train import lora, optim
from xinst_jax.train.loss import token_loss
from xinst_jax.train.state import TrainState

Batch: TypeAlias = dict[str, jax.Array]
"""Packed rows (B, T): int32 `tokens`, `targets` (the next token), `segment_ids` (0 is
padding) and `positions`; float32 `loss_weights`, what predicting the target counts."""

Metrics: TypeAlias = dict[str, jax.Array]
"""float32 scalars of one step: `loss` (per unit of weight), `weight` (response tokens),
`tokens`, `grad_norm` before clipping, `learning_rate`."""


class TrainStep(Protocol):
    """A jitted update."""

    def __call__(
        self, state: TrainState, batch: Batch, frozen: Params | None = None
    ) -> tuple[TrainState, Metrics]:
        """The state after the update of a batch, and the step's metrics.

        `frozen` are the weights under the adapters, where the state's parameters are
        adapters.
        """

    def _cache_size(self) -> int:
        """How often it was compiled."""


@functools.cache
def make_train_step(
    model: ModelConfig,
    rules: ShardingRules,
    optimizer: optax.GradientTransformation,
    config: TrainConfig,
    targets_per_row: int | None = None,
) -> TrainStep:
    """The jitted update; it takes over the state's memory.

    Asked for again it is the same function, so that the next training of an equal model
    in this process is not compiled anew.

    Loss, weight and gradient are summed over the microbatches and divided once by the
    weight of the whole global batch, so the result does not depend on how the batch is
    cut, nor on how its response tokens are spread over the parts. The metrics' learning
    rate is that of `optim.learning_rate(config)`. `targets_per_row` is as for
    `loss.token_loss`.
    """
    summed = jax.value_and_grad(
        _loss_sum(model, rules, config, targets_per_row, config.z_loss), has_aux=True
    )
    schedule = optim.learning_rate(config)

    def step(
        state: TrainState, batch: Batch, frozen: Params | None = None
    ) -> tuple[TrainState, Metrics]:
        def add(
            total: tuple[jax.Array, jax.Array, Params], microbatch: Batch
        ) -> tuple[tuple[jax.Array, jax.Array, Params], None]:
            (loss, weight), grads = summed(state.params, frozen, microbatch)
            return jax.tree.map(jnp.add, total, (loss, weight, grads)), None

        zero = jnp.zeros((), jnp.float32)
        none = (zero, zero, jax.tree.map(jnp.zeros_like, state.params))
        parts = _microbatches(batch, config.microbatches)
        (loss, weight, grads), _ = jax.lax.scan(add, none, parts)
        grads = jax.tree.map(lambda grad: grad / weight, grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {
            "loss": loss / weight,
            "weight": weight,
            "tokens": jnp.sum(batch["segment_ids"] > 0, dtype=jnp.float32),
            "grad_norm": optax.global_norm(grads),
            "learning_rate": schedule(state.step),
        }
        return TrainState(state.step + 1, params, opt_state), metrics

    return cast(TrainStep, jax.jit(step, donate_argnums=0))


class EvalStep(Protocol):
    """A jitted look at the loss."""

    def __call__(
        self, params: Params, batch: Batch, frozen: Params | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """(sum of weighted loss, sum of weights) of a batch, float32 scalars.

        `frozen` are the weights under the adapters, where `params` are adapters.
        """


@functools.cache
def make_eval_step(
    model: ModelConfig,
    rules: ShardingRules,
    config: TrainConfig,
    targets_per_row: int | None = None,
) -> EvalStep:
    """The jitted loss of a batch, of the parameters as they are."""
    summed = _loss_sum(model, rules, config, targets_per_row)

    def step(
        params: Params, batch: Batch, frozen: Params | None = None
    ) -> tuple[jax.Array, jax.Array]:
        return summed(params, frozen, batch)

    return jax.jit(step)


def _loss_sum(
    model: ModelConfig,
    rules: ShardingRules,
    config: TrainConfig,
    targets_per_row: int | None,
    z_loss: float = 0.0,
) -> Callable[[Params, Params | None, Batch], tuple[jax.Array, jax.Array]]:
    def loss_sum(
        params: Params, frozen: Params | None, batch: Batch
    ) -> tuple[jax.Array, jax.Array]:
        if frozen is None:
            decoder = decoder_lib.bind(model, rules, params)
        else:
            decoder = lora.bind(model, rules, config.lora, frozen, params)
        x_btd = decoder(batch["tokens"], batch["segment_ids"], batch["positions"])
        return token_loss(
            decoder,
            x_btd,
            batch["targets"],
            batch["loss_weights"],
            config.logit_chunk,
            targets_per_row,
            z_loss,
        )

    return loss_sum


def _microbatches(batch: Batch, count: int) -> Batch:
    """Cuts (B, T) into (count, B / count, T), the rows of each device among its own.

    Microbatch i takes every count-th row from i on, so nothing moves between devices.
    """

    def cut(a_bt: jax.Array) -> jax.Array:
        rows, length = a_bt.shape
        batch_axes, length_axes = jax.typeof(a_bt).sharding.spec
        parts = jnp.reshape(
            a_bt,
            (rows // count, count, length),
            out_sharding=jax.P(batch_axes, None, length_axes),
        )
        return jnp.moveaxis(parts, 1, 0)

    return jax.tree.map(cut, batch)
