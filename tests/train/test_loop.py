import functools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding

from xinst_jax.config import MeshConfig, TrainConfig
from xinst_jax.errors import UserError
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import decoder, presets
from xinst_jax.train import loop
from xinst_jax.train.checkpoint import params_digest

RULES = ShardingRules()
MODEL = presets.tiny(vocab_size=64, num_layers=1)
CONFIG = TrainConfig(
    length=16,
    global_batch=8,
    steps=10,
    learning_rate=1e-2,
    warmup_steps=2,
    eval_every=4,
    checkpoint_every=3,
    log_every=1,
)


class Killed(BaseException):
    """Stands for a process that ends without a chance to tidy up."""


def mesh():
    return make_mesh(MeshConfig(fsdp=4, tensor=2))


def batch(number):
    """Rows that count upwards, from somewhere and by some step."""
    rng = np.random.default_rng(number)
    shape = (CONFIG.global_batch, CONFIG.length)
    start, by = rng.integers(0, 64, (8, 1)), rng.integers(1, 4, (8, 1))
    tokens = (start + by * np.arange(CONFIG.length + 1)) % 64
    arrays = {
        "tokens": tokens[:, :-1].astype(np.int32),
        "targets": tokens[:, 1:].astype(np.int32),
        "segment_ids": np.ones(shape, np.int32),
        "positions": np.broadcast_to(np.arange(CONFIG.length), shape).astype(np.int32),
        "loss_weights": (rng.random(shape) < 0.7).astype(np.float32),
    }
    return jax.device_put(arrays, NamedSharding(mesh(), RULES.spec("batch", "length")))


@functools.cache
def numbers():
    """Parameters to start from, on the host."""
    params = decoder.init_params(MODEL, RULES, mesh(), jax.random.key(0))
    return jax.device_get(params)


def run(directory, train_batch=batch, config=CONFIG, scale=1.0):
    def initial():
        abstract = decoder.abstract_params(MODEL, RULES, mesh())
        shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
        scaled = jax.tree.map(lambda leaf: leaf * scale, numbers())
        return jax.device_put(scaled, shardings)

    return loop.train(
        model=MODEL,
        rules=RULES,
        mesh=mesh(),
        config=config,
        initial_params=initial,
        train_batch=train_batch,
        eval_batches=lambda: map(batch, (1000, 1001)),
        directory=pathlib.Path(directory),
        label="test",
    )


def without_speed(lines):
    """The lines of metrics without what the clock gave."""
    return [
        {name: value for name, value in line.items() if "per_second" not in name}
        for line in lines
    ]


def killed_at(step):
    """Batches of a run that dies when it asks for those of a step."""

    def train_batch(number):
        if number == step:
            raise Killed
        return batch(number)

    return train_batch


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    directory = tmp_path_factory.mktemp("uninterrupted")
    result = run(directory)
    return result, params_digest(result.params), directory


def test_training_learns_and_compiles_once(uninterrupted):
    result, _, directory = uninterrupted
    losses = [line["loss"] for line in result.history if "loss" in line]
    assert len(losses) == result.steps == 10
    assert losses[-1] < losses[0]
    assert result.compiles == 1
    held_out = [line["step"] for line in result.history if "eval_loss" in line]
    assert held_out == [0, 4, 8, 10]
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == result.history
    speeds = [line for line in result.history if "tokens_per_second" in line]
    assert len(speeds) == 9
    kept = sorted(path.name for path in (directory / "checkpoints").iterdir())
    assert kept == ["10", "9"]


@pytest.mark.parametrize("step", [1, 8])
def test_resume_equals_uninterrupted(step, tmp_path, uninterrupted):
    expected, digest, _ = uninterrupted
    with pytest.raises(Killed):
        run(tmp_path, killed_at(step))
    result = run(tmp_path)
    assert without_speed(result.history) == without_speed(expected.history)
    assert params_digest(result.params) == digest
    assert result.compiles == 0


def test_a_finished_run_is_returned_as_it_is(tmp_path, uninterrupted):
    expected, digest, finished = uninterrupted
    shutil.copytree(finished, tmp_path / "run")
    result = run(tmp_path / "run", killed_at(0))
    assert params_digest(result.params) == digest
    assert result.history == expected.history
    assert result.compiles == 0


def test_sigterm_saves_and_stops(tmp_path, uninterrupted):
    expected, digest, _ = uninterrupted

    def train_batch(number):
        if number == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return batch(number)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(loop.Preempted, match=r"step [456] of 10"):
        run(tmp_path, train_batch)
    assert signal.getsignal(signal.SIGTERM) is before
    result = run(tmp_path)
    assert params_digest(result.params) == digest
    assert without_speed(result.history) == without_speed(expected.history)


def test_a_loss_that_is_not_a_number_stops_before_it_is_saved(tmp_path):
    with pytest.raises(UserError, match="loss is nan at step 1 "):
        run(tmp_path, scale=float("nan"))
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_disk_too_small_is_found_before_anything_is_made(tmp_path, monkeypatch):
    almost_full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: almost_full)
    with pytest.raises(UserError, match=r"0\.0 MB free"):
        run(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_batch_that_does_not_divide_is_found_before_anything_is_made(tmp_path):
    config = TrainConfig(global_batch=8, microbatches=4, length=16, steps=10)
    with pytest.raises(UserError, match="batch"):
        run(tmp_path / "new", config=config)
    assert not (tmp_path / "new").exists()


def test_a_checkpoint_beyond_the_last_step_is_an_error(uninterrupted):
    _, _, directory = uninterrupted
    config = TrainConfig(global_batch=8, length=16, steps=5)
    with pytest.raises(UserError, match="step 10"):
        run(directory, config=config)


def start_process(directory):
    code = (
        "import jax; jax.config.update('jax_num_cpu_devices', 8); "
        f"import sys; sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r}); "
        f"import test_loop; test_loop.run({str(directory)!r})"
    )
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)


def test_a_run_killed_while_it_saves_equals_an_uninterrupted_one(
    tmp_path, uninterrupted
):
    expected, digest, _ = uninterrupted
    process = start_process(tmp_path)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "checkpoints").glob("6*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "checkpoints" / "10").exists()
    result = run(tmp_path)
    assert params_digest(result.params) == digest
    assert without_speed(result.history) == without_speed(expected.history)


def test_training_does_not_import_tensorflow_or_torch():
    code = (
        "import sys; import xinst_jax.train.loop; "
        "print([m for m in ('tensorflow', 'torch', 'seqio') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
