"""A pipeline killed again and again makes the bytes of one that was not."""

import hashlib
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

_KILLS = 10
_REDUCED = [
    "LANGUAGES=('fi', 'th')",
    "STEPS=6",
    "base/TrainConfig.steps=8",
    "TrainConfig.eval_every=3",
    "TrainConfig.checkpoint_every=2",
    "TrainConfig.global_batch=4",
    "TrainConfig.length=320",
    "ModelConfig.num_layers=2",
    "ModelConfig.embed_dim=64",
    "ModelConfig.mlp_dim=96",
    "DecodeConfig.prompt_buckets=(256,)",
    "DecodeConfig.batch_rows=8",
    "generate/DecodeConfig.max_new_tokens=12",
    "generate/DecodeConfig.shard_rows=8",
    "answer/DecodeConfig.max_new_tokens=8",
    "EvaluateConfig.max_questions=2",
    "RateConfig.min_score=0.0",
    "RateConfig.shard_rows=8",
]


def _start(workdir: pathlib.Path, log: pathlib.Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "xinst_jax", "pipeline"]
    command += ["--gin_file", "gin/runs/quickstart.gin", "--workdir", str(workdir)]
    command += [f"--gin.{override}" for override in _REDUCED]
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(workdir.parent / "programs"),
    }
    return subprocess.Popen(
        command,
        stdout=log.open("a"),
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )


def _finish(workdir: pathlib.Path, log: pathlib.Path) -> None:
    assert _start(workdir, log).wait(timeout=900) == 0, log.read_text()[-3000:]


def _digests(workdir: pathlib.Path, stage: str, pattern: str) -> dict[str, str]:
    files = sorted(path for path in (workdir / stage).rglob(pattern) if path.is_file())
    return {
        str(path.relative_to(workdir)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> tuple[pathlib.Path, float]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    start = time.monotonic()
    _finish(folder / "run", folder / "log.txt")
    return folder / "run", time.monotonic() - start


@pytest.mark.timeout(1500)
def test_ten_kills_leave_the_same_bytes(uninterrupted, tmp_path):
    reference, seconds = uninterrupted
    seed = random.SystemRandom().randrange(2**32)
    print(f"kill moments drawn from seed {seed}")
    moments = random.Random(seed)
    kills, attempt = 0, 0
    while kills < _KILLS:
        attempt += 1
        workdir, log = tmp_path / f"run-{attempt}", tmp_path / f"log-{attempt}.txt"
        while kills < _KILLS:
            process = _start(workdir, log)
            try:
                process.wait(timeout=moments.uniform(1.0, seconds / 2))
                assert process.returncode == 0, log.read_text()[-3000:]
                break
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                kills += 1
        _finish(workdir, log)
        for stage, pattern in (("dataset", "*"), ("hf_model", "*.safetensors")):
            expected = _digests(reference, stage, pattern)
            assert expected and _digests(workdir, stage, pattern) == expected


def test_a_finished_pipeline_makes_nothing_again(uninterrupted, tmp_path):
    workdir, _ = uninterrupted
    log = tmp_path / "log.txt"
    start = time.monotonic()
    _finish(workdir, log)
    assert time.monotonic() - start < 15
    assert log.read_text().count("up to date") == 18


def test_a_removed_stage_is_made_again_with_the_same_bytes(uninterrupted, tmp_path):
    workdir, _ = uninterrupted
    before = _digests(workdir, "dataset", "*")
    for path in sorted((workdir / "diverse").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    log = tmp_path / "log.txt"
    _finish(workdir, log)
    assert "[12/18] ratings/round-2: up to date" in log.read_text()
    assert "[13/18] diverse: not made yet" in log.read_text()
    assert _digests(workdir, "dataset", "*") == before
