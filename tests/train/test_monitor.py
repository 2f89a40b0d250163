import json
import pathlib
import types

import jax
import numpy as np
import pytest

from xinst_jax import distributed
from xinst_jax.config import MeshConfig, TrainConfig
from xinst_jax.errors import UserError
from xinst_jax.mesh import make_mesh
from xinst_jax.models import presets
from xinst_jax.models.flops import flops_per_token
from xinst_jax.train import clock as clock_lib
from xinst_jax.train import monitor
from xinst_jax.train.clock import Clock

MODEL, CONFIG = presets.tiny(), TrainConfig(length=32, log_every=2)


@pytest.fixture
def clock(monkeypatch):
    now = types.SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(clock_lib.time, "monotonic", lambda: now.seconds)
    return now


def metrics(loss):
    return {
        "loss": loss,
        "weight": 30.0,
        "tokens": 60.0,
        "grad_norm": 1.0,
        "learning_rate": 0.5,
        "pairs": 1800.0,
        "bad_steps": 0.0,
    }


def open_monitor(directory, step=0):
    mesh, times = make_mesh(MeshConfig(), jax.devices()[:1]), Clock()
    times.change(clock_lib.STEP)
    return monitor.Monitor(directory, step, MODEL, CONFIG, mesh, times)


def read(directory):
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_speed_leaves_out_the_first_step_and_what_is_not_training(tmp_path, clock):
    with open_monitor(tmp_path) as log:
        clock.seconds += 1000  # compiling
        log.train(1, metrics(3.0))
        for step in (2, 3, 4):
            clock.seconds += 2
            with log._clock.spend(clock_lib.EVALUATION):
                clock.seconds += 50
            log.train(step, metrics(2.0))
    first, second, fourth = read(tmp_path)
    assert (first["step"], second["step"], fourth["step"]) == (1, 2, 4)
    assert "tokens_per_second" not in first
    assert second["tokens_per_second"] == 30
    assert fourth["tokens_per_second"] == 30
    assert fourth["response_tokens_per_second"] == 15
    assert log.tokens_per_second == 30


def test_a_resume_drops_later_lines_and_half_a_line(tmp_path):
    with open_monitor(tmp_path) as log:
        log.evaluation(0, {"eval_loss": 5.0})
        for step in range(1, 9):
            log.train(step, metrics(step))
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 4, "lo')
    with open_monitor(tmp_path, step=5) as log:
        assert [line["step"] for line in log.lines] == [0, 1, 2, 4]
        log.train(6, metrics(60.0))
    assert [line["step"] for line in read(tmp_path)] == [0, 1, 2, 4, 6]
    assert read(tmp_path) == log.lines
    assert read(tmp_path)[-1]["loss"] == 60.0


def test_a_start_from_nothing_drops_all_lines(tmp_path):
    with open_monitor(tmp_path) as log:
        log.evaluation(0, {"eval_loss": 5.0})
    with open_monitor(tmp_path) as log:
        assert log.lines == []


def test_only_the_primary_process_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "is_primary", lambda: False)
    with open_monitor(tmp_path / "run") as log:
        log.evaluation(0, {"eval_loss": 5.0})
    assert not (tmp_path / "run").exists()
    assert log.lines == [{"step": 0, "eval_loss": 5.0}]


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path):
    with (
        pathlib.Path("/dev/full").open("ab", buffering=0) as full,
        pytest.raises(UserError, match=r"/dev/full .*No space left"),
        open_monitor(tmp_path) as log,
    ):
        log._file.close()
        log._file = full
        log.evaluation(0, {"eval_loss": 5.0})


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("TPU v5 lite", 197e12),
        ("TPU v5p", 459e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("cpu", None),
    ],
)
def test_the_peak_is_that_of_the_device_kind(kind, peak):
    device = types.SimpleNamespace(device_kind=kind)
    model = presets.tiny(compute_dtype="bfloat16")
    found = monitor.peak_flops([device] * 4, model)
    assert found == (peak and 4 * peak)
    assert monitor.peak_flops([device] * 4, presets.tiny()) is None


def test_utilisation_is_the_share_of_the_peak(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(monitor, "peak_flops", lambda devices, model: 1e9)
    with open_monitor(tmp_path) as log:
        for step in (1, 2, 3, 4):
            log.train(step, metrics(1.0))
            clock.seconds += 1
    last = read(tmp_path)[-1]
    speed = last["tokens_per_second"]
    assert speed == 60
    expected = speed * flops_per_token(MODEL, 32) / 1e9
    assert last["mfu_full"] == pytest.approx(expected, abs=1e-4)
    # 1,800 pairs in 60 tokens: each of two blocks sees 15 a token.
    expected = speed * flops_per_token(MODEL, 15) / 1e9
    assert last["mfu_causal"] == pytest.approx(expected, abs=1e-4)


def test_time_is_told_by_what_it_was_spent_on(tmp_path, clock):
    with open_monitor(tmp_path) as log:
        log._clock.change(clock_lib.ENDS)
        clock.seconds += 5
        log._clock.change(clock_lib.OTHER)
        with log._clock.spend(clock_lib.COMPILE):
            clock.seconds += 10
        log.train(1, metrics(3.0))
        for step, seconds in enumerate((1, 1, 1, 2, 1, 1, 1, 9), 2):
            with log._clock.spend(clock_lib.STEP):
                clock.seconds += seconds
            with log._clock.spend(clock_lib.INPUT):
                clock.seconds += 0.5
            log.train(step, metrics(2.0))
            if step == 7:
                with log._clock.spend(clock_lib.CHECKPOINT):
                    clock.seconds += 3
        figures = log.summary(9)
    eighth, summary = read(tmp_path)[-2:]
    assert eighth["step"] == 8
    assert eighth["step_share"] == pytest.approx(2 / 6, abs=1e-4)
    assert eighth["input_share"] == pytest.approx(1 / 6, abs=1e-4)
    assert eighth["checkpoint_share"] == pytest.approx(3 / 6)
    assert eighth["checkpoint_blocked_seconds"] == 3
    assert eighth["step_seconds_p50"] == 1.5
    assert summary == {"step": 9} | {f"run/{k}": v for k, v in figures.items()}
    laps = [1.5, 1.5, 1.5, 2.5, 1.5, 1.5, 1.5, 9.5]
    for percent in (50, 90, 99):
        expected = np.percentile(laps, percent)
        assert figures[f"step_seconds_p{percent}"] == pytest.approx(expected)
    assert figures["seconds"] == 5 + 10 + 17 + 4 + 3
    assert figures["goodput"] == pytest.approx(17 / 39, abs=1e-4)
    assert figures["seconds_in_ends"] == 5
    assert figures["seconds_in_compile"] == 10
    assert "goodput" not in monitor.in_words(figures)
    assert "step 43.6%" in monitor.in_words(figures)


def test_a_figure_that_is_no_number_is_left_out(tmp_path):
    with open_monitor(tmp_path) as log:
        log.train(1, metrics(float("nan")) | {"bad_steps": 1.0})
    (line,) = read(tmp_path)
    assert "loss" not in line
    assert line["bad_steps"] == 1
