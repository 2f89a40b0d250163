"""Fused attention for NVIDIA GPUs, over packed rows: Pallas, compiled by Triton.

Forward a kernel of our own, FlashAttention-2 (Dao, arXiv 2307.08691, algorithm 1) that
visits only the blocks of keys which a block of queries can see anything of, and reads a
key head once for all query heads that share it. Under differentiation JAX's own,
`jax.experimental.pallas.ops.gpu.attention.mha`, which has a backward pass. Both know
segments and the diagonal, but neither windows nor soft caps.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as pallas_triton
from jax.experimental.pallas.ops.gpu import attention as pallas_attention

from xinst_jax.mesh import ShardingRules
from xinst_jax.models.attention.blocks import filled, visible
from xinst_jax.models.attention.masks import PackedRows
from xinst_jax.models.layers import leading_spec

_KEYS = 64
"""Keys that a program reads at once."""

_BLOCK = 64
"""Queries, and keys, of a block under differentiation."""

_LOWEST = -1e30
"""Score of a key that is not seen: finite, so that differences are numbers."""


def triton_attention(
    q_bnth: jax.Array,
    k_bksh: jax.Array,
    v_bksh: jax.Array,
    seen: PackedRows,
    rules: ShardingRules,
    *,
    scale: float,
    soft_cap: float = 0.0,
    interpret: bool = False,
) -> jax.Array:
    """Causal attention over packed rows, equal to `dense_attention` under their mask.

    What padding gives nobody reads.

    Args:
      q_bnth: queries, on each device whole along T.
      k_bksh: keys, as long as the queries.
      v_bksh: values, likewise.
      seen: what the queries see, without a window.
      rules: how arrays are divided.
      scale: what scores are multiplied by.
      soft_cap: 0.
      interpret: runs the kernels' programs in JAX operations, on any device.

    Returns:
      Contexts (B, N, T, H) in the queries' dtype.
    """
    assert not soft_cap
    rows, heads, length, width = leading_spec(q_bnth, 4)
    q_spec = jax.P(rows, heads, length, width)
    k_spec = jax.P(rows, rules.kv_heads, None, width)
    return jax.shard_map(
        functools.partial(_attention, scale, interpret),
        in_specs=(q_spec, k_spec, k_spec, jax.P(rows, None)),
        out_specs=q_spec,
        check_vma=False,
    )(q_bnth, k_bksh, v_bksh, seen.key_segments_bs)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _attention(
    scale: float,
    interpret: bool,
    q_bnth: jax.Array,
    k_bksh: jax.Array,
    v_bksh: jax.Array,
    segments_bs: jax.Array,
) -> jax.Array:
    """One device's contexts, as for `triton_attention`."""
    places, width = q_bnth.shape[2:]
    wide = pl.next_power_of_2(width)
    # What a program holds of queries and contexts must fit its registers.
    block = 128 if wide <= 128 else 64

    def blocks(a: jax.Array) -> jax.Array:
        return filled(filled(a, 2, block), 3, wide)

    q_bnth, k_bksh, v_bksh = blocks(q_bnth), blocks(k_bksh), blocks(v_bksh)
    segments_bs = filled(segments_bs, 1, block)
    first_bi, end_bi = visible(segments_bs, segments_bs, 0, 0, block)
    bounds = first_bi, end_bi, *_seen_whole(segments_bs, first_bi, block)
    batch, heads, length = q_bnth.shape[:3]
    shared = heads // k_bksh.shape[1]
    queries = pl.BlockSpec(
        (None, None, block, wide), lambda part, head, row: (row, head, part, 0)
    )
    keys = pl.BlockSpec(
        (None, None, length, wide), lambda part, head, row: (row, head // shared, 0, 0)
    )
    number = pl.BlockSpec((None, None), lambda part, head, row: (row, part))
    context_bnth = pl.pallas_call(
        functools.partial(_program, scale=scale),
        grid=(length // block, heads, batch),
        in_specs=[
            *[number] * len(bounds),
            pl.BlockSpec((None, length), lambda part, head, row: (row, 0)),
            queries,
            keys,
            keys,
        ],
        out_specs=queries,
        out_shape=jax.ShapeDtypeStruct(q_bnth.shape, q_bnth.dtype),
        # The fastest on an H200, for heads of 64 and of 128.
        compiler_params=pallas_triton.CompilerParams(
            num_warps=4 if wide <= 128 else 8, num_stages=3 if wide <= 64 else 2
        ),
        interpret=interpret,
        name="packed_attention",
    )(*bounds, segments_bs, q_bnth, k_bksh, v_bksh)
    return context_bnth[:, :, :places, :width]


def _seen_whole(
    segments_bs: jax.Array, first_bi: jax.Array, size: int
) -> tuple[jax.Array, jax.Array]:
    """First block of keys of which a block of queries sees all, and that past the last.

    Where such blocks do not lie side by side, which needs ids out of order, there are
    none: with a mask they give the same.

    Args:
      segments_bs: int32; 0 is padding.
      first_bi: the first block that is `visible`.
      size: queries, and keys, of a block.

    Returns:
      (B, S / size) int32 each; equal, and `first_bi`, where there are none.
    """
    ids_bis = segments_bs.reshape(len(segments_bs), -1, size)
    low_bi, high_bi = ids_bis.min(axis=-1), ids_bis.max(axis=-1)
    of_one_bi = (low_bi == high_bi) & (low_bi > 0)
    number_i = jnp.arange(ids_bis.shape[1])
    whole_bij = of_one_bi[:, :, None] & of_one_bi[:, None]
    whole_bij &= low_bi[:, :, None] == low_bi[:, None]
    whole_bij &= number_i[:, None] > number_i
    start_bi = jnp.where(whole_bij, number_i, len(number_i)).min(axis=-1)
    end_bi = jnp.where(whole_bij, number_i + 1, 0).max(axis=-1)
    adjoin_bi = end_bi - start_bi == whole_bij.sum(axis=-1)
    return jnp.where(adjoin_bi, start_bi, first_bi), jnp.where(
        adjoin_bi, end_bi, first_bi
    )


def _program(
    first_ref: Any,
    end_ref: Any,
    whole_ref: Any,
    whole_end_ref: Any,
    segments_ref: Any,
    q_ref: Any,
    k_ref: Any,
    v_ref: Any,
    context_ref: Any,
    *,
    scale: float,
) -> None:
    """One head's block of queries, over the blocks of keys that it may see.

    Those from `whole_ref` to before `whole_end_ref` it sees whole: they need no mask.
    """
    q_th = q_ref[...]
    block = q_th.shape[0]
    start = pl.program_id(0) * block
    place_t = start + jnp.arange(block)
    segment_t = segments_ref[pl.ds(start, block)]
    # Powers of two are what the chip computes.
    scale *= math.log2(math.e)

    def add(
        masked: bool, number: jax.Array, sums: tuple[jax.Array, jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        context_th, highest_t, sum_t = sums
        keys = pl.ds(number * _KEYS, _KEYS)
        scores_ts = pallas_triton.dot(q_th, k_ref[keys, :].T)
        if masked:
            place_s = number * _KEYS + jnp.arange(_KEYS)
            seen_ts = segment_t[:, None] == segments_ref[keys][None, :]
            seen_ts &= place_t[:, None] >= place_s[None, :]
            scores_ts = jnp.where(seen_ts, scores_ts, _LOWEST)
        higher_t = jnp.maximum(highest_t, scores_ts.max(axis=1))
        # Scaled after the difference: two scaled numbers of -1e30 may be rounded apart.
        weights_ts = jnp.exp2((scores_ts - higher_t[:, None]) * scale)
        shrink_t = jnp.exp2((highest_t - higher_t) * scale)
        more_th = pallas_triton.dot(weights_ts.astype(v_ref.dtype), v_ref[keys, :])
        context_th = context_th * shrink_t[:, None] + more_th
        return context_th, higher_t, sum_t * shrink_t + weights_ts.sum(axis=1)

    zero_th = jnp.zeros(q_th.shape, jnp.float32)
    zero_t = jnp.zeros(q_th.shape[:1], jnp.float32)
    sums, parts = (zero_th, zero_t + _LOWEST, zero_t), block // _KEYS
    for masked, from_ref, to_ref in (
        (True, first_ref, whole_ref),
        (False, whole_ref, whole_end_ref),
        (True, whole_end_ref, end_ref),
    ):
        sums = jax.lax.fori_loop(
            from_ref[...] * parts,
            to_ref[...] * parts,
            functools.partial(add, masked),
            sums,
        )
    context_th, _, sum_t = sums
    context_th /= jnp.maximum(sum_t, jnp.finfo(jnp.float32).tiny)[:, None]
    context_ref[...] = context_th.astype(context_ref.dtype)


def _forward(
    scale: float,
    interpret: bool,
    q_bnth: jax.Array,
    k_bksh: jax.Array,
    v_bksh: jax.Array,
    segments_bs: jax.Array,
) -> tuple[jax.Array, Any]:
    places, shared = q_bnth.shape[2], q_bnth.shape[1] // k_bksh.shape[1]

    def attend(q_bnth: jax.Array, k_bksh: jax.Array, v_bksh: jax.Array) -> jax.Array:
        heads = (q_bnth, *(jnp.repeat(a, shared, axis=1) for a in (k_bksh, v_bksh)))
        context_btnh = pallas_attention.mha(
            *(jnp.swapaxes(filled(a, 2, _BLOCK), 1, 2) for a in heads),
            filled(segments_bs, 1, _BLOCK),
            sm_scale=scale,
            causal=True,
            block_sizes=pallas_attention.BlockSizes(*[_BLOCK] * 6),
            interpret=interpret,
        )
        return jnp.swapaxes(context_btnh, 1, 2)[:, :, :places]

    return jax.vjp(attend, q_bnth, k_bksh, v_bksh)


def _backward(
    scale: float, interpret: bool, gradient: Any, grad_bnth: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, None]:
    return *gradient(grad_bnth), None


_attention.defvjp(_forward, _backward)
