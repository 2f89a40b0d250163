"""The rule of what is made again, on a graph of four small stages."""

import dataclasses
import functools
import io
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import time
import types

import numpy as np
import pytest
import rich.console

from xinst_jax import manifest, mesh, shards
from xinst_jax.config import DecodeConfig, RateConfig, RunConfig, TrainConfig
from xinst_jax.errors import UserError
from xinst_jax.pipeline import runner
from xinst_jax.pipeline.workspace import Workspace

_GRAPH = {"corpus": (), "seed": (), "rate": ("corpus", "seed"), "dataset": ("rate",)}


class _Recorder:
    """Stages that write one file each and remember that they were made."""

    def __init__(self, fail: str = ""):
        self.made: list[str] = []
        self.fail = fail

    def stages(self, **config: int) -> list[runner.Stage]:
        return [
            runner.Stage(
                name=name,
                verb=f"make-{name}",
                config={"value": config.get(name, 0)},
                inputs=inputs,
                make=functools.partial(self._make, name),
            )
            for name, inputs in _GRAPH.items()
        ]

    def _make(self, name: str, workspace: Workspace, stage: manifest.StageDirectory):
        if name == self.fail:
            raise UserError("no such luck")
        self.made.append(name)
        shards.write_bytes(stage.path / "file", name.encode())
        return runner.Made({"all": manifest.Counts(rows_in=1, rows_out=1)})


def _workspace(path: pathlib.Path) -> Workspace:
    return Workspace(RunConfig(name="test", languages=("fi",)), path / "work")


def _run(
    workspace: Workspace, recorder: _Recorder, *, remake: bool = False, **config: int
) -> list[str]:
    recorder.made.clear()
    console = rich.console.Console(file=io.StringIO())
    runner.run_all(workspace, recorder.stages(**config), console, remake=remake)
    return list(recorder.made)


def test_a_second_run_makes_nothing(tmp_path):
    workspace, recorder = _workspace(tmp_path), _Recorder()
    assert _run(workspace, recorder) == list(_GRAPH)
    assert _run(workspace, recorder) == []


@pytest.mark.parametrize(
    ("removed", "made"),
    [
        ("dataset", ["dataset"]),
        ("rate", ["rate", "dataset"]),
        ("seed", ["seed", "rate", "dataset"]),
    ],
)
def test_a_removed_stage_is_made_again_with_what_depends_on_it(tmp_path, removed, made):
    workspace, recorder = _workspace(tmp_path), _Recorder()
    _run(workspace, recorder)
    for path in sorted(workspace.path(removed).iterdir()):
        path.unlink()
    workspace.path(removed).rmdir()
    assert _run(workspace, recorder) == made


def test_a_changed_config_is_made_again_with_what_depends_on_it(tmp_path):
    workspace, recorder = _workspace(tmp_path), _Recorder()
    _run(workspace, recorder)
    assert _run(workspace, recorder, rate=1) == ["rate", "dataset"]
    assert _run(workspace, recorder, rate=1) == []


def test_a_failed_stage_leaves_what_was_done(tmp_path):
    workspace = _workspace(tmp_path)
    with pytest.raises(UserError, match="no such luck"):
        _run(workspace, _Recorder(fail="rate"))
    assert manifest.read(workspace.path("seed")) is not None
    assert _run(workspace, _Recorder()) == ["rate", "dataset"]


def test_a_verb_names_the_verb_that_makes_its_input(tmp_path):
    workspace, recorder = _workspace(tmp_path), _Recorder()
    stages = recorder.stages()
    console = rich.console.Console(file=io.StringIO())
    with pytest.raises(UserError, match="'make-corpus'"):
        runner.run_verb(workspace, stages, stages[3:4], console)
    for number in (0, 1, 2):
        runner.run_verb(workspace, stages, stages[number : number + 1], console)
    assert recorder.made == ["corpus", "seed", "rate"]


def test_preview_says_what_would_be_made_and_makes_nothing(tmp_path):
    workspace, recorder = _workspace(tmp_path), _Recorder()
    _run(workspace, recorder)
    recorder.made.clear()
    out = io.StringIO()
    console = rich.console.Console(file=out, width=120)
    runner.preview(workspace, recorder.stages(rate=1), console)
    assert recorder.made == []
    assert "corpus: up to date" in out.getvalue()
    assert "rate: would be made (changed: value 0 -> 1)" in out.getvalue()
    assert "dataset: would be made (an input would be made again)" in out.getvalue()


