"""Held-out pairs that can be ranked, and what the evaluation finds with them."""

import dataclasses
import json

import numpy as np
import pytest

from tests.pipeline.test_text_models import workspace
from xinst_jax import shards
from xinst_jax.data import prompts
from xinst_jax.manifest import StageDirectory
from xinst_jax.pipeline import rounds, seed, text_models
from xinst_jax.pipeline.make import evaluation


@pytest.fixture
def run(tmp_path):
    """A run with three held-out pairs: one is short, two are too long in one half."""
    run = workspace(tmp_path)
    length = run.run.sft.length
    pairs = {
        "short": ("w5 w6 w7", "w8 w9"),
        "long answer": ("w5", "w6 " * 2 * length),
        "long question": ("w5 " * (length // 2 + 1), "w6"),
    }
    rows = [
        dict.fromkeys(seed.SCHEMA.names, "")
        | {"id": id, "lang": "fi", "instruction": asked, "output": answered}
        | {"split": seed.HELD_OUT}
        for id, (asked, answered) in pairs.items()
    ]
    shards.write_shards(run.path("seed") / "fi", rows, seed.SCHEMA, 10)
    return run


def test_every_instruction_fits_with_every_response(run):
    found, left_out = text_models.retrieval_pairs(run, "fi")
    assert [pair["id"] for pair in found] == ["short", "long answer"]
    assert left_out == 1
    encode, encode_prompt = run.vocabulary.encode, run.vocabulary.encode_prompt
    reversals, answered = [], []
    for one in found:
        response = one["output"]
        for other in found:
            asked = prompts.answer(other["instruction"], "Finnish", seed_style=True)
            answered.append(len(encode_prompt(asked)) + len(encode(response)) + 1)
            written = len(encode(other["instruction"])) + 1
            reversals.append(len(encode_prompt(prompts.reverse(response))) + written)
    # Never longer than a row, and one of them exactly as long.
    length = run.run.sft.length
    assert length == run.run.generator.length
    assert max(*reversals, *answered) == length


def _evaluated(run, most):
    evaluate = dataclasses.replace(run.run.evaluate, retrieval_pairs=most)
    changed = dataclasses.replace(
        run, run=dataclasses.replace(run.run, evaluate=evaluate)
    )
    stage = StageDirectory(run.path("evaluation"), "evaluation", {}, {})
    return evaluation._retrieval(changed, stage)


def test_the_evaluation_ranks_with_the_last_generator_and_the_tuned_model(
    run, monkeypatch
):
    asked = []

    def scorer(_, stage):
        asked.append(stage)
        return lambda prompts, texts: (
            -np.array([float(len(text)) for text in texts]),
            np.ones(len(texts), np.int32),
        )

    monkeypatch.setattr(text_models, "response_scorer", scorer)
    # Round 3 has nothing to train, since nothing moved in round 2.
    moved = run.path("ratings/round-2") / rounds.MOVED
    moved.parent.mkdir(parents=True)
    moved.write_text(json.dumps({"all": {"changed": 0.0}}))
    found = _evaluated(run, 100)
    assert run.run.rounds == 3
    assert asked == ["generator/round-2", "model"]
    # The shorter instruction is always the likelier one to the generator.
    assert found["fi"]["generator"]["mrr"] == pytest.approx((1 + 1 / 2) / 2)
    assert found["fi"]["generator_pmi"]["mrr"] == pytest.approx(3 / 4)
    assert found["fi"]["tuned_pmi"]["chance"] == 0.75
    assert found["fi"]["tuned_pmi"]["pairs"] == 2
    assert _evaluated(run, 100) == found
    assert len(asked) == 2


def test_no_pairs_asked_for_load_no_model(run, monkeypatch):
    monkeypatch.delattr(text_models, "response_scorer")
    assert _evaluated(run, 0) == {}
