"""A training that was killed or stopped goes on to the uninterrupted one's bits."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from tests.train.small_run import (
    Killed,
    batch,
    killed_at,
    run,
    without_time,
)
from xinst_jax.train import checkpoint, loop
from xinst_jax.train.checkpoint import params_digest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("step", [1, 8])
def test_resume_equals_uninterrupted(step, tmp_path, uninterrupted):
    expected, digest, _ = uninterrupted
    with pytest.raises(Killed):
        run(tmp_path, killed_at(step))
    result = run(tmp_path)
    assert without_time(result.history) == without_time(expected.history)
    assert params_digest(result.params) == digest
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
    assert without_time(result.history) == without_time(expected.history)


def test_sigterm_after_the_last_step_is_not_forgotten(
    tmp_path, monkeypatch, uninterrupted
):
    """What made the training would go on to the next one, until it is killed."""
    wait = checkpoint.Checkpoints.wait

    def terminated(checkpoints):
        os.kill(os.getpid(), signal.SIGTERM)
        wait(checkpoints)

    monkeypatch.setattr(checkpoint.Checkpoints, "wait", terminated)
    with pytest.raises(loop.Preempted, match="while a training ended"):
        run(tmp_path)
    monkeypatch.undo()
    result = run(tmp_path, killed_at(0))
    assert params_digest(result.params) == uninterrupted[1]


def test_sigterm_in_the_last_step_stops_after_it(tmp_path, uninterrupted):
    def train_batch(number):
        if number == 9:
            os.kill(os.getpid(), signal.SIGTERM)
        return batch(number)

    with pytest.raises(loop.Preempted, match=r"step (9|10) of 10"):
        run(tmp_path, train_batch)
    assert params_digest(run(tmp_path).params) == uninterrupted[1]


def start_process(directory, killed_at="None"):
    code = (
        "import jax; jax.config.update('jax_num_cpu_devices', 8); "
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
        "from tests.train import small_run; "
        f"small_run.run({str(directory)!r}, small_run.sigkilled_at({killed_at}))"
    )
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("step", [2, 7])
def test_a_run_killed_at_a_step_equals_an_uninterrupted_one(
    step, tmp_path, uninterrupted
):
    expected, digest, _ = uninterrupted
    assert start_process(tmp_path, step).wait(timeout=300) == -signal.SIGKILL
    result = run(tmp_path)
    assert params_digest(result.params) == digest
    assert without_time(result.history) == without_time(expected.history)


def test_a_run_killed_while_it_saves_equals_an_uninterrupted_one(
    tmp_path, uninterrupted
):
    expected, digest, _ = uninterrupted
    process = start_process(tmp_path)
    deadline = time.monotonic() + 300
    while not list((tmp_path / "checkpoints").glob("6*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "checkpoints" / "10").exists()
    result = run(tmp_path)
    assert params_digest(result.params) == digest
    assert without_time(result.history) == without_time(expected.history)
