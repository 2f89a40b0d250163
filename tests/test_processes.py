"""The pipeline as two processes: the files of one, also after one was killed."""

import hashlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

from xinst_jax import shards

_TINY = [
    "LANGUAGES=('fi',)",
    "ROUNDS=1",
    "STEPS=3",
    "base/TrainConfig.steps=4",
    "generator/TrainConfig.steps=4",
    "TrainConfig.eval_every=2",
    "TrainConfig.checkpoint_every=2",
    "TrainConfig.eval_rows=4",
    "TrainConfig.global_batch=4",
    "TrainConfig.length=320",
    "ModelConfig.num_layers=1",
    "ModelConfig.embed_dim=32",
    "ModelConfig.mlp_dim=48",
    "DecodeConfig.prompt_buckets=(256,)",
    "DecodeConfig.batch_rows=8",
    "generate/DecodeConfig.max_new_tokens=4",
    "generate/DecodeConfig.shard_rows=8",
    "answer/DecodeConfig.max_new_tokens=4",
    "EvaluateConfig.max_questions=2",
    "RateConfig.min_score=0.0",
    "RateConfig.shard_rows=8",
    "RateConfig.pmi_model='follower'",
]
# A sum of two terms is the same in either order, so two devices give equal bytes.
_DEVICES = 2


def _start(workdir: pathlib.Path, count: int) -> list[subprocess.Popen]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "xinst_jax", "pipeline"]
    command += ["--gin_file", "gin/runs/quickstart.gin", "--workdir", str(workdir)]
    command += [f"--gin.{override}" for override in _TINY]
    devices = {"JAX_NUM_CPU_DEVICES": str(_DEVICES // count), "JAX_PLATFORMS": "cpu"}
    processes = []
    for index in range(count):
        place = ["--coordinator", address, "--num_processes", str(count)]
        place += ["--process_id", str(index)]
        log = (workdir.parent / f"log-{count}-{index}.txt").open("a")
        processes.append(
            subprocess.Popen(
                [*command, *place],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | devices,
            )
        )
    return processes


def _finish(workdir: pathlib.Path, count: int) -> None:
    statuses = [process.wait(timeout=1500) for process in _start(workdir, count)]
    logs = [
        (workdir.parent / f"log-{count}-{index}.txt").read_text()[-3000:]
        for index in range(count)
    ]
    assert statuses == [0] * count, logs


def _digests(workdir: pathlib.Path) -> dict[str, str]:
    """Of every file that is a function of the run, and of the weights.

    The report and a job's progress tell how long things took.
    """
    found = {}
    for path in sorted(workdir.rglob("*")):
        stage = path.relative_to(workdir).parts[0]
        if stage == "report" or path.name == shards.PROGRESS:
            continue
        if path.suffix in (".parquet", ".safetensors") or (
            path.is_file() and stage in ("dataset", "evaluation")
        ):
            name = str(path.relative_to(workdir))
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        if path.name == "manifest.json":
            found[str(path.relative_to(workdir))] = json.loads(path.read_text())[
                "content"
            ]
    return found


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_processes_leave_the_files_of_one_and_survive_a_kill(tmp_path):
    _finish(tmp_path / "one", 1)
    processes = _start(tmp_path / "two", 2)
    first = tmp_path / "two" / "candidates" / "round-1" / "fi"
    while not list(first.glob("part-*")):
        assert processes[1].poll() is None
        time.sleep(0.1)
    processes[1].send_signal(signal.SIGKILL)
    assert processes[0].wait(timeout=120) in (75, -signal.SIGABRT)
    _finish(tmp_path / "two", 2)
    one, two = _digests(tmp_path / "one"), _digests(tmp_path / "two")
    assert len(one) > 30
    assert two == one
