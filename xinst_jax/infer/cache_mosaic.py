"""The attention of one new token a row over a cache, as kernels for TPUs.

Written in Pallas and compiled by Mosaic: one adds the tokens to the cache, the other
attends to it. Each reads and writes a slot in place, and the second only as far as the
slot goes. XLA's own programs hold the cache a second time, laid out for one of the two,
and copy it at the beginning and the end of every call.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pallas_tpu

from xinst_jax.infer.cache import Store

_LANES = 128

_TILE_BYTES = 32
"""Bytes of a lane in the smallest piece of memory that can be written."""

_MOST_BYTES = 2**20
"""Bytes of the keys that a program reads at once."""

_LOWEST = -1e30


def can_compute(store: Store) -> bool:
    """Whether the kernels compute a store of this shape."""
    return store.k_lcbksh.shape[-2] % _LANES == 0


def added(
    store: Store,
    number: jax.Array,
    position_b: jax.Array,
    tokens: Store,
    *,
    interpret: bool = False,
) -> Store:
    """The store with one token more in every row: `cache_attention.added`, in place.

    Args:
      store: its buffers are used up.
      number: as there; so the others.
      position_b: int32.
      tokens: keys and values, and their scales.
      interpret: runs the kernel's program in JAX operations, on any device.
    """
    _, blocks, batch, groups, block, width = store.k_lcbksh.shape
    tile = _TILE_BYTES // store.k_lcbksh.dtype.itemsize

    def new(*shape: int) -> pl.BlockSpec:
        return pl.BlockSpec(
            (None, groups, *shape), lambda row, *_: (row, 0, *(0 for _ in shape))
        )

    def old(*shape: int) -> pl.BlockSpec:
        """The piece of a row that its token falls into; a scale's is a whole block."""

        def at(row: Any, number_ref: Any, position_ref: Any) -> tuple[Any, ...]:
            position = position_ref[row]
            place = position // block % blocks
            part = () if len(shape) == 1 else (position % block // tile, 0)
            return number_ref[0], place, row, 0, *(part or (0,))

        return pl.BlockSpec((None, None, None, groups, *shape), at)

    specs = [(new(1, width), old(tile, width))] * 2 + [(new(1), old(block))] * 2
    arrays, new_arrays = jax.tree.leaves(store), jax.tree.leaves(tokens)
    specs = specs[: len(arrays)]
    made = pl.pallas_call(
        functools.partial(_add, arrays=len(arrays), block=block, tile=tile),
        grid_spec=pallas_tpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=2,
            grid=(batch,),
            in_specs=[*(new for new, _ in specs), *(old for _, old in specs)],
            out_specs=[old for _, old in specs],
        ),
        out_shape=[jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arrays],
        input_output_aliases={2 + len(arrays) + at: at for at in range(len(arrays))},
        interpret=interpret,
        name="cache_add",
    )(jnp.asarray(number, jnp.int32)[None], position_b, *new_arrays, *arrays)
    return jax.tree.unflatten(jax.tree.structure(store), made)


def _add(
    number_ref: Any,
    position_ref: Any,
    *refs: Any,
    arrays: int,
    block: int,
    tile: int,
) -> None:
    """One row's token, put among its neighbours."""
    column = position_ref[pl.program_id(0)] % block
    for at in range(arrays):
        new_ref, old_ref, made_ref = refs[at::arrays]
        old, axis = old_ref[...], old_ref.ndim - (2 if old_ref.ndim == 3 else 1)
        place = jax.lax.broadcasted_iota(jnp.int32, old.shape, axis)
        here = place == (column % tile if old.ndim == 3 else column)
        # Mosaic picks between numbers of 32 bits.
        wide = jnp.int32 if old.dtype == jnp.int8 else jnp.float32
        made = jnp.where(here, new_ref[...].astype(wide), old.astype(wide))
        made_ref[...] = made.astype(old.dtype)


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
    heads = _heads(groups, block * width * store.k_lcbksh.dtype.itemsize)

    def kept(*shape: int) -> pl.BlockSpec:
        """A block of a row; past the row's last the same again, which is not read."""

        def at(
            row: Any, part: Any, place: Any, number_ref: Any, last_ref: Any
        ) -> tuple[Any, ...]:
            used = jnp.clip(last_ref[row] + 1, 1, blocks * block)
            place = jnp.minimum(place, (used - 1) // block)
            return number_ref[0], place, row, part, *(0 for _ in shape)

        return pl.BlockSpec((None, None, None, heads, *shape), at)

    rows = pl.BlockSpec(
        (None, heads, queries, width), lambda row, part, *_: (row, part, 0, 0)
    )
    scales = () if store.k_scale_lcbks is None else store[2:]
    return pl.pallas_call(
        functools.partial(
            _attend,
            blocks=blocks,
            block=block,
            window=window,
            soft_cap=soft_cap,
            scaled=bool(scales),
        ),
        grid_spec=pallas_tpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=2,
            grid=(batch, groups // heads, blocks),
            in_specs=[rows, *[kept(block, width)] * 2, *[kept(block)] * len(scales)],
            out_specs=rows,
            scratch_shapes=[
                pallas_tpu.VMEM((heads, queries, last), jnp.float32)
                for last in (width, _LANES, _LANES)
            ],
        ),
        out_shape=jax.ShapeDtypeStruct(q_bkgh.shape, jnp.float32),
        compiler_params=pallas_tpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "arbitrary")
        ),
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


