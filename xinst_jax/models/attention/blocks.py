"""Blocks of a row of an array, worked on in a loop, and which of them matter."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Block(NamedTuple):
    """The `number`-th block of `size` places along some axis of one row (axis 0).

    Attributes:
      row: int32 scalar.
      number: int32 scalar.
      size: places of a block.
    """

    row: jax.Array
    number: jax.Array
    size: int

    def of(self, a: jax.Array, axis: int) -> jax.Array:
        """This block of an array, the row's axis kept."""
        sizes = [1, *a.shape[1:]]
        sizes[axis] = self.size
        return jax.lax.dynamic_slice(a, self._start(a.ndim, axis), sizes)

    def put(self, a: jax.Array, part: jax.Array, axis: int) -> jax.Array:
        """The array with this block in place of its own."""
        part = part.astype(a.dtype)
        return jax.lax.dynamic_update_slice(a, part, self._start(a.ndim, axis))

    def add(self, a: jax.Array, part: jax.Array, axis: int) -> jax.Array:
        """The array with this block added to its own."""
        return self.put(a, self.of(a, axis) + part, axis)

    def _start(self, ndim: int, axis: int) -> list[jax.Array | int]:
        first = self.number * self.size
        return [self.row, *(first if at == axis else 0 for at in range(1, ndim))]


def filled(a: jax.Array, axis: int, size: int) -> jax.Array:
    """An array with zeros behind an axis, up to a multiple of a block's size."""
    room = -a.shape[axis] % size
    if not room:
        return a
    return jnp.pad(a, [(0, room if at == axis else 0) for at in range(a.ndim)])


def visible(
    query_segments_bt: jax.Array,
    key_segments_bs: jax.Array,
    start: jax.Array | int,
    window: jax.Array | int,
    size: int,
) -> tuple[jax.Array, jax.Array]:
    """First block of keys that each block of queries may see, and that past the last.

    Segments are compared by the range of their ids, which is exact where ids ascend
    along a row, and in any other order leaves no block out.

    Args:
      query_segments_bt: int32; 0 is padding.
      key_segments_bs: int32; 0 is padding.
      start: place of the first query among the keys.
      window: tokens that a query sees at most; 0 sets no limit.
      size: queries, and keys, of a block.

    Returns:
      (B, T / size) int32 each; equal where a block sees nothing.
    """
    low_bi, high_bi = _id_range(query_segments_bt, size)
    low_bj, high_bj = _id_range(key_segments_bs, size)
    may_bij = (low_bi[:, :, None] <= high_bj[:, None]) & (
        low_bj[:, None] <= high_bi[:, :, None]
    )
    number_j = jnp.arange(low_bj.shape[1])
    query_i1 = start + jnp.arange(low_bi.shape[1])[:, None] * size
    apart_ij = query_i1 - number_j * size
    may_bij &= apart_ij > -size
    may_bij &= (window == 0) | (apart_ij - size + 1 < window)
    first_bi = jnp.where(may_bij, number_j, len(number_j)).min(axis=-1)
    end_bi = jnp.where(may_bij, number_j + 1, 0).max(axis=-1)
    return first_bi, jnp.maximum(first_bi, end_bi)


def _id_range(segments_bt: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """Lowest and highest segment id of each block, padding left out."""
    ids = segments_bt.reshape(len(segments_bt), -1, size)
    most = jnp.iinfo(jnp.int32).max
    return jnp.where(ids > 0, ids, most).min(axis=-1), ids.max(axis=-1)
