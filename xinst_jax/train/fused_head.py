"""The output head and the loss in one: logits exist a chunk of tokens at a time.

Where a gradient is asked for, a chunk's part of it is computed while its logits are
there, as in Liger Kernel's fused linear cross entropy (Hsu et al., arXiv 2410.10989):
the backward pass has but to scale it. Devices work each on their own tokens; they
exchange the head once forward and its gradient once backward, and, where the vocabulary
is divided, three numbers a token and its hidden state's gradient.
"""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from xinst_jax.mesh import axis_names, platform
from xinst_jax.models.product import wide_product


@dataclasses.dataclass(frozen=True)
class Settings:
    """What does not depend on the arrays.

    Attributes:
      chunk: tokens whose logits a device holds at once.
      soft_cap: c, where a logit s becomes c * tanh(s / c); 0 leaves them.
      z_loss: the factor of log(Z)^2.
    """

    chunk: int
    soft_cap: float
    z_loss: float


class _Axes(NamedTuple):
    """The mesh axes that divide the arrays, each a tuple of names.

    Attributes:
      tokens: batch and length.
      vocab: rows of the head.
      embed: its width; gathered before it is multiplied.
    """

    tokens: tuple[str, ...]
    vocab: tuple[str, ...]
    embed: tuple[str, ...]


class _Tokens(NamedTuple):
    """Tokens of a device, or of a chunk of them: n in all."""

    x_nd: jax.Array
    targets_n: jax.Array
    weights_n: jax.Array


class _Gradients(NamedTuple):
    """Of the loss' sum: the head's and hidden states' (None if nobody asked), and the
    weights', which are the losses themselves."""

    table_vd: jax.Array | None
    x: jax.Array | None
    weights: jax.Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def loss(
    settings: Settings,
    table_vd: jax.Array,
    x_btd: jax.Array,
    targets_bt: jax.Array,
    weights_bt: jax.Array,
) -> jax.Array:
    """The sum of weight * (-log p(target) + z * log(Z)^2), a float32 scalar.

    Args:
      settings: how it is computed.
      table_vd: the head as it is kept; V and D may be divided.
      x_btd: hidden states, in the dtype to multiply in; B and T may be divided.
      targets_bt: int32, divided likewise.
      weights_bt: float32, likewise.
    """
    arrays = (table_vd, x_btd, targets_bt, weights_bt)
    specs, axes = _specs(arrays)

    def on_device(*local: jax.Array) -> jax.Array:
        table_vd, tokens = _gathered(axes, *local)

        def add(total: jax.Array, part: _Tokens) -> tuple[jax.Array, None]:
            loss_n, *_ = _scored(settings, axes, table_vd, part)
            return total + jnp.sum(loss_n * part.weights_n), None

        parts = _chunks(tokens, settings.chunk)
        total, _ = jax.lax.scan(add, jnp.zeros(()), parts)
        return jax.lax.psum(total, axes.tokens)

    return _over_mesh(on_device, specs, jax.P())(*arrays)