def _heads(groups: int, size: int) -> int:
    """Key heads of a program, of so many bytes each: all, or whole tiles of eight."""
    fit = [
        heads
        for heads in range(8, groups, 8)
        if groups % heads == 0 and heads * size <= _MOST_BYTES
    ]
    return groups if groups * size <= _MOST_BYTES or not fit else fit[-1]


def _attend(
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
    """Some of a slot's key heads over one block, after those before it."""
    *scale_refs, made_ref, context_ref, highest_ref, sum_ref = rest
    last, place = last_ref[pl.program_id(0)], pl.program_id(2)
    columns = blocks * block

    @pl.when(place == 0)
    def start() -> None:
        context_ref[...] = jnp.zeros(context_ref.shape, jnp.float32)
        highest_ref[...] = jnp.full(highest_ref.shape, _LOWEST, jnp.float32)
        sum_ref[...] = jnp.zeros(sum_ref.shape, jnp.float32)

    @pl.when(place * block <= jnp.minimum(last, columns - 1))
    def add() -> None:
        # The position in a column is the last that fell there.
        column_1s = place * block + jax.lax.broadcasted_iota(jnp.int32, (1, block), 1)
        age_1s = last % columns - column_1s
        age_1s = jnp.where(age_1s < 0, age_1s + columns, age_1s)
        seen_1s = age_1s <= last
        if window:
            seen_1s &= age_1s < window
        for head in range(q_ref.shape[0]):
            q_gh = q_ref[head]
            k_sh, v_sh = (ref[head].astype(q_gh.dtype) for ref in (k_ref, v_ref))
            scores_gs = _product(q_gh, k_sh, 1)
            if scaled:
                scores_gs *= scale_refs[0][pl.ds(head, 1), :]
            if soft_cap:
                scores_gs = soft_cap * jnp.tanh(scores_gs / soft_cap)
            scores_gs = jnp.where(seen_1s, scores_gs, _LOWEST)
            highest_g1 = highest_ref[head][:, :1]
            higher_g1 = jnp.maximum(highest_g1, scores_gs.max(axis=1, keepdims=True))
            weights_gs = jnp.exp(scores_gs - higher_g1)
            weights_gs = jnp.where(seen_1s, weights_gs, 0.0)
            shrink_g1 = jnp.exp(highest_g1 - higher_g1)
            sum_g1 = sum_ref[head][:, :1] * shrink_g1
            sum_g1 += weights_gs.sum(axis=1, keepdims=True)
            if scaled:
                weights_gs *= scale_refs[1][pl.ds(head, 1), :]
            more_gh = _product(weights_gs.astype(q_gh.dtype), v_sh, 0)
            context_ref[head] = context_ref[head] * shrink_g1 + more_gh
            for ref, new_g1 in ((highest_ref, higher_g1), (sum_ref, sum_g1)):
                ref[head] = jnp.broadcast_to(new_g1, ref.shape[1:])

    @pl.when(place == blocks - 1)
    def finish() -> None:
        tiny = jnp.finfo(jnp.float32).tiny
        made_ref[...] = context_ref[...] / jnp.maximum(sum_ref[...][..., :1], tiny)


def _product(x_gn: jax.Array, y: jax.Array, over: int) -> jax.Array:
    """Of rows and a matrix, over this dimension of the matrix; float32."""
    dims = (((1,), (over,)), ((), ()))
    return jax.lax.dot_general(x_gn, y, dims, preferred_element_type=jnp.float32)
