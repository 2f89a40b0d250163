"""Two processes, a model on each: together they leave what one leaves."""

import pathlib
import subprocess
import sys

import pytest

from tests import coordinated
from tests.pipeline.test_text_models import workspace
from xinst_jax import shards
from xinst_jax.pipeline import seed
from xinst_jax.pipeline.corpus import stage as corpus

# Started as each process of a run: a random model's candidates and answers.
_RUN = """
import dataclasses, json, pathlib, sys

import jax
from jax.experimental import multihost_utils

from xinst_jax import distributed, manifest, shards
from xinst_jax.config import DecodeConfig, RunConfig
from xinst_jax.eval.answers import Question
from xinst_jax.languages import BUILT_IN
from xinst_jax.models import decoder, presets
from xinst_jax.pipeline import answering, training
from xinst_jax.pipeline.make import answers
from xinst_jax.pipeline.workspace import Workspace

distributed.start()
decode = DecodeConfig(
    max_new_tokens=4, batch_rows=2, prompt_buckets=(64,), shard_rows=2,
    placement="host",
)
model = presets.tiny(vocab_size=64, num_layers=1, max_length=2048)
run = RunConfig(
    name="x", languages=("fi",), model=model, generate=decode, answer=decode
)
workspace = Workspace(run, pathlib.Path(sys.argv[1]))
training.trained_params = lambda *_: decoder.init_params(
    workspace.model, workspace.rules, workspace.mesh, jax.random.key(0)
)
assert workspace.vocabulary.vocab_size == 65
# As the command does: devices give up on one that comes late.
distributed.barrier("meet")
multihost_utils.sync_global_devices("meet")
stage = manifest.StageDirectory(workspace.path("candidates"), "candidates", {}, {})
made = answers.candidates(workspace, stage, 1)
if distributed.is_primary():
    assert made.counts["fi"].rows_in == 7, made
questions = [
    Question(f"q{number}", f"w{number + 5}", BUILT_IN["fi"], True, 1)
    for number in range(5)
]
given = answering.tuned(workspace, 1).load()(questions)
path = workspace.workdir / f"answers-{jax.process_index()}.json"
shards.write_bytes(path, json.dumps(given).encode())
distributed.barrier("end")
"""


def _made(workdir: pathlib.Path, count: int) -> dict[str, bytes]:
    """The shards and the answers of `count` processes, by their files' names."""
    workspace(workdir)
    rows = [{"id": f"d{i}", "lang": "fi", "text": f"w{i + 5} w7"} for i in range(7)]
    shards.write_shards(workdir / "corpus" / "fi", rows, corpus.SCHEMA, 100)
    pair = dict.fromkeys(seed.SCHEMA.names, "w1") | {"lang": "fi"}
    pair["split"] = seed.HELD_OUT
    shards.write_shards(workdir / "seed" / "fi", [pair], seed.SCHEMA, 100)
    found = coordinated.environments(
        count, JAX_PLATFORMS="cpu", JAX_NUM_CPU_DEVICES="1"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _RUN, str(workdir)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for environment in found
    ]
    try:
        said = [process.communicate(timeout=250)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * count, said
    files = [*workdir.glob("candidates/fi/part-*"), *workdir.glob("answers-*")]
    return {path.name: path.read_bytes() for path in files}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_replicas_of_two_processes_leave_the_files_of_one(tmp_path):
    one, two = _made(tmp_path / "one", 1), _made(tmp_path / "two", 2)
    assert two.pop("answers-1.json") == one["answers-0.json"]
    assert two == one
    assert len(one) == 5
    told = (tmp_path / "two" / "candidates" / "fi").glob("*-of-00002.progress.json")
    assert len(list(told)) == 2
