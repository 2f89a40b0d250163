"""Candidates with a writer that is plain to predict: one token a character."""

import dataclasses
import pathlib
import types

import pytest

from xinst_jax import manifest, shards
from xinst_jax.config import RunConfig
from xinst_jax.data import prompts
from xinst_jax.errors import UserError
from xinst_jax.infer import jobs
from xinst_jax.infer.engine import Generation
from xinst_jax.infer.usage import Usage
from xinst_jax.pipeline import generate, text_models
from xinst_jax.pipeline.corpus import decontamination
from xinst_jax.pipeline.corpus import stage as corpus
from xinst_jax.pipeline.make import answers
from xinst_jax.pipeline.workspace import Workspace

_FRAME = len(prompts.reverse(""))


def _writer(
    asked: list[str],
    longest: int = 10_000,
    says=" About {} ",
    read: list | None = None,
    share: jobs.Share | None = None,
) -> generate.Writer:
    usage = Usage()

    def write(rows, ids, max_new_tokens=None):
        asked.extend(ids)
        usage.slot_steps += 2 * len(ids)
        usage.live_slot_steps += len(ids)
        if read is not None:
            read.extend("".join(map(chr, row)) for row in rows)
        written = [says.format(one) if says else "" for one in ids]
        return [Generation([ord(c) for c in one], -1.5, "stop") for one in written]

    return generate.Writer(
        generate=write,
        encode=lambda text: [ord(c) for c in text],
        decode=lambda ids: "".join(map(chr, ids)),
        longest_prompt=longest,
        usage=usage,
        share=share,
    )


@pytest.fixture
def corpus_path(tmp_path: pathlib.Path) -> pathlib.Path:
    rows = [
        {"id": f"d{i}", "lang": "fi", "text": f"Teksti {i}. " * 9} for i in range(7)
    ]
    shards.write_shards(tmp_path / "corpus" / "fi", rows, corpus.SCHEMA, 100)
    return tmp_path / "corpus"


def _run(path, corpus_path, writer, kept=None, number=1, config=None, **of):
    stage = manifest.StageDirectory(path, "candidates", config or {}, {})
    return generate.run(stage, ["fi"], corpus_path, kept or {}, number, writer, 3, **of)


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


def test_long_documents_are_cut_at_their_end_and_counted(tmp_path, corpus_path):
    read: list[str] = []
    writer = _writer([], _FRAME + 40, read=read)
    counts = _run(tmp_path / "out", corpus_path, writer)
    assert counts["fi"].notes["prompts_cut"] == 7
    assert counts["fi"].rows_out == 7
    before, after = prompts.reverse("|").split("|")
    texts = [row["output"] for row in shards.read_rows(tmp_path / "out" / "fi")]
    for prompt, text in zip(read, texts, strict=True):
        assert prompt.startswith(before) and prompt.endswith(after)
        shown = prompt.removeprefix(before).removesuffix(after)
        assert text.startswith(shown) and 38 <= len(shown) <= 40 < len(text)


def test_a_frame_that_does_not_fit_drops_the_row_and_counts_it(tmp_path, corpus_path):
    counts = _run(tmp_path / "out", corpus_path, _writer([], _FRAME - 1))
    assert counts["fi"].dropped == {"prompt_too_long": 7}
    assert shards.read_rows(tmp_path / "out" / "fi") == []


def test_documents_with_a_piece_of_a_held_out_response_get_no_candidate(
    tmp_path, corpus_path
):
    # Eight words of d2 between others, in other letters and signs; of d4 only two.
    responses = [
        "Ensin teksti 2, TEKSTI 2! Teksti 2 teksti 2 lopuksi.",
        "Teksti 4 ja sitten teksti 4",
    ]
    held_out = decontamination.index([("seed", responses)])
    asked: list[str] = []
    counts = _run(tmp_path / "out", corpus_path, _writer(asked), held_out=held_out)
    assert asked == ["d0", "d1", "d3", "d4", "d5", "d6"]
    assert counts["fi"].dropped == {"held_out": 1}
    (rejected,) = shards.read_rows(tmp_path / "out" / "rejected" / "fi")
    assert (rejected["id"], rejected["reason"]) == ("d2", "held_out")
    assert rejected["value"] == "seed: teksti 2 teksti 2 teksti 2 teksti 2"


