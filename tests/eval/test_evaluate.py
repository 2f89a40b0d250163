import json

import numpy as np
import pytest
import rich.console

from xinst_jax import run_file, shards
from xinst_jax.errors import UserError
from xinst_jax.eval import evaluate, questions, tables
from xinst_jax.eval.answers import Answer, Answerer, prompt
from xinst_jax.eval.questions import QuestionSet
from xinst_jax.languages import BUILT_IN
from xinst_jax.manifest import StageDirectory
from xinst_jax.pipeline.make import evaluation as evaluation_make
from xinst_jax.pipeline.workspace import Workspace

LANGUAGES = {code: BUILT_IN[code] for code in ("fi", "ur")}
QUESTIONS = [
    {"id": f"q{number}", "instruction": f"Name {number} rivers."}
    for number in (1, 2, 3)
]
OWN = [{"id": "q1", "instruction": "Nimeä joki."}]
SETS = [
    QuestionSet("rivers", False, {"fi": QUESTIONS, "ur": QUESTIONS}),
    QuestionSet("own", True, {"fi": OWN}),
]
HELD_OUT = {"fi": [{"id": "s1", "instruction": "Say hello.", "output": "Hei sinä."}]}


class Model:
    """Answers that name their row, and a log probability of -2 nats a word."""

    def __init__(self, fail_at: str = "") -> None:
        self.fail_at = fail_at
        self.asked: list[str] = []
        self.prompts: list[str] = []
        self.loaded: list[list[str]] = []

    def load(self, every):
        self.loaded.append([question.row_id for question in every])
        return self.answer

    def answer(self, asked):
        if self.fail_at and asked[0].language.code == self.fail_at:
            raise KeyboardInterrupt
        self.asked += [question.row_id for question in asked]
        self.prompts += [prompt(question) for question in asked]
        text = "Suomen pisimmät joet ovat Kemijoki ja Iijoki"
        return [Answer(f"{text} {one.row_id}", -1.5, 4, "stop") for one in asked]

    def logprobs(self, prompts, responses):
        self.prompts += prompts
        words = np.array([len(response.split()) for response in responses])
        return -2.0 * words, words


def run(directory, model, samples=1, opponents=()):
    stage = StageDirectory(directory, "evaluation", {}, {})
    return evaluate.run(
        stage,
        SETS,
        LANGUAGES,
        Answerer({"temperature": 0.7}, model.load),
        {
            name: Answerer({"of": name}, one.load)
            for name, one in dict(opponents).items()
        },
        HELD_OUT,
        {"base": model.logprobs, "tuned": model.logprobs},
        samples=samples,
        resamples=200,
    )


def files(directory):
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in shards.each_file(directory)
    }


def test_every_question_is_asked_in_every_language_under_its_own_id(tmp_path):
    model = Model()
    counts = run(tmp_path, model, samples=2)
    expected = [
        f"rivers/{code}/{question['id']}/{sample}"
        for code in LANGUAGES
        for question in QUESTIONS
        for sample in (1, 2)
    ]
    assert sorted(model.asked) == sorted([*expected, "own/fi/q1/1", "own/fi/q1/2"])
    assert any("Nimeä joki. Answer in Finnish and" in text for text in model.prompts)
    rows = shards.read_rows(tmp_path / "answers" / "ur")
    assert [row["instruction"] for row in rows[::2]] == [
        q["instruction"] for q in QUESTIONS
    ]
    assert [row["sample"] for row in rows] == [1, 2] * 3
    assert {row["settings"] for row in rows} == {'{"temperature": 0.7}'}
    assert (counts["fi"].rows_in, counts["fi"].rows_out) == (8, 8)
    assert (counts["ur"].rows_in, counts["ur"].rows_out) == (6, 6)


def test_opponents_are_asked_the_same_and_kept_apart(tmp_path):
    model, other = Model(), Model()
    run(tmp_path, model, opponents={"base": other})
    assert other.asked == model.asked
    found = evaluate.read_answers(tmp_path, LANGUAGES)
    assert list(found) == ["tuned", "base"]
    assert {row["model"] for row in found["base"]["ur"]} == {"base"}
    record = json.loads((tmp_path / "evaluation.json").read_bytes())
    assert set(record["sets"]["own"]["languages"]) == {"fi"}
    figures = record["sets"]["rivers"]["languages"]["fi"]["answers"]["base"]
    assert figures["answers"] == 3 and figures["intervals"]["in_language"] == [1, 1]
    run(tmp_path, model, opponents={"base": other})
    # Readied once, for the questions of all languages.
    assert other.loaded == [other.asked]


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
    assert {row_id.split("/")[1] for row_id in rest.asked} == {"ur"}
    assert files(tmp_path / "stopped") == files(tmp_path / "whole")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "No evaluation question in rivers"),
        ([{"id": "a", "instruction": " "}], "question 1: field 'instruction'"),
        ([{"instruction": "Sing."}], "question 1: field 'id'"),
        ([{"id": "a", "instruction": "Sing."}] * 2, "1 and 2 have the same id 'a'"),
    ],
)
def test_questions_that_cannot_be_asked_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        questions.check("rivers.jsonl", given)


def test_the_tables_show_every_language_set_and_model(tmp_path):
    run(tmp_path, Model(), opponents={"other": Model()})
    record = json.loads((tmp_path / "evaluation.json").read_bytes())
    console = rich.console.Console(width=200, record=True)
    console.print(tables.likelihood(record))
    for name in record["sets"]:
        console.print(tables.fidelity(record, name))
    text = console.export_text()
    for shown in ("Finnish", "Urdu", "nats/token", "tuned", "other", "2.00 2.00"):
        assert shown in text
    assert "100 [100, 100]" in text and "own: answers" in text


def test_what_a_finished_evaluation_found_is_printed_from_its_files(tmp_path, capsys):
    run(tmp_path / "evaluation", Model())
    workspace = Workspace(run_file.load("gin/runs/quickstart.gin", []), tmp_path)
    evaluation_make.print_tables(workspace)
    said = capsys.readouterr().out
    for shown in ("held-out responses", "rivers: answers", "own: answers", "2.00 2.00"):
        assert shown in said
    assert "judged by" not in said
