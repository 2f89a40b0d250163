"""The token-weighted loss of next-token prediction."""

from typing import Protocol

import jax
import jax.numpy as jnp

from xinst_jax.config import ModelConfig
from xinst_jax.train import fused_head


class Head(Protocol):
    """What the loss asks of a model: how it scores the next token.

    Attributes:
      config: its `final_soft_cap` bends the logits.
    """

    config: ModelConfig

    def head_table(self) -> jax.Array:
        """The output head (V, D) as it is kept: logits are x_btd times its rows."""


def token_loss(
    decoder: Head,
    x_btd: jax.Array,
    targets_bt: jax.Array,
    weights_bt: jax.Array,
    chunk: int,
    targets_per_row: int | None = None,
    z_loss: float = 0.0,
) -> tuple[jax.Array, jax.Array]:
    """Summed negative log-likelihood of the targets, and the sum of their weights.

    Logits of at most `chunk` tokens a device exist at once. Where a gradient is asked
    for, a chunk's part of it is computed while its logits are there, so that they are
    never computed twice; the head's gradient is summed in float32. Asked for the
    gradient by the weights alone, which are the tokens' losses, as evaluation does, it
    computes nothing but the losses.

    Where rows are known to have few targets with a weight, as the rater's one or two,
    logits are computed for these alone; but not where the length is divided over
    devices, which would have to exchange hidden states for it.

    The sums are not divided here: they add up over microbatches, and one division by
    the global weight follows.

    Args:
      decoder: gives the head; its vocabulary may be divided over devices.
      x_btd: final hidden states, in the dtype that logits' factors are rounded to.
      targets_bt: int32 ids of the tokens to predict.
      weights_bt: float32, what each prediction counts.
      chunk: tokens whose logits a device holds at once.
      targets_per_row: most targets of a row that have a weight; further ones would be
        left out of the loss. None for any number.
      z_loss: z, where weight * z * log(Z)^2 is added to a token's loss, Z being the sum
        of its exponentiated logits (Chowdhery et al., arXiv 2204.02311, section 5).

    Returns:
      float32 scalars (sum of weight * -log p(target), with z_loss, and the sum of
      weights).
    """
    batch_axes, length_axes = tuple(jax.typeof(x_btd).sharding.spec)[:2]
    weights_bt = jax.reshard(weights_bt, jax.P(batch_axes, length_axes))
    weight = jnp.sum(weights_bt)
    if targets_per_row and targets_per_row < _length_on_device(x_btd):
        x_btd, targets_bt, weights_bt = _weighted(
            x_btd, targets_bt, weights_bt, targets_per_row
        )
    targets_bt = jax.reshard(targets_bt, jax.P(batch_axes, length_axes))
    x_btd = jax.reshard(x_btd, jax.P(batch_axes, length_axes, None))
    settings = fused_head.Settings(chunk, decoder.config.final_soft_cap, z_loss)
    total = fused_head.loss(
        settings, decoder.head_table(), x_btd, targets_bt, weights_bt
    )
    return total, weight


def _length_on_device(x_btd: jax.Array) -> int:
    """Positions of a row if it is whole on a device, else 0."""
    length = jax.typeof(x_btd).sharding.shard_shape(x_btd.shape)[1]
    return length if length == x_btd.shape[1] else 0


def _weighted(
    x_btd: jax.Array, targets_bt: jax.Array, weights_bt: jax.Array, count: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The `count` positions of each row that come first when those with a weight do.

    Returns:
      Hidden states (B, count, D), targets and weights (B, count).
    """
    spec = tuple(jax.typeof(x_btd).sharding.spec)
    rows = jax.P(spec[0], None)
    place_bt = jnp.argsort(jax.reshard(weights_bt, rows) == 0, axis=1, stable=True)[
        :, :count
    ]

    def chosen(a: jax.Array) -> jax.Array:
        whole = jax.reshard(a, jax.P(spec[0], None, *spec[2 : a.ndim]))
        at = place_bt.reshape(*place_bt.shape, *[1] * (a.ndim - 2))
        taken = jnp.take_along_axis(whole, at, axis=1)
        return jax.reshard(taken, jax.P(*spec[: a.ndim]))

    return chosen(x_btd), chosen(targets_bt), chosen(weights_bt)
