import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from xinst_jax import distributed
from xinst_jax.data import packing
from xinst_jax.errors import UserError

# Run by each of two processes, and once by one: the same rows, the same model.
TRAINING = """
import pathlib, sys
import jax
from jax.experimental import multihost_utils
from xinst_jax import distributed

directory, devices = pathlib.Path(sys.argv[1]), int(sys.argv[2])
jax.config.update("jax_num_cpu_devices", devices)
distributed.start()

from xinst_jax.config import MeshConfig, TrainConfig
from xinst_jax.data.loader import Rows
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import decoder, presets
from xinst_jax.train import checkpoint, loop

distributed.barrier("begun")
# As the command line does: Gloo gives up on a process that comes half a minute late.
multihost_utils.sync_global_devices("begun")
mesh, rules = make_mesh(MeshConfig(fsdp=4, tensor=2)), ShardingRules()
model = presets.tiny(vocab_size=64, num_layers=1)
rows = Rows(directory / "rows")
result = loop.train(
    model=model,
    rules=rules,
    mesh=mesh,
    config=TrainConfig(
        length=16, global_batch=8, steps=6, learning_rate=1e-2, warmup_steps=2,
        checkpoint_every=3, log_every=1, eval_every=3,
    ),
    initial_params=lambda: decoder.init_params(model, rules, mesh, jax.random.key(0)),
    train_batch=lambda step: rows.batch(step, 8, mesh, rules, seed=0),
    eval_batches=lambda: rows.in_order(8, mesh, rules, 20),
    directory=directory / sys.argv[3],
    label="test",
)
abstract = decoder.abstract_params(model, rules, mesh)
saved = checkpoint.restore_params(directory / sys.argv[3] / "checkpoints", abstract)
assert checkpoint.params_digest(saved) == checkpoint.params_digest(result.params)
print("primary" if distributed.is_primary() else "other", jax.process_count())
"""


def start(directory, devices, name, **variables):
    return subprocess.Popen(
        [sys.executable, "-c", TRAINING, str(directory), str(devices), name],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        text=True,
    )


def figures(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line.get("loss", line.get("eval_loss")) for line in lines]


def test_two_processes_train_as_one(tmp_path):
    rng = np.random.default_rng(0)
    pairs = [
        (rng.integers(3, 60, 3).tolist(), rng.integers(3, 60, 9).tolist())
        for _ in range(30)
    ]
    packing.pack(pairs, tmp_path / "rows", length=16, bos=1, eos=2, shard_rows=10)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    processes = [
        start(
            tmp_path,
            4,
            "two",
            JAX_COORDINATOR_ADDRESS=address,
            JAX_NUM_PROCESSES="2",
            JAX_PROCESS_ID=str(index),
        )
        for index in range(2)
    ]
    processes.append(start(tmp_path, 8, "one"))
    said = [
        process.communicate(timeout=300)[0].splitlines()[-1] for process in processes
    ]
    assert said == ["primary 2", "other 2", "primary 1"]
    one, two = (figures(tmp_path / name / "metrics.jsonl") for name in ("one", "two"))
    assert len(one) == 9
    np.testing.assert_allclose(two, one, atol=1e-5)


@pytest.mark.parametrize("count", ["", "two"])
def test_half_of_the_variables_is_an_error(monkeypatch, count):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "localhost:1")
    monkeypatch.setenv("JAX_NUM_PROCESSES", count)
    with pytest.raises(UserError, match="Give all three"):
        distributed.start()


def test_a_single_process_is_primary_and_waits_for_nobody():
    distributed.start()
    assert distributed.is_primary()
    distributed.barrier("here")


def test_sigterm_is_noticed_inside_the_block_only():
    before = signal.getsignal(signal.SIGTERM)
    with distributed.Preemption() as preemption:
        assert not preemption.noticed(1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert preemption.noticed(2)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_single_process_ends_at_sigterm_with_the_status_to_start_it_again(tmp_path):
    command = [sys.executable, "-m", "xinst_jax", "pipeline"]
    command += ["--gin_file", "gin/runs/quickstart.gin", "--workdir", str(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "run.json").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 75, said
    assert "un the same command again" in said
