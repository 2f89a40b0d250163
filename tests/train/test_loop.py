import dataclasses
import json
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from tests.train.small_run import (
    CONFIG,
    MODEL,
    RULES,
    Killed,
    batch,
    killed_at,
    mesh,
    run,
    without_time,
)
from xinst_jax.config import TrainConfig
from xinst_jax.errors import UserError
from xinst_jax.models import decoder
from xinst_jax.train import loop, monitor
from xinst_jax.train.checkpoint import params_digest, restore_params


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


def test_a_finished_run_is_returned_as_it_is(tmp_path, uninterrupted):
    expected, digest, finished = uninterrupted
    shutil.copytree(finished, tmp_path / "run")
    result = run(tmp_path / "run", killed_at(0))
    assert params_digest(result.params) == digest
    assert result.history == expected.history
    assert result.compiles == 0


def poisoned_at(*steps):
    """Batches of which some have a loss that is no number."""

    def poison(arrays):
        arrays["loss_weights"][2, 3] = np.nan

    return lambda number: batch(number, poison) if number in steps else batch(number)


def test_a_loss_that_is_not_a_number_stops_before_it_is_saved(tmp_path):
    with pytest.raises(UserError, match=r"loss is nan at step 2 .*no checkpoint yet"):
        run(tmp_path, scale=float("nan"))
    assert not list((tmp_path / "checkpoints").iterdir())


def test_one_bad_step_too_many_names_step_row_and_checkpoint(tmp_path):
    with pytest.raises(
        UserError,
        match=r"loss is nan at step 8 .* checkpoint is of step 6\..*in row 2, loss nan",
    ):
        run(tmp_path, poisoned_at(4, 7))
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["3", "6"]


def test_a_skipped_step_is_skipped_again_after_a_resume(tmp_path):
    expected = run(tmp_path / "whole", poisoned_at(4))
    assert expected.bad_steps == 1
    fifth = next(line for line in expected.history if line["step"] == 5)
    assert fifth["bad_steps"] == 1 and "loss" not in fifth
    with pytest.raises(Killed):
        run(
            tmp_path / "killed",
            lambda number: poisoned_at(4)(number) if number < 8 else killed_at(8)(8),
        )
    result = run(tmp_path / "killed", poisoned_at(4))
    assert params_digest(result.params) == params_digest(expected.params)
    assert without_time(result.history) == without_time(expected.history)
    assert result.bad_steps == 1
    told = [
        (tmp_path / name / "bad_steps.jsonl").read_text()
        for name in ("whole", "killed")
    ]
    assert told[0] == told[1]
    assert json.loads(told[0])["step"] == 5


def turning(number):
    """Batches that from the sixth step on teach something else."""

    def turn(arrays):
        arrays["targets"] = (arrays["targets"] + 32) % 64

    return batch(number, turn) if number >= 5 else batch(number)


def test_the_best_average_is_what_comes_out_and_a_resume_changes_nothing(tmp_path):
    config = dataclasses.replace(
        CONFIG,
        mu_dtype="bfloat16",
        ema_decay=0.5,
        eval_every=2,
        checkpoint_every=2,
        keep_last=1,
        keep_every=4,
        best_metric="eval_loss/sw",
        final="best",
        profile_from=3,
        profile_steps=2,
    )
    expected = run(tmp_path / "whole", turning, config)
    losses = {
        line["step"]: line["eval_loss/sw"]
        for line in expected.history
        if "eval_loss/sw" in line and line["step"]
    }
    best = min(losses, key=losses.get)
    assert expected.final_step == best < 10
    kept = sorted(int(path.name) for path in (tmp_path / "whole/checkpoints").iterdir())
    assert kept == sorted({best, 4, 8, 10})
    abstract = decoder.abstract_params(MODEL, RULES, mesh())
    saved = tmp_path / "whole" / "checkpoints"
    found = restore_params(saved, abstract, "eval_loss/sw")
    assert params_digest(found) == params_digest(expected.params)
    assert params_digest(restore_params(saved, abstract)) != params_digest(found)
    assert list((tmp_path / "whole" / "profile").rglob("*.xplane.pb"))
    with pytest.raises(Killed):
        run(
            tmp_path / "killed",
            lambda number: turning(number) if number < 9 else killed_at(9)(9),
            config,
        )
    result = run(tmp_path / "killed", turning, config)
    assert params_digest(result.params) == params_digest(expected.params)
    assert result.final_step == best
    assert without_time(result.history) == without_time(expected.history)


def test_metrics_are_read_while_the_next_step_runs_whose_batch_is_there(
    tmp_path, monkeypatch
):
    events = []
    read = monitor.Monitor.train

    def train_batch(number):
        events.append(("asked", number))
        return batch(number)

    def train(log, number, values):
        events.append(("read", number))
        read(log, number, values)

    monkeypatch.setattr(monitor.Monitor, "train", train)
    run(tmp_path, train_batch, dataclasses.replace(CONFIG, eval_every=100, steps=6))
    at = {event: place for place, event in enumerate(events)}
    # Batches count from 0, steps from 1: the batch of step n is the one numbered n - 1.
    for step in range(1, 4):
        assert at["asked", step] < at["read", step] < at["asked", step + 2]


def test_the_step_takes_no_batch_from_the_host_and_gives_up_what_it_was_given(tmp_path):
    given = []

    def initial():
        params = decoder.init_params(MODEL, RULES, mesh(), jax.random.key(0))
        given.extend(jax.tree.leaves(params))
        return params

    def trained(directory, train_batch):
        return loop.train(
            model=MODEL,
            rules=RULES,
            mesh=mesh(),
            config=dataclasses.replace(CONFIG, eval_every=100, steps=2),
            initial_params=initial,
            train_batch=train_batch,
            held_out=None,
            directory=directory,
            label="test",
        )

    trained(tmp_path / "given up", batch)
    assert given and all(leaf.is_deleted() for leaf in given)
    with pytest.raises(Exception, match=r"[Dd]isallowed host-to-device transfer"):
        trained(tmp_path / "host", lambda number: jax.device_get(batch(number)))


def test_a_step_that_is_compiled_again_is_an_error(tmp_path):
    def halve(arrays):
        arrays["loss_weights"] = arrays["loss_weights"].astype(np.float16)

    def train_batch(number):
        return batch(number, halve) if number == 2 else batch(number)

    with pytest.raises(RuntimeError, match="step 3 compiled the update again"):
        run(tmp_path, train_batch)


def test_a_best_metric_that_nothing_measures_is_found_first(tmp_path):
    config = dataclasses.replace(
        CONFIG, checkpoint_every=4, keep_best=1, best_metric="eval_loss/th"
    )
    with pytest.raises(UserError, match="one of eval_loss, eval_loss/fi, eval_loss/sw"):
        run(tmp_path / "new", config=config)
    assert not (tmp_path / "new").exists()


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


def test_training_does_not_import_tensorflow_or_torch():
    code = (
        "import sys; import xinst_jax.train.loop; "
        "print([m for m in ('tensorflow', 'torch', 'seqio') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
