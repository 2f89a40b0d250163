"""Blocks are visited where a query sees a key, and nowhere before or after."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.attention.test_kernels import packed
from xinst_jax.models.attention.blocks import visible
from xinst_jax.models.attention.masks import segment_mask

BLOCK = 16


def visited(segments_bt, window):
    found = visible(
        jnp.asarray(segments_bt), jnp.asarray(segments_bt), 0, window, BLOCK
    )
    return map(np.asarray, found)


def seen_blocks(segments_bt, window):
    """(B, T / block, T / block): whether any query of a block sees any key of one."""
    mask_bts = np.asarray(segment_mask(segments_bt, segments_bt, window))
    batch, length, _ = mask_bts.shape
    count = length // BLOCK
    return mask_bts.reshape(batch, count, BLOCK, count, BLOCK).any(axis=(2, 4))


def test_visits_begin_and_end_with_blocks_that_are_seen():
    *_, segments_bt, _ = packed(128, seed=3)
    first_bi, end_bi = visited(segments_bt, 0)
    seen_bij = seen_blocks(segments_bt, 0)
    assert not seen_bij.any(axis=2).all()
    for row, i in np.ndindex(first_bi.shape):
        (blocks,) = np.nonzero(seen_bij[row, i])
        if len(blocks):
            assert (first_bi[row, i], end_bi[row, i]) == (blocks[0], blocks[-1] + 1)
        else:
            assert first_bi[row, i] == end_bi[row, i]


@pytest.mark.parametrize("window", [1, 17, 40])
def test_a_window_and_ids_in_any_order_leave_out_no_block_that_is_seen(window):
    rng = np.random.default_rng(5)
    segments_bt = np.repeat(rng.integers(0, 4, (3, 16)), 8, axis=1).astype(np.int32)
    first_bi, end_bi = visited(segments_bt, window)
    for row, i, j in np.argwhere(seen_blocks(segments_bt, window)):
        assert first_bi[row, i] <= j < end_bi[row, i]
    reach = -(-(window - 1) // BLOCK) + 1
    assert (end_bi - first_bi <= reach).all()
