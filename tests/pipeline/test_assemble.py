"""The dataset's files: joins, bytes, figures, and that `datasets` loads the folder."""

import json
import os
import pathlib

import huggingface_hub
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xinst_jax import languages as languages_lib
from xinst_jax import manifest, shards
from xinst_jax.config import RateConfig
from xinst_jax.errors import UserError
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.pipeline import assemble, dataset_statistics, generate, rate, verbs
from xinst_jax.pipeline.diversity import figures as diversity_figures

_LANGUAGES = languages_lib.resolve(("fi", "th", "ur"))
_NOUNS = ["river", "lake", "forest", "island", "village", "market", "school", "bridge"]
_DIVERSE = pa.schema(
    [
        ("id", pa.string()),
        ("cluster", pa.int32()),
        ("distance", pa.float32()),
        ("weight", pa.float32()),
        ("selected", pa.bool_()),
    ]
)
_CORPUS = pa.schema(
    [(name, pa.string()) for name in ("id", "lang", "text", "source", "license")]
)


_STAGES = (
    *("seed", "corpus", "candidates/round-1", "ratings/round-1"),
    *("candidates/round-2", "ratings/round-2", "diverse"),
)
"""What the card tells the rows of, in this order."""


def _text(code: str, number: int) -> str:
    words = {"fi": "Järvi on syvä.", "th": "แม่น้ำกว้าง", "ur": "دریا گہرا ہے۔"}
    return f'{words[code]}\n"{number}" \\ \u2028 ' * (number + 1)


