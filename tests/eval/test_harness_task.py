"""Tasks of the harness by name, on rows of our own: figures, answers and mistakes."""

import json

import pytest

from xinst_jax.config import BenchmarkConfig, RunConfig
from xinst_jax.errors import UserError
from xinst_jax.eval import benchmarks
from xinst_jax.eval.benchmarks import COVERAGE, BenchmarkTask
from xinst_jax.languages import BUILT_IN
from xinst_jax.manifest import StageDirectory
from xinst_jax.pipeline.workspace import Workspace

pytest.importorskip(
    "lm_eval",
    reason="NOT RUN: lm-eval is not installed, so that no benchmark set is read: "
    "pip install -r requirements-harness.txt",
)
from lm_eval import evaluator
from lm_eval.api import task as harness_tasks
from lm_eval.api.model import LM

from xinst_jax.eval import harness_task
from xinst_jax.pipeline.make import benchmarks as make

ROWS = {
    "xcopa": [
        {"premise": "Sataa.", "choice1": "Kastun.", "choice2": "Palan.", "label": label}
        | {"question": "effect"}
        for label in (0, 0, 1, 0)
    ],
    "xstorycloze": [
        {f"input_sentence_{n}": f"Sentence {n}." for n in (1, 2, 3, 4)}
        | {"sentence_quiz1": "One.", "sentence_quiz2": "Two."}
        | {"answer_right_ending": right}
        for right in (1, 1, 2, 1)
    ],
    "xnli": [
        {"premise": "It rains", "hypothesis": "It is wet", "label": label}
        for label in (0, 0, 1, 0)
    ],
    "belebele": [
        {f"mc_answer{n}": f"Answer {n}" for n in (1, 2, 3, 4)}
        | {"flores_passage": "A passage.", "question": "Which?"}
        | {"correct_answer_num": right}
        for right in ("1", "1", "2", "1")
    ],
}
LAST = {"xcopa": "ta", "xstorycloze": "sw", "xnli": "ur", "belebele": "bn"}


class First(LM):
    """Finds the first choice of every row likeliest."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def loglikelihood(self, requests):
        self.asked += [request.args for request in requests]
        return [(-1.0 - request.idx, request.idx == 0) for request in requests]

    def loglikelihood_rolling(self, requests):
        pytest.fail(f"no set asks for a likelihood without choices: {requests}")

    generate_until = loglikelihood_rolling


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    """Leaves out what the harness notes of the machine: it runs the package manager."""
    monkeypatch.setattr(evaluator, "add_env_info", lambda _: None)


def _config(folder, name) -> BenchmarkConfig:
    one = COVERAGE[name]
    for code in one.tasks:
        path = folder / name / code / f"{one.split}.jsonl"
        path.parent.mkdir(parents=True)
        lines = [json.dumps(row | {"lang": code}) for row in ROWS[name]]
        path.write_text("\n".join(lines))
    return BenchmarkConfig(sets=(name,), data=str(folder))


@pytest.mark.parametrize("name", COVERAGE)
def test_a_set_is_measured_on_local_rows(tmp_path, name):
    config = _config(tmp_path, name)
    language = {LAST[name]: BUILT_IN[LAST[name]]}
    [task] = benchmarks.tasks(config, language)
    model = First()
    record, samples = harness_task.measure(model, task, config)
    assert record["results"][task.name]["acc,none"] == 0.75
    assert record["n-samples"][task.name]["effective"] == len(ROWS[name])
    assert record["versions"][task.name] is not None
    assert [sample["doc"]["lang"] for sample in samples] == [LAST[name]] * 4
    context, choice = model.asked[0]
    first = ROWS[name][0]
    shown = first.get("premise", first.get("question")) or first["input_sentence_4"]
    assert shown.rstrip(".") in context + choice


@pytest.mark.parametrize("name", COVERAGE)
def test_the_harness_has_every_task_that_the_table_names(name):
    known = harness_task._manager(name, "").all_tasks
    assert not {*COVERAGE[name].tasks.values()} - {*known}


def test_fewer_rows_are_measured_where_the_run_says_so(tmp_path):
    config = BenchmarkConfig(
        sets=("xnli",), data=_config(tmp_path, "xnli").data, limit=3
    )
    [task] = benchmarks.tasks(config, {"sw": BUILT_IN["sw"]})
    record, _ = harness_task.measure(First(), task, config)
    assert record["results"]["xnli_sw"]["acc,none"] == pytest.approx(2 / 3)


@pytest.fixture
def task_files(tmp_path):
    """A folder with a task file of one's own."""
    folder = tmp_path / "task_files"
    folder.mkdir()
    (folder / "rows.jsonl").write_text('{"text": "Hei"}\n{"text": "Moi"}\n')
    data = f"data_files: {{test: {folder / 'rows.jsonl'}}}"
    (folder / "own.yaml").write_text(
        f"task: own\ndataset_path: json\ndataset_kwargs: {{{data}}}\n"
        "test_split: test\noutput_type: multiple_choice\ndoc_to_text: '{{text}}'\n"
        "doc_to_choice: [a, b]\ndoc_to_target: 0\nmetric_list: [{metric: acc}]\n"
    )
    return folder


def test_a_stage_holds_the_figures_and_every_answer(tmp_path, task_files, monkeypatch):
    config = BenchmarkConfig(tasks=("own",), task_files=str(task_files))
    # Only the folder's tasks: reading all of the harness' takes a while.
    monkeypatch.setattr(harness_task, "_OWN_TASKS", task_files)
    monkeypatch.setattr(make, "_harness_model", lambda *_: First())
    task = BenchmarkTask("own", set_name=".")
    run = RunConfig(name="x", languages=("fi",), benchmark=config)
    stage = StageDirectory(tmp_path / "benchmark", "benchmark/base/own", {}, {})
    made = make.benchmark(Workspace(run, tmp_path), stage, "base", task)
    assert made.counts["all"].notes == {"truncated": 0, "acc": 1.0}
    record = benchmarks.read(stage.path)
    assert (record["model"], record["task"]) == ("base", "own")
    assert "config_source" not in json.dumps(record["configs"])
    lines = (stage.path / benchmarks.SAMPLES).read_text().splitlines()
    assert [json.loads(line)["doc"]["text"] for line in lines] == ["Hei", "Moi"]
    assert "own/" not in benchmarks.digests(config, BenchmarkTask("own"))
    assert "task_files/own.yaml" in benchmarks.digests(config, BenchmarkTask("own"))


def test_a_task_that_is_not_there_is_refused_with_the_nearest_names():
    task = BenchmarkTask("xcopa_ip", set_name="xcopa")
    with pytest.raises(UserError, match=r"no task 'xcopa_ip'; there is .*xcopa_i"):
        harness_task.measure(First(), task, BenchmarkConfig())


def test_data_that_cannot_be_reached_is_one_clear_error(monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError("Couldn't reach 'cambridgeltl/xcopa' on the Hub")

    monkeypatch.setattr(harness_tasks.datasets, "load_dataset", refuse)
    task = BenchmarkTask("xcopa_id", "xcopa", "id")
    with pytest.raises(UserError, match=r"xcopa_id cannot be .*BenchmarkConfig\.data"):
        harness_task.measure(First(), task, BenchmarkConfig(sets=("xcopa",)))
