"""Two real processes make one small graph; one fails, and both end."""

import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from tests import coordinated
from xinst_jax import fate, shards
from xinst_jax.config import MeshConfig
from xinst_jax.mesh import make_mesh
from xinst_jax.pipeline.diversity.kmeans import kmeans

# Started as each of two processes. The second of two stages computes over both.
_RUN = """
import io, os, pathlib, signal, sys, time

import jax
import numpy as np
import pyarrow as pa
import rich.console
from jax.experimental import multihost_utils

from xinst_jax import __main__ as command
from xinst_jax import cluster, distributed, fate, shards
from xinst_jax.config import RunConfig, TrainConfig
from xinst_jax.errors import UserError
from xinst_jax.infer import jobs
from xinst_jax.manifest import Counts
from xinst_jax.pipeline import crew, runner
from xinst_jax.pipeline.diversity.kmeans import kmeans
from xinst_jax.pipeline.workspace import Workspace

workdir, happens, every = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
if happens == "killed":
    # What is dead says nothing more, however long the other waits.
    fate._VERDICT_SECONDS, fate._FAREWELL_SECONDS = 2.0, 1.0


def text(workspace, stage):
    time.sleep(1)
    shards.write_bytes(stage.path / "maker", str(jax.process_index()).encode())
    return runner.Made({"all": Counts()})


def sums(workspace, stage):
    maker = workspace.path("text") / "maker"
    assert maker.read_text() == "0"
    if jax.process_index() == 1:
        if happens == "mistake":
            raise UserError("no such luck")
        if happens == "defect":
            raise ZeroDivisionError("oh no")
        if happens == "terminated":
            os.kill(os.getpid(), signal.SIGTERM)
        if happens == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
    if happens in ("mistake", "defect", "terminated"):
        time.sleep(300)

    def compute(index):
        own = np.array([10 ** jax.process_index() * (index + 1)])
        return pa.table({"sum": [multihost_utils.process_allgather(own).sum()]})

    jobs.run_shards(stage.path, 3, compute, "sums")
    said = distributed.from_each("names", ["ä" * 300_000, jax.process_index()])
    assert said == [["ä" * 300_000, index] for index in range(2)]
    points_ne = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    points_ne /= np.linalg.norm(points_ne, axis=1, keepdims=True)
    clusters = kmeans(points_ne, 4, 20, jax.random.key(0), workspace.mesh)
    seen = multihost_utils.process_allgather(clusters.cluster_n)
    assert (seen[0] == seen[1]).all()
    if jax.process_index() == 0:
        shards.write_bytes(stage.path / "clusters", clusters.cluster_n.tobytes())
    return runner.Made({"all": Counts(rows_out=3)})


run = RunConfig(name="t", languages=("fi",), sft=TrainConfig(log_every=every))
workspace = Workspace(run, workdir)
graph = [
    runner.Stage("text", "text", {}, (), text),
    runner.Stage("sums", "sums", {}, ("text",), sums, devices=True),
]


def conduct(meet=lambda: None, together=None):
    with workspace.lock():
        workspace.claim()
        meet()
        runner.run_all(workspace, graph, rich.console.Console(), together)


found = cluster.find()
sys.exit(crew.share(found, workspace, graph, conduct, command._ending))
"""


def _start(workdir: pathlib.Path, happens: str = "", log_every=(10, 10)):
    found = coordinated.environments(2, JAX_PLATFORMS="cpu", JAX_NUM_CPU_DEVICES="1")
    return [
        subprocess.Popen(
            [sys.executable, "-c", _RUN, str(workdir), happens, str(every)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for environment, every in zip(found, log_every, strict=True)
    ]


def _ended(processes) -> tuple[list[int], list[str]]:
    """The statuses and what was said on standard error; none may hang."""
    try:
        said = [process.communicate(timeout=250)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], said


def test_process_0_alone_writes_text_and_all_compute(tmp_path):
    workdir = tmp_path / "run"
    processes = _start(workdir)
    statuses, said = _ended(processes)
    assert statuses == [0, 0], said
    assert shards.read_table(workdir / "sums")["sum"].to_pylist() == [11, 22, 33]
    points_ne = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    points_ne /= np.linalg.norm(points_ne, axis=1, keepdims=True)
    mesh = make_mesh(MeshConfig(fsdp=1), jax.devices()[:1])
    expected = kmeans(points_ne, 4, 20, jax.random.key(0), mesh).cluster_n
    assert (workdir / "sums" / "clusters").read_bytes() == expected.tobytes()
    assert sorted(p.name for p in (workdir / "text").iterdir()) == [
        "maker",
        "manifest.json",
    ]

    # Again: nothing is left to do but what was removed.
    (workdir / "sums" / "manifest.json").unlink()
    processes = _start(workdir)
    out = processes[0].communicate(timeout=250)[0]
    statuses, said = _ended(processes)
    assert statuses == [0, 0], said
    assert "text: up to date" in out and "sums: not made yet" in out


@pytest.mark.parametrize(
    ("happens", "status", "message"),
    [
        ("mistake", 2, "ended by process 1 of 2: error: no such luck"),
        ("defect", 1, "ended by process 1 of 2: ZeroDivisionError: oh no"),
        ("terminated", 75, "got SIGTERM"),
    ],
)
def test_what_ends_one_process_ends_both(tmp_path, happens, status, message):
    processes = _start(tmp_path / "run", happens)
    statuses, said = _ended(processes)
    assert statuses == [status, status], said
    assert message in said[0]


def test_a_killed_process_ends_the_other_and_started_again_they_go_on(tmp_path):
    workdir = tmp_path / "run"
    processes = _start(workdir, "killed")
    processes[1].wait(timeout=250)
    begun = time.monotonic()
    statuses, said = _ended(processes)
    assert statuses[1] == -signal.SIGKILL
    # Its own verdict, or the abort of JAX's coordination service, whichever is first.
    assert statuses[0] in (75, -signal.SIGABRT), said
    spared = fate._VERDICT_SECONDS + fate._FAREWELL_SECONDS - 3.0
    assert time.monotonic() - begun < 90 - spared
    statuses, said = _ended(_start(workdir))
    assert statuses == [0, 0], said
    assert shards.read_table(workdir / "sums")["sum"].to_pylist() == [11, 22, 33]


def test_another_run_on_one_host_is_an_error(tmp_path):
    """Also where only what a checkpoint's name does not hold differs."""
    statuses, said = _ended(_start(tmp_path / "run", log_every=(10, 20)))
    assert statuses == [2, 2]
    assert "given another run than process 0" in said[0] and said[1]
