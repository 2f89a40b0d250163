"""The token-weighted loss of next-token prediction."""

import math
from typing import Protocol

import jax
import jax.numpy as jnp


class Head(Protocol):
    """What the loss asks of a model: scores of the next token."""

    def logits(self, x_btd: jax.Array) -> jax.Array:
        """Float32 scores (B, T, V) for hidden states (B, T, D)."""


def token_loss(
    decoder: Head,
    x_btd: jax.Array,
    targets_bt: jax.Array,
    weights_bt: jax.Array,
    chunk: int,
    targets_per_row: int | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Summed negative log-likelihood of the targets, and the sum of their weights.

    Logits of at most `chunk` tokens a device exist at once, forward and backward: the
    length is cut into chunks, and a chunk's logits are computed again for its gradient.
    A chunk takes every n-th position, so that a length divided over devices stays so.

    Where rows are known to have few targets with a weight, as the rater's one or two,
    logits are computed for these alone; but not where the length is divided over
    devices, which would have to exchange hidden states for it.

    The sums are not divided here: they add up over microbatches, and one division by
    the global weight follows.

    Args:
      decoder: gives logits; its vocabulary may be divided over devices.
      x_btd: final hidden states.
      targets_bt: int32 ids of the tokens to predict.
      weights_bt: float32, what each prediction counts.
      chunk: tokens whose logits a device holds at once; never less than one position
        of each of its rows.
      targets_per_row: most targets of a row that have a weight; further ones would be
        left out of the loss. None for any number.

    Returns:
      float32 scalars (sum of weight * -log p(target), sum of weights).
    """
    batch_axes, length_axes = tuple(jax.typeof(x_btd).sharding.spec)[:2]
    weights_bt = jax.reshard(weights_bt, jax.P(batch_axes, length_axes))
    weight = jnp.sum(weights_bt)
    if targets_per_row and targets_per_row < _length_on_device(x_btd):
        x_btd, targets_bt, weights_bt = _weighted(
            x_btd, targets_bt, weights_bt, targets_per_row
        )
    chunks = _chunks(x_btd, chunk)
    batch, length = targets_bt.shape

    def split(a: jax.Array) -> jax.Array:
        rest = tuple(jax.typeof(a).sharding.spec)[2:]
        parts = jnp.reshape(
            a,
            (batch, length // chunks, chunks, *a.shape[2:]),
            out_sharding=jax.P(batch_axes, length_axes, None, *rest),
        )
        return jnp.moveaxis(parts, 2, 0)

    def nll(part: tuple[jax.Array, jax.Array]) -> jax.Array:
        x_btd, targets_bt = part
        return _nll(decoder.logits(x_btd), targets_bt)

    parts = split(x_btd), split(jax.reshard(targets_bt, jax.P(batch_axes, length_axes)))
    nll_cbt = jax.lax.map(jax.checkpoint(nll, prevent_cse=False), parts)
    return jnp.sum(nll_cbt * split(weights_bt)), weight


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


def _nll(logits_btv: jax.Array, targets_bt: jax.Array) -> jax.Array:
    """Negative log-likelihood (B, T); a comparison in place of a gather, which a
    vocabulary divided over devices does not allow."""
    ids_btv = jax.lax.broadcasted_iota(jnp.int32, (1, 1, logits_btv.shape[2]), 2)
    chosen_btv = jnp.where(ids_btv == targets_bt[..., None], logits_btv, 0)
    return jax.nn.logsumexp(logits_btv, axis=-1) - jnp.sum(chosen_btv, axis=-1)


def _chunks(x_btd: jax.Array, chunk: int) -> int:
    """Into how many equal parts each device's share of the length is cut."""
    batch, length, _ = jax.typeof(x_btd).sharding.shard_shape(x_btd.shape)
    wanted = math.ceil(batch * length / chunk)
    return next(
        (n for n in range(wanted, length) if length % n == 0),
        length,
    )
