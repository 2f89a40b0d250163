"""The key/value cache of decode slots: its layout and its narrow formats.

A slot is a row of the cache. A token's column is a function of its position alone, so
that what a row computes does not depend on which slot it has, or since when. Blocks
that see everything keep every position; windowed ones a ring of their window's length.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from xinst_jax.config import ModelConfig
from xinst_jax.mesh import ShardingRules, platform

_BLOCK = 256
"""Columns that attention reads at once."""

_LANES = 128
"""Numbers at whose multiples a TPU's memory ends a head."""


class Store(NamedTuple):
    """Keys and values of the decoder's blocks of one kind.

    Columns are cut into C blocks of S, and what attention reads at once lies together:
    all slots of one block. A token's numbers do too, so that adding one is cheap.

    Attributes:
      k_lcbksh: rotated keys, in the cache's dtype.
      v_lcbksh: values.
      k_scale_lcbks: float32, what an int8 head's key is multiplied by; else None.
      v_scale_lcbks: the same of the values.
    """

    k_lcbksh: jax.Array
    v_lcbksh: jax.Array
    k_scale_lcbks: jax.Array | None
    v_scale_lcbks: jax.Array | None


class Cache(NamedTuple):
    """What all blocks keep; None where a model has no block of the kind."""

    full: Store | None
    windowed: Store | None


@dataclasses.dataclass(frozen=True)
class Layout:
    """The shape of a cache.

    Attributes:
      slots: rows B.
      columns: positions of a row, a multiple of `block`.
      ring: columns of a windowed block, a multiple of `block`; 0 without a window.
      block: columns S that attention reads at once.
      width: numbers H of a head, zeros that fill it up included.
      dtype: of keys and values.
    """

    slots: int
    columns: int
    ring: int
    block: int
    width: int
    dtype: str


def layout(model: ModelConfig, slots: int, positions: int, dtype: str) -> Layout:
    """The layout for rows of at most so many positions, on the mesh that is set.

    Args:
      model: the decoder's shape.
      slots: rows.
      positions: tokens of the longest row.
      dtype: 'compute' takes the model's compute dtype.
    """
    window = min(model.window or positions, positions)
    block = min(_BLOCK, window)
    return Layout(
        slots,
        -(-positions // block) * block,
        -(-window // block) * block if any(model.windowed_layers) else 0,
        block,
        # XLA:TPU would lay narrow heads out across, and anew for every kernel.
        -(-model.head_dim // _LANES) * _LANES
        if platform() == "tpu"
        else model.head_dim,
        model.compute_dtype if dtype == "compute" else dtype,
    )


def empty(model: ModelConfig, rules: ShardingRules, shape: Layout) -> Cache:
    """A cache of zeros, divided over the mesh that is set; called inside `jax.jit`."""
    windowed = sum(model.windowed_layers)

    def store(layers: int, columns: int) -> Store | None:
        if not layers:
            return None
        blocks, head = columns // shape.block, shape.width
        rows = (layers, blocks, shape.slots, model.num_kv_heads)

        def zeros(spec: Any, dtype: str, *widths: int) -> jax.Array | None:
            if spec is None:
                return None
            return jnp.zeros((*rows, *widths), dtype, out_sharding=spec)

        spec, heads = store_specs(rules, shape), (shape.block, head)
        k_lcbksh = zeros(spec.k_lcbksh, shape.dtype, *heads)
        v_lcbksh = zeros(spec.v_lcbksh, shape.dtype, *heads)
        assert k_lcbksh is not None and v_lcbksh is not None
        return Store(
            k_lcbksh,
            v_lcbksh,
            zeros(spec.k_scale_lcbks, "float32", shape.block),
            zeros(spec.v_scale_lcbks, "float32", shape.block),
        )

    return Cache(
        store(model.num_layers - windowed, shape.columns), store(windowed, shape.ring)
    )


def cache_specs(model: ModelConfig, rules: ShardingRules, shape: Layout) -> Cache:
    """How a cache is divided over the mesh: a `jax.P` in the place of each array."""
    flags, spec = model.windowed_layers, store_specs(rules, shape)
    return Cache(None if all(flags) else spec, spec if any(flags) else None)


def store_specs(rules: ShardingRules, shape: Layout) -> Store:
    """How a store is divided over the mesh: a `jax.P` in the place of each array."""
    rows = ("layers", None, "batch", "kv_heads", None)
    heads: Any = rules.spec(*rows, "head_dim")
    scale: Any = rules.spec(*rows) if shape.dtype == "int8" else None
    return Store(heads, heads, scale, scale)


def bytes_of(model: ModelConfig, shape: Layout) -> int:
    """Bytes of a cache, all devices together."""
    windowed = sum(model.windowed_layers)
    positions = (model.num_layers - windowed) * shape.columns + windowed * shape.ring
    width = {"int8": 1, "bfloat16": 2, "float32": 4}[shape.dtype]
    head = shape.width * width + (4 if shape.dtype == "int8" else 0)
    return 2 * shape.slots * positions * model.num_kv_heads * head


def kept(x: jax.Array, dtype: jnp.dtype) -> tuple[jax.Array, jax.Array]:
    """Keys or values (..., H) as a cache keeps them, and their scales (...) float32.

    In int8 every head of every position has a scale of its own, its largest magnitude
    over 127; in other dtypes the scale is 1.
    """
    if dtype != jnp.int8:
        return x.astype(dtype), jnp.ones(x.shape[:-1], jnp.float32)
    wide = x.astype(jnp.float32)
    scale = jnp.maximum(jnp.max(jnp.abs(wide), axis=-1), jnp.float32(1e-30)) / 127
    return jnp.round(wide / scale[..., None]).astype(jnp.int8), scale


def filled(x: jax.Array, width: int) -> jax.Array:
    """Heads (..., H) filled up with zeros to this width."""
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, width - x.shape[-1])])