def _forward(
    settings: Settings, table: Any, x: Any, targets: Any, weights: Any
) -> tuple[jax.Array, _Gradients]:
    """The loss and its gradients, of a factor of 1; arguments tell what needs one."""
    arrays = (table.value, x.value, targets.value, weights.value)
    specs, axes = _specs(arrays)

    def on_device(*local: jax.Array) -> tuple[jax.Array, _Gradients]:
        table_vd, tokens = _gathered(axes, *local)

        def add(
            sums: tuple[jax.Array, jax.Array | None], part: _Tokens
        ) -> tuple[
            tuple[jax.Array, jax.Array | None], tuple[jax.Array | None, jax.Array]
        ]:
            total, grad_dv = sums
            grad_nd = None
            if not (x.perturbed or table.perturbed):
                loss_n, *_ = _scored(settings, axes, table_vd, part)
                return (total + jnp.sum(loss_n * part.weights_n), None), (None, loss_n)
            loss_n, grad_nv = _differentiated(settings, axes, table_vd, part)
            if x.perturbed:
                grad_nd = wide_product("nv,vd->nd", grad_nv, table_vd)
                grad_nd = jax.lax.psum(grad_nd, axes.vocab).astype(part.x_nd.dtype)
            if grad_dv is not None:
                grad_dv += _table_gradient(grad_nv, part.x_nd)
            total += jnp.sum(loss_n * part.weights_n)
            return (total, grad_dv), (grad_nd, loss_n)

        none = jnp.zeros(table_vd.T.shape, jnp.float32) if table.perturbed else None
        parts = _chunks(tokens, settings.chunk)
        start = jnp.zeros(()), none
        (total, grad_dv), (grad_cnd, loss_cn) = jax.lax.scan(add, start, parts)
        grad_vd = None
        if grad_dv is not None:
            if platform() == "cpu":
                # Turned along with a lone chunk's product it would be one that XLA:CPU
                # has no routine for in bfloat16.
                grad_dv = jax.lax.optimization_barrier(grad_dv)
            grad_vd = _reduced(axes, grad_dv.T).astype(table.value.dtype)
        rows = local[1].shape
        if grad_cnd is not None:
            grad_cnd = grad_cnd.reshape(-1, rows[2])[: rows[0] * rows[1]]
        grads = _Gradients(
            grad_vd,
            None if grad_cnd is None else grad_cnd.reshape(rows),
            loss_cn.reshape(-1)[: rows[0] * rows[1]].reshape(rows[:2]),
        )
        return jax.lax.psum(total, axes.tokens), grads

    of_gradients: Any = (
        specs[0] if table.perturbed else None,
        specs[1] if x.perturbed else None,
        specs[3],
    )
    out_specs = jax.P(), _Gradients(*of_gradients)
    return _over_mesh(on_device, specs, out_specs)(*arrays)


def _backward(
    settings: Settings, grads: _Gradients, factor: jax.Array | SymbolicZero
) -> tuple[jax.Array | None, jax.Array | None, None, jax.Array]:
    if isinstance(factor, SymbolicZero):
        factor = jnp.zeros(())
    scaled = jax.tree.map(lambda grad: grad * factor.astype(grad.dtype), grads)
    return scaled.table_vd, scaled.x, None, scaled.weights


loss.defvjp(_forward, _backward, symbolic_zeros=True)


def _specs(
    arrays: tuple[jax.Array, ...],
) -> tuple[tuple[jax.P, ...], _Axes]:
    """How head, hidden states, targets and weights are divided."""
    specs = tuple(jax.typeof(a).sharding.spec for a in arrays)
    (vocab, embed), (batch, length, _) = specs[:2]
    axes = _Axes(
        (*axis_names(batch), *axis_names(length)),
        axis_names(vocab),
        axis_names(embed),
    )
    return specs, axes


def _over_mesh(function: Any, in_specs: Any, out_specs: Any) -> Any:
    return jax.shard_map(
        function, in_specs=in_specs, out_specs=out_specs, check_vma=False
    )


def _gathered(
    axes: _Axes,
    table_vd: jax.Array,
    x_btd: jax.Array,
    targets_bt: jax.Array,
    weights_bt: jax.Array,
) -> tuple[jax.Array, _Tokens]:
    """The head's own rows in their whole width, and a device's tokens in one row.

    The cast comes first, so that devices exchange the narrower numbers.
    """
    table_vd = table_vd.astype(x_btd.dtype)
    if axes.embed:
        table_vd = jax.lax.all_gather(table_vd, axes.embed, axis=1, tiled=True)
    x_nd = x_btd.reshape(-1, x_btd.shape[2])
    return table_vd, _Tokens(x_nd, targets_bt.reshape(-1), weights_bt.reshape(-1))


