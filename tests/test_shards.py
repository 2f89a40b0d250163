import errno
import pathlib

import pyarrow as pa
import pytest

from xinst_jax import shards
from xinst_jax.errors import UserError

_SCHEMA = pa.schema([("id", pa.string()), ("n", pa.int32())])


def _rows(count: int) -> list[dict]:
    return [{"id": f"row-{i}", "n": i} for i in range(count)]


def test_rows_come_back_in_order_over_several_shards(tmp_path: pathlib.Path):
    shards.write_shards(tmp_path, _rows(25), _SCHEMA, shard_rows=10)
    assert [p.name for p in shards.shard_paths(tmp_path)] == [
        "part-00000-of-00003.parquet",
        "part-00001-of-00003.parquet",
        "part-00002-of-00003.parquet",
    ]
    assert shards.read_rows(tmp_path) == _rows(25)


def test_no_rows_give_one_empty_shard_with_the_schema(tmp_path: pathlib.Path):
    shards.write_shards(tmp_path, [], _SCHEMA, shard_rows=10)
    assert shards.read_table(tmp_path).schema == _SCHEMA
    assert shards.read_rows(tmp_path) == []


def test_equal_rows_give_equal_bytes(tmp_path: pathlib.Path):
    for name in ("a", "b"):
        shards.write_shards(tmp_path / name, _rows(100), _SCHEMA, shard_rows=100)
    name = shards.shard_name(0, 1)
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_missing_shard_is_named(tmp_path: pathlib.Path):
    shards.write_shards(tmp_path, _rows(25), _SCHEMA, shard_rows=10)
    (tmp_path / shards.shard_name(1, 3)).unlink()
    with pytest.raises(UserError, match="part-00001-of-00003"):
        shards.read_rows(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: pathlib.Path):
    path = tmp_path / "file"
    shards.write_bytes(path, b"old")
    with pytest.raises(KeyError), shards.atomic_path(path) as temporary:
        temporary.write_bytes(b"half of the n")
        raise KeyError
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_one_clear_error(tmp_path: pathlib.Path):
    path = tmp_path / "file"
    with pytest.raises(UserError, match="No space left"), shards.atomic_path(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []
