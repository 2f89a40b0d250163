"""Candidates with a writer that is plain to predict: one token a character."""

import pathlib

import pytest

from xinst_jax import manifest, shards
from xinst_jax.data import prompts
from xinst_jax.infer.engine import Generation
from xinst_jax.pipeline import corpus, generate

_FRAME = len(prompts.reverse(""))


def _writer(asked: list[str], longest: int = 10_000) -> generate.Writer:
    def write(rows, ids):
        asked.extend(ids)
        return [
            Generation([ord(c) for c in f" About {one} "], -1.5, "stop") for one in ids
        ]

    return generate.Writer(
        generate=write,
        encode=lambda text: [ord(c) for c in text],
        decode=lambda ids: "".join(map(chr, ids)),
        longest_prompt=longest,
    )


@pytest.fixture
def corpus_path(tmp_path: pathlib.Path) -> pathlib.Path:
    rows = [
        {"id": f"d{i}", "lang": "fi", "text": f"Teksti {i}. " * 9} for i in range(7)
    ]
    shards.write_shards(tmp_path / "corpus" / "fi", rows, corpus.SCHEMA, 100)
    return tmp_path / "corpus"


def _run(path, corpus_path, writer, kept=None, number=1):
    stage = manifest.StageDirectory(path, "candidates", {}, {})
    return generate.run(stage, ["fi"], corpus_path, kept or {}, number, writer, 3)


def test_every_document_gets_its_instruction_in_order(tmp_path, corpus_path):
    counts = _run(tmp_path / "out", corpus_path, _writer([]))
    rows = shards.read_rows(tmp_path / "out" / "fi")
    assert [row["id"] for row in rows] == [f"d{i}" for i in range(7)]
    assert rows[4]["instruction"] == "About d4"
    assert rows[4]["output"].startswith("Teksti 4.")
    assert len(shards.shard_paths(tmp_path / "out" / "fi")) == 3
    assert (counts["fi"].rows_in, counts["fi"].rows_out) == (7, 7)


def test_kept_candidates_stand_and_the_others_get_a_second_chance(
    tmp_path, corpus_path
):
    _run(tmp_path / "one", corpus_path, _writer([]))
    first = shards.read_rows(tmp_path / "one" / "fi")
    kept = {"fi": {row["id"]: row | {"instruction": "Old"} for row in first[2:5]}}
    asked: list[str] = []
    counts = _run(tmp_path / "two", corpus_path, _writer(asked), kept, number=2)
    rows = shards.read_rows(tmp_path / "two" / "fi")
    assert asked == ["d0", "d1", "d5", "d6"]
    assert [row["round"] for row in rows] == [2, 2, 1, 1, 1, 2, 2]
    assert [row["instruction"] for row in rows[2:5]] == ["Old"] * 3
    assert counts["fi"].notes["standing"] == 3


def test_a_stopped_job_goes_on_at_its_first_missing_shard(tmp_path, corpus_path):
    _run(tmp_path / "whole", corpus_path, _writer([]))
    _run(tmp_path / "out", corpus_path, _writer([]))
    (tmp_path / "out" / "fi" / shards.shard_name(1, 3)).unlink()
    asked: list[str] = []
    _run(tmp_path / "out", corpus_path, _writer(asked))
    assert asked == ["d3", "d4", "d5"]
    for path in shards.shard_paths(tmp_path / "whole" / "fi"):
        again = tmp_path / "out" / "fi" / path.name
        assert again.read_bytes() == path.read_bytes()


def test_long_documents_are_cut_and_counted(tmp_path, corpus_path):
    counts = _run(tmp_path / "out", corpus_path, _writer([], _FRAME + 40))
    assert counts["fi"].notes["prompts_cut"] == 7
    assert counts["fi"].rows_out == 7


def test_a_frame_that_does_not_fit_drops_the_row_and_counts_it(tmp_path, corpus_path):
    counts = _run(tmp_path / "out", corpus_path, _writer([], _FRAME - 1))
    assert counts["fi"].dropped == {"prompt_too_long": 7}
    assert shards.read_rows(tmp_path / "out" / "fi") == []
