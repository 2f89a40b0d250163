"""Trials and dry runs of generating and rating: what they read, say and leave alone."""

import dataclasses
import io
import json
import pathlib

import pytest
import rich.console

from tests.pipeline.test_generate import _FRAME, _writer
from xinst_jax import __main__ as command
from xinst_jax import manifest, shards
from xinst_jax.config import DecodeConfig, RunConfig
from xinst_jax.models import flops
from xinst_jax.models.presets import tiny
from xinst_jax.pipeline import dry_run, probes, rounds, runner, seed, stages, trial
from xinst_jax.pipeline.corpus import stage as corpus
from xinst_jax.pipeline.make import answers
from xinst_jax.pipeline.workspace import Workspace

RUN = RunConfig(
    name="t",
    languages=("fi",),
    rounds=2,
    generate=dataclasses.replace(DecodeConfig(), batch_rows=2, shard_rows=3),
)


@pytest.fixture
def workspace(tmp_path: pathlib.Path, monkeypatch) -> Workspace:
    """A run with seven documents and no pair, and a generator plain to predict."""
    workspace = Workspace(RUN, tmp_path / "run")
    rows = [
        {"id": f"d{i}", "lang": "fi", "text": f"Teksti {i}. " * (3 + 3 * (i > 4))}
        for i in range(7)
    ]
    shards.write_shards(workspace.path("corpus") / "fi", rows, corpus.SCHEMA, 100)
    shards.write_shards(workspace.path("seed") / "fi", [], seed.SCHEMA, 100)
    writer = _writer([], _FRAME + 40)
    monkeypatch.setattr(answers, "writer", lambda workspace, number: writer)
    return workspace


def _stage(graph: list[runner.Stage], verb: str) -> runner.Stage:
    return next(stage for stage in graph if stage.verb == verb)


def _make(workspace: Workspace, stage: runner.Stage) -> manifest.StageDirectory:
    """Makes a stage whatever it is made from."""
    directory = runner.stage_directory(workspace, stage)
    directory.begin()
    directory.finish(stage.make(workspace, directory).counts)
    return directory


def test_a_trial_lies_beside_the_whole_and_its_rows_are_the_first_of_it(workspace):
    graph = stages.graph(RUN)
    whole = _make(workspace, _stage(graph, "generate"))
    tried = _stage(trial.graph(workspace, graph, "generate", 4), "generate")
    made = _make(workspace, tried)
    assert made.path == workspace.workdir / "trial" / "candidates" / "round-1"
    assert whole.finished() and made.finished()
    rows = shards.read_rows(made.path / "fi")
    assert rows == shards.read_rows(whole.path / "fi")[:4]
    counts = json.loads((made.path / "manifest.json").read_bytes())["counts"]["fi"]
    assert (counts["rows_in"], counts["rows_out"]) == (4, 4)
    other = _stage(trial.graph(workspace, graph, "generate", 5), "generate")
    assert not runner.stage_directory(workspace, other).finished()


def test_a_trial_of_rating_reads_what_there_is(workspace):
    graph = stages.graph(RUN)
    tried = trial.graph(workspace, graph, "rate", 4)
    assert [stage.name for stage in tried if stage.verb == "generate"] == [
        "trial/candidates/round-1",
        "trial/candidates/round-2",
    ]
    assert "trial/candidates/round-1" in _stage(tried, "rate").inputs
    whole = _make(workspace, _stage(graph, "generate"))
    tried = trial.graph(workspace, graph, "rate", 4)
    assert "candidates/round-1" in _stage(tried, "rate").inputs
    assert _stage(tried, "generate").name == "candidates/round-1"
    assert _stage(tried, "rate").name == "trial/ratings/round-1"

    trial.first_rows(whole.path, workspace.workdir / "first", ["fi"], 4)
    first = shards.read_rows(workspace.workdir / "first" / "fi")
    assert first == shards.read_rows(whole.path / "fi")[:4]


def test_a_dry_run_counts_rows_tokens_and_cuts_and_makes_nothing(workspace):
    before = sorted(workspace.workdir.rglob("*"))
    work, probe, behind = dry_run._generation(workspace, 1, None)
    texts = shards.read_table(workspace.path("corpus") / "fi")["text"].to_pylist()
    expected = [_FRAME + min(40, len(text)) for text in texts]
    assert [len(prompt) for prompt in work["fi"].prompts] == pytest.approx(
        expected, abs=1
    )
    assert (work["fi"].rows, work["fi"].cut, work["fi"].rejected) == (7, 2, 0)
    assert (probe.rows, probe.new_tokens, behind) == (4, len(" About d0 "), 0)
    assert probe.seconds > probe.end_seconds >= 0 and probe.shard_rows == 3
    assert sorted(workspace.workdir.rglob("*")) == before
    assert dry_run._generation(workspace, 1, 3)[0]["fi"].rows == 3


def test_the_table_of_a_dry_run_scales_its_sample(workspace):
    model = tiny()
    work = {"fi": dry_run.Work(1000, [[1] * 30, [1] * 10], cut=1, rejected=0)}
    probe = probes.Probe(rows=4, seconds=2.0, new_tokens=5)
    out = io.StringIO()
    table = dry_run.table("candidates", model, work, probe)
    rich.console.Console(file=out, width=200).print(table)
    said = out.getvalue()
    pairs = flops.attended_pairs(model, [35, 15])
    done = flops.training_flops(model, 50, pairs, predicted=10).total / 3 * 500
    for figure in ("1,000", "20,000", "500", "5,000", f"{done / 1e15:.3g}"):
        assert figure in said
    assert f"{1000 * 0.5 / 3600:.3g}" in said
    assert "2 rows, evenly spaced" in said and "2.00 rows/s" in said