def test_a_workdir_belongs_to_one_run(tmp_path):
    workspace = _workspace(tmp_path)
    workspace.claim()
    workspace.claim()
    other = Workspace(RunConfig(name="other", languages=("fi",)), workspace.workdir)
    with pytest.raises(UserError, match="made by the run 'test'"):
        other.claim()


def test_a_directory_of_other_files_is_no_workdir(tmp_path):
    workspace = _workspace(tmp_path)
    workspace.workdir.mkdir()
    (workspace.workdir / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="not a run's workdir"):
        workspace.claim()


def test_two_processes_never_share_a_workdir(tmp_path):
    workspace = _workspace(tmp_path)
    with (
        workspace.lock(),
        pytest.raises(UserError, match="Another process"),
        workspace.lock(),
    ):
        pass


def _on_hosts(workspace: Workspace, hosts: int, shape) -> Workspace:
    """The run on a mesh of this shape, whose devices know their host."""
    grid = np.empty(math.prod(shape), object)
    for at in range(grid.size):
        grid[at] = types.SimpleNamespace(process_index=at * hosts // grid.size)
    sizes = dict(zip(mesh.AXES, shape, strict=True))
    workspace.__dict__["mesh"] = types.SimpleNamespace(
        shape=sizes, devices=grid.reshape(shape)
    )
    return workspace


def test_slots_divide_over_the_devices_of_a_replica(tmp_path):
    def check(**decode) -> None:
        batch = TrainConfig(global_batch=64)
        run = RunConfig(
            *("test", ("fi",)),
            **dict.fromkeys(("base", "generator", "rater", "follower", "sft"), batch),
            answer=DecodeConfig(batch_rows=64),
            rate=RateConfig(batch_rows=64),
            generate=DecodeConfig(**decode),
        )
        _on_hosts(Workspace(run, tmp_path), 8, (2, 32, 1, 1)).check_devices()

    check(batch_rows=32, placement="host")
    check(batch_rows=32, placement="slice")
    for decode in ({"batch_rows": 32}, {"batch_rows": 4, "placement": "host"}):
        with pytest.raises(UserError, match=r"generate/DecodeConfig\.batch_rows: "):
            check(**decode)


def test_stage_seeds_differ_and_repeat(tmp_path):
    workspace = _workspace(tmp_path)
    seeds = {name: workspace.seed(name) for name in _GRAPH}
    assert len(set(seeds.values())) == len(_GRAPH)
    assert seeds == {name: _workspace(tmp_path).seed(name) for name in _GRAPH}


def test_a_start_killed_before_it_claimed_the_workdir_is_no_obstacle(tmp_path):
    workspace = _workspace(tmp_path)
    workspace.workdir.mkdir()
    (workspace.workdir / ".run.json.tmp").write_text("{")
    workspace.claim()
    assert (workspace.workdir / "run.json").exists()


def test_a_second_process_takes_compiled_programs_from_the_workdir(tmp_path):
    """Though the stages import JAX before the workdir is known."""
    script = """
import pathlib, sys
from xinst_jax.pipeline import stages
from xinst_jax.config import RunConfig
from xinst_jax.pipeline.workspace import Workspace
import jax
found = []
jax.monitoring.register_event_listener(lambda event, **_: found.append(event))
run = RunConfig(name="test", languages=("fi",))
Workspace(run, pathlib.Path(sys.argv[1])).name_programs()
assert float(jax.jit(lambda x: x + 1)(1.0)) == 2
print(any(event.endswith("cache_hits") for event in found))
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    environment["JAX_PLATFORMS"] = "cpu"
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    environment["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    hits = [
        subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        for _ in range(2)
    ]
    assert hits == [["False"], ["True"]]


def test_the_program_that_a_killed_process_wrote_last_is_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    workspace = _workspace(tmp_path)
    workspace.workdir.mkdir()
    with pytest.raises(KeyboardInterrupt), workspace.kept_programs():
        for age, name in enumerate(["torn-cache", "whole-cache"]):
            path = workspace.workdir / ".programs" / name
            path.write_text(name)
            os.utime(path, (1000 - age, 1000 - age))
        raise KeyboardInterrupt
    with workspace.kept_programs():
        left = [p.name for p in (workspace.workdir / ".programs").glob("*-cache")]
        assert left == ["whole-cache"]


def test_what_took_long_is_not_removed_unasked(tmp_path):
    workspace, recorder = _workspace(tmp_path), _Recorder()
    _run(workspace, recorder)
    _took(workspace, seed=3500, rate=7200)
    recorder.made.clear()
    for changed, hours in ({"seed": 1}, "3.0"), ({"rate": 1}, "2.0"):
        with pytest.raises(
            UserError, match=rf"Work of {hours} hours .*--remake"
        ) as said:
            _run(workspace, recorder, **changed)
        assert "rate (2.0 h)" in str(said.value)
        assert recorder.made == []
        assert _run(workspace, recorder) == []
    assert _run(workspace, recorder, remake=True, seed=1) == ["seed", "rate", "dataset"]


def test_what_took_long_is_not_removed_by_its_own_verb_either(tmp_path):
    workspace, recorder = _workspace(tmp_path), _Recorder()
    _run(workspace, recorder)
    _took(workspace, seed=7200)
    stages = recorder.stages(seed=1)
    console = rich.console.Console(file=io.StringIO())
    recorder.made.clear()
    with pytest.raises(UserError, match=r"value 0 -> 1.*--remake"):
        runner.run_verb(workspace, stages, stages[1:2], console)
    runner.run_verb(workspace, stages, stages[1:2], console, remake=True)
    assert recorder.made == ["seed"]


def test_what_is_missing_is_made_without_being_asked_for(tmp_path):
    workspace, recorder = _workspace(tmp_path), _Recorder()
    _run(workspace, recorder)
    _took(workspace, rate=7200, dataset=7200)
    for name in ("rate", "dataset"):
        shutil.rmtree(workspace.path(name))
    assert _run(workspace, recorder, rate=1) == ["rate", "dataset"]


def test_of_a_stage_that_was_resumed_the_whole_time_counts(tmp_path):
    """Its last part alone may have been short."""
    workspace, recorder = _workspace(tmp_path), _Recorder()
    _run(workspace, recorder)
    _took(workspace, resumed=True, rate=60)
    begun = workspace.path("rate") / "file"
    os.utime(begun, (time.time() - 7200,) * 2)
    with pytest.raises(UserError, match=r"rate \(2.0 h\).*--remake"):
        _run(workspace, recorder, rate=1)
    os.utime(begun)
    assert _run(workspace, recorder, rate=1) == ["rate", "dataset"]


def test_half_done_work_of_hours_is_not_removed_unasked(tmp_path):
    workspace, recorder = _workspace(tmp_path), _Recorder()
    stages = {stage.name: stage for stage in recorder.stages()}
    for name in ("corpus", "seed"):
        _run_one(workspace, stages[name])
    directory = runner.stage_directory(workspace, stages["rate"])
    directory.begin()
    shards.write_bytes(directory.path / "half", b"a checkpoint")
    os.utime(directory.path / "started.json", (time.time() - 7200,) * 2)
    with pytest.raises(UserError, match=r"rate \(2.0 h\).*--remake"):
        _run(workspace, recorder, rate=1)
    assert (directory.path / "half").exists()
    # As it was begun it goes on.
    assert _run(workspace, recorder) == ["rate", "dataset"]


@pytest.mark.parametrize("kept", [True, False])
def test_keyed_shards_are_asked_for_where_they_cannot_be_used(tmp_path, kept):
    workspace, recorder = _workspace(tmp_path), _Recorder()

    def stages(value: int) -> list[runner.Stage]:
        return [
            dataclasses.replace(
                stage,
                config={"value": value, "batch": value},
                keyed=("fi",),
                changes_nothing=("config/batch", *(["config/value"] if kept else [])),
            )
            if stage.name == "rate"
            else stage
            for stage in recorder.stages()
        ]

    console = rich.console.Console(file=io.StringIO())
    runner.run_all(workspace, stages(0), console)
    rated = {stage.name: stage for stage in stages(0)}["rate"]
    key = runner.stage_directory(workspace, rated).key(rated.changes_nothing)
    note = json.dumps({"key": {**key, "rows": "their digest"}})
    shards.write_bytes(workspace.path("rate") / "fi" / manifest.JOB, note.encode())
    _took(workspace, rate=7200)
    if kept:
        runner.run_all(workspace, stages(1), console)
        return
    with pytest.raises(UserError, match=r"rate \(2.0 h\).*--remake"):
        runner.run_all(workspace, stages(1), console)


def _run_one(workspace: Workspace, stage: runner.Stage) -> None:
    console = rich.console.Console(file=io.StringIO())
    runner.run_verb(workspace, [stage], [stage], console)


def _took(workspace: Workspace, resumed: bool = False, **seconds: float) -> None:
    """Notes that the making of stages took so long."""
    with (workspace.workdir / "timings.jsonl").open("a") as file:
        for name, took in seconds.items():
            line = {"stage": name, "seconds": took, "resumed": resumed}
            file.write(json.dumps(line) + "\n")
