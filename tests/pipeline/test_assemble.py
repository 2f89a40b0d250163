"""The dataset's files: joins, bytes, and that `datasets` loads the folder."""

import json
import os
import pathlib

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.pipeline import small_dataset
from xinst_jax import manifest, shards
from xinst_jax.errors import UserError
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.pipeline import assemble


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> pathlib.Path:
    return small_dataset.workdir_in(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def made(workdir) -> tuple[pathlib.Path, dict]:
    return small_dataset.assembled(workdir)


def test_rows_are_the_drawn_ones_with_all_that_is_known_of_them(workdir, made):
    rows = shards.read_rows(made[0] / "fi")
    assert [row["id"] for row in rows] == [f"fi-{n:03d}" for n in range(0, 30, 4)]
    assert rows[2] == {
        "instruction": small_dataset.instruction_of(8),
        "output": small_dataset.text_of("fi", 8),
        "lang": "fi",
        "id": "fi-008",
        "score": np.float32(0.58),
        "cluster": 3,
        "weight": np.float32(1 / 9),
        "source": "site 0",
        "license": "CC0-1.0",
        "round": 1,
        "scores": [np.float32(0.25), np.float32(0.58)],
        "generator": _generator(workdir, 1),
    }
    assert rows[1]["round"] == 2
    assert rows[1]["scores"] == [np.float32(0.54)]
    assert rows[1]["generator"] == _generator(workdir, 2)


def _generator(workdir: pathlib.Path, number: int) -> str:
    record = manifest.read(workdir / f"generator/round-{number}")
    return manifest.content_digest(record)[:16]


def test_a_round_that_was_left_out_scored_nothing(tmp_path):
    small_dataset.inputs(tmp_path)
    directory = StageDirectory(tmp_path / "ratings/round-2", "ratings/round-2", {}, {})
    directory.finish({"fi": Counts(notes={"settled_in_round": 1})})
    rows = shards.read_rows(small_dataset.assembled(tmp_path)[0] / "fi")
    assert [row["scores"] for row in rows[:2]] == [[0.25], []]


def test_an_unfinished_generator_is_a_users_error(tmp_path):
    small_dataset.inputs(tmp_path)
    (tmp_path / "generator/round-1/manifest.json").unlink()
    with pytest.raises(UserError, match="round-1 is not finished"):
        small_dataset.assembled(tmp_path)


def test_every_file_has_the_one_schema_also_an_empty_one(made):
    for code in small_dataset.LANGUAGES:
        for path in shards.shard_paths(made[0] / code):
            assert pq.read_schema(path).equals(assemble.SCHEMA)
    assert shards.read_table(made[0] / "ur").num_rows == 0


def test_the_page_names_every_column():
    page = pathlib.Path(__file__).parents[2] / "docs" / "export.md"
    (line,) = [x for x in page.read_text().splitlines() if "`{lang}/part-*" in x]
    columns = line.split("|")[2].strip()
    assert columns.split(", ") == assemble.SCHEMA.names


def test_files_are_zstd_with_a_page_index(made):
    for path in shards.shard_paths(made[0] / "fi"):
        group = pq.read_metadata(path).row_group(0)
        columns = [group.column(number) for number in range(group.num_columns)]
        assert {column.compression for column in columns} == {"ZSTD"}
        assert all(column.has_offset_index for column in columns)


def test_a_row_more_changes_a_small_part_of_a_file(tmp_path):
    rng = np.random.default_rng(0)
    texts = [rng.bytes(500).hex() for _ in range(6000)]
    rows = [{"id": str(n), "output": text} for n, text in enumerate(texts)]
    written = []
    for name, part in (("old", rows), ("new", [rows[-1], *rows])):
        assemble._write_parquet(tmp_path / name, part)
        written.append(shards.shard_paths(tmp_path / name)[0].read_bytes())
    old, new = written
    pieces = [old[start : start + 256] for start in range(0, len(old) - 256, 50_000)]
    assert np.mean([piece in new for piece in pieces]) > 0.6


def test_large_languages_take_several_shards_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(assemble, "_SHARD_ROWS", 4)
    rows = [{"id": str(number)} for number in range(9)]
    assemble._write_parquet(tmp_path, rows)
    paths = shards.shard_paths(tmp_path)
    assert [pq.read_metadata(path).num_rows for path in paths] == [4, 4, 1]
    assert [row["id"] for row in shards.read_rows(tmp_path)] == [r["id"] for r in rows]


def test_json_is_a_list_of_the_same_rows_in_plain_utf8(made):
    for code in small_dataset.LANGUAGES:
        path = made[0] / "json" / f"{code}.json"
        rows = shards.read_rows(made[0] / code)
        fields = ("instruction", "output", "lang", "id")
        expected = [{field: row[field] for field in fields} for row in rows]
        assert json.loads(path.read_text("utf-8")) == expected
    assert "แม่น้ำ" in (made[0] / "json/th.json").read_text("utf-8")


def test_two_runs_write_the_same_bytes(workdir, made):
    again, counts = small_dataset.assembled(workdir, "again")
    assert counts == made[1]
    names = [path.relative_to(made[0]) for path in shards.each_file(made[0])]
    assert len(names) == 3 + 3 + 4
    for name in names:
        assert (again / name).read_bytes() == (made[0] / name).read_bytes()


@pytest.mark.parametrize("config", ["all", "fi", "th", None])
def test_datasets_loads_the_folder(made, tmp_path, monkeypatch, config):
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(
        str(made[0]), config, cache_dir=str(tmp_path), split="train"
    )
    expected = [
        row
        for code in (small_dataset.LANGUAGES if config in ("all", None) else [config])
        for row in shards.read_rows(made[0] / code)
    ]
    assert sorted(loaded["id"]) == sorted(row["id"] for row in expected)
    assert loaded.column_names == assemble.SCHEMA.names
    by_id = {row["id"]: row["output"] for row in expected}
    assert all(by_id[row["id"]] == row["output"] for row in loaded)


def test_a_language_without_rows_is_no_configuration(made):
    datasets = pytest.importorskip("datasets")
    assert datasets.get_dataset_config_names(str(made[0])) == ["all", "fi", "th"]


def test_a_dataset_without_any_row_is_written(tmp_path):
    small_dataset.inputs(tmp_path, rows=0)
    path, counts = small_dataset.assembled(tmp_path)
    assert {code: count.rows_out for code, count in counts.items()} == {
        "fi": 0,
        "th": 0,
        "ur": 0,
    }
    assert (path / "README.md").exists()


def test_a_drawn_row_without_its_document_is_a_users_error(tmp_path):
    small_dataset.inputs(tmp_path)
    rows = shards.read_rows(tmp_path / "corpus/fi")[:5]
    for path in shards.shard_paths(tmp_path / "corpus/fi"):
        path.unlink()
    shards.write_shards(tmp_path / "corpus/fi", rows, small_dataset.CORPUS, 7)
    with pytest.raises(UserError, match=r"corpus/fi lacks 6 of the 8 .*'fi-008'"):
        small_dataset.assembled(tmp_path)
