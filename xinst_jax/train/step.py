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
from xinst_jax.train import health as health_lib
from xinst_jax.train import lora, optim
from xinst_jax.train.loss import token_loss
from xinst_jax.train.state import TrainState

Batch: TypeAlias = dict[str, jax.Array]
"""Packed rows (B, T): int32 `tokens`, `targets` (the next token), `segment_ids` (0 is
padding) and `positions`; float32 `loss_weights`, what predicting the target counts."""

Metrics: TypeAlias = dict[str, jax.Array]
"""float32 scalars of one step: `loss` (per unit of weight), `weight` (response tokens),
`tokens`, `pairs` (of a query and a key that it sees, over all blocks: the work of
causal attention), `grad_norm` before clipping, `learning_rate`; `bad_steps` so far,
this one included, and `loss_limit`, above which it is one."""


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

    A bad step (`health.judge`) changes nothing but the counts of steps and of bad
    steps: neither parameters nor the optimizer's state, and so not the learning rate.
    Where the state has a moving average, it is one with `config.ema_decay`.
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

        if config.microbatches == 1:
            # The TPU compiler makes two bodies of a loop of one turn, and runs both.
            (loss, weight), grads = summed(state.params, frozen, batch)
        else:
            zero = jnp.zeros((), jnp.float32)
            none = (zero, zero, jax.tree.map(jnp.zeros_like, state.params))
            parts = _microbatches(batch, config.microbatches)
            (loss, weight, grads), _ = jax.lax.scan(add, none, parts)
        grads = jax.tree.map(lambda grad: grad / weight, grads)
        grad_norm = optax.global_norm(grads)
        bad, limit, health = health_lib.judge(
            state.health, state.step, loss / weight, grad_norm, config.max_loss_ratio
        )
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = state.ema
        if ema is not None:
            updates_made = state.step - state.health.bad_steps + 1
            ema = optim.moving_average(ema, params, config.ema_decay, updates_made)
        params, opt_state, ema = jax.tree.map(
            lambda before, after: jnp.where(bad, before, after),
            (state.params, state.opt_state, state.ema),
            (params, opt_state, ema),
        )
        metrics = {
            "loss": loss / weight,
            "weight": weight,
            **_counts(model, batch),
            "grad_norm": grad_norm,
            "learning_rate": schedule(state.step - state.health.bad_steps),
            "bad_steps": health.bad_steps.astype(jnp.float32),
            "loss_limit": limit,
        }
        return TrainState(state.step + 1, params, opt_state, health, ema), metrics

    return cast(TrainStep, jax.jit(step, donate_argnums=0))


class EvalStep(Protocol):
    """A jitted look at the loss."""

    def __call__(
        self,
        params: Params,
        batch: Batch,
        group_b: jax.Array,
        frozen: Params | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Sums of weighted loss and of weights, float32 (G,), a group of rows each.

        `group_b` is the group of each row, int32. `frozen` are the weights under the
        adapters, where `params` are adapters.
        """


@functools.cache
def make_eval_step(
    model: ModelConfig,
    rules: ShardingRules,
    config: TrainConfig,
    groups: int,
    targets_per_row: int | None = None,
) -> EvalStep:
    """The jitted loss of a batch by groups of rows, of the parameters as they are."""
    weighted = _weighted_losses(model, rules, config, targets_per_row)

    def step(
        params: Params,
        batch: Batch,
        group_b: jax.Array,
        frozen: Params | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        losses_bt = weighted(params, frozen, batch)
        in_group_bg = group_b[:, None] == jnp.arange(groups)

        def of_group(a_bt: jax.Array) -> jax.Array:
            a_b = jnp.sum(a_bt, axis=1)
            return jnp.sum(jnp.where(in_group_bg, a_b[:, None], 0), axis=0)

        return of_group(losses_bt), of_group(batch["loss_weights"])

    return jax.jit(step)


class LookStep(Protocol):
    """A jitted look at the loss of every target."""

    def __call__(
        self, params: Params, batch: Batch, frozen: Params | None = None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Weighted losses, weights and segment ids (B, T), whole on every device."""


@functools.cache
def make_look_step(
    model: ModelConfig,
    rules: ShardingRules,
    config: TrainConfig,
    targets_per_row: int | None = None,
) -> LookStep:
    """The jitted losses of a batch's targets, to find what a bad step read.

    It goes over the batch in the step's microbatches.
    """
    weighted = _weighted_losses(model, rules, config, targets_per_row)

    def step(
        params: Params, batch: Batch, frozen: Params | None = None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        if config.microbatches == 1:
            losses_bt = weighted(params, frozen, batch)
        else:
            parts = _microbatches(batch, config.microbatches)
            losses_nbt = jax.lax.map(lambda part: weighted(params, frozen, part), parts)
            losses_bt = _joined(losses_nbt)
        found = losses_bt, batch["loss_weights"], batch["segment_ids"]
        return jax.tree.map(lambda a_bt: jax.reshard(a_bt, jax.P(None, None)), found)

    return jax.jit(step)


def _weighted_losses(
    model: ModelConfig,
    rules: ShardingRules,
    config: TrainConfig,
    targets_per_row: int | None,
) -> Callable[[Params, Params | None, Batch], jax.Array]:
    """The terms (B, T) of a batch's loss: weight * -log p(target).

    The sum is linear in the weights, so that its derivative by a weight is the loss of
    that target; it costs no backward pass, for nothing else is differentiated.
    """
    summed = _loss_sum(model, rules, config, targets_per_row)

    def losses(params: Params, frozen: Params | None, batch: Batch) -> jax.Array:
        def total(weights_bt: jax.Array) -> jax.Array:
            return summed(params, frozen, {**batch, "loss_weights": weights_bt})[0]

        weights_bt = batch["loss_weights"]
        return jax.grad(total)(weights_bt) * weights_bt

    return losses


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


def _counts(model: ModelConfig, batch: Batch) -> Metrics:
    real_bt = batch["segment_ids"] > 0
    keys_bt = jnp.where(real_bt, batch["positions"] + 1, 0).astype(jnp.float32)
    windowed = sum(model.windowed_layers)
    return {
        "tokens": jnp.sum(real_bt, dtype=jnp.float32),
        "pairs": (model.num_layers - windowed) * jnp.sum(keys_bt)
        + windowed * jnp.sum(jnp.minimum(keys_bt, model.window)),
    }


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


def _joined(parts_nbt: jax.Array) -> jax.Array:
    """What was computed of each microbatch as (B, T), in the batch's order of rows."""
    count, rows, length = parts_nbt.shape
    _, batch_axes, length_axes = jax.typeof(parts_nbt).sharding.spec
    return jnp.reshape(
        jnp.moveaxis(parts_nbt, 0, 1),
        (count * rows, length),
        out_sharding=jax.P(batch_axes, length_axes),
    )
