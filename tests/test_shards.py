import errno
import json
import os
import pathlib
import random

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


def test_more_shards_than_five_digits_are_in_their_order(tmp_path, monkeypatch):
    count = 100_001
    expected = [tmp_path / shards.shard_name(index, count) for index in range(count)]
    found = random.Random(1).sample(expected, count)
    monkeypatch.setattr(pathlib.Path, "glob", lambda *_: iter(found))
    assert shards.shard_paths(tmp_path) == expected
    found.remove(expected[100_000])
    with pytest.raises(UserError, match="lacks part-100000-of-100001"):
        shards.shard_paths(tmp_path)


def test_a_name_is_on_the_disk_before_the_next_thing_is_written(tmp_path, monkeypatch):
    """The file first, under its other name; then each new directory, and its name."""
    waited: list[tuple[str, list[str]]] = []
    descriptors: dict[int, pathlib.Path] = {}
    open_, sync, close = os.open, os.fsync, os.close

    def opened(path, *given, **also):
        descriptors[found := open_(path, *given, **also)] = pathlib.Path(path)
        return found

    def synced(descriptor):
        path = descriptors.get(descriptor)
        if path is not None:
            names = sorted(each.name for each in path.iterdir())
            waited.append((path.relative_to(tmp_path).as_posix(), names))
        sync(descriptor)

    def closed(descriptor):
        descriptors.pop(descriptor, None)
        close(descriptor)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "close", closed)
    shards.write_bytes(tmp_path / "new" / "fi" / "file", b"rows")
    assert waited == [(".", ["new"]), ("new", ["fi"]), ("new/fi", ["file"])]
    shards.write_bytes(tmp_path / "new" / "fi" / "other", b"rows")
    assert waited[3:] == [("new/fi", ["file", "other"])]


def test_a_file_system_that_refuses_to_wait_for_a_directory_is_no_error(
    tmp_path, monkeypatch
):
    def refused(number):
        def sync(descriptor):
            raise OSError(number, os.strerror(number))

        return sync

    monkeypatch.setattr(os, "fsync", refused(errno.EINVAL))
    shards.directory_to_disk(tmp_path)
    monkeypatch.setattr(os, "fsync", refused(errno.EIO))
    with pytest.raises(OSError, match="error"):
        shards.directory_to_disk(tmp_path)


def test_a_line_cut_short_is_ignored(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text(json.dumps({"a": 1}) + '\n{"a": 2')
    assert shards.json_lines(path) == [{"a": 1}]
    assert shards.json_lines(tmp_path / "missing") == []
