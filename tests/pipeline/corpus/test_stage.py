"""The corpus stage: every defect caught, nothing lost, the same bytes every time."""

import collections
import dataclasses
import json
import pathlib
import random

import numpy as np
import pyarrow.parquet as pq
import pytest

from xinst_jax import shards
from xinst_jax.config import CorpusConfig
from xinst_jax.errors import UserError
from xinst_jax.languages import BUILT_IN
from xinst_jax.manifest import StageDirectory
from xinst_jax.pipeline.corpus import stage as corpus
from xinst_jax.pipeline.executors import local

SAMPLE = pathlib.Path(__file__).parents[3] / "data" / "sample" / "corpus"
CONFIG = CorpusConfig(path=f"{SAMPLE}/{{lang}}.jsonl", shard_rows=7)
REASONS = {
    "menu": {"menu"},
    "cookie_notice": {"cookie_notice"},
    "duplicate": {"duplicate"},
    "wrong_language": {"wrong_language", "wrong_script"},
    "cut_off": {"unfinished", "line_ends"},
}


def stage(path):
    return StageDirectory(path, "corpus", {}, {})


def content(path):
    return {
        file.relative_to(path): file.read_bytes() for file in shards.each_file(path)
    }


def documents(code):
    lines = (SAMPLE / f"{code}.jsonl").read_text("utf-8").splitlines()
    return {row["id"]: row for row in map(json.loads, lines)}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus")
    return path, corpus.run(stage(path), CONFIG, BUILT_IN)


@pytest.mark.parametrize("code", list(BUILT_IN))
def test_every_planted_defect_is_caught_and_no_good_document_lost(prepared, code):
    path, _ = prepared
    kept = {row["id"].split("#")[0] for row in shards.read_rows(path / code)}
    rejected = {
        row["id"].split("#")[0]: row
        for row in shards.read_rows(path / "rejected" / code)
    }
    near = collections.Counter()
    for id, row in documents(code).items():
        if row["planted"] == "near_duplicate":
            near[id in kept] += 1
        elif row["planted"]:
            assert id not in kept and rejected[id]["reason"] in REASONS[row["planted"]]
    # Of two that are nearly one, the first is kept, whichever of them was planted.
    planted = sum(r["planted"] == "near_duplicate" for r in documents(code).values())
    found = [r for r in rejected.values() if r["reason"] == "near_duplicate"]
    assert planted >= 1 and len(found) == planted
    good = {id for id, row in documents(code).items() if not row["planted"]}
    lost = good - kept - {row["id"] for row in found}
    assert not lost


@pytest.mark.parametrize("code", list(BUILT_IN))
def test_rows_are_complete_and_counted(prepared, code):
    path, counts = prepared
    rows = shards.read_rows(path / code)
    originals = documents(code)
    for row in rows:
        original = originals[row["id"].split("#")[0]]
        assert row["text"] in original["text"] and row["lang"] == code
        assert row["n_chars"] == len(row["text"])
        assert CONFIG.min_chars <= row["n_chars"] <= CONFIG.max_chars
        assert row["source"] == original["source"]
        assert row["license"] == original["license"]
        assert row["lid_prob"] >= 0.8
    ids = [row["id"] for row in rows]
    assert len(set(ids)) == len(ids)
    assert pq.read_schema(shards.shard_paths(path / code)[0]) == corpus.SCHEMA
    count = counts[code]
    dropped = collections.Counter(
        row["reason"] for row in shards.read_rows(path / "rejected" / code)
    )
    assert count.dropped == dropped and count.rows_out == len(rows)
    assert count.rows_in == len(originals)
    assert count.rows_in + count.notes["cut"] == count.rows_out + dropped.total()


def test_a_stopped_run_goes_on_to_the_same_bytes(prepared, tmp_path):
    path, counts = prepared
    expected = content(path)
    few = {code: BUILT_IN[code] for code in ("fi", "th")}
    corpus.run(stage(tmp_path), CONFIG, few)
    # As left by a process that was killed while it wrote Thai and then Turkish.
    (tmp_path / "counts" / "th.json").unlink()
    victims = shards.shard_paths(tmp_path / "th")
    victims[1].unlink()
    half = tmp_path / "tr"
    half.mkdir()
    (half / ".waiting-00000").write_bytes(b"half a shard")
    (half / ".part-00000.tmp").write_bytes(b"")
    untouched = {f: f.stat().st_mtime_ns for f in shards.each_file(tmp_path / "fi")}
    again = corpus.run(stage(tmp_path), CONFIG, BUILT_IN)
    assert {f: f.stat().st_mtime_ns for f in untouched} == untouched
    assert content(tmp_path) == expected and again == counts
    hidden = [f for f in tmp_path.rglob(".*") if f.is_file()]
    assert not hidden


