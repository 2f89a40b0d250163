"""Attention block by block without its gradient, as a kernel for CPUs.

Compiled by Numba; what `blockwise` computes otherwise, where XLA calls a library for
every product, maximum and sum of each pair of blocks.
"""

import jax
import jax.numpy as jnp
import numpy as np
from numba import types

from xinst_jax import numba_calls as calls

_LOWEST = np.float32(-1e30)
_ZERO = np.float32(0)
_TINY = np.finfo(np.float32).tiny


def can_compute(q_bkgth: jax.Array, block: int) -> bool:
    """Whether the kernel computes queries like these in blocks of this size."""
    whole = not (q_bkgth.shape[-1] % calls.COLUMNS or block % calls.COLUMNS)
    return whole and q_bkgth.dtype == jnp.float32


def attend(
    q_bkgth: jax.Array,
    k_bksh: jax.Array,
    v_bksh: jax.Array,
    query_segments_bt: jax.Array,
    key_segments_bs: jax.Array,
    range_bi: tuple[jax.Array, jax.Array],
    start: jax.Array,
    window: jax.Array,
    soft_cap: float,
    block: int,
) -> jax.Array:
    """Contexts (B, K, G, T, H) float32, on one device.

    Args:
      q_bkgth: float32 queries in their K groups, scaled.
      k_bksh: float32 keys.
      v_bksh: float32 values.
      query_segments_bt: int32; 0 is padding.
      key_segments_bs: int32; 0 is padding.
      range_bi: int32, first block of keys that a block of queries visits, and that past
        the last.
      start: int32, place of the first query among the keys.
      window: int32, tokens that a query sees; 0 sets no limit.
      soft_cap: of the scores; 0 leaves them.
      block: queries, and keys, of a block.
    """
    rows, groups, queries, length, width = q_bkgth.shape
    context_xgth = calls.computed(
        "xinst_blockwise_attention",
        _attend,
        rows * groups * (length // block),
        (queries, block, width),
        (
            jnp.stack([start, window]),
            np.array([soft_cap], np.float32),
            q_bkgth,
            k_bksh,
            v_bksh,
            query_segments_bt,
            key_segments_bs,
            *range_bi,
        ),
    )
    context_bkigth = context_xgth.reshape(rows, groups, -1, queries, block, width)
    return jnp.moveaxis(context_bkigth, 2, 3).reshape(q_bkgth.shape)


def _attend(frame: int) -> int:
    """Computes one call: contexts of blocks of queries of a key head."""
    if calls.asks_for_version(frame):
        return 0
    first, parts = calls.array(calls.argument(frame, 0)[0], types.int32, (2,))
    start, window = calls.array(calls.argument(frame, 1)[0], types.int32, (2,))
    soft_cap = calls.scalar(frame, 2, types.float32)
    q, shape = calls.argument(frame, 3)
    rows, groups, queries, length, width = shape
    k, shape = calls.argument(frame, 4)
    v, _ = calls.argument(frame, 5)
    keys = shape[2]
    segments, _ = calls.argument(frame, 6)
    query_segments_bt = calls.array(segments, types.int32, (rows, length))
    segments, _ = calls.argument(frame, 7)
    key_segments_bs = calls.array(segments, types.int32, (rows, keys))
    ranges, shape = calls.argument(frame, 8)
    count = shape[1]
    first_bi = calls.array(ranges, types.int32, (rows, count))
    end_bi = calls.array(calls.argument(frame, 9)[0], types.int32, (rows, count))
    block = length // count
    k_bksh = calls.array(k, types.float32, (rows, groups, keys, width))
    context, shape = calls.result(frame, 0)
    context_xgth = calls.array(
        context, types.float32, (shape[0], queries, block, width)
    )

    k_hs = np.empty((width, block), np.float32)
    scores_ts = np.empty((block, block), np.float32)
    highest_gt = np.empty((queries, block), np.float32)
    sum_gt = np.empty((queries, block), np.float32)
    highest_c = np.empty(calls.COLUMNS, np.float32)
    keys_at, scores_at = k_hs.ctypes.data, scores_ts.ctypes.data
    reach = window if window else np.int32(2**31 - 1)
    for place in range(shape[0]):
        item = first + place * parts
        if item >= rows * groups * count:
            break
        head, i = item // count, item % count
        row, group = head // groups, head % groups
        context_gth = context_xgth[place]
        context_gth[:], highest_gt[:], sum_gt[:] = _ZERO, _LOWEST / 2, _ZERO
        segments_t = query_segments_bt[row, i * block : (i + 1) * block]
        for j in range(first_bi[row, i], end_bi[row, i]):
            apart = start + (i - j) * block
            segments_s = key_segments_bs[row, j * block : (j + 1) * block]
            for h in range(width):
                for s in range(block):
                    k_hs[h, s] = k_bksh[row, group, j * block + s, h]
            values_at = v + 4 * (head * keys + j * block) * width
            for query in range(queries):
                queries_at = (
                    q + 4 * ((head * queries + query) * length + i * block) * width
                )
                contexts_at = context + 4 * (place * queries + query) * block * width
                scores_ts[:] = _ZERO
                calls.add_product(
                    scores_at,
                    block,
                    queries_at,
                    width,
                    keys_at,
                    block,
                    (block, block, width),
                )
                if soft_cap:
                    for t in range(block):
                        for s in range(block):
                            bent = np.tanh(scores_ts[t, s] / soft_cap)
                            scores_ts[t, s] = soft_cap * bent
                for t in range(block):
                    own = segments_t[t] if segments_t[t] else np.int32(-1)
                    for s in range(block):
                        age = apart + t - s
                        seen = (segments_s[s] == own) & (age >= 0) & (age < reach)
                        scores_ts[t, s] = scores_ts[t, s] if seen else _LOWEST
                    highest = calls.highest(
                        scores_ts[t], highest_gt[query, t], highest_c
                    )
                    shrink = calls.exp(highest_gt[query, t] - highest)
                    total = _ZERO
                    for s in range(block):
                        weight = calls.exp(scores_ts[t, s] - highest)
                        scores_ts[t, s] = weight
                        total += weight
                    highest_gt[query, t] = highest
                    sum_gt[query, t] = sum_gt[query, t] * shrink + total
                    for h in range(width):
                        context_gth[query, t, h] *= shrink
                calls.add_product(
                    contexts_at,
                    width,
                    scores_at,
                    block,
                    values_at,
                    width,
                    (block, width, block),
                )
        for query in range(queries):
            for t in range(block):
                context_gth[query, t] /= max(sum_gt[query, t], _TINY)
    return 0
