"""What a query of a packed row sees."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Branches(NamedTuple):
    """Continuations of one text inside a segment, which do not see each other.

    Attributes:
      query_ids_bt: int32 branch of each query; 0 is the segment's trunk.
      key_ids_bs: int32 branch of each key: one of the trunk is seen from every branch.
      query_positions_bt: int32 position of each query; every branch goes on where the
        trunk ends, so that columns do not tell how far apart two tokens are.
      key_positions_bs: int32 position of each key.
    """

    query_ids_bt: jax.Array
    key_ids_bs: jax.Array
    query_positions_bt: jax.Array
    key_positions_bs: jax.Array


class PackedRows(NamedTuple):
    """What queries of packed rows see: earlier keys of their own segment, in a window.

    Attributes:
      query_segments_bt: int32 segment of each query; 0 is padding, which sees nothing.
      key_segments_bs: int32 segment of each key of the same rows, each row whole.
      window: tokens that a query sees at most, its own included; 0 sets no limit. An
        int32 scalar where the scan over blocks picks it.
      branches: where segments fork, those of the same tokens; else None.
    """

    query_segments_bt: jax.Array
    key_segments_bs: jax.Array
    window: jax.Array | int
    branches: Branches | None = None


def segment_mask(
    query_segments_bt: jax.Array,
    key_segments_bs: jax.Array,
    window: int = 0,
    branches: Branches | None = None,
) -> jax.Array:
    """Which keys a query of a packed row sees: earlier ones of its own segment.

    Args:
      query_segments_bt: int32 segment of each query; 0 is padding.
      key_segments_bs: int32 segment of each key of the same rows.
      window: tokens that a query sees at most, its own included; 0 sets no limit.
      branches: where segments fork.

    Returns:
      Booleans (B, T, S); a padding query sees nothing.
    """
    lengths = query_segments_bt.shape[1], key_segments_bs.shape[1]
    queries_t1, keys_1s = jnp.arange(lengths[0])[:, None], jnp.arange(lengths[1])[None]
    causal_ts = queries_t1 >= keys_1s
    if window and branches is None:
        causal_ts &= queries_t1 - keys_1s < window
    same_bts = query_segments_bt[:, :, None] == key_segments_bs[:, None]
    seen_bts = causal_ts & same_bts & (key_segments_bs != 0)[:, None]
    return seen_bts if branches is None else seen_bts & branch_mask(branches, window)


def branch_mask(branches: Branches, window: jax.Array | int) -> jax.Array:
    """Which keys a query's branch and window let it see: booleans (B, T, S).

    Example: columns of a trunk of two tokens and branches of two and one have ids
    0 0 1 1 2 and positions 0 1 2 3 2; the last sees columns 0, 1 and itself, and under
    a window of 2 only 1 and itself.
    """
    keys_b1s = branches.key_ids_bs[:, None]
    own_bts = (keys_b1s == 0) | (keys_b1s == branches.query_ids_bt[:, :, None])
    apart_bts = (
        branches.query_positions_bt[:, :, None] - branches.key_positions_bs[:, None]
    )
    return own_bts & ((window == 0) | (apart_bts < window))