def _table_gradient(grad_nv: jax.Array, x_nd: jax.Array) -> jax.Array:
    """The head's gradient (D, V) by a chunk's tokens, float32.

    XLA:CPU leaves a product that sums over its operands' first axis to a slow routine;
    over two axes it turns the smaller operand first and takes the fast one, twice as
    fast in bfloat16.
    """
    if platform() != "cpu" or len(x_nd) % 2:
        return wide_product("nd,nv->dv", x_nd, grad_nv)
    halves = (a.reshape(2, len(a) // 2, -1) for a in (x_nd, grad_nv))
    return wide_product("abd,abv->dv", *halves)


def _reduced(axes: _Axes, grad_vd: jax.Array) -> jax.Array:
    """A device's part of the head's gradient, summed over all devices' tokens."""
    others = [axis for axis in axes.tokens if axis not in axes.embed]
    grad_vd = jax.lax.psum(grad_vd, others)
    for axis in axes.embed:
        if axis in axes.tokens:
            grad_vd = jax.lax.psum_scatter(
                grad_vd, axis, scatter_dimension=1, tiled=True
            )
        else:
            width = grad_vd.shape[1] // jax.lax.axis_size(axis)
            first = jax.lax.axis_index(axis) * width
            grad_vd = jax.lax.dynamic_slice_in_dim(grad_vd, first, width, axis=1)
    return grad_vd


def _chunks(tokens: _Tokens, chunk: int) -> _Tokens:
    """Cut along a new leading axis into equal parts of at most `chunk` tokens.

    Example: 10 tokens and a chunk of 4 give 3 parts of 4, the last of two tokens and
    two without weight.
    """
    count = math.ceil(len(tokens.x_nd) / chunk)
    size = math.ceil(len(tokens.x_nd) / count)
    room = count * size - len(tokens.x_nd)

    def cut(a: jax.Array) -> jax.Array:
        filled = jnp.pad(a, [(0, room), *[(0, 0)] * (a.ndim - 1)]) if room else a
        return filled.reshape(count, size, *a.shape[1:])

    return jax.tree.map(cut, tokens)


def _scored(
    settings: Settings, axes: _Axes, table_vd: jax.Array, part: _Tokens
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """A chunk's losses, normalisers log(Z), own columns of logits, targets' places.

    A comparison finds the target's logit in place of a gather, since its column may be
    another device's.
    """
    logits_nv = wide_product("nd,vd->nv", part.x_nd, table_vd)
    if cap := settings.soft_cap:
        logits_nv = cap * jnp.tanh(logits_nv / cap)
    first = jax.lax.axis_index(axes.vocab) * len(table_vd) if axes.vocab else 0
    own_n1 = (part.targets_n - first)[:, None]
    target_nv = jax.lax.broadcasted_iota(jnp.int32, (1, len(table_vd)), 1) == own_n1
    most_n = jnp.max(logits_nv, axis=1)
    if axes.vocab:
        most_n = jax.lax.pmax(most_n, axes.vocab)
    sum_n, target_n = jax.lax.psum(
        (
            jnp.sum(jnp.exp(logits_nv - most_n[:, None]), axis=1),
            jnp.sum(jnp.where(target_nv, logits_nv, 0), axis=1),
        ),
        axes.vocab,
    )
    normaliser_n = most_n + jnp.log(sum_n)
    loss_n = normaliser_n - target_n + settings.z_loss * jnp.square(normaliser_n)
    return loss_n, normaliser_n, logits_nv, target_nv


def _differentiated(
    settings: Settings, axes: _Axes, table_vd: jax.Array, part: _Tokens
) -> tuple[jax.Array, jax.Array]:
    """A chunk's losses, and the gradient of their weighted sum in uncapped logits."""
    loss_n, normaliser_n, logits_nv, target_nv = _scored(settings, axes, table_vd, part)
    share_n = part.weights_n * (1 + 2 * settings.z_loss * normaliser_n)
    grad_nv = jnp.exp(logits_nv - normaliser_n[:, None]) * share_n[:, None]
    grad_nv -= jnp.where(target_nv, part.weights_n[:, None], 0)
    if cap := settings.soft_cap:
        grad_nv *= 1 - jnp.square(logits_nv / cap)
    return loss_n, grad_nv.astype(part.x_nd.dtype)
