"""The attention of one new token a row over a cache, as a kernel for CPUs.

Compiled by Numba. A row's head is read once, in place and only as far as the row goes,
with the softmax kept up block by block (Milakov and Gimelshein, arXiv 1805.02867): XLA
would copy a block of the store before each product, for all rows as far as the longest.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numba
import numpy as np
from numba import types

from xinst_jax import numba_calls as calls
from xinst_jax.infer.cache import Store

_LOWEST = np.float32(-1e30)
_ZERO = np.float32(0)
_TINY = np.finfo(np.float32).tiny


def attend(
    store: Store,
    number: jax.Array,
    q_bkgh: jax.Array,
    last_b: jax.Array,
    window: int,
    soft_cap: float,
) -> jax.Array:
    """Contexts (B, K, G, H) float32 of the tokens at positions `last_b`, on one device.

    Args:
      store: keys and values, the tokens' own included.
      number: the block's number in the store.
      q_bkgh: queries in their K groups, scaled.
      last_b: int32; -1 sees nothing.
      window: tokens that a query sees; 0 sets no limit.
      soft_cap: of the scores; 0 leaves them.
    """
    dtype = store.k_lcbksh.dtype.name
    handler = {"float32": _float32, "bfloat16": _bfloat16, "int8": _int8}[dtype]
    rows, groups, *head = q_bkgh.shape
    context_igh = calls.computed(
        f"xinst_cache_attention_{dtype}",
        handler,
        rows * groups,
        head,
        (
            jnp.asarray(number, jnp.int32)[None],
            np.array([window], np.int32),
            np.array([soft_cap], np.float32),
            last_b,
            q_bkgh.astype(jnp.float32),
            *(array for array in store if array is not None),
        ),
    )
    return context_igh.reshape(q_bkgh.shape)


def _float32(frame: int) -> int:
    if not calls.asks_for_version(frame):
        _attend(frame, types.float32, False)
    return 0


def _bfloat16(frame: int) -> int:
    if not calls.asks_for_version(frame):
        _attend(frame, types.uint16, False)
    return 0


def _int8(frame: int) -> int:
    if not calls.asks_for_version(frame):
        _attend(frame, types.int8, True)
    return 0


@numba.njit(inline="always")
def _attend(frame: int, dtype: Any, scaled: bool) -> None:
    """Computes one call; bfloat16 comes as the uint16 of its bits."""
    first, parts = calls.array(calls.argument(frame, 0)[0], types.int32, (2,))
    number = calls.scalar(frame, 1, types.int32)
    window = calls.scalar(frame, 2, types.int32)
    soft_cap = calls.scalar(frame, 3, types.float32)
    last, _ = calls.argument(frame, 4)
    q, shape = calls.argument(frame, 5)
    rows, groups, queries, width = shape
    last_b = calls.array(last, types.int32, (rows,))
    q_bkgh = calls.array(q, types.float32, (rows, groups, queries, width))
    k, shape = calls.argument(frame, 6)
    v, _ = calls.argument(frame, 7)
    blocks, block = shape[1], shape[4]
    kept = shape[0], blocks, rows, groups, block, width
    k_lcbksh, v_lcbksh = calls.array(k, dtype, kept), calls.array(v, dtype, kept)
    # Of a store without scales nothing is read through these.
    k_scale, _ = calls.argument(frame, 8 if scaled else 6)
    v_scale, _ = calls.argument(frame, 9 if scaled else 7)
    k_scale_lcbks = calls.array(k_scale, types.float32, kept[:-1])
    v_scale_lcbks = calls.array(v_scale, types.float32, kept[:-1])
    context, shape = calls.result(frame, 0)
    context_igh = calls.array(context, types.float32, (shape[0], queries, width))

    weights_s = np.empty(block, np.float32)
    highest_c = np.empty(calls.COLUMNS, np.float32)
    highest_g, sum_g = np.empty(queries, np.float32), np.empty(queries, np.float32)
    for place in range(shape[0]):
        item = first + place * parts
        if item >= rows * groups:
            break
        row, group = item // groups, item % groups
        last, context_gh = last_b[row], context_igh[place]
        context_gh[:], highest_g[:], sum_g[:] = _ZERO, _LOWEST, _ZERO
        used = min(last + 1, blocks * block)
        for at in range((used + block - 1) // block):
            start = at * block
            seen = min(block, used - start)
            k_sh = k_lcbksh[number, at, row, group]
            v_sh = v_lcbksh[number, at, row, group]
            k_scale_s = k_scale_lcbks[number, at, row, group]
            v_scale_s = v_scale_lcbks[number, at, row, group]
            for query in range(queries):
                q_h, context_h = q_bkgh[row, group, query], context_gh[query]
                for s in range(seen):
                    score = _ZERO
                    for h in range(width):
                        score += q_h[h] * calls.wide(k_sh[s, h])
                    if scaled:
                        score *= k_scale_s[s]
                    if soft_cap:
                        score = soft_cap * np.tanh(score / soft_cap)
                    if window:
                        # The position in a column is the last that fell there.
                        age = (last - start - s) % (blocks * block)
                        score = score if age < window else _LOWEST
                    weights_s[s] = score
                highest = calls.highest(weights_s[:seen], highest_g[query], highest_c)
                if highest == _LOWEST:
                    continue
                shrink = calls.exp(highest_g[query] - highest)
                total = _ZERO
                for s in range(seen):
                    weights_s[s] = calls.exp(weights_s[s] - highest)
                    total += weights_s[s]
                highest_g[query], sum_g[query] = highest, sum_g[query] * shrink + total
                for h in range(width):
                    context_h[h] *= shrink
                for s in range(seen):
                    weight = weights_s[s]
                    if scaled:
                        weight *= v_scale_s[s]
                    for h in range(width):
                        context_h[h] += weight * calls.wide(v_sh[s, h])
        for query in range(queries):
            context_gh[query] /= max(sum_g[query], _TINY)
