"""Boxes: the parts of arrays that lie on one device, are read, or are written at once.

A box is a start and a stop for each dimension. What two boxes of one array have in
common is copied from one to the other, whatever the layouts in memory.
"""

import math
from collections.abc import Collection, Iterator, Sequence

import numpy as np

Box = tuple[tuple[int, int], ...]

_STRIP = 64
_APART = 16


def of(index: Sequence[slice], shape: Sequence[int]) -> Box:
    """The box of an index into an array, whose slices have steps of 1."""
    ranges = (part.indices(size) for part, size in zip(index, shape, strict=True))
    return tuple((start, stop) for start, stop, _ in ranges)


def lengths(box: Box) -> tuple[int, ...]:
    """A box's length in each dimension."""
    return tuple(stop - start for start, stop in box)


def hull(boxes: Collection[Box]) -> Box:
    """The smallest box that holds all of them."""
    return tuple(
        (min(start for start, _ in ranges), max(stop for _, stop in ranges))
        for ranges in zip(*boxes, strict=True)
    )


def common(one: Box, other: Box) -> Box | None:
    """What two boxes of one array have in common; None if that is nothing."""
    shared = tuple(
        (max(a, c), min(b, d)) for (a, b), (c, d) in zip(one, other, strict=True)
    )
    return shared if all(start < stop for start, stop in shared) else None


def joined(boxes: Collection[Box]) -> list[Box]:
    """Disjoint boxes as one, if together they fill a box; else as they are.

    Example: the halves of a matrix give the matrix, two opposite quarters themselves.
    """
    whole = hull(boxes)
    volumes = [math.prod(lengths(box)) for box in boxes]
    return [whole] if sum(volumes) == math.prod(lengths(whole)) else list(boxes)


def cut(box: Box, axis: int, step: int) -> Iterator[Box]:
    """A box in slices of at most `step` along an axis, in order."""
    start, stop = box[axis]
    for begin in range(start, stop, step):
        yield (*box[:axis], (begin, min(begin + step, stop)), *box[axis + 1 :])


def copy_common(
    target_box: Box, target: np.ndarray, source_box: Box, source: np.ndarray
) -> None:
    """Copies what two boxes of one array have in common, rounding to nearest even.

    Args:
      target_box: where `target` lies in the array.
      target: what is written to, of any layout and dtype.
      source_box: where `source` lies in the array.
      source: the numbers, of any layout and dtype.
    """
    shared = common(target_box, source_box)
    if shared:
        _fill(target[_within(shared, target_box)], source[_within(shared, source_box)])


def _within(box: Box, outer: Box) -> tuple[slice, ...]:
    return tuple(
        slice(start - origin, stop - origin)
        for (start, stop), (origin, _) in zip(box, outer, strict=True)
    )


def _fill(target: np.ndarray, source: np.ndarray) -> None:
    """`target[...] = source`, fast also where one is a transpose of the other.

    A transpose is copied in strips that are narrow along the target's fastest axis and
    go through a small array, where their numbers are converted in the source's order.
    Its rows lie a little further apart than they are long, so that those of a width
    that is a power of two do not all claim the same lines of the cache.
    """
    order = _slow_to_fast(source)
    across = order.index(_slow_to_fast(target)[-1])
    target, source = target.transpose(order), source.transpose(order)
    outer, rows, inner = np.split(np.array(source.shape), [across, across + 1])
    with np.errstate(over="ignore"):
        if not inner.size:
            np.copyto(target, source, casting="unsafe")
            return
        held = np.empty((_STRIP, inner.prod() + _APART), target.dtype)
        held = held[:, :-_APART].reshape(_STRIP, *inner)
        for place in np.ndindex(*outer):
            for start in range(0, int(rows[0]), _STRIP):
                index = (*place, slice(start, start + _STRIP))
                strip = held[: source[index].shape[0]]
                np.copyto(strip, source[index], casting="unsafe")
                _bits(target)[index] = _bits(strip)


def _bits(array: np.ndarray) -> np.ndarray:
    """The same memory as integers, which numpy copies faster than bfloat16."""
    return array.view(f"u{array.itemsize}")


def _slow_to_fast(array: np.ndarray) -> list[int]:
    return sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
