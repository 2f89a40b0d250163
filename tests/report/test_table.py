import importlib.util
import pathlib
import shutil

import numpy as np
import pytest
import rich.console

from xinst_jax.config import RunConfig
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.report import table

_TOOL = pathlib.Path(__file__).parents[2] / "tools" / "run_tables.py"


def _tool():
    spec = importlib.util.spec_from_file_location("run_tables", _TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def printed(path, stages, languages=("fi", "th", "ur")) -> str:
    console = rich.console.Console(width=110, record=True, force_terminal=False)
    run = RunConfig(name="run", languages=languages)
    table.print_results(run, path, stages, console)
    return console.export_text()


def test_the_table_shows_rows_reasons_and_seconds(workdir):
    text = printed(workdir.path, workdir.stages)
    (line,) = [line for line in text.splitlines() if " corpus " in line]
    for part in ("132", "120", "near duplicate 6, too short 6", "100.5"):
        assert part in line


def test_three_samples_in_three_languages_and_the_paths_end_it(workdir):
    text = printed(workdir.path, workdir.stages)
    for code in ("fi", "th", "ur"):
        assert f"{code}  score 0." in text
    assert text.count("alert('planted')") == 6
    assert f"{workdir.path}/dataset" in text.replace("\n", "")


def test_a_stage_that_is_not_made_is_named_as_such(workdir, tmp_path):
    text = printed(tmp_path, workdir.stages)
    assert text.count("not made yet") == len(workdir.stages)
    assert "score" not in text


def test_markup_in_an_instruction_is_printed_as_it_stands():
    sample = {
        "lang": "fi",
        "score": 0.5,
        "instruction": "Use [bold]this[/bold] [link",
        "output": "Sana " * 200,
    }
    text = table.sample_text(sample).plain
    assert "Use [bold]this[/bold] [link" in text
    assert text.endswith("…")
    assert len(text) < 330


def test_reasons_beyond_the_top_are_added_up():
    words = table.dropped_words({"a_b": 5, "c": 3, "d": 2, "e": 1}, 2)
    assert words == "a b 5, c 3, other 3"
    assert table.dropped_words({}, 3) == ""


def test_a_pages_tables_have_every_part_of_the_run(workdir):
    """And each of them as many cells in every row as it has headings."""
    found = _tool().tables(workdir.path).split("\n\n")
    starts = [text.split("|")[1].strip() for text in found]
    assert starts == [
        *("stage", "training", "held-out pairs", "defect", "language", "defect"),
        *("pairs", "level", "language", "distinct verb-noun pairs", "of the draw"),
        "language",
    ]
    for text in found:
        assert len({line.count("|") for line in text.splitlines()}) == 1


def test_a_pages_tables_are_of_the_stages_that_the_report_shows(workdir, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(workdir.path, run)
    assert _tool().tables(run).count("round-2") == 6
    shown = {name: "digest" for name in workdir.stages if "round-2" not in name}
    report = StageDirectory(run / "report", "report", {}, shown)
    report.begin()
    report.finish({"all": Counts(3, 1)})
    found = _tool().tables(run)
    assert found.count("round-1") == 6 and "round-2" not in found
    assert "round 2" not in found


def test_precision_and_recall_are_those_of_the_counts():
    """Held against scikit-learn, on the rows that the counts stand for."""
    metrics = pytest.importorskip("sklearn.metrics")
    tool = _tool()
    counts = np.random.default_rng(5).integers(1, 40, (3, 3))
    levels = ["bad", "fair", "good"]
    true = np.repeat(np.repeat(levels, 3), counts.ravel())
    called = np.repeat(np.tile(levels, 3), counts.ravel())
    precision, recall, *_ = metrics.precision_recall_fscore_support(
        true, called, labels=levels
    )
    made = {"levels": levels, "confusion": counts.tolist(), "languages": {"fi": {}}}
    lines = tool._precision({1: made}).splitlines()
    assert lines[2:] == [
        f"| all: {level} | {p:.3f} | {r:.3f} |"
        for level, p, r in zip(levels, precision, recall, strict=True)
    ]


def test_rounds_are_told_by_what_they_keep_and_how_far_they_move(tmp_path):
    made = {
        1: {"fi": Counts(10, 4), "th": Counts(8, 0)},
        2: {
            "fi": Counts(12, 5, notes={"kept_changed": 0.25, "score_shift": 0.0625}),
            "th": Counts(8, 1, notes={"kept_changed": 1.0, "score_shift": 0.5}),
        },
    }
    names = [f"ratings/round-{number}" for number in made]
    for name, counted in zip(names, made.values(), strict=True):
        stage = StageDirectory(tmp_path / name, name, {}, {})
        stage.begin()
        stage.finish(counted)
    lines = _tool()._rounds(tmp_path, names).splitlines()
    assert lines[0].startswith("| language | kept, round 1 | changed, round 1 |")
    assert lines[2:] == [
        "| fi | 4 of 10 | - | - | 5 of 12 | 0.250 | 0.062 |",
        "| th | 0 of 8 | - | - | 1 of 8 | 1.000 | 0.500 |",
    ]
    assert _tool()._rounds(tmp_path / "none", names) == ""
