import json

import numpy as np
import pytest
import rich.console

from xinst_jax import shards
from xinst_jax.errors import UserError
from xinst_jax.eval import evaluate
from xinst_jax.languages import BUILT_IN
from xinst_jax.manifest import StageDirectory

LANGUAGES = {code: BUILT_IN[code] for code in ("fi", "ur")}
QUESTIONS = [
    {"id": f"q{number}", "instruction": f"Name {number} rivers."}
    for number in (1, 2, 3)
]
HELD_OUT = {"fi": [{"id": "s1", "instruction": "Say hello.", "output": "Hei sinä."}]}


class Model:
    """Answers that name their row, and a log probability of -2 nats a word."""

    def __init__(self, fail_at: str = "") -> None:
        self.fail_at = fail_at
        self.asked: list[str] = []
        self.prompts: list[str] = []

    def answer(self, prompts, ids):
        if self.fail_at and ids[0].startswith(self.fail_at):
            raise KeyboardInterrupt
        self.asked += ids
        self.prompts += prompts
        text = "Suomen pisimmät joet ovat Kemijoki ja Iijoki"
        return [evaluate.Answer(f"{text} {i}", -1.5, 4, "stop") for i in ids]

    def logprobs(self, prompts, responses):
        self.prompts += prompts
        words = np.array([len(response.split()) for response in responses])
        return -2.0 * words, words


def run(directory, model, **overrides):
    stage = StageDirectory(directory, "evaluation", {}, {})
    arguments = {
        "questions": QUESTIONS,
        "languages": LANGUAGES,
        "answer": model.answer,
        "held_out": HELD_OUT,
        "logprobs": {"base": model.logprobs, "tuned": model.logprobs},
    }
    return evaluate.run(stage, **{**arguments, **overrides})


def files(directory):
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in shards.each_file(directory)
    }


def test_every_question_is_asked_in_every_language_under_its_own_id(tmp_path):
    model = Model()
    counts = run(tmp_path, model)
    assert sorted(model.asked) == sorted(
        f"{code}/{question['id']}" for code in LANGUAGES for question in QUESTIONS
    )
    assert "Answer in Urdu and the style of an AI assistant." in model.prompts[-1]
    rows = shards.read_rows(tmp_path / "answers" / "ur")
    assert [row["instruction"] for row in rows] == [q["instruction"] for q in QUESTIONS]
    assert [row["answer"][-5:] for row in rows] == ["ur/q1", "ur/q2", "ur/q3"]
    assert (counts["ur"].rows_in, counts["ur"].rows_out) == (3, 3)


def test_the_figures_are_those_of_the_rows(tmp_path):
    run(tmp_path, Model())
    record = json.loads((tmp_path / "evaluation.json").read_bytes())
    assert record["models"] == ["base", "tuned"]
    assert record["languages"]["fi"]["fidelity"]["in_language"] == 1
    assert record["languages"]["ur"]["fidelity"]["in_language"] == 0
    loss = record["languages"]["fi"]["likelihood"]["tuned"]
    assert loss["loss_per_token"] == pytest.approx(2)
    assert loss["loss_per_character"] == pytest.approx(4 / len("Hei sinä."))


def test_a_language_without_held_out_pairs_has_answers_but_no_loss(tmp_path):
    run(tmp_path, Model())
    figures = json.loads((tmp_path / "evaluation.json").read_bytes())["languages"]["ur"]
    assert figures["likelihood"] == {}
    assert figures["fidelity"]["answers"] == 3


def test_a_stopped_evaluation_goes_on_with_the_next_language(tmp_path):
    run(tmp_path / "whole", Model())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", Model(fail_at="ur"))
    rest = Model()
    run(tmp_path / "stopped", rest)
    assert {row_id[:2] for row_id in rest.asked} == {"ur"}
    assert files(tmp_path / "stopped") == files(tmp_path / "whole")


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        ([], "No evaluation question"),
        ([{"id": "a", "instruction": " "}], "question 1: field 'instruction'"),
        ([{"instruction": "Sing."}], "question 1: field 'id'"),
        ([{"id": "a", "instruction": "Sing."}] * 2, "1 and 2 have the same id 'a'"),
    ],
)
def test_questions_that_cannot_be_asked_are_refused(tmp_path, questions, message):
    model = Model()
    with pytest.raises(UserError, match=message):
        run(tmp_path, model, questions=questions)
    assert not model.asked


def test_the_table_shows_every_language_and_both_models(tmp_path):
    run(tmp_path, Model())
    record = json.loads((tmp_path / "evaluation.json").read_bytes())
    console = rich.console.Console(width=200, record=True)
    console.print(evaluate.table(record))
    text = console.export_text()
    assert "Finnish" in text
    assert "Urdu" in text
    assert "nats/token" in text
    assert "tuned" in text
    assert "2.00 2.00" in text
