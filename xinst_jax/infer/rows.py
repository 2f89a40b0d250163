"""Prompts packed into the rows that prefill reads."""

import bisect
import dataclasses
from collections.abc import Sequence

import numpy as np

from xinst_jax.config import DecodeConfig, ModelConfig
from xinst_jax.errors import UserError
from xinst_jax.mesh import platform

_BLOCK = 64
"""Columns of the blocks of blockwise attention, which computes the same for a prompt
wherever it lies if it begins with one."""

_TPU_BLOCK = 128
"""Columns of which a TPU's kernel takes a multiple on each device that has a part of a
row; a row that lies whole on a device may be of any length."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of prompts.

    Attributes:
      width: columns, one of the widths that programs are compiled for.
      members: (prompt, first column) of each prompt in it.
    """

    width: int
    members: tuple[tuple[int, int], ...]


def buckets(decode: DecodeConfig, model: ModelConfig) -> tuple[int, ...]:
    """The prompt lengths configured, ascending, cut to what the model leaves for them.

    Raises:
      UserError: it leaves nothing.
    """
    longest = model.max_length - decode.max_new_tokens
    if longest < 1:
        raise UserError(
            f"DecodeConfig.max_new_tokens = {decode.max_new_tokens} leaves no room "
            f"for a prompt in ModelConfig.max_length = {model.max_length}."
        )
    return tuple(sorted({min(bucket, longest) for bucket in decode.prompt_buckets}))


def unit_of(parts: int) -> int:
    """Columns of which packed rows are a multiple, on the mesh that is set.

    Args:
      parts: devices that a row is divided over.
    """
    return parts * (_TPU_BLOCK if parts > 1 and platform() == "tpu" else _BLOCK)


def widths(
    decode: DecodeConfig, buckets: Sequence[int], parts: int
) -> tuple[tuple[int, ...], int]:
    """Widths of the rows that prefill reads, and at what columns prompts begin in them.

    Called under `jax.set_mesh`.

    Args:
      decode: how prompts are read.
      buckets: prompt lengths, ascending.
      parts: devices that a row is divided over.
    """
    unit = unit_of(parts)
    if buckets[-1] <= unit:
        # Each prompt is alone, in a row that is as wide for it every time.
        step = parts if unit == _BLOCK * parts else unit
        return tuple(sorted({-(-size // step) * step for size in buckets})), unit
    # Two units at least: shorter rows would be attended to by another kernel.
    found = {max(2, -(-size // unit)) * unit for size in buckets}
    if not decode.pack_prompts:
        return tuple(sorted(found)), 2**31
    widest = decode.prefill_columns // unit * unit
    return tuple(sorted(found | {max(*found, widest)})), unit


def packed(sizes: Sequence[int], widths: Sequence[int], unit: int) -> list[Row]:
    """Packs prompts, longest first, each into the fullest row that still holds it.

    Example: sizes (3, 6, 2), widths (4, 8) and unit 1 give rows of widths 8 and 4:
    prompts 1 and 2, at columns 0 and 6, then prompt 0.

    Args:
      sizes: tokens of each prompt, each at most the last width.
      widths: ascending; those above `unit` are multiples of it.
      unit: prompts begin at multiples of so many columns; one that is as long as the
        last width puts every prompt into a row of its own.

    Returns:
      The rows, widest first.
    """
    rows = []
    for members in best_fit(sizes, widths[-1], unit):
        last, start = members[-1]
        end = start + sizes[last]
        width = next(width for width in widths if end <= width)
        rows.append(Row(width, tuple(members)))
    return sorted(rows, key=lambda row: -row.width)


def best_fit(
    sizes: Sequence[int], length: int, unit: int = 1
) -> list[list[tuple[int, int]]]:
    """Rows of (number, first column): longest first, into the fullest row it fits.

    Example: sizes (3, 6, 2) and length 8 give [[(1, 0), (2, 6)], [(0, 0)]].

    Args:
      sizes: columns of each, at most `length`.
      length: columns of a row.
      unit: everything begins at multiples of so many columns.
    """
    rows: list[list[tuple[int, int]]] = []
    room: list[tuple[int, int]] = []  # (units left, row), ascending
    whole = -(-length // unit)
    for number in sorted(range(len(sizes)), key=lambda at: (-sizes[at], at)):
        units = max(1, -(-sizes[number] // unit))
        place = bisect.bisect_left(room, (units, -1))
        if place == len(room):
            left, row = whole, len(rows)
            rows.append([])
        else:
            left, row = room.pop(place)
        rows[row].append((number, (whole - left) * unit))
        bisect.insort(room, (left - units, row))
    return rows


def arrays(
    rows: Sequence[Row | None], prompts: Sequence[Sequence[int]], width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens, segment ids and positions of rows, each int32 (rows, width).

    Of every prompt all tokens but the last are written; None is a row of nothing.
    """
    shape = (len(rows), width)
    tokens_bt, segments_bt, positions_bt = (np.zeros(shape, np.int32) for _ in range(3))
    for place, row in enumerate(rows):
        for segment, (prompt, start) in enumerate(row.members if row else (), 1):
            read = prompts[prompt][:-1]
            here = slice(start, start + len(read))
            tokens_bt[place, here] = read
            segments_bt[place, here] = segment
            positions_bt[place, here] = np.arange(len(read))
    return tokens_bt, segments_bt, positions_bt
