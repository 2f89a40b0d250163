"""Rows in object storage: found by URL, the same as on disk, and told where not."""

import gzip
import json
import sys
import uuid

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from xinst_jax.data import sources, storage
from xinst_jax.errors import UserError
from xinst_jax.pipeline import raw_files

ROWS = [{"id": f"r{n}", "text": f"Hyvää päivää {n}. " * 5} for n in range(600)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def _parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(ROWS), sink, row_group_size=100)
    return sink.getvalue().to_pybytes()


@pytest.fixture
def bucket():
    """A bucket of its own in fsspec's storage in memory."""
    address = f"memory://{uuid.uuid4().hex}"
    yield address
    memory = fsspec.filesystem("memory")
    if memory.exists(address):
        memory.rm(address, recursive=True)


def _put(address: str, content: bytes) -> None:
    with fsspec.open(address, "wb") as file:
        file.write(content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("fi.jsonl", LINES),
        ("fi.jsonl.gz", gzip.compress(LINES)),
        ("fi.jsonl.zst", zstandard.compress(LINES)),
        ("fi.parquet", _parquet()),
    ],
)
def test_rows_are_read_from_object_storage_as_from_disk(bucket, name, content):
    _put(f"{bucket}/web/{name}", content)
    path = f"{bucket}/web/{{lang}}.*"
    sources.preflight(path, "fi", [["text"]])
    read = list(sources.read(path, "fi"))
    assert [row.fields for row in read] == ROWS
    assert read[0].place == f"{bucket}/web/{name}:1".replace("://", ":///")
    _put(f"{bucket}/web/{name}", content[:-9])
    if name != "fi.jsonl":  # Of which a cut line is one bad row, as on disk.
        with pytest.raises(UserError, match=name):
            list(sources.read(path, "fi"))


def test_patterns_match_in_storage_and_the_disk_alike(bucket, tmp_path):
    for name in ("a/fi-1.jsonl", "a/fi-2.jsonl", "a/sw-1.jsonl", "b/fi.jsonl"):
        _put(f"{bucket}/{name}", b'{"text": "x"}\n')
    (tmp_path / "fi.jsonl").write_text('{"text": "y"}\n')
    path = f"{tmp_path}/{{lang}}.jsonl, {bucket}/a/{{lang}}-*.jsonl"
    names = [name.rpartition("/")[2] for name in sources.files(path, "fi")]
    assert sorted(names) == ["fi-1.jsonl", "fi-2.jsonl", "fi.jsonl"]
    assert not sources.exists(f"{bucket}/c/*.jsonl", "fi")
    assert raw_files.located(f"{bucket}/a/*.jsonl") == f"{bucket}/a/*.jsonl"


def test_a_large_file_is_not_read_whole(bucket, monkeypatch):
    _put(f"{bucket}/fi.jsonl", LINES * 200)
    taken = []
    opened = storage.opened

    def watched(name):
        file = opened(name)
        taken.append(file)
        return file

    monkeypatch.setattr(storage, "opened", watched)
    rows = sources.read(f"{bucket}/fi.jsonl", "fi")
    for _ in range(10):
        next(rows)
    assert taken[0].raw.tell() < 0.2 * len(LINES) * 200


def test_the_digest_changes_with_the_version(bucket):
    _put(f"{bucket}/fi.jsonl", LINES)
    before = sources.digests(f"{bucket}/fi.jsonl", "fi")
    assert sources.digests(f"{bucket}/fi.jsonl", "fi") == before
    _put(f"{bucket}/fi.jsonl", LINES[:-1])
    assert sources.digests(f"{bucket}/fi.jsonl", "fi") != before


def test_what_cannot_be_asked_is_told(bucket, monkeypatch):
    with pytest.raises(UserError, match=r"nothing matches memory://.*fi\.jsonl"):
        sources.preflight(f"{bucket}/{{lang}}.jsonl", "fi", [["text"]])
    with pytest.raises(UserError, match="nosuch"):
        sources.preflight("nosuch://bucket/fi.jsonl", "fi", [["text"]])
    # What stands in the way of an import stands for a package that is not installed.
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UserError, match=r"requirements-sources\.txt"):
        sources.preflight("s3://bucket/fi.jsonl", "fi", [["text"]])


def test_an_error_of_the_storage_is_one_error_of_ours(bucket, monkeypatch):
    _put(f"{bucket}/fi.jsonl", LINES)

    class _Refused(Exception):
        """An error that only this storage has."""

    def refuse(*_, **__):
        raise _Refused("403: no such key for you")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "open", refuse)
    with pytest.raises(UserError, match=r"_Refused: 403.*credentials"):
        list(sources.read(f"{bucket}/fi.jsonl", "fi"))