@pytest.mark.parametrize(
    ("says", "reason"),
    [(" \n", "no_output"), ("", "no_output"), ("Name \ufffd", "invalid_text")],
)
def test_what_is_no_text_is_rejected_with_its_reason(
    says, reason, tmp_path, corpus_path
):
    counts = _run(tmp_path / "out", corpus_path, _writer([], says=says))
    assert counts["fi"].dropped == {reason: 7}
    assert (counts["fi"].rows_in, counts["fi"].rows_out) == (7, 0)
    rows = shards.read_rows(tmp_path / "out" / "rejected" / "fi")
    assert [row["id"] for row in rows] == [f"d{i}" for i in range(7)]
    assert {row["reason"] for row in rows} == {reason}
    assert rows[0]["text"].startswith("Teksti 0.")


def test_an_instruction_is_text():
    ok = "Kirjoita\ttarina\nmetsästä: नदी क्‍ष 😀"
    assert generate.why_rejected(ok) is None
    for bad in ("a\x00b", "a\ud800b", "a\uffffb", "a\x1bb"):
        assert generate.why_rejected(bad) == "invalid_text"


def test_a_limit_takes_the_first_documents(tmp_path, corpus_path):
    asked: list[str] = []
    counts = _run(tmp_path / "out", corpus_path, _writer(asked), limit=4)
    assert asked == ["d0", "d1", "d2", "d3"]
    assert (counts["fi"].rows_in, counts["fi"].rows_out) == (4, 4)


def test_each_part_of_the_key_makes_the_candidates_again(tmp_path, corpus_path):
    """Model, sampling, prompt and input; what changes none of them goes on."""
    config = {"model": 1, "generate": {"top_p": 0.9}, "seed": 1}

    def made(kept=None, longest=10_000, **changed):
        asked: list[str] = []
        writer = _writer(asked, longest)
        _run(tmp_path / "out", corpus_path, writer, kept, 2, config | changed)
        return len(asked)

    assert made() == 7
    assert made() == 0
    for change in ({"model": 2}, {"generate": {"top_p": 0.8}}, {"seed": 2}):
        assert made(**change) == 7
    assert made() == 7
    assert made(decontamination={"gram_words": 9}) == 7
    assert made(template="another") == 7
    assert made(longest=9_999) == 7
    first = shards.read_rows(tmp_path / "out" / "fi")[0]
    assert made({"fi": {"d0": first | {"instruction": "Old", "round": 1}}}) == 6
    assert made() == 7


def test_processes_with_a_model_each_write_disjoint_shards(tmp_path, corpus_path):
    asked: list[list[str]] = [[], []]
    with pytest.raises(UserError, match="lacks part-00000"):
        _run(tmp_path / "out", corpus_path, _writer(asked[1], share=jobs.Share(1, 2)))
    _run(tmp_path / "out", corpus_path, _writer(asked[0], share=jobs.Share(0, 2)))
    assert asked == [["d0", "d1", "d2", "d6"], ["d3", "d4", "d5"]]
    _run(tmp_path / "whole", corpus_path, _writer([]))
    for path in shards.shard_paths(tmp_path / "whole" / "fi"):
        again = tmp_path / "out" / "fi" / path.name
        assert again.read_bytes() == path.read_bytes()


def test_a_stop_string_ends_the_instruction_within_a_token(tmp_path, corpus_path):
    def write(rows, ids):
        tokens = [ord(c) for c in f" About {ids[0]}. Next"]
        stopped = Generation(tokens[:9], -1.5, "stop", " About ")
        return [stopped, *(Generation(tokens, -2.5, "length") for _ in ids[1:])]

    writer = dataclasses.replace(_writer([]), generate=write)
    _run(tmp_path / "out", corpus_path, writer)
    first, second = shards.read_rows(tmp_path / "out" / "fi")[:2]
    assert (first["instruction"], first["n_tokens"]) == ("About", 9)
    assert second["instruction"] == "About d0. Next"


@pytest.mark.parametrize(("replica", "replicas"), [(0, 1), (1, 2)])
def test_the_writer_makes_the_shards_of_its_engines_replica(
    replica, replicas, tmp_path, monkeypatch
):
    engine = types.SimpleNamespace(
        replica=replica,
        replicas=replicas,
        leads=False,
        longest_prompt=9,
        usage=Usage(rows=7),
        generate=lambda prompts, ids, seed: [seed, *ids],
    )
    monkeypatch.setattr(text_models, "engine", lambda *_: engine)
    monkeypatch.setattr(
        Workspace, "vocabulary", types.SimpleNamespace(encode_prompt=0, decode=0)
    )
    workspace = Workspace(RunConfig(name="t", languages=("fi",)), tmp_path)
    writer = answers.writer(workspace, 3)
    assert writer.generate([[1]], ["a"])[1:] == ["a"]
    assert writer.usage is engine.usage
    assert writer.share == (jobs.Share(1, 2, writes=False) if replica else None)
