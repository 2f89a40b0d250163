"""Which tensor goes into which file; parts read and written; indices that mislead."""

import itertools
import json
import os
import re
import struct

import huggingface_hub
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from xinst_jax.errors import UserError
from xinst_jax.hf import header
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


def write_shards(folder, tensors, limit):
    sizes = {name: tensor.nbytes for name, tensor in tensors.items()}
    plan = safetensors_lib.plan_shards(sizes, limit)
    for file, names in plan.items():
        part = {name: tensors[name] for name in names}
        safetensors.numpy.save_file(part, folder / file)
    if len(plan) > 1:
        index = safetensors_lib.index_record(plan, sizes, 0)
        (folder / safetensors_lib.INDEX).write_text(json.dumps(index))


def random_tensors(*names, shape=(5, 6, 4)):
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name in names}


@pytest.mark.parametrize("limit", [480, 10**6], ids=["shards", "one file"])
def test_any_part_of_a_tensor_is_read(tmp_path, limit):
    tensors = {**random_tensors("b", "a"), "c": np.array(3, np.float32)}
    write_shards(tmp_path, tensors, limit)
    weights = safetensors_lib.Weights(tmp_path)
    ends = (slice(0, None), slice(2, 4), slice(3, 3), slice(1, None), slice(0, 99))
    for name in "ab":
        assert (weights.shape(name), weights.dtype(name)) == ((5, 6, 4), "F32")
        np.testing.assert_array_equal(weights.read(name), tensors[name])
        for index in itertools.product(ends, repeat=3):
            found = weights.read(name, index)
            np.testing.assert_array_equal(found, tensors[name][index])
    np.testing.assert_array_equal(weights.read("c"), tensors["c"])


