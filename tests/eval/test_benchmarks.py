"""Which sets measure which language, where their rows come from, what is shown."""

import dataclasses
import json

import pytest
import rich.console

from xinst_jax import run_file
from xinst_jax.config import BenchmarkConfig
from xinst_jax.errors import UserError
from xinst_jax.eval import benchmark_table, benchmarks
from xinst_jax.eval.benchmarks import COVERAGE
from xinst_jax.languages import BUILT_IN, Language
from xinst_jax.pipeline import stages

ALL = BenchmarkConfig(sets=tuple(COVERAGE))
INCLUDED = "gin/benchmarks/ten_languages.gin"


@pytest.fixture
def ten_languages(tmp_path):
    """The quickstart with the four sets."""
    path = tmp_path / "run.gin"
    path.write_text(f"include 'gin/runs/quickstart.gin'\ninclude '{INCLUDED}'\n")
    return run_file.load(str(path), [])


def test_no_language_of_the_ten_is_unmeasured(ten_languages):
    assert not benchmarks.unmeasured(ten_languages.benchmark, BUILT_IN)
    named = benchmarks.tasks(ten_languages.benchmark, ten_languages.language_table)
    assert {task.language for task in named} == set(BUILT_IN)
    assert [task.name for task in named][:5] == [
        "belebele_fin_Latn",
        "xcopa_id",
        "xstorycloze_id",
        "belebele_ind_Latn",
        "xcopa_th",
    ]


def test_each_model_and_task_is_a_stage_of_its_own(ten_languages):
    names = [stage.name for stage in stages.graph(ten_languages)]
    made = [name for name in names if name.startswith("benchmark/")]
    assert len(made) == 2 * sum(len(one.tasks) for one in COVERAGE.values()) == 50
    assert made[0] == "benchmark/base/belebele_fin_Latn"
    assert names[-1] == "report"


def test_a_base_model_that_has_no_chat_template_is_refused_before_any_stage():
    overrides = ["BenchmarkConfig.tasks=('xcopa_sw',)", "LANGUAGES=('sw',)"]
    run = run_file.load("gin/runs/quickstart.gin", overrides)
    spoken = dataclasses.replace(
        run, benchmark=dataclasses.replace(run.benchmark, chat_template=True)
    )
    plain, base, tuned = (
        next(
            stage
            for stage in stages.graph(one)
            if stage.name == f"benchmark/{model}/xcopa_sw"
        )
        for one, model in ((run, "tuned"), (spoken, "base"), (spoken, "tuned"))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmarks, "digests", lambda *_: {})
        assert tuned.files() == {}
        with pytest.raises(UserError, match="one that this run trains has no chat"):
            base.files()
    assert plain.config != tuned.config


def test_a_run_without_tasks_has_no_such_stage():
    run = run_file.load("gin/runs/quickstart.gin", [])
    graph = stages.graph(run)
    assert not [stage for stage in graph if stage.verb == "benchmark"]
    with pytest.raises(UserError, match="names no benchmark"):
        stages.of_verb(graph, "benchmark")


def test_the_gin_file_draws_the_table_that_holds():
    lines = (run_file.PROJECT / INCLUDED).read_text().splitlines()
    codes = next(line for line in lines if line.split()[1:2] == ["fi"]).split()[1:]
    for name, one in COVERAGE.items():
        line = next(line for line in lines if line.startswith(f"# {name} "))
        head = lines[next(i for i, x in enumerate(lines) if x.split()[1:2] == ["fi"])]
        marked = {code for code in codes if line[head.index(code) :][:2].strip() == "x"}
        assert marked == set(one.tasks), name


def _write(folder, name, language, rows):
    path = folder / name / language / f"{COVERAGE[name].split}.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_task_of_a_set_that_is_named_alone_is_read_from_the_sets_files(tmp_path):
    config = BenchmarkConfig(tasks=("xcopa_sw", "arc_easy"), data=str(tmp_path))
    of_set, other = benchmarks.tasks(config, {"fi": BUILT_IN["fi"]})
    with pytest.raises(UserError, match=r"xcopa/sw/test\.jsonl does not exist"):
        of_set.data_files(config)
    assert other.data_files(config) == {}


