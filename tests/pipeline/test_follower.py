"""The model that follows instructions in a round: what it has read, and what not."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from tests.pipeline.test_text_models import workspace
from xinst_jax import shards
from xinst_jax.config import PromptConfig, RunConfig, TrainConfig
from xinst_jax.data import prompts
from xinst_jax.manifest import StageDirectory
from xinst_jax.pipeline import rate, runner, seed, stages, training, training_rows
from xinst_jax.pipeline.make import models
from xinst_jax.pipeline.workspace import Workspace

_CODES = ("fi", "sw")
_CANDIDATE = pa.schema(
    [(name, pa.string()) for name in ("id", "lang", "instruction", "output")]
)


def _seed_rows(code: str) -> list[dict[str, str]]:
    return [
        dict.fromkeys(seed.SCHEMA.names, "")
        | {"id": f"seed-{n}", "lang": code, "instruction": f"w{n + 3} w4"}
        | {"output": f"w{n + 20} w{n + 21}"}
        | {"split": seed.HELD_OUT if n % 4 == 3 else seed.TRAIN}
        for n in range(8)
    ]


def _candidates(code: str) -> list[dict[str, str]]:
    """Six texts, the fifth the response of a seed pair that is trained on."""
    rows = [
        {"id": f"doc-{n}", "lang": code, "instruction": f"w{n + 40}"}
        | {"output": f"w{n + 50} w1"}
        for n in range(6)
    ]
    rows[4]["output"] = _seed_rows(code)[0]["output"]
    return rows


_KEPT = [True, False, False, True, True, False]


@pytest.fixture
def run(tmp_path):
    """A run with its seed, and the candidates and ratings of two rounds."""
    found = workspace(tmp_path)
    # Four times over the rows: each of them is drawn, whatever the languages' turns.
    config = TrainConfig(length=128, passes=4.0)
    found = dataclasses.replace(
        found,
        run=dataclasses.replace(
            found.run, languages=_CODES, rounds=3, generator=config, follower=config
        ),
    )
    for code in _CODES:
        rows = _seed_rows(code)
        shards.write_shards(found.path("seed") / code, rows, seed.SCHEMA, 5)
        for number in (1, 2):
            candidates = _candidates(code)
            kept = _KEPT if number == 1 else _KEPT[::-1]
            rated = [
                dict.fromkeys(rate.SCHEMA.names)
                | {"id": row["id"], "instruction": row["instruction"]}
                | {"score": 0.5, "kept": one}
                for row, one in zip(candidates, kept, strict=True)
            ]
            this = f"round-{number}/{code}"
            path = found.path("candidates") / this
            shards.write_shards(path, candidates, _CANDIDATE, 4)
            shards.write_shards(found.path("ratings") / this, rated, rate.SCHEMA, 4)
    return found


def _learnt(run, name: str, number: int, monkeypatch) -> dict[str, dict]:
    """What a stage would train on: by split and row the prompt and the response."""
    taken = {}

    def instead(workspace, stage, config, examples):
        assert config == getattr(run.run, name)
        for split in (training.TRAIN, training.HELD_OUT):
            taken[split] = {
                (one.lang, one.id): (list(one.prompt_ids), list(one.response_ids))
                for one in examples(split)
            }

    monkeypatch.setattr(training, "run", instead)
    stage = f"{name}/round-{number}"
    make = getattr(models, name)
    make(run, StageDirectory(run.path(stage), stage, {}, {}), number)
    return taken


# By round, those that the one before kept.
_TAKEN = {1: [], 2: [0, 3, 4], 3: [1, 2, 5]}


# In words that the tokenizer knows.
_WORDING = PromptConfig(
    answer="w7 {instruction} {request} w8",
    request="w9 {language}",
    seed_request="w10 {language}",
)


@pytest.mark.parametrize(("number", "wording"), [(1, prompts.PAPER), (2, _WORDING)])
def test_a_round_learns_the_seed_and_what_the_last_one_kept_and_nothing_held_out(
    run, number, wording, monkeypatch
):
    run = dataclasses.replace(run, run=dataclasses.replace(run.run, prompts=wording))
    learnt = _learnt(run, "follower", number, monkeypatch)
    encode, expected = (
        run.vocabulary.encode,
        {training.TRAIN: {}, training.HELD_OUT: {}},
    )
    for code in _CODES:
        rows = {seed.TRAIN: [], seed.HELD_OUT: []}
        for row in _seed_rows(code):
            rows[row["split"]].append((row, True))
        rows[seed.TRAIN] += [(_candidates(code)[n], False) for n in _TAKEN[number]]
        for split, of_split in zip(expected, rows.values(), strict=True):
            for row, seed_style in of_split:
                name = run.run.language_table[code].name
                prompt = prompts.answer(row["instruction"], name, seed_style, wording)
                pair = (encode(prompt), encode(row["output"]))
                expected[split][code, row["id"]] = pair
    assert learnt == expected
    held_out = {tuple(response) for _, response in learnt[training.HELD_OUT].values()}
    read = {tuple(response) for _, response in learnt[training.TRAIN].values()}
    assert held_out and not held_out & read


def test_generator_and_rater_have_not_read_held_out_responses_either(run, monkeypatch):
    learnt = _learnt(run, "generator", 2, monkeypatch)[training.TRAIN]
    kept = [f"doc-{n}" for n in _TAKEN[2]]
    assert sorted(id for code, id in learnt if code == "fi") == sorted(
        [*kept, *(row["id"] for row in _seed_rows("fi") if row["split"] == "train")]
    )
    for number, places in _TAKEN.items():
        found = training_rows.kept_to_learn(run, number)
        for code in _CODES:
            assert [row["id"] for row in found[code]] == [f"doc-{n}" for n in places]


def test_a_pair_that_is_measured_by_is_in_no_training_of_its_round(run, monkeypatch):
    """The rater's held-out levels borrow from held-out pairs alone."""
    monkeypatch.setattr(
        "xinst_jax.hf.encoder.load_encoder", lambda name: None, raising=True
    )
    monkeypatch.setattr(
        "xinst_jax.hf.encoder.embed",
        lambda encoder, texts, mesh, rows: np.eye(len(texts), dtype=np.float32),
    )
    monkeypatch.setattr(training_rows, "_boilerplate", lambda workspace: {})
    path = run.path("levels")
    training_rows.write_levels(run, path, 2)
    measured = {
        (row["lang"], row["pair"])
        for row in shards.read_rows(path)
        if row["split"] == "held_out"
    }
    held_out = {
        (code, row["id"])
        for code in _CODES
        for row in _seed_rows(code)
        if row["split"] == seed.HELD_OUT
    }
    assert measured == held_out
    for name in ("generator", "follower"):
        learnt = _learnt(run, name, 2, monkeypatch)
        assert not measured & learnt[training.TRAIN].keys()


def test_ratings_from_before_there_were_followers_are_told_what_has_changed(tmp_path):
    run = Workspace(RunConfig(name="x", languages=("fi",)), tmp_path)
    graph = {stage.name: stage for stage in stages.graph(run.run)}
    now = graph["ratings/round-1"]
    rated = dict(now.config["rate"])
    rated["pmi"] = rated.pop("pmi_model") == "follower"
    old = runner.stage_directory(
        run, dataclasses.replace(now, config={**now.config, "rate": rated})
    )
    old.begin()
    old.finish({})
    told = runner.stage_directory(run, now).why_stale()
    assert "rate.pmi_model None -> 'follower'" in told
    follower = runner.stage_directory(run, graph["follower/round-1"])
    assert follower.why_stale() == "not made yet"