def test_what_a_run_stopped_behind_its_last_file_left_is_removed(tmp_path, monkeypatch):
    row = {"text": next(iter(documents("sw").values()))["text"]}
    (tmp_path / "sw.jsonl").write_text(json.dumps(row))
    config = CorpusConfig(path=f"{tmp_path}/{{lang}}.jsonl", workers=1)
    languages = {"sw": BUILT_IN["sw"]}

    def stopped(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(local.Local, "clear", stopped)
        corpus.run(stage(tmp_path / "out"), config, languages)
    expected = content(tmp_path / "out" / "sw")
    assert list((tmp_path / "out").rglob(".scratch/*"))
    corpus.run(stage(tmp_path / "out"), config, languages)
    assert not (tmp_path / "out" / ".scratch").exists()
    assert content(tmp_path / "out" / "sw") == expected


def test_long_documents_are_cut_and_numbered(tmp_path):
    texts = [row["text"] for row in documents("fi").values() if not row["planted"]]
    random.Random(3).shuffle(texts)
    row = {"id": 12, "text": "\n\n".join(texts)}
    (tmp_path / "fi.jsonl").write_text(json.dumps(row))
    config = dataclasses.replace(CONFIG, path=f"{tmp_path}/{{lang}}.jsonl")
    counts = corpus.run(stage(tmp_path / "out"), config, {"fi": BUILT_IN["fi"]})["fi"]
    rows = shards.read_rows(tmp_path / "out" / "fi")
    assert [row["id"] for row in rows] == [f"12#{n}" for n in range(1, len(rows) + 1)]
    assert counts.rows_in == 1 and counts.notes["cut"] == len(rows) - 1 > 5
    assert np.mean([row["n_chars"] for row in rows]) == pytest.approx(1200, rel=0.15)
    assert {row["source"] for row in rows} == {"fi.jsonl"}


def test_bad_rows_are_kept_aside_and_ids_made_unique(tmp_path):
    good = [row for row in documents("sw").values() if not row["planted"]]
    lines = [json.dumps({"id": "same", "text": row["text"]}) for row in good[:4]]
    lines += [json.dumps({"text": row["text"]}) for row in good[4:6]]
    lines[2:2] = ["{broken", json.dumps({"id": "x", "body": "no text"})]
    (tmp_path / "sw.jsonl").write_text("\n".join(lines))
    config = CorpusConfig(path=f"{tmp_path}/{{lang}}.jsonl", max_bad_share=0.5)
    languages = {"sw": BUILT_IN["sw"]}
    counts = corpus.run(stage(tmp_path / "out"), config, languages)["sw"]
    ids = [row["id"] for row in shards.read_rows(tmp_path / "out" / "sw")]
    assert ids[:4] == ["same", "same~2", "same~3", "same~4"]
    assert all(len(id) == 16 for id in ids[4:]) and len(set(ids)) == 6
    assert counts.dropped == {"not_json": 1, "missing_field": 1}
    rejected = shards.read_rows(tmp_path / "out" / "rejected" / "sw")
    assert [row["id"] for row in rejected] == ["sw.jsonl:3", "sw.jsonl:4"]
    strict = dataclasses.replace(config, max_bad_share=0.01)
    with pytest.raises(UserError, match=r"2 of the first 8 rows .*sw\.jsonl:3"):
        corpus.run(stage(tmp_path / "strict"), strict, languages)


def test_max_documents_reads_no_more(tmp_path):
    config = dataclasses.replace(CONFIG, max_documents=5)
    counts = corpus.run(stage(tmp_path), config, {"vi": BUILT_IN["vi"]})
    assert counts["vi"].rows_in == 5


def test_errors_come_before_any_work(tmp_path):
    languages = {code: BUILT_IN[code] for code in ("fi", "th")}
    only_fi = tmp_path / "fi.jsonl"
    only_fi.write_bytes((SAMPLE / "fi.jsonl").read_bytes())
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"No file for language 'th'"):
        corpus.run(
            stage(out), CorpusConfig(path=f"{tmp_path}/{{lang}}.jsonl"), languages
        )
    with pytest.raises(UserError, match=r"expected rows with 'content'"):
        config = dataclasses.replace(CONFIG, text_field="content")
        corpus.run(stage(out), config, languages)
    assert not out.exists()


def test_a_corpus_in_another_language_says_what_was_dropped(tmp_path):
    config = dataclasses.replace(CONFIG, path=str(SAMPLE / "sw.jsonl"))
    with pytest.raises(UserError, match=r"No text of language 'vi' .*wrong_language"):
        corpus.run(stage(tmp_path), config, {"vi": BUILT_IN["vi"]})
