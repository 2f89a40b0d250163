"""The attention of one new token a row over a cache, as a kernel for NVIDIA GPUs.

Written in Pallas and compiled by Triton. A program looks at one block of one slot's one
key head; what it finds is a part of a softmax, and the parts are joined afterwards, as
in flash-decoding (Dao et al., 2023). A slot is read only as far as it goes, and in
place: XLA would copy a block of the store before each product.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as pallas_triton

from xinst_jax.infer.cache import Store

_LEAST = 16
"""Rows of the smallest product that Triton knows."""

_STEP = 64
"""Columns that a program reads at once."""

_LOWEST = -1e30


def can_compute(store: Store) -> bool:
    """Whether the kernel computes a store of this shape: Triton's are powers of 2."""
    block, width = store.k_lcbksh.shape[-2:]
    return block % _STEP == 0 and width >= _LEAST and width & (width - 1) == 0


def attend(
    store: Store,
    number: jax.Array,
    q_bkgh: jax.Array,
    last_b: jax.Array,
    window: int,
    soft_cap: float,
    *,
    interpret: bool = False,
) -> jax.Array:
    """Contexts (B, K, G, H) float32 of the tokens at positions `last_b`, on one device.

    Args:
      store: keys and values, the tokens' own included.
      number: the block's number in the store.
      q_bkgh: queries in their K groups, scaled.
      last_b: int32; -1 sees nothing.
      window: tokens that a query sees; 0 sets no limit.
      soft_cap: of the scores; 0 leaves them.
      interpret: runs the kernel's program in JAX operations, on any device.
    """
    batch, groups, queries, width = q_bkgh.shape
    blocks, block = store.k_lcbksh.shape[1], store.k_lcbksh.shape[-2]
    rows = pl.next_power_of_2(max(queries, _LEAST))
    q_bkgh = jnp.pad(q_bkgh, ((0, 0), (0, 0), (0, rows - queries), (0, 0)))
    scales = () if store.k_scale_lcbks is None else store[2:]
    whole = pl.BlockSpec(memory_space=pl.ANY)

    def one(*shape: int) -> pl.BlockSpec:
        return pl.BlockSpec(
            (None, None, None, *shape),
            lambda row, group, place: (row, group, place, *(0 for _ in shape)),
        )

    def part(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((batch, groups, blocks, *shape), jnp.float32)

    context_bkcgh, highest_bkcg, sum_bkcg = pl.pallas_call(
        functools.partial(
            _program,
            blocks=blocks,
            block=block,
            window=window,
            soft_cap=soft_cap,
            scaled=bool(scales),
        ),
        grid=(batch, groups, blocks),
        in_specs=[
            whole,
            whole,
            pl.BlockSpec(
                (None, None, rows, width), lambda row, group, _: (row, group, 0, 0)
            ),
            *[whole] * (2 + len(scales)),
        ],
        out_specs=[one(rows, width), one(rows), one(rows)],
        out_shape=[part(rows, width), part(rows), part(rows)],
        compiler_params=pallas_triton.CompilerParams(num_warps=4, num_stages=3),
        interpret=interpret,
        name="cache_attention",
    )(
        jnp.asarray(number, jnp.int32)[None],
        last_b,
        q_bkgh,
        store.k_lcbksh,
        store.v_lcbksh,
        *scales,
    )
    share_bkcg = jnp.exp(highest_bkcg - highest_bkcg.max(axis=2, keepdims=True))
    sum_bkg = (sum_bkcg * share_bkcg).sum(axis=2)
    context_bkgh = (context_bkcgh * share_bkcg[..., None]).sum(axis=2)
    context_bkgh /= jnp.maximum(sum_bkg, jnp.finfo(jnp.float32).tiny)[..., None]
    return context_bkgh[:, :, :queries]


def _program(
    number_ref: Any,
    last_ref: Any,
    q_ref: Any,
    k_ref: Any,
    v_ref: Any,
    *rest: Any,
    blocks: int,
    block: int,
    window: int,
    soft_cap: float,
    scaled: bool,
) -> None:
    """One block of one slot's one key head: the part of its softmax."""
    *scale_refs, context_ref, highest_ref, sum_ref = rest
    row, group, place = (pl.program_id(axis) for axis in range(3))
    number, last = number_ref[0], last_ref[row]
    q_gh = q_ref[...]
    columns, start = blocks * block, place * block

    def add(
        step: jax.Array, sums: tuple[jax.Array, jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        context_gh, highest_g, sum_g = sums
        at = number, place, row, group, pl.ds(step * _STEP, _STEP)
        k_sh, v_sh = k_ref[*at, :].astype(q_gh.dtype), v_ref[*at, :].astype(q_gh.dtype)
        scores_gs = pallas_triton.dot(q_gh, k_sh.T)
        if scaled:
            scores_gs *= scale_refs[0][at][None, :]
        if soft_cap:
            scores_gs = soft_cap * jnp.tanh(scores_gs / soft_cap)
        # The position in a column is the last that fell there.
        column_s = start + step * _STEP + jnp.arange(_STEP)
        age_s = last - column_s
        age_s = jnp.where(age_s < 0, age_s + columns, age_s % columns)
        seen_s = age_s <= last
        if window:
            seen_s &= age_s < window
        scores_gs = jnp.where(seen_s[None, :], scores_gs, _LOWEST)
        higher_g = jnp.maximum(highest_g, scores_gs.max(axis=1))
        weights_gs = jnp.exp(scores_gs - higher_g[:, None])
        weights_gs = jnp.where(seen_s[None, :], weights_gs, 0.0)
        shrink_g = jnp.exp(highest_g - higher_g)
        sum_g = sum_g * shrink_g + weights_gs.sum(axis=1)
        if scaled:
            weights_gs *= scale_refs[1][at][None, :]
        more_gh = pallas_triton.dot(weights_gs.astype(q_gh.dtype), v_sh)
        return context_gh * shrink_g[:, None] + more_gh, higher_g, sum_g

    used = jnp.clip(jnp.minimum(last + 1, columns) - start, 0, block)
    zero_gh = jnp.zeros(q_gh.shape, jnp.float32)
    zero_g = jnp.zeros(q_gh.shape[:1], jnp.float32)
    context_ref[...], highest_ref[...], sum_ref[...] = jax.lax.fori_loop(
        0, (used + _STEP - 1) // _STEP, add, (zero_gh, zero_g + _LOWEST, zero_g)
    )