def test_only_the_bytes_asked_for_are_read_in_as_few_pieces_as_can_be(
    tmp_path, monkeypatch
):
    tensors = random_tensors("a", "b", shape=(6, 8))
    write_shards(tmp_path, tensors, 10**6)
    weights = safetensors_lib.Weights(tmp_path)
    content = (tmp_path / safetensors_lib.SINGLE).read_bytes()
    start = content.index(tensors["b"].tobytes())
    preadv, seen = os.preadv, []

    def counted(descriptor, buffers, offset):
        seen.append((offset - start, sum(len(buffer) for buffer in buffers)))
        return preadv(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", counted)
    weights.read("b", (slice(2, 5), slice(0, 8)))
    assert seen == [(2 * 32, 3 * 32)]
    seen.clear()
    weights.read("b", (slice(1, 3), slice(4, 6)))
    assert seen == [(32 + 16, 8), (64 + 16, 8)]


def test_a_file_that_became_shorter_is_noticed(tmp_path):
    tensors = random_tensors("a")
    write_shards(tmp_path, tensors, 10**6)
    weights = safetensors_lib.Weights(tmp_path)
    os.truncate(tmp_path / safetensors_lib.SINGLE, 300)
    with pytest.raises(UserError, match="ends within the tensor a"):
        weights.read("a")


@pytest.mark.parametrize("dtype", ["I8", "F8_E4M3", "F4", "F64"])
def test_other_numbers_than_floats_of_training_are_refused_by_name(tmp_path, dtype):
    record = {"w": {"dtype": dtype, "shape": [16], "data_offsets": [0, 16]}}
    size = 16 * header.BITS[dtype] // 8
    record["w"]["data_offsets"][1] = size
    text = json.dumps(record).encode()
    content = struct.pack("<Q", len(text)) + text + bytes(size)
    (tmp_path / safetensors_lib.SINGLE).write_bytes(content)
    weights = safetensors_lib.Weights(tmp_path)
    with pytest.raises(UserError, match=f"tensor w is of the type {dtype}"):
        weights.read("w")


def test_shards_that_are_links_are_followed_as_in_the_hubs_cache(tmp_path):
    snapshot, blobs = tmp_path / "snapshots" / "1", tmp_path / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    tensors = random_tensors("a", "b")
    write_shards(snapshot, tensors, 480)
    for number, path in enumerate([*snapshot.iterdir()]):
        path.rename(blobs / f"{number}")
        path.symlink_to(f"../../blobs/{number}")
    weights = safetensors_lib.Weights(snapshot)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(weights.read(name), tensor)


@pytest.mark.parametrize(
    ("file", "fault"),
    [
        ("../up.safetensors", "'../up.safetensors' for the tensor a"),
        ("/etc/passwd", "'/etc/passwd' for the tensor a"),
        ("sub/x.safetensors", "'sub/x.safetensors' for the tensor a"),
        ("sub\\x.safetensors", "for the tensor a, which is not a file name"),
        ("..", "'..' for the tensor a"),
        (".", "'.' for the tensor a"),
        ("", "'' for the tensor a"),
        ("\0", "for the tensor a, which is not in"),
        ("gone.safetensors", "gone.safetensors for the tensor a, which is not in"),
        ("other.safetensors", "other.safetensors is not a whole safetensors file"),
        (5, "the shard 5 for the tensor a, which is not in"),
    ],
)
def test_a_shard_is_a_whole_file_in_the_folder_itself(tmp_path, file, fault):
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    for place in (tmp_path / "up.safetensors", folder / "sub" / "x.safetensors"):
        safetensors.numpy.save_file(random_tensors("a"), place)
    (folder / "other.safetensors").write_text("else")
    index = {"weight_map": {"a": file}}
    (folder / safetensors_lib.INDEX).write_text(json.dumps(index))
    with pytest.raises(UserError, match=re.escape(fault)):
        safetensors_lib.Weights(folder)


@pytest.mark.parametrize(
    ("weight_map", "fault"),
    [
        ({"a": "1"}, "disagree about: b in 1."),
        ({"a": "1", "b": "1", "c": "1"}, "disagree about: c in 1."),
        ({f"x{i}": "1" for i in range(20)}, "and 14 more"),
    ],
)
def test_an_index_and_its_shards_hold_the_same_tensors(tmp_path, weight_map, fault):
    safetensors.numpy.save_file(random_tensors("a", "b"), tmp_path / "1")
    index = {"weight_map": weight_map}
    (tmp_path / safetensors_lib.INDEX).write_text(json.dumps(index))
    with pytest.raises(UserError, match=re.escape(fault)):
        safetensors_lib.Weights(tmp_path)


@pytest.mark.parametrize("content", ["[]", "{}", "{", '{"weight_map": ["a"]}'])
def test_an_index_that_is_not_one_is_refused(tmp_path, content):
    (tmp_path / safetensors_lib.INDEX).write_text(content)
    with pytest.raises(UserError, match="not an index"):
        safetensors_lib.Weights(tmp_path)


@pytest.mark.parametrize("size", [1, 7, 240])
def test_files_of_parts_are_what_the_reference_reads_and_in_order(tmp_path, size):
    tensors = random_tensors("z", "a")
    described = {name: ("F32", tensor.shape) for name, tensor in tensors.items()}
    numbers = np.concatenate([tensor.reshape(-1) for tensor in tensors.values()])
    parts = np.split(numbers, range(size, 240, size))
    safetensors_lib.write_parts(tmp_path / "x", described, parts)
    found = safetensors.numpy.load_file(tmp_path / "x")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(found[name], tensor)
    with safetensors.safe_open(tmp_path / "x", "numpy") as file:
        assert file.metadata() == {"format": "pt"}
    content = (tmp_path / "x").read_bytes()
    assert content.endswith(tensors["z"].tobytes() + tensors["a"].tobytes())


@pytest.mark.parametrize("count", [1, 3])
def test_parts_that_do_not_make_up_the_tensors_are_no_file(tmp_path, count):
    parts = [np.ones(2, np.float32)] * count
    with pytest.raises(ValueError, match="bytes written, not"):
        safetensors_lib.write_parts(tmp_path / "x", {"a": ("F32", (4,))}, parts)
