"""The report is of the run's stages, whatever else lies in its workdir."""

import dataclasses
import io
import json
import shutil

import pytest
import rich.console

from tests.report.test_page import Page
from xinst_jax.config import (
    BenchmarkConfig,
    EvaluateConfig,
    JudgeConfig,
    RateConfig,
    RunConfig,
)
from xinst_jax.pipeline import runner, stages
from xinst_jax.pipeline.workspace import Workspace

RUN = RunConfig(
    name="run",
    languages=("fi", "th", "ur"),
    rounds=2,
    rate=RateConfig(pmi_model="base"),
)


@pytest.fixture
def path(workdir, tmp_path):
    """A copy of the workdir, which has two rounds."""
    return shutil.copytree(workdir.path, tmp_path / "run")


def _report(run, path):
    """The page that the run's report stage makes."""
    graph = stages.graph(run)
    console = rich.console.Console(file=io.StringIO())
    wanted = stages.of_verb(graph, "report")
    runner.run_verb(Workspace(run, path), graph, wanted, console)
    return Page((path / "report" / "report.html").read_text())


def _rated(path, number, dropped):
    """Changes how many rows a round's ratings say that they dropped of Finnish."""
    manifest = path / "ratings" / f"round-{number}" / "manifest.json"
    record = json.loads(manifest.read_bytes())
    record["counts"]["fi"]["dropped"] = dropped
    manifest.write_text(json.dumps(record))


@pytest.mark.parametrize(
    "run",
    [
        RUN,
        RunConfig(
            name="run",
            languages=("fi",),
            evaluate=EvaluateConfig(opponents=("base",)),
            judge=JudgeConfig(judge="base", prompt="verdict"),
            benchmark=BenchmarkConfig(sets=("xcopa", "belebele")),
        ),
    ],
)
def test_the_report_reads_every_other_stage_in_the_graphs_order(run):
    *others, report = stages.graph(run)
    assert report.name == "report"
    assert report.inputs == tuple(stage.name for stage in others)


def test_a_round_that_the_run_no_longer_has_is_not_shown(path):
    _rated(path, 2, {"of_the_old_round": 5})
    both = _report(RUN, path)
    assert "Round 2: 72 of 120 pairs kept." in both.text
    assert "of the old round" in both.text
    one = _report(dataclasses.replace(RUN, rounds=1), path)
    assert "Round 1: 72 of 120 pairs kept." in one.text
    assert "Scores of round 1: 24 of 40 pairs kept." in one.text
    for old in ("Round 2", "round 2", "round-2", "of the old round"):
        assert old not in one.text


def test_of_rounds_still_to_come_the_report_says_so(path):
    shown = _report(dataclasses.replace(RUN, rounds=3), path)
    assert "Round 3: not made yet." in shown.text
    assert "Scores of round 2: 24 of 40 pairs kept." in shown.text


def test_followers_that_a_run_no_longer_trains_are_not_shown(path):
    shutil.copytree(path / "rater", path / "follower")
    assert "Follower" not in _report(RUN, path).text
    followed = dataclasses.replace(RUN, rate=RateConfig(pmi_model="follower"))
    assert "Follower" in _report(followed, path).text


def test_what_was_made_from_earlier_inputs_is_named(path):
    assert "earlier inputs" not in _report(RUN, path).text
    manifest = path / "evaluation" / "manifest.json"
    record = json.loads(manifest.read_bytes())
    record["inputs"] = {"model": "the digest of a model before"}
    record["fingerprint"] = "another"
    manifest.write_text(json.dumps(record))
    text = _report(RUN, path).text
    assert "Made from earlier inputs than there are now: evaluation." in text
    assert text.count("earlier inputs") == 2


def test_equal_runs_have_equal_manifests_of_reports_whatever_the_clock(path, tmp_path):
    again = shutil.copytree(path, tmp_path / "again")
    slower = (again / "timings.jsonl").read_text().replace("100.5", "2100.5")
    (again / "timings.jsonl").write_text(slower)
    pages = [_report(RUN, one).text for one in (path, again)]
    assert pages[0] != pages[1]
    first, second = (one / "report" / "manifest.json" for one in (path, again))
    assert first.read_bytes() == second.read_bytes()
