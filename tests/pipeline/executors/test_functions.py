"""A function in a file is the function, its arrays read where they lie."""

import functools

import numpy as np

from xinst_jax.pipeline.executors import functions


def add(arrays, number):
    return {name: array.sum() + number for name, array in arrays.items()}


def test_a_function_and_its_arrays_come_back_without_a_copy(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "bytes": rng.integers(0, 255, 1001, np.uint8),
        "long": rng.integers(0, 2**60, 77, np.uint64),
        "none": np.zeros(0, np.float32),
        "table": rng.normal(size=(13, 5)),
    }
    path = tmp_path / "function"
    with path.open("wb") as file:
        file.writelines(functions.parts(functools.partial(add, arrays)))
    read = functions.load(path)
    assert read(3) == add(arrays, 3)
    for name, array in read.args[0].items():
        np.testing.assert_array_equal(array, arrays[name])
        assert not array.flags.writeable and not array.flags.owndata
        assert array.ctypes.data % 8 == 0 or not array.size
