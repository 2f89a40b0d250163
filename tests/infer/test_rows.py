"""Packed prompts are all there, apart from each other, and waste little."""

import numpy as np
import pytest

from xinst_jax.config import DecodeConfig
from xinst_jax.infer import rows as rows_lib
from xinst_jax.infer.rows import Row, arrays, packed


@pytest.mark.parametrize("unit", [1, 64, 2**31])
def test_every_prompt_lies_once_in_a_row_at_a_multiple_of_the_unit(unit):
    rng = np.random.default_rng(0)
    sizes, widths = rng.integers(0, 513, 300).tolist(), (64, 128, 256, 512)
    rows = packed(sizes, widths, unit)
    seen = []
    for row in rows:
        assert row.width in widths
        ends = 0
        for prompt, start in row.members:
            assert start >= ends
            assert start % unit == 0
            ends = start + sizes[prompt]
            seen.append(prompt)
        assert row.width == min(width for width in widths if ends <= width)
    assert sorted(seen) == list(range(300))
    assert [row.width for row in rows] == sorted((r.width for r in rows), reverse=True)
    assert (max(len(row.members) for row in rows) == 1) == (unit == 2**31)


def test_the_example_of_the_docstring():
    rows = packed([3, 6, 2], (4, 8), 1)
    assert rows == [Row(8, ((1, 0), (2, 6))), Row(4, ((0, 0),))]


@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize("buckets", [(8, 24), (256, 1920)])
def test_a_divided_row_has_what_a_tpus_kernel_takes_on_each_device(
    monkeypatch, buckets, pack
):
    decode = DecodeConfig(prompt_buckets=buckets, pack_prompts=pack)
    monkeypatch.setattr(rows_lib, "platform", lambda: "tpu")
    for parts in (2, 4):
        widths, unit = rows_lib.widths(decode, buckets, parts)
        assert all(width % (128 * parts) == 0 for width in widths)
        assert unit % (128 * parts) == 0 or unit == 2**31
        assert widths[-1] >= buckets[-1]
    whole = rows_lib.widths(decode, buckets, 1)
    monkeypatch.setattr(rows_lib, "platform", lambda: "cpu")
    assert whole == rows_lib.widths(decode, buckets, 1)


def test_under_a_tenth_of_the_columns_is_padding_at_the_papers_lengths():
    # Documents of 300 to 2,000 characters and a template make prompts of about so many.
    sizes = np.random.default_rng(1).integers(300, 2001, 1024).tolist()
    rows = packed(sizes, (512, 1024, 1536, 2048), 64)
    columns = sum(row.width for row in rows)
    assert 1 - sum(sizes) / columns < 0.1
    alone = packed(sizes, (512, 1024, 1536, 2048), 2**31)
    assert columns < sum(row.width for row in alone)


def test_tokens_segments_and_positions_of_a_row():
    prompts = [[5, 6, 7, 8], [9, 1]]
    rows = [Row(8, ((0, 0), (1, 4))), None]
    tokens_bt, segments_bt, positions_bt = arrays(rows, prompts, 8)
    assert tokens_bt.tolist() == [[5, 6, 7, 0, 9, 0, 0, 0], [0] * 8]
    assert segments_bt.tolist() == [[1, 1, 1, 0, 2, 0, 0, 0], [0] * 8]
    assert positions_bt.tolist() == [[0, 1, 2, 0, 0, 0, 0, 0], [0] * 8]
