import subprocess
import sys

import jax
import numpy as np
import pytest

from xinst_jax.config import MeshConfig
from xinst_jax.data import packing
from xinst_jax.data.examples import Pair
from xinst_jax.data.loader import Rows, positions
from xinst_jax.errors import UserError
from xinst_jax.mesh import ShardingRules, make_mesh

LENGTH, RULES = 16, ShardingRules()


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    directory = tmp_path_factory.mktemp("rows")
    rng = np.random.default_rng(0)
    pairs = [
        (rng.integers(3, 90, 3).tolist(), rng.integers(3, 90, 9).tolist())
        for _ in range(53)
    ]
    packing.pack(pairs, directory, length=LENGTH, bos=1, eos=2, shard_rows=10)
    return Rows(directory)


def mesh_of(count, **sizes):
    return make_mesh(MeshConfig(**sizes), jax.devices()[:count])


def test_every_row_is_seen_once_an_epoch(rows):
    seen = np.concatenate([rows.row_numbers(step, 7, seed=3) for step in range(53)])
    for epoch in seen.reshape(7, 53):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(53))
    assert len({tuple(epoch) for epoch in seen.reshape(7, 53).tolist()}) == 7


def test_the_order_depends_on_the_seed(rows):
    orders = {tuple(rows.row_numbers(0, 53, seed).tolist()) for seed in range(5)}
    assert len(orders) == 5


@pytest.mark.parametrize(
    "sizes", [{"fsdp": 8}, {"fsdp": 4, "tensor": 2}, {"fsdp": 2, "sequence": 4}]
)
def test_eight_devices_get_the_same_batch_as_one(rows, sizes):
    one = rows.batch(5, 8, mesh_of(1), RULES, seed=1)
    eight = rows.batch(5, 8, mesh_of(8, **sizes), RULES, seed=1)
    assert one.keys() == eight.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(np.asarray(value), np.asarray(eight[name]))
        assert value.shape == (8, LENGTH)
        expected = np.float32 if name == "loss_weights" else np.int32
        assert value.dtype == expected
        parts = sizes["fsdp"] * sizes.get("sequence", 1)
        assert eight[name].addressable_shards[0].data.size == 8 * LENGTH // parts


@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_the_parts_that_hosts_read_make_up_the_one_batch(rows, hosts):
    expected = rows.read(rows.row_numbers(2, 8, seed=0))
    batch = rows.batch(2, 8, mesh_of(8), RULES, seed=0)
    shards = sorted(
        batch["tokens"].addressable_shards, key=lambda shard: shard.device.id
    )
    per_host = len(shards) // hosts
    parts = [
        np.concatenate([np.asarray(shard.data) for shard in shards[first:][:per_host]])
        for first in range(0, len(shards), per_host)
    ]
    assert all(len(part) == 8 // hosts for part in parts)
    np.testing.assert_array_equal(np.concatenate(parts), expected["tokens"])


def test_a_process_reads_only_the_rows_of_its_devices(rows, monkeypatch):
    asked = []
    read = Rows.read
    monkeypatch.setattr(
        Rows,
        "read",
        lambda self, rows_b: asked.extend(rows_b.tolist()) or read(self, rows_b),
    )
    rows.batch(0, 8, mesh_of(8, fsdp=4, tensor=2), RULES, seed=0)
    assert sorted(asked) == sorted(rows.row_numbers(0, 8, seed=0).tolist())


def test_evaluation_is_in_order_and_filled_with_padding(rows):
    batches, languages = zip(
        *rows.in_order(8, mesh_of(8), RULES, limit=21), strict=True
    )
    assert len(batches) == 3
    tokens = np.concatenate([np.asarray(batch["tokens"]) for batch in batches])
    np.testing.assert_array_equal(tokens[:21], rows.read(np.arange(21))["tokens"])
    last = {name: np.asarray(value)[5:] for name, value in batches[-1].items()}
    assert not any(value.any() for value in last.values())
    assert not np.concatenate(languages).any()
    assert sum(1 for _ in rows.in_order(8, mesh_of(8), RULES, limit=1000)) == 7


def test_evaluation_takes_as_many_rows_of_each_language_as_there_are(tmp_path):
    there = {"fi": 9, "sw": 2, "th": 5}
    pairs = [
        Pair([], [7] * LENGTH, str(number), lang)
        for lang, count in there.items()
        for number in range(count)
    ]
    settings = {"length": LENGTH, "bos": 1, "eos": 2, "by_language": True}
    assert packing.pack(pairs, tmp_path, **settings).languages == there
    rows = Rows(tmp_path)
    for limit, expected in (
        (10, [4, 2, 4]),
        (11, [5, 2, 4]),
        (100, [9, 2, 5]),
        (1, [1, 1, 1]),
    ):
        found = []
        for batch, language_b in rows.in_order(8, mesh_of(8), RULES, limit):
            real_b = np.asarray(batch["segment_ids"])[:, 0] > 0
            found += np.asarray(language_b)[real_b].tolist()
        assert np.bincount(found).tolist() == expected
    first = [rows.names(row)[0] for row in (0, 9, 11)]
    assert [name.split("/")[0] for name in first] == ["fi", "sw", "th"]


def test_positions_count_within_each_segment():
    segment_ids_bt = np.array([[1, 1, 1, 2, 2, 0], [1, 2, 3, 3, 0, 0]])
    expected_bt = np.array([[0, 1, 2, 0, 1, 0], [0, 0, 0, 1, 0, 0]])
    np.testing.assert_array_equal(positions(segment_ids_bt), expected_bt)


def test_a_batch_that_does_not_divide_is_an_error(rows):
    with pytest.raises(UserError, match="batch"):
        rows.batch(0, 6, mesh_of(8), RULES, seed=0)


def test_damage_is_an_error_that_names_the_file(rows, tmp_path):
    pairs = [([5], [6, 7])] * 400
    packing.pack(pairs, tmp_path, length=8, bos=1, eos=2, shard_rows=50)
    path = tmp_path / "rows-00001.arrayrecord"
    content = bytearray(path.read_bytes())
    content[100:140] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(UserError, match="rows-00001"):
        Rows(tmp_path).read(np.arange(100))
    path.unlink()
    with pytest.raises(UserError, match=r"rows-00001.*missing"):
        Rows(tmp_path)


def test_packing_and_loading_do_not_import_tensorflow_or_torch():
    code = (
        "import sys; from xinst_jax.data import examples, packing, loader; "
        "print([m for m in ('tensorflow', 'torch', 'seqio') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