def test_what_is_read_beside_the_prompts_is_counted():
    model = tiny()
    prompts = [[1] * 30, [1] * 10]
    beside = [(25, 9), (12, 9)]
    plain, more = (
        dry_run._figures(model, work, None, behind=3)
        for work in (
            dry_run.Work(2, prompts, cut=0, rejected=0),
            dry_run.Work(2, prompts, cut=0, rejected=0, beside=beside),
        )
    )
    pairs = flops.attended_pairs(model, [25, 12])
    expected = flops.forward_flops(model, 37, pairs, predicted=18).total / 1e15
    assert more[5] - plain[5] == pytest.approx(expected)
    assert (*more[:5], more[6]) == (*plain[:5], plain[6])


def test_a_dry_run_says_what_is_missing_before_anything_is_measured(tmp_path, capsys):
    arguments = ["--workdir", str(tmp_path / "run"), "--gin_file"]
    arguments += ["gin/runs/quickstart.gin", "--dry_run"]
    assert command.main(["generate", *arguments]) == 2
    assert "needs corpus, which is not up to date" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_dry_run_of_a_settled_round_says_that_there_is_nothing_to_do(
    workspace, monkeypatch
):
    """It has no generator, whose checkpoint would be missed."""
    monkeypatch.setattr(rounds, "settled", lambda workspace, number: number > 2)
    stage = _stage(stages.graph(RUN), "generate")
    third = dataclasses.replace(stage, name="candidates/round-3")
    monkeypatch.setattr(runner, "due", lambda *_: third)
    out = io.StringIO()
    console = rich.console.Console(file=out, width=200)
    dry_run.report(workspace, [], [third], console, None)
    assert out.getvalue() == (
        "candidates/round-3: nothing to do, for what is kept settled in round 2\n"
    )


@pytest.mark.parametrize("verb", ["generate", "rate"])
def test_a_trial_of_a_settled_round_copies_nothing(verb, workspace, monkeypatch):
    monkeypatch.setattr(rounds, "settled", lambda workspace, number: number > 1)
    graph = trial.graph(workspace, stages.graph(RUN), verb, 4)
    tried = [stage for stage in graph if stage.verb == verb][-1]
    made = _make(workspace, tried)
    assert [path.name for path in made.path.iterdir()] == ["manifest.json"]
    counts = json.loads((made.path / "manifest.json").read_bytes())["counts"]
    assert counts["all"]["notes"] == {"settled_in_round": 1}


def test_a_dry_run_keeps_no_compiled_programs(tmp_path, monkeypatch):
    """A torn one, of a process that was killed, would be read by the next."""
    said: list[str] = []
    monkeypatch.setattr(Workspace, "name_programs", lambda _: said.append("kept"))
    monkeypatch.setattr(dry_run, "report", lambda *_: said.append("counted"))
    monkeypatch.setattr(runner, "run_verb", lambda *_, **__: said.append("made"))
    arguments = ["--workdir", str(tmp_path / "run")]
    arguments += ["--gin_file", "gin/runs/quickstart.gin"]
    assert command.main(["generate", *arguments, "--dry_run"]) == 0
    assert said == ["counted"] and not (tmp_path / "run").exists()
    assert command.main(["generate", *arguments]) == 0
    assert said == ["counted", "kept", "made"]


@pytest.mark.parametrize("given", ["0", "-3", "many"])
def test_a_limit_is_a_number_of_rows(given, capsys):
    with pytest.raises(SystemExit):
        command.main(["rate", "--workdir", "x", "--gin_file", "y", f"--limit={given}"])
    assert f"1 or more rows, found '{given}'" in capsys.readouterr().err


# Rows that the tests' eight devices divide.
_DIVIDED = ("TrainConfig.global_batch", "DecodeConfig.batch_rows")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_verbs_try_and_count_on_a_trained_run(tmp_path, capsys):
    """Through the command line: generator, rater and follower of a few steps."""
    from tests.test_processes import _TINY

    arguments = ["--workdir", str(tmp_path), "--gin_file", "gin/runs/quickstart.gin"]
    arguments += [f"--gin.{override}" for override in _TINY]
    arguments += [f"--gin.{name}=8" for name in _DIVIDED]

    def run(verb: str, *more: str) -> str:
        assert command.main([*verb.split(), *arguments, *more]) == 0
        return capsys.readouterr().out

    for verb in ("prepare", "seed", "tokenizer", "train --task lm"):
        run(verb)
    run("train --task reverse")
    assert "rows/s" in run("generate", "--dry_run")
    run("generate", "--limit", "5")
    run("train --task rate")
    run("train --task follow")
    run("rate", "--limit", "5")
    rated = shards.read_rows(tmp_path / "trial" / "ratings" / "round-1" / "fi")
    run("generate")
    assert "rows/s" in run("rate", "--dry_run")
    tried = shards.read_rows(tmp_path / "trial" / "candidates" / "round-1" / "fi")
    whole = shards.read_rows(tmp_path / "candidates" / "round-1" / "fi")
    assert tried == whole[: len(tried)] and len(rated) == len(tried) <= 5 < len(whole)
    assert not (tmp_path / "trial" / "ratings" / "round-1" / "candidates").exists()
