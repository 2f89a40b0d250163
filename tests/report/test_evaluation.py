"""What the page says of retrieval, of a judge and of benchmarks, figure by figure."""

import json

import pytest

from tests.eval.test_judging import run as judge
from tests.report.test_page import Page
from xinst_jax import shards
from xinst_jax.eval import evaluate, retrieval
from xinst_jax.languages import BUILT_IN
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.report import evaluation, page

LANGUAGES = {code: BUILT_IN[code] for code in ("fi", "sw", "ur")}
NAMES = {code: language.name for code, language in LANGUAGES.items()}
ACCURACY = {
    ("base", "belebele_fin_Latn"): 0.2875,
    ("tuned", "belebele_fin_Latn"): 0.3125,
    ("tuned", "xcopa_sw"): 0.625,
}


def _stage(path, name, figures, content):
    stage = StageDirectory(path / name, name, {}, {})
    stage.begin()
    shards.write_bytes(stage.path / figures, json.dumps(content).encode())
    stage.finish({"all": Counts(1, 1)})


def _measured(task, value):
    return {
        "task": task,
        "lm_eval": "0.4.13",
        "results": {task: {"acc,none": value, "acc_stderr,none": 0.016}},
        "n-shot": {task: 0},
        "n-samples": {task: {"original": 900, "effective": 80}},
    }


def _ranked(language, seed):
    """What `evaluate` writes of 4 responses, the true instruction ranked 1, 2, 4, 4."""
    rows = [
        {
            "score": score,
            "reciprocal_rank": 1 / rank,
            "candidates": 14,
            "true_score": -8.0,
            "n_tokens": 4,
        }
        for score in retrieval.SCORES
        for rank in (1, 2, 4, 4)
    ]
    found = retrieval.figures(rows, seed)
    return {"name": language.name, "fidelity": _FIDELITY, "likelihood": {}} | (
        {"retrieval": found} if language.code != "ur" else {}
    )


_FIDELITY = {
    **{"answers": 5, "in_language": 0.8, "empty": 0.0, "truncated": 1.0},
    **{"repetition": 0.125, "english": 0.02},
}


STAGES = (
    "evaluation",
    "judgments",
    *(f"benchmark/{model}/{task}" for model, task in ACCURACY),
    "benchmark/base/mine",
)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    in_set = {
        "fi": {
            "name": "Finnish",
            "answers": {
                model: {**_FIDELITY, "sentences": 0.9, "intervals": {"empty": [0, 0.2]}}
                for model in ("tuned", "base")
            },
        }
    }
    record = {
        "models": ["base", "tuned"],
        "languages": {code: _ranked(one, 0) for code, one in LANGUAGES.items()},
        "sets": {"own": {"languages": in_set}},
    }
    _stage(path, "evaluation", evaluate.FIGURES, record)
    for (model, task), value in ACCURACY.items():
        name = f"benchmark/{model}/{task}"
        _stage(path, name, "results.json", _measured(task, value))
    more = _measured("mine", 0.5) | {
        "results": {"mine": {"bleu,get-answer": 3.5, "bleu_stderr,get-answer": "N/A"}}
    }
    _stage(path, "benchmark/base/mine", "results.json", more)
    stage = StageDirectory(path / "judgments", "judgments", {}, {})
    stage.begin()
    judge(stage.path)
    stage.finish({"fi": Counts(6, 6)})
    return path


@pytest.fixture(scope="module")
def shown(workdir, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "report.html"
    page.write(workdir, out, "run", LANGUAGES, STAGES)
    return Page(out.read_text()).text


def test_benchmarks_stand_by_language_set_and_model_with_their_errors(workdir):
    records = evaluation.benchmark_records(workdir, STAGES)
    assert records.keys() == {*ACCURACY, ("base", "mine")}
    grid, others = evaluation.benchmark_tables(records, NAMES)
    assert [title for title, _ in grid.groups] == [
        *("", "XCOPA (chance 0.50)", "Belebele (chance 0.25)")
    ]
    assert grid.headings == ["Language", "base", "tuned", "base", "tuned"]
    assert grid.rows == [
        ["Finnish", "–", "–", "0.287 ± 0.016", "0.312 ± 0.016"],
        ["Swahili", "–", "0.625 ± 0.016", "–", "–"],
        ["Urdu", "–", "–", "–", "–"],
    ]
    assert "harness 0.4.13; 80 rows a task, 0 examples shown" in grid.caption
    assert others.rows == [["mine", "base", "bleu (get-answer)", "3.5000"]]


def test_retrieval_stands_beside_its_chance_and_interval(workdir):
    record = json.loads((workdir / "evaluation" / evaluate.FIGURES).read_bytes())
    (table,) = evaluation.mean_reciprocal_rank(record)
    assert [row[0] for row in table.rows] == ["Finnish", "Swahili"]
    first = table.rows[0]
    # Chance: (1 + 1/2 + ... + 1/14) / 14.
    assert first[1:4] == ["4", "14", "0.232"]
    assert first[4].startswith("0.500 [") and first[4:] == [first[4]] * 3
    low, high = (float(end.strip("[],")) for end in first[4].split()[1:])
    assert low <= 0.5 <= high and low < high


def test_the_judges_own_record_stands_in_the_row_of_every_win_rate(workdir):
    (table,) = evaluation.win_rates(workdir, STAGES)
    assert "tuned judged by by length (prompt 'verdict', rule 'agree', the first" in (
        table.caption
    )
    assert {row[0] for row in table.rows} == {"Finnish", "Urdu", "All"}
    place = table.headings.index("whole")
    assert [row[place] for row in table.rows] == ["1/1", "1/1", "2/2"]
    assert table.rows[-1][table.headings.index("win rate")].startswith("50 [")
    assert sum(columns for _, columns in table.groups) == len(table.headings)
    assert all(len(row) == len(table.headings) for row in table.rows)


def test_the_page_shows_what_was_measured(shown):
    for words in (
        *("Mean reciprocal rank", "Belebele (chance 0.25)", "0.625 ± 0.016"),
        *("tuned judged by by length", "own: answers, %", "0 [0, 20]"),
    ):
        assert words in shown
    assert "No judge was asked." not in shown


@pytest.mark.parametrize("made", [False, True])
def test_a_run_without_judge_and_benchmarks_says_so(made, workdir, tmp_path):
    """Also where a judge was asked, and tasks were measured, before they were not."""
    path = workdir if made else tmp_path / "none"
    page.write(path, tmp_path / "report.html", "run", LANGUAGES, ["evaluation"])
    text = Page((tmp_path / "report.html").read_text()).text
    assert "No judge was asked." in text and "No benchmark was measured." in text


def test_a_task_that_a_run_no_longer_names_is_not_shown(workdir):
    shown = [name for name in STAGES if name != "benchmark/base/mine"]
    assert evaluation.benchmark_records(workdir, shown).keys() == ACCURACY.keys()
