import json

import pytest

from xinst_jax import run_file
from xinst_jax.errors import UserError
from xinst_jax.pipeline import question_files, stages

_GIN = "gin/runs/quickstart.gin"


def load(*overrides):
    return run_file.load(_GIN, ["LANGUAGES=('fi', 'ur')", *overrides])


def write(path, ids):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.dumps({"id": name, "instruction": f"Say {name}."}) for name in ids]
    path.write_text("\n".join(rows))


def test_sets_are_called_what_their_files_are_and_may_be_in_the_languages(tmp_path):
    write(tmp_path / "vicuna.jsonl", ["v1", "v2"])
    write(tmp_path / "wizard-fi.v2.jsonl", ["w1"])
    write(tmp_path / "own" / "ur.jsonl", ["u1", "u2", "u3"])
    patterns = ["vicuna.jsonl", "wizard-{lang}.v2.jsonl", "own/{lang}.jsonl"]
    given = ", ".join(str(tmp_path / pattern) for pattern in patterns)
    run = load(f"EvaluateConfig.questions={given!r}", "EvaluateConfig.max_questions=2")
    found = {of.name: of for of in question_files.sets(run)}
    assert list(found) == ["vicuna", "wizard", "own"]
    assert [of.native for of in found.values()] == [False, True, True]
    ids = {
        name: {code: [row["id"] for row in rows] for code, rows in of.questions.items()}
        for name, of in found.items()
    }
    assert ids == {
        "vicuna": {"fi": ["v1", "v2"], "ur": ["v1", "v2"]},
        "wizard": {"fi": ["w1"]},
        "own": {"ur": ["u1", "u2"]},
    }
    assert set(question_files.digests(run)) == {
        "vicuna/en/0/vicuna.jsonl",
        "wizard/fi/0/wizard-fi.v2.jsonl",
        "own/ur/0/ur.jsonl",
    }


def test_sets_of_one_name_and_sets_in_no_language_are_refused(tmp_path):
    write(tmp_path / "a" / "vicuna.jsonl", ["1"])
    write(tmp_path / "b" / "vicuna.jsonl", ["2"])
    both = f"{tmp_path}/a/vicuna.jsonl, {tmp_path}/b/vicuna.jsonl"
    with pytest.raises(UserError, match="two sets called 'vicuna'"):
        question_files.sets(load(f"EvaluateConfig.questions={both!r}"))
    none = f"{tmp_path}/own/{{lang}}.jsonl"
    with pytest.raises(UserError, match="nothing matches"):
        question_files.sets(load(f"EvaluateConfig.questions={none!r}"))


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["JudgeConfig.judge='endpoint'"], "needs judge/EndpointConfig.url"),
        (["JudgeConfig.judge='base'"], "set JudgeConfig.prompt = 'verdict'"),
        (
            ["JudgeConfig.judge='base'", "JudgeConfig.prompt='verdict'"],
            "nothing to compare",
        ),
        (["JudgeConfig.rule='majority'"], "expected one of agree, lenient, sum"),
        (["EvaluateConfig.opponents=('endpoint',)"], "opponent/EndpointConfig.url"),
        (["EvaluateConfig.opponents=('base', 'base')"], "names one twice"),
        (["EndpointConfig.cost_limit_usd=5.0"], None),
        (
            [
                "judge/EndpointConfig.url='http://h/v1'",
                "judge/EndpointConfig.model='m'",
                "judge/EndpointConfig.cost_limit_usd=5.0",
            ],
            "needs prices to be kept",
        ),
        (["judge/EndpointConfig.url='http://h/v1'"], "without EndpointConfig.model"),
        (["judge/EndpointConfig.url='h'"], "expected a URL"),
    ],
)
def test_a_judge_that_cannot_be_is_told_before_work_starts(overrides, told):
    if told is None:
        load(*overrides)
        return
    with pytest.raises(UserError, match=told.replace("(", r"\(")):
        load(*overrides)


def test_an_opponent_that_is_no_model_is_told_before_work_starts(tmp_path):
    run = load(f"EvaluateConfig.opponents=('{tmp_path}',)")
    (stage,) = stages.of_verb(stages.graph(run), "evaluate")
    with pytest.raises(UserError, match="is not a Hugging Face folder"):
        stage.files()


def test_without_a_judge_there_is_no_stage_of_judgments():
    run = load(
        "JudgeConfig.judge='model'",
        "JudgeConfig.prompt='verdict'",
        "EvaluateConfig.opponents=('base',)",
    )
    assert [s.name for s in stages.of_verb(stages.graph(run), "evaluate")] == [
        "evaluation",
        "judgments",
    ]
    assert [s.name for s in stages.of_verb(stages.graph(load()), "evaluate")] == [
        "evaluation"
    ]
