"""Which tensor goes into which file; reading and damage are held in test_folder."""

import json

import huggingface_hub
import numpy as np
import pytest
import safetensors.numpy

from xinst_jax.errors import UserError
from xinst_jax.hf import safetensors as safetensors_lib


@pytest.mark.parametrize("limit", [1, 7, 20, 64, 1000])
def test_files_are_planned_as_the_hub_plans_them(limit):
    rng = np.random.default_rng(limit)
    tensors = {
        f"t{i}": np.zeros(n, np.uint8) for i, n in enumerate(rng.integers(1, 30, 9))
    }
    plan = huggingface_hub.split_state_dict_into_shards_factory(
        tensors,
        get_storage_size=lambda tensor: tensor.nbytes,
        get_storage_id=lambda tensor: None,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=limit,
    )
    sizes = {name: tensor.nbytes for name, tensor in tensors.items()}
    ours = safetensors_lib.plan_shards(sizes, limit)
    oversized = max(sizes.values()) > limit
    assert [name for names in ours.values() for name in names] == list(sizes)
    if not oversized:
        assert ours == plan.filename_to_tensors


def test_no_file_is_larger_than_asked_unless_it_is_one_tensor():
    sizes = {"a": 3, "b": 9, "c": 2, "d": 2, "e": 2}
    assert [*safetensors_lib.plan_shards(sizes, 4).values()] == [
        ["a"],
        ["b"],
        ["c", "d"],
        ["e"],
    ]


def test_an_index_names_every_tensors_file_and_the_totals():
    plan = safetensors_lib.plan_shards({"b": 4, "a": 4}, 4)
    assert safetensors_lib.index_record(plan, {"b": 4, "a": 4}, 2) == {
        "metadata": {"total_parameters": 2, "total_size": 8},
        "weight_map": {
            "a": "model-00002-of-00002.safetensors",
            "b": "model-00001-of-00002.safetensors",
        },
    }


def test_slices_are_read_across_shards(tmp_path):
    rng = np.random.default_rng(0)
    tensors = {name: rng.normal(size=(5, 6)).astype(np.float32) for name in "ab"}
    plan = safetensors_lib.plan_shards(dict.fromkeys(tensors, 120), 120)
    for file, names in plan.items():
        part = {name: tensors[name].T for name in names}
        safetensors_lib.write_file(tmp_path / file, part)
    index = safetensors_lib.index_record(plan, dict.fromkeys(tensors, 120), 60)
    (tmp_path / safetensors_lib.INDEX).write_text(json.dumps(index))
    weights = safetensors_lib.Weights(tmp_path)
    for name, tensor in tensors.items():
        assert (weights.shape(name), weights.dtype(name)) == ((6, 5), "F32")
        np.testing.assert_array_equal(weights.read(name), tensor.T)
        found = weights.read(name, (slice(1, 4), slice(2, 3)))
        np.testing.assert_array_equal(found, tensor.T[1:4, 2:3])


def test_an_index_that_is_not_one_is_refused(tmp_path):
    (tmp_path / safetensors_lib.INDEX).write_text("[]")
    with pytest.raises(UserError, match="not an index"):
        safetensors_lib.Weights(tmp_path)


def test_written_files_carry_the_mark_that_old_readers_ask_for(tmp_path):
    safetensors_lib.write_file(tmp_path / "x", {"a": np.ones(2, np.float32)})
    with safetensors.safe_open(tmp_path / "x", "numpy") as file:
        assert file.metadata() == {"format": "pt"}
