"""The run files of gin/pods/ are the models' own, with layouts that divide."""

import dataclasses
import math
import pathlib

import pytest

from xinst_jax import config, run_file
from xinst_jax.aot import search
from xinst_jax.pipeline import proof, stages

ROOT = pathlib.Path(__file__).parents[2]
FILES = sorted((ROOT / "gin" / "pods").glob("*.gin"))


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_pods_file_lays_the_models_run_out_over_its_chips(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    model, _, pod = path.stem.rpartition("_")
    name, _, slices = pod.partition("x")
    run = run_file.load(str(path), [], leave_open=True)
    own = run_file.load(f"gin/runs/x_instruction_{model}.gin", [], leave_open=True)
    planned = proof.layout(run, "sft", name)
    sizes = dataclasses.asdict(run.mesh)
    assert math.prod(sizes.values()) == planned.topology.chips
    assert sizes["slice"] == int(slices or 1)
    assert planned in list(search.candidates(planned))
    laid_out = {"mesh": run.mesh, "model": run.model}
    for task in ("base", "generator", "rater", "follower", "sft"):
        of_task = getattr(own, task)
        laid_out[task] = dataclasses.replace(of_task, microbatches=run.sft.microbatches)
    assert dataclasses.replace(own, **laid_out) == run
    assert dataclasses.replace(own.model, remat=run.model.remat) == run.model
    # A run that moves from one of them to another makes nothing anew.
    assert _fingerprinted(run) == _fingerprinted(own)


def _fingerprinted(run):
    return {stage.name: config.as_record(stage.config) for stage in stages.graph(run)}
