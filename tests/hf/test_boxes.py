"""Copying between layouts, held against numpy; boxes against plain index sets."""

import itertools

import ml_dtypes
import numpy as np
import pytest

from xinst_jax.hf import boxes

DTYPES = (np.float32, np.float16, ml_dtypes.bfloat16)


@pytest.mark.parametrize("source_dtype", DTYPES)
@pytest.mark.parametrize("target_dtype", DTYPES)
def test_every_pair_of_layouts_is_copied_as_numpy_does(source_dtype, target_dtype):
    rng = np.random.default_rng(0)
    sizes = (70, 3, 131)
    for made, wanted in itertools.product(itertools.permutations(range(3)), repeat=2):
        shape = [sizes[axis] for axis in made]
        source = rng.normal(size=shape).astype(source_dtype).transpose(np.argsort(made))
        target = np.zeros([sizes[axis] for axis in wanted], target_dtype)
        whole = tuple((0, size) for size in sizes)
        boxes.copy_common(whole, target.transpose(np.argsort(wanted)), whole, source)
        expected = source.astype(target_dtype).transpose(wanted)
        np.testing.assert_array_equal(target, expected)


@pytest.mark.parametrize("shape", [(5,), (1, 130), (130, 1), (1, 70, 1, 90)])
def test_axes_of_length_one_are_no_exception(shape):
    source = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    target = np.zeros(shape[::-1], np.float32)
    whole = tuple((0, size) for size in shape)
    boxes.copy_common(whole, target.T, whole, source)
    np.testing.assert_array_equal(target.T, source)


def test_only_what_two_boxes_have_in_common_is_copied():
    rng = np.random.default_rng(2)
    for _ in range(50):
        source_box, target_box = (
            tuple(tuple(sorted(rng.integers(0, 9, 2).tolist())) for _ in range(2))
            for _ in range(2)
        )
        array = rng.normal(size=(9, 9)).astype(np.float32)
        indices = [
            tuple(slice(*ends) for ends in box) for box in (source_box, target_box)
        ]
        expected = np.zeros_like(array)
        expected[indices[0]] = array[indices[0]]
        target = np.zeros(boxes.lengths(target_box), np.float32)
        boxes.copy_common(target_box, target, source_box, array[indices[0]])
        np.testing.assert_array_equal(target, expected[indices[1]])


def test_boxes_are_joined_only_if_they_leave_no_gap():
    left, right, corner = ((0, 4), (0, 2)), ((0, 4), (2, 6)), ((4, 8), (6, 9))
    assert boxes.joined([left, right]) == [((0, 4), (0, 6))]
    assert boxes.joined([left, corner]) == [left, corner]


def test_slices_of_a_box_follow_each_other():
    assert [*boxes.cut(((0, 2), (3, 10)), 1, 3)] == [
        ((0, 2), (3, 6)),
        ((0, 2), (6, 9)),
        ((0, 2), (9, 10)),
    ]