def test_local_rows_are_found_by_set_language_and_split(tmp_path):
    config = BenchmarkConfig(sets=("xnli",), data=str(tmp_path))
    row = {"premise": "A.", "hypothesis": "B.", "label": 0}
    path = _write(tmp_path, "xnli", "sw", [row])
    (path.parent / "train.jsonl").write_text(json.dumps(row))
    [task] = benchmarks.tasks(config, {"sw": BUILT_IN["sw"]})
    assert task.data_files(config) == {
        "train": path.parent / "train.jsonl",
        "validation": path,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "belebele/fi/test.jsonl does not exist"),
        ("", "has no row"),
        ('{"question": "?"}', "line 1 lacks flores_passage, correct_answer_num"),
        ("{", "line 1 is not JSON"),
    ],
)
def test_rows_that_cannot_be_measured_are_refused(tmp_path, text, message):
    config = BenchmarkConfig(sets=("belebele",), data=str(tmp_path))
    if text is not None:
        _write(tmp_path, "belebele", "fi", []).write_text(text)
    [task] = benchmarks.tasks(config, {"fi": BUILT_IN["fi"]})
    with pytest.raises(UserError, match=message):
        task.data_files(config)


def test_a_string_may_hold_what_other_formats_take_for_the_end_of_a_line(tmp_path):
    config = BenchmarkConfig(sets=("belebele",), data=str(tmp_path))
    path = _write(tmp_path, "belebele", "fi", [])
    [task] = benchmarks.tasks(config, {"fi": BUILT_IN["fi"]})
    fields = benchmarks.COVERAGE["belebele"].fields
    row = dict.fromkeys(fields, "a\u2028b\u2029c\x85d")
    path.write_text(json.dumps(row, ensure_ascii=False) + "\n{\n")
    with pytest.raises(UserError, match="line 2 is not JSON"):
        task.data_files(config)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sets", ("xcopa", "mmlu")),
        ("models", ()),
        ("models", ("tuned", "tuned")),
        ("tasks", ("../x",)),
        ("num_fewshot", -2),
        ("limit", -1),
    ],
)
def test_a_configuration_that_cannot_be_measured_is_refused(field, value):
    with pytest.raises(UserError, match=f"BenchmarkConfig.{field}"):
        BenchmarkConfig(**{field: value})


def _shown(table) -> str:
    console = rich.console.Console(width=200, record=True)
    console.print(table)
    return console.export_text()


def test_the_table_has_each_language_with_the_figures_of_both_models():
    languages = {code: BUILT_IN[code] for code in ("fi", "sw")}
    languages["xh"] = Language("xh", "Xhosa")
    figures = {"alias": "x", "acc,none": 0.625, "acc_stderr,none": 0.03, "f1,none": 0.5}
    records = {
        ("base", "xcopa_sw"): {"results": {"xcopa_sw": figures}},
        ("tuned", "xcopa_sw"): {"results": {"xcopa_sw": figures | {"acc,none": 0.75}}},
    }
    text = _shown(benchmark_table.set_table(ALL, languages, records))
    assert "0.625 ± 0.030" in text and "0.750 ± 0.030" in text
    assert "not made" in text
    assert "No set measures Xhosa" in text
    named = BenchmarkConfig(tasks=("xcopa_sw",))
    assert "0.7500 ± 0.0300" in _shown(benchmark_table.task_table(named, records))


def test_a_task_without_accuracy_shows_its_first_figure():
    figures = {"alias": "x", "bleu,get-answer": 3.5, "bleu_stderr,get-answer": "N/A"}
    metric, value, error = benchmark_table.headline({"results": {"t": figures}}, "t")
    assert (metric, value) == ("bleu", 3.5) and error != error
    assert benchmark_table.headline({"results": {"part": figures}}, "t") is None
