"""The verb `compile`: what it prints, and its exit status."""

import importlib.util

import pytest

from xinst_jax import run_file
from xinst_jax.__main__ import main
from xinst_jax.aot import report as report_lib
from xinst_jax.aot.build import TooLargeError
from xinst_jax.pipeline import proof

RUNS = ("llama2_7b", "llama2_13b", "llama3_8b", "gemma_7b")


def compiled(*arguments, gin_file="gin/runs/quickstart.gin"):
    return main(["compile", "--gin_file", gin_file, *arguments])


def test_a_run_is_compiled_for_fake_devices(capsys):
    assert compiled("--topology", "cpu:8", "--gin.STEPS=7") == 0
    said = capsys.readouterr().out
    assert "8 rows of 512 tokens" in said
    for part in ("arguments", "causal", "all-gather", "fsdp 8"):
        assert part in said


def test_without_the_tpu_compiler_it_is_an_error(capsys, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: name != "libtpu" and found(name)
    )
    assert compiled("--topology", "v5e:8x8") == 2
    assert "libtpu" in capsys.readouterr().err


def test_a_step_that_does_not_fit_ends_with_1(capsys, monkeypatch):
    def too_large(layout):
        raise TooLargeError(20 * 2**30)

    monkeypatch.setattr(report_lib, "build", too_large)
    monkeypatch.setattr(report_lib.Layout, "devices_mesh", lambda self: _Mesh())
    assert compiled("--topology", "v5e-64") == 1
    assert "4.25 GiB too much" in capsys.readouterr().out


class _Mesh:
    shape = {"slice": 1, "fsdp": 64, "sequence": 1, "tensor": 1}


@pytest.mark.parametrize("name", RUNS)
def test_run_files_of_the_paper_are_compiled_without_their_data(name):
    path = f"gin/runs/x_instruction_{name}.gin"
    run = run_file.load(path, [], leave_open=True)
    layout = proof.layout(run, "sft", "v5e-64")
    assert layout.train.length == 2048
    assert layout.model.compute_dtype == "bfloat16"
    shapes = {proof.layout(run, task, "v5e-64").model for task in ("reverse", "rate")}
    assert shapes == {layout.model}
    planned = [(training.name, training.times) for training in proof.schedule(run)]
    assert planned == [("generator", 3), ("rater", 3), ("follower", 3), ("sft", 1)]


def test_a_run_without_followers_has_none_to_plan_or_compile(capsys):
    run = run_file.load("gin/runs/quickstart.gin", [])
    assert [training.name for training in proof.schedule(run)] == [
        *("generator", "rater", "sft")
    ]
    assert compiled("--topology", "cpu:8", "--task", "follow") == 2
    assert "RateConfig.pmi_model = 'base'" in capsys.readouterr().err


def test_a_training_that_the_run_does_not_do_is_an_error(capsys):
    path = "gin/runs/x_instruction_llama3_8b.gin"
    given = ("--gin.BASE_MODEL='given'", "--topology", "cpu:8", "--task", "lm")
    assert compiled(*given, gin_file=path) == 2
    assert "imports its base model" in capsys.readouterr().err
