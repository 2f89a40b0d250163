"""Attention block by block, for devices without a kernel; linear memory in length.

Rabe and Staats, *Self-attention Does Not Need O(n^2) Memory*, arXiv 2112.05682; the
backward pass from the logarithm of each query's normaliser as in FlashAttention-2, Dao,
arXiv 2307.08691, algorithm 2. A device works through its rows and, in a row, through
blocks of queries; each visits the blocks of keys between the first and the last that it
can see anything of: nothing above the diagonal, nothing before its window, and in a
packed row little outside of its own segments.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from xinst_jax.mesh import ShardingRules, platform
from xinst_jax.models.attention import blockwise_numba
from xinst_jax.models.attention.blocks import Block, filled, visible
from xinst_jax.models.attention.masks import Branches, PackedRows, branch_mask
from xinst_jax.models.layers import CONTEXT, leading_spec
from xinst_jax.models.product import wide_product

_LOWEST = -1e30
"""Score of a key that is not seen: finite, so that differences are numbers."""


@dataclasses.dataclass(frozen=True)
class _Settings:
    """What does not depend on the arrays, as for `blockwise_attention`."""

    scale: float
    soft_cap: float
    block: int


class _Rows(NamedTuple):
    """Rows of one device, their lengths a multiple of the block.

    Attributes:
      q_bkgth: queries in their K groups, scaled.
      k_bksh: keys.
      v_bksh: values.
      query_segments_bt: int32; 0 is padding.
      key_segments_bs: int32; 0 is padding.
      start: int32, place of the first query among the keys.
      window: int32, tokens that a query sees at most; 0 sets no limit.
      branches: where segments fork.
    """

    q_bkgth: jax.Array
    k_bksh: jax.Array
    v_bksh: jax.Array
    query_segments_bt: jax.Array
    key_segments_bs: jax.Array
    start: jax.Array
    window: jax.Array
    branches: Branches | None

    def visible(self, block: int) -> tuple[jax.Array, jax.Array]:
        """See `blocks.visible`."""
        # Columns of a branch are further from the trunk's than its tokens are.
        window = self.window if self.branches is None else 0
        segments = self.query_segments_bt, self.key_segments_bs
        return visible(*segments, self.start, window, block)


_Sums = tuple[jax.Array, jax.Array, jax.Array]
_Residuals = tuple[_Rows, jax.Array, jax.Array]


def blockwise_attention(
    q_bnth: jax.Array,
    k_bksh: jax.Array,
    v_bksh: jax.Array,
    seen: PackedRows,
    rules: ShardingRules,
    *,
    scale: float,
    soft_cap: float = 0.0,
    block: int = 64,
) -> jax.Array:
    """Causal attention over packed rows, equal to `dense_attention` under their mask.

    The N query heads fall into K groups that share a key/value head, which is never
    repeated. Scores, softmax and sums are float32. A query that sees nothing gives 0.

    Args:
      q_bnth: queries, as `rules` divide them.
      k_bksh: keys, not divided along S, which is as long as all queries of a row.
      v_bksh: values, likewise.
      seen: what the queries see.
      rules: how arrays are divided.
      scale: what scores are multiplied by.
      soft_cap: c, where a score s becomes c * tanh(s / c); 0 leaves them.
      block: queries, and keys, of a block.

    Returns:
      Contexts (B, N, T, H) in the queries' dtype.
    """
    settings = _Settings(scale, soft_cap, min(block, k_bksh.shape[2]))
    rows, heads, length, width = leading_spec(q_bnth, 4)
    q_spec = jax.P(rows, heads, length, width)
    k_spec = jax.P(rows, rules.kv_heads, None, width)
    segments = jax.P(rows, length), jax.P(rows, None)
    # Specs in the arrays' places, as shard_map wants them.
    both: Any = (*segments, *segments)
    branches = None if seen.branches is None else Branches(*both)
    return jax.shard_map(
        functools.partial(_on_device, settings, length),
        in_specs=(q_spec, k_spec, k_spec, *segments, jax.P(), branches),
        out_specs=q_spec,
        check_vma=False,
    )(
        q_bnth,
        k_bksh,
        v_bksh,
        seen.query_segments_bt,
        seen.key_segments_bs,
        jnp.asarray(seen.window, jnp.int32),
        seen.branches,
    )


def _on_device(
    settings: _Settings,
    length_axes: str | tuple[str, ...] | None,
    q_bnth: jax.Array,
    k_bksh: jax.Array,
    v_bksh: jax.Array,
    query_segments_bt: jax.Array,
    key_segments_bs: jax.Array,
    window: jax.Array,
    branches: Branches | None,
) -> jax.Array:
    batch, heads, length, width = q_bnth.shape
    groups, block = k_bksh.shape[1], settings.block
    q_bkgth = q_bnth.reshape(batch, groups, heads // groups, length, width)
    start = jax.lax.axis_index(length_axes) * length if length_axes else 0
    rows = _Rows(
        filled(q_bkgth * jnp.asarray(settings.scale, q_bnth.dtype), 3, block),
        filled(k_bksh, 2, block),
        filled(v_bksh, 2, block),
        filled(query_segments_bt, 1, block),
        filled(key_segments_bs, 1, block),
        jnp.asarray(start, jnp.int32),
        window,
        jax.tree.map(lambda a: filled(a, 1, block), branches),
    )
    return _attend(settings, rows)[:, :, :, :length].reshape(q_bnth.shape)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(settings: _Settings, rows: _Rows) -> jax.Array:
    """Contexts (B, K, G, T, H)."""
    if (
        platform() == "cpu"
        and rows.branches is None
        and blockwise_numba.can_compute(rows.q_bkgth, settings.block)
    ):
        return blockwise_numba.attend(
            *rows[:5],
            rows.visible(settings.block),
            rows.start,
            rows.window,
            settings.soft_cap,
            settings.block,
        )
    return _forward(settings, rows)[0]


def _forward(settings: _Settings, rows: _Rows) -> tuple[jax.Array, _Residuals]:
    first_bi, end_bi = rows.visible(settings.block)
    count = first_bi.shape[1]

    def visit(
        step: jax.Array, made: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        row, i = step // count, step % count
        queries = Block(row, i, settings.block)
        q_1kgth = queries.of(rows.q_bkgth, 3)

        def add(j: jax.Array, sums: _Sums) -> _Sums:
            keys = Block(row, j, settings.block)
            return _more_keys(settings, rows, queries, keys, q_1kgth, sums)

        zero_1kgth = jnp.zeros(q_1kgth.shape, jnp.float32)
        zero_1kgt = zero_1kgth[..., 0]
        # Above the score of a key that is not seen, which so weighs nothing.
        start = zero_1kgth, zero_1kgt + _LOWEST / 2, zero_1kgt
        context_1kgth, highest_1kgt, sum_1kgt = jax.lax.fori_loop(
            first_bi[row, i], end_bi[row, i], add, start
        )
        sum_1kgt = jnp.maximum(sum_1kgt, jnp.finfo(jnp.float32).tiny)
        normaliser_1kgt = highest_1kgt + jnp.log(sum_1kgt)
        return (
            queries.put(made[0], context_1kgth / sum_1kgt[..., None], 3),
            queries.put(made[1], normaliser_1kgt, 3),
        )

    empty = jnp.zeros(rows.q_bkgth.shape[:4], jnp.float32)
    made = jax.lax.fori_loop(
        0, first_bi.size, visit, (jnp.zeros_like(rows.q_bkgth), empty)
    )
    context_bkgth, normaliser_bkgt = (checkpoint_name(one, CONTEXT) for one in made)
    return context_bkgth, (rows, context_bkgth, normaliser_bkgt)


def _more_keys(
    settings: _Settings,
    rows: _Rows,
    queries: Block,
    keys: Block,
    q_1kgth: jax.Array,
    sums: _Sums,
) -> _Sums:
    """Contexts, highest scores and sums of weights, with one block of keys more."""
    context_1kgth, highest_1kgt, sum_1kgt = sums
    scores_1kgts, _ = _scores(settings, rows, queries, keys, q_1kgth)
    higher_1kgt = jnp.maximum(highest_1kgt, scores_1kgts.max(axis=-1))
    weights_1kgts = jnp.exp(scores_1kgts - higher_1kgt[..., None])
    shrink_1kgt = jnp.exp(highest_1kgt - higher_1kgt)
    more_1kgth = wide_product(
        "bkgts,bksh->bkgth",
        weights_1kgts.astype(q_1kgth.dtype),
        keys.of(rows.v_bksh, 2),
    )
    return (
        context_1kgth * shrink_1kgt[..., None] + more_1kgth,
        higher_1kgt,
        sum_1kgt * shrink_1kgt + weights_1kgts.sum(axis=-1),
    )


def _backward(
    settings: _Settings, residuals: _Residuals, grad_bkgth: jax.Array
) -> tuple[_Rows]:
    rows, context_bkgth, normaliser_bkgt = residuals
    first_bi, end_bi = rows.visible(settings.block)
    count = first_bi.shape[1]

    def visit(step: jax.Array, grads: _Sums) -> _Sums:
        row, i = step // count, step % count
        queries = Block(row, i, settings.block)
        q_1kgth, grad_1kgth = queries.of(rows.q_bkgth, 3), queries.of(grad_bkgth, 3)
        context_1kgth = queries.of(context_bkgth, 3)
        share_1kgt = jnp.sum(
            grad_1kgth.astype(jnp.float32) * context_1kgth.astype(jnp.float32), axis=-1
        )
        parts = (q_1kgth, grad_1kgth, queries.of(normaliser_bkgt, 3), share_1kgt)

        def add(j: jax.Array, grads: _Sums) -> _Sums:
            keys = Block(row, j, settings.block)
            return _more_gradient(settings, rows, queries, keys, parts, grads)

        grad_q_bkgth, grad_k_bksh, grad_v_bksh = grads
        start = jnp.zeros(parts[0].shape, jnp.float32), grad_k_bksh, grad_v_bksh
        grad_q_1kgth, grad_k_bksh, grad_v_bksh = jax.lax.fori_loop(
            first_bi[row, i], end_bi[row, i], add, start
        )
        return queries.put(grad_q_bkgth, grad_q_1kgth, 3), grad_k_bksh, grad_v_bksh

    zero_bksh = jnp.zeros(rows.k_bksh.shape, jnp.float32)
    grad_q_bkgth, grad_k_bksh, grad_v_bksh = jax.lax.fori_loop(
        0, first_bi.size, visit, (jnp.zeros_like(rows.q_bkgth), zero_bksh, zero_bksh)
    )
    grads: dict[str, Any] = dict.fromkeys(rows._fields)
    grads["q_bkgth"] = grad_q_bkgth
    grads["k_bksh"] = grad_k_bksh.astype(rows.k_bksh.dtype)
    grads["v_bksh"] = grad_v_bksh.astype(rows.v_bksh.dtype)
    return (_Rows(**grads),)


_attend.defvjp(_forward, _backward)


def _more_gradient(
    settings: _Settings,
    rows: _Rows,
    queries: Block,
    keys: Block,
    parts: tuple[jax.Array, ...],
    grads: _Sums,
) -> _Sums:
    """Gradients of these queries, and of all keys and values, with one block more."""
    q_1kgth, grad_1kgth, normaliser_1kgt, share_1kgt = parts
    grad_q_1kgth, grad_k_bksh, grad_v_bksh = grads
    k_1ksh, v_1ksh = keys.of(rows.k_bksh, 2), keys.of(rows.v_bksh, 2)
    scores_1kgts, slope_1kgts = _scores(settings, rows, queries, keys, q_1kgth)
    # The normaliser of a query that sees nothing is as low as its scores.
    weights_1kgts = jnp.where(
        scores_1kgts > _LOWEST / 2,
        jnp.exp(scores_1kgts - normaliser_1kgt[..., None]),
        0,
    )
    toward_1kgts = wide_product("bkgth,bksh->bkgts", grad_1kgth, v_1ksh)
    toward_1kgts = weights_1kgts * (toward_1kgts - share_1kgt[..., None]) * slope_1kgts
    toward_1kgts = toward_1kgts.astype(q_1kgth.dtype)
    weights_1kgts = weights_1kgts.astype(q_1kgth.dtype)
    more_k_1ksh = wide_product("bkgts,bkgth->bksh", toward_1kgts, q_1kgth)
    more_v_1ksh = wide_product("bkgts,bkgth->bksh", weights_1kgts, grad_1kgth)
    return (
        grad_q_1kgth + wide_product("bkgts,bksh->bkgth", toward_1kgts, k_1ksh),
        keys.add(grad_k_bksh, more_k_1ksh, 2),
        keys.add(grad_v_bksh, more_v_1ksh, 2),
    )


def _scores(
    settings: _Settings, rows: _Rows, queries: Block, keys: Block, q_1kgth: jax.Array
) -> tuple[jax.Array, jax.Array | float]:
    """Masked scores of a block of queries and one of keys, and the soft cap's slope."""
    scores_1kgts = wide_product("bkgth,bksh->bkgts", q_1kgth, keys.of(rows.k_bksh, 2))
    slope: jax.Array | float = 1.0
    if cap := settings.soft_cap:
        bent_1kgts = jnp.tanh(scores_1kgts / cap)
        scores_1kgts, slope = cap * bent_1kgts, 1 - jnp.square(bent_1kgts)
    place_t = jnp.arange(settings.block)
    apart = rows.start + (queries.number - keys.number) * settings.block
    apart_ts = apart + place_t[:, None] - place_t
    near_ts = apart_ts >= 0
    if rows.branches is None:
        near_ts &= (rows.window == 0) | (apart_ts < rows.window)
    queries_1t = queries.of(rows.query_segments_bt, 1)
    keys_1s = keys.of(rows.key_segments_bs, 1)
    same_1ts = (queries_1t[:, :, None] == keys_1s[:, None]) & (keys_1s != 0)[:, None]
    seen_1ts = near_ts & same_1ts
    if rows.branches is not None:
        places = (queries, keys, queries, keys)
        here = (at.of(a, 1) for at, a in zip(places, rows.branches, strict=True))
        seen_1ts &= branch_mask(Branches(*here), rows.window)
    return jnp.where(seen_1ts[:, None, None], scores_1kgts, _LOWEST), slope