def _inputs(workdir: pathlib.Path, rows: int = 30) -> None:
    """Of `rows` documents a language, even ones are kept and every fourth is drawn."""
    for number in (1, 2):
        name = f"generator/round-{number}"
        StageDirectory(workdir / name, name, {}, {}).finish({"all": Counts()})
    for code in ("fi", "th", "ur"):
        count = 0 if code == "ur" else rows
        numbers = range(count)
        ids = [f"{code}-{number:03d}" for number in numbers]
        tables = {
            "corpus": (
                _CORPUS,
                [
                    {"id": ids[n], "lang": code, "text": _text(code, n)}
                    | {"source": f"site {n % 2}", "license": "CC0-1.0"}
                    for n in numbers
                ],
            ),
            "candidates/round-2": (
                generate.SCHEMA,
                [
                    {"id": ids[n], "lang": code, "output": _text(code, n)}
                    | {"instruction": _instruction(n), "round": 1 + n % 8 // 4}
                    for n in numbers
                ],
            ),
            # The first round rated what it wrote, and something else of the others.
            "ratings/round-1": (
                rate.SCHEMA,
                [
                    {"id": ids[n], "instruction": f"First {n}.", "kept": n % 2 == 0}
                    | {"score": 0.25, "reasons": []}
                    for n in numbers
                ],
            ),
            "candidates/round-1": (generate.SCHEMA, []),
            "ratings/round-2": (
                rate.SCHEMA,
                [
                    {"id": ids[n], "instruction": _instruction(n), "kept": n % 2 == 0}
                    | {"score": 0.5 + n / 100, "reasons": []}
                    for n in numbers
                ],
            ),
            "diverse": (
                _DIVERSE,
                [
                    {"id": ids[n], "cluster": n % 5, "distance": 0.1}
                    | {"weight": 1 / (1 + n), "selected": n % 4 == 0}
                    for n in reversed(numbers)
                    if n % 2 == 0
                ],
            ),
        }
        for stage, (schema, content) in tables.items():
            shards.write_shards(workdir / stage / code, content, schema, 7)
        kept = len(tables["diverse"][1])
        drawn_n = np.array([row["selected"] for row in tables["diverse"][1]], float)
        measured = diversity_figures.compared(
            np.eye(kept, 40, dtype=np.float32),
            np.arange(kept) % 5,
            ["describe"] * kept,
            drawn_n,
            False,
            (0,),
        )
        measured["verb_cap"] = {"asked": 0.15, "applied": 1.0}
        path = workdir / "diverse" / diversity_figures.FILE.format(lang=code)
        shards.write_bytes(path, json.dumps(measured).encode())


def _instruction(number: int) -> str:
    # Drawn rows (every fourth) have all the nouns; the other kept ones have one.
    noun = _NOUNS[number // 4] if number % 4 == 0 else "river"
    return f"Describe the {noun} in {number + 3} words."


def _run(
    workdir: pathlib.Path, name: str = "dataset", license: str = "other"
) -> tuple[pathlib.Path, dict]:
    inputs = {"corpus": "c0" * 32, "diverse": "d1" * 32}
    stage = StageDirectory(workdir / name, "dataset", {"seed": 5}, inputs)
    stage.begin()
    counts = assemble.run(
        stage,
        _LANGUAGES,
        name="quickstart",
        license=license,
        diverse=workdir / "diverse",
        rounds=[
            assemble.Round(
                *(
                    workdir / f"{part}/round-{number}"
                    for part in ("generator", "candidates", "ratings")
                )
            )
            for number in (1, 2)
        ],
        corpus=workdir / "corpus",
        seed_pairs=workdir / "seed",
        rate=RateConfig(min_score_of=(("th", 0.25),)),
        seed=5,
    )
    stage.finish(counts)
    return stage.path, counts


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("run")
    _inputs(path)
    for stage in _STAGES:
        made = StageDirectory(path / stage, stage, {}, {})
        made.finish({"fi": Counts(40, 30, {"menu": 10}), "th": Counts(30, 30)})
    return path


@pytest.fixture(scope="module")
def made(workdir) -> tuple[pathlib.Path, dict]:
    return _run(workdir)


def test_rows_are_the_drawn_ones_with_all_that_is_known_of_them(workdir, made):
    rows = shards.read_rows(made[0] / "fi")
    assert [row["id"] for row in rows] == [f"fi-{n:03d}" for n in range(0, 30, 4)]
    assert rows[2] == {
        "instruction": _instruction(8),
        "output": _text("fi", 8),
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
    _inputs(tmp_path)
    directory = StageDirectory(tmp_path / "ratings/round-2", "ratings/round-2", {}, {})
    directory.finish({"fi": Counts(notes={"settled_in_round": 1})})
    rows = shards.read_rows(_run(tmp_path)[0] / "fi")
    assert [row["scores"] for row in rows[:2]] == [[0.25], []]


def test_an_unfinished_generator_is_a_users_error(tmp_path):
    _inputs(tmp_path)
    (tmp_path / "generator/round-1/manifest.json").unlink()
    with pytest.raises(UserError, match="round-1 is not finished"):
        _run(tmp_path)


def test_every_file_has_the_one_schema_also_an_empty_one(made):
    for code in _LANGUAGES:
        for path in shards.shard_paths(made[0] / code):
            assert pq.read_schema(path).equals(assemble.SCHEMA)
    assert shards.read_table(made[0] / "ur").num_rows == 0


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
    for code in _LANGUAGES:
        path = made[0] / "json" / f"{code}.json"
        rows = shards.read_rows(made[0] / code)
        fields = ("instruction", "output", "lang", "id")
        expected = [{field: row[field] for field in fields} for row in rows]
        assert json.loads(path.read_text("utf-8")) == expected
    assert "แม่น้ำ" in (made[0] / "json/th.json").read_text("utf-8")


def test_two_runs_write_the_same_bytes(workdir, made):
    again, counts = _run(workdir, "again")
    assert counts == made[1]
    names = [path.relative_to(made[0]) for path in shards.each_file(made[0])]
    assert len(names) == 3 + 3 + 4
    for name in names:
        assert (again / name).read_bytes() == (made[0] / name).read_bytes()


def test_statistics_are_those_of_the_rows(made):
    figures = json.loads((made[0] / assemble.STATISTICS).read_text("utf-8"))
    rows = shards.read_rows(made[0] / "fi")
    of_fi = figures["languages"]["fi"]
    outputs = [len(row["output"]) for row in rows]
    assert of_fi["rows"] == len(rows) == 8
    assert of_fi["output_chars"] == {
        "mean": round(float(np.mean(outputs)), 2),
        "sd": round(float(np.std(outputs)), 2),
    }
    texts = [row["instruction"] for row in rows]
    assert of_fi["distinct_verb_nouns"] == verbs.distinct_pairs(texts) == 8
    assert of_fi["top_verbs"][0]["verb"] == "describe"
    assert of_fi["top_verbs"][0]["count"] == 8
    assert figures["all"]["rows"] == 16
    assert figures["languages"]["ur"]["rows"] == 0


def test_random_samples_come_from_what_was_kept_in_the_same_number(workdir, made):
    ratings = workdir / "ratings/round-2/fi"
    samples = dataset_statistics.compare(workdir / "diverse", ratings, 8, 5).samples
    kept = {_instruction(number) for number in range(0, 30, 2)}
    for sample in samples:
        assert len(set(sample)) == 8
        assert set(sample) <= kept
    assert len({tuple(sample) for sample in samples}) > 1
    figures = json.loads((made[0] / assemble.STATISTICS).read_text("utf-8"))
    found = figures["languages"]["fi"]["random_distinct_verb_nouns"]
    assert found == [verbs.distinct_pairs(sample) for sample in samples]
    assert max(found) < figures["languages"]["fi"]["distinct_verb_nouns"]


def test_the_draws_figures_stand_beside_those_of_random_samples_and_of_all(made):
    figures = json.loads((made[0] / assemble.STATISTICS).read_text("utf-8"))
    measured = figures["languages"]["fi"]["diversity"]
    assert measured["drawn"]["rows"] == 8 and measured["kept"]["rows"] == 15
    assert figures["languages"]["fi"]["kept_distinct_verb_nouns"] == 8
    card = (made[0] / "README.md").read_text("utf-8")
    for which, part in (("drawn", "drawn"), ("no selection", "kept")):
        row = measured[part]
        cells = f"{row['rows']} | {row['cluster_entropy']:.3f}"
        assert f"| Finnish (fi) | {which} | {cells} | " in card
    assert "| Finnish (fi) | at random | 8 | " in card


def test_a_draw_without_figures_is_a_users_error(tmp_path):
    _inputs(tmp_path)
    (tmp_path / "diverse/figures/th.json").unlink()
    with pytest.raises(UserError, match=r"th\.json is missing.*diversify"):
        _run(tmp_path)


def test_counts_tell_rows_and_variety(made):
    counts = made[1]["fi"]
    assert (counts.rows_in, counts.rows_out, counts.dropped) == (8, 8, {})
    assert counts.notes["distinct_verb_nouns"] == 8
    assert counts.notes["distinct_verb_nouns_at_random"] < 8
    assert made[1]["ur"].rows_out == 0


def test_the_card_names_stages_sources_ratings_and_samples(made):
    card = (made[0] / "README.md").read_text("utf-8")
    assert "menu 10" in card
    assert "site 0 (CC0-1.0)" in card
    for stage in _STAGES:
        assert f"| {stage} | 70 | 60 |" in card
    assert "| Finnish (fi) | 5 of 5 | 100%, lifted from 15%: too few verbs |" in card
    assert "| Thai (th) | 0.25 | 50% |" in card
    assert "| fair | cut response | The response broken off" in card
    # Scores are 0.50 to 0.79 in steps of 0.01, in two languages; every fourth is drawn.
    assert "| 0.5 to 0.6 | 20 | 6 |" in card
    assert "| 0.9 to 1.0 | 0 | 0 |" in card
    for number in (28, 12, 0):
        assert f"> {_instruction(number)}" in card
    assert f"> {_instruction(20)}" not in card


def test_every_column_is_explained_on_the_card(made):
    card = (made[0] / "README.md").read_text("utf-8")
    for name in assemble.SCHEMA.names:
        assert f"| {name} | " in card


def test_the_lineage_names_run_inputs_and_rows(made):
    record = json.loads((made[0] / "xinst_run.json").read_text("utf-8"))
    made_by = json.loads((made[0] / "manifest.json").read_text("utf-8"))
    assert record["run"] == "quickstart"
    assert record["fingerprint"] == made_by["fingerprint"]
    assert record["inputs"] == made_by["inputs"]
    assert record["config"] == {"seed": 5}
    assert record["rows"] == {"fi": 8, "th": 8, "ur": 0}
    card = (made[0] / "README.md").read_text("utf-8")
    assert record["fingerprint"][:16] in card


@pytest.mark.parametrize(
    ("given", "expected"), [("", "cc0-1.0"), ("cc-by-4.0", "cc-by-4.0")]
)
def test_the_licence_is_the_given_one_or_that_of_the_rows(
    workdir, tmp_path, given, expected
):
    path, _ = _run(workdir, f"dataset-{expected}", given)
    data = huggingface_hub.DatasetCard.load(path / "README.md").data
    assert data.license == expected


@pytest.mark.parametrize("config", ["all", "fi", "th", None])
def test_datasets_loads_the_folder(made, tmp_path, monkeypatch, config):
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(
        str(made[0]), config, cache_dir=str(tmp_path), split="train"
    )
    expected = [
        row
        for code in (_LANGUAGES if config in ("all", None) else [config])
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
    _inputs(tmp_path, rows=0)
    path, counts = _run(tmp_path)
    assert {code: count.rows_out for code, count in counts.items()} == {
        "fi": 0,
        "th": 0,
        "ur": 0,
    }
    assert (path / "README.md").exists()


def test_a_drawn_row_without_its_document_is_a_users_error(tmp_path):
    _inputs(tmp_path)
    rows = shards.read_rows(tmp_path / "corpus/fi")[:5]
    for path in shards.shard_paths(tmp_path / "corpus/fi"):
        path.unlink()
    shards.write_shards(tmp_path / "corpus/fi", rows, _CORPUS, 7)
    with pytest.raises(UserError, match=r"corpus/fi lacks 6 of the 8 .*'fi-008'"):
        _run(tmp_path)
