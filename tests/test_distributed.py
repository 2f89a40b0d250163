import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from tests import coordinated
from xinst_jax import distributed
from xinst_jax.data import packing
from xinst_jax.errors import Preempted, UserError

# Run by each of two processes, and once by one: the same rows, the same model. The
# process that is told to, is killed when it asks for the rows of the last step.
TRAINING = """
import hashlib, os, pathlib, signal, sys, time
import jax
import numpy as np
from jax.experimental import multihost_utils
from xinst_jax import distributed

directory, devices = pathlib.Path(sys.argv[1]), int(sys.argv[2])
jax.config.update("jax_num_cpu_devices", devices)
distributed.start()

from xinst_jax.config import MeshConfig, TrainConfig
from xinst_jax.data.loader import Rows
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import decoder, presets
from xinst_jax.train import checkpoint, evaluation, loop

distributed.barrier("begun")
# As the command line does: Gloo gives up on a process that comes half a minute late.
multihost_utils.sync_global_devices("begun")
tensor = int(os.environ.get("TENSOR", 2))
mesh, rules = make_mesh(MeshConfig(fsdp=-1, tensor=tensor)), ShardingRules()
model = presets.tiny(vocab_size=64, num_layers=1)
rows = Rows(directory / "rows")

def train_batch(step):
    if step == int(os.environ.get("TERMINATED", -1)):
        os.kill(os.getpid(), signal.SIGTERM)
    if step >= 2 and "SLOW" in os.environ:
        time.sleep(3)
    if step == 5 and "KILLED" in os.environ:
        while not (directory / sys.argv[3] / "checkpoints" / "3").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    return rows.batch(step, 8, mesh, rules, seed=0)

result = loop.train(
    model=model,
    rules=rules,
    mesh=mesh,
    config=TrainConfig(
        length=16, global_batch=8, steps=6, learning_rate=1e-2, warmup_steps=2,
        checkpoint_every=3, log_every=1, eval_every=3,
    ),
    initial_params=lambda: decoder.init_params(model, rules, mesh, jax.random.key(0)),
    train_batch=train_batch,
    held_out=evaluation.HeldOut(lambda: rows.in_order(8, mesh, rules, 20)),
    directory=directory / sys.argv[3],
    label="test",
)
abstract = decoder.abstract_params(model, rules, mesh)
saved = checkpoint.restore_params(directory / sys.argv[3] / "checkpoints", abstract)
digest = checkpoint.params_digest(result.params)
assert checkpoint.params_digest(saved) == digest

# The digest is of the numbers, and no device gathers more of them than is allowed.
gathered, gather = [], distributed._gathered
distributed._GATHERED_BYTES = 2048


def watched(*given):
    rows = gather(*given)
    gathered.append(rows.nbytes)
    return rows


distributed._gathered = watched
rng, numbers, divided = np.random.default_rng(0), {}, {}
for name, shape, spec in (
    ("gate_ldf", (5, 8, 64), jax.P(None, "fsdp", "tensor")),
    ("table_vd", (48, 16), jax.P("tensor", "fsdp")),
    ("scale_d", (24,), jax.P("fsdp")),
):
    numbers[name] = rng.normal(size=shape).astype(np.float32)
    sharding = jax.NamedSharding(mesh, spec)
    divided[name] = jax.make_array_from_callback(
        shape, sharding, numbers[name].__getitem__
    )
expected = hashlib.sha256()
for name, value in sorted(numbers.items()):
    expected.update(f"{name} {value.shape} float32\\n".encode() + value.tobytes())
assert checkpoint.params_digest(divided) == expected.hexdigest()
assert sorted(gathered) == [96, 1024, *[2048] * 6] * (jax.process_count() - 1)
print("primary" if distributed.is_primary() else "other", jax.process_count(), digest)
"""


_STARTED = []


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_running():
    yield
    for process in _STARTED:
        process.kill()
        process.wait()


def start(directory, devices, name, variables=None):
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINING, str(directory), str(devices), name],
        env=os.environ | (variables or {}),
        stdout=subprocess.PIPE,
        text=True,
    )
    _STARTED.append(process)
    return process


def start_two(directory, name, *, killed=None, terminated_at=None):
    """Two processes that train as one.

    Either may be killed on the way, or the second terminated when it asks for the rows
    of a step.
    """
    # Processes tell each other of a SIGTERM within a second or two.
    slow = {"SLOW": "yes"} if terminated_at is not None else {}
    found = coordinated.environments(2, **slow)
    if killed is not None:
        found[killed]["KILLED"] = "yes"
    if terminated_at is not None:
        found[1]["TERMINATED"] = str(terminated_at)
    return [start(directory, 4, name, environment) for environment in found]


def last_words(process):
    """The last line that a process printed: which it is, of how many, the digest."""
    return process.communicate(timeout=300)[0].splitlines()[-1].split()


def figures(path):
    """(step, loss) and (step, held-out loss) of each line that has them."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        (line["step"], line[name])
        for line in lines
        for name in ("loss", "eval_loss")
        if name in line
    ]


def stopped_at(directory, name, both):
    """The newest checkpoint of two processes that SIGTERM has stopped."""
    assert [process.wait(timeout=300) for process in both] == [1, 1]
    for process in both:
        process.communicate()
    checkpoints = directory / name / "checkpoints"
    return max(int(path.name) for path in checkpoints.glob("[0-9]*"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two processes and one of one process; what each process said."""
    directory = tmp_path_factory.mktemp("distributed")
    rng = np.random.default_rng(0)
    pairs = [
        (rng.integers(3, 60, 3).tolist(), rng.integers(3, 60, 9).tolist())
        for _ in range(30)
    ]
    packing.pack(pairs, directory / "rows", length=16, bos=1, eos=2, shard_rows=10)
    processes = [*start_two(directory, "two"), start(directory, 8, "one")]
    return directory, [last_words(process) for process in processes]


def test_two_processes_train_as_one(trained):
    directory, said = trained
    assert [words[:2] for words in said] == [
        *(["primary", "2"], ["other", "2"], ["primary", "1"])
    ]
    one, two = (figures(directory / name / "metrics.jsonl") for name in ("one", "two"))
    assert len(one) == 9
    np.testing.assert_allclose(two, one, atol=1e-5)


def test_two_processes_of_which_one_is_killed_go_on_to_the_same_bits(trained):
    directory, said = trained
    first, second = start_two(directory, "killed", killed=1)
    assert second.wait(timeout=300) == -signal.SIGKILL
    # The other cannot go on alone: it fails, or is ended by who started it. Longer than
    # the steps that are left take, were they taken.
    with contextlib.suppress(subprocess.TimeoutExpired):
        first.wait(timeout=5)
    first.kill()
    first.communicate()
    steps = [step for step, _ in figures(directory / "killed" / "metrics.jsonl")]
    assert max(steps) < 6
    again = [last_words(process) for process in start_two(directory, "killed")]
    assert again == said[:2]
    killed, two = (
        figures(directory / name / "metrics.jsonl") for name in ("killed", "two")
    )
    assert killed == two


def test_sigterm_at_one_of_two_ends_both_and_one_goes_on_over_another_mesh(trained):
    directory, _ = trained
    both = start_two(directory, "moved", terminated_at=2)
    assert 1 < stopped_at(directory, "moved", both) < 6
    assert last_words(start(directory, 8, "moved", {"TENSOR": "1"}))[:2] == [
        "primary",
        "1",
    ]
    one, moved = (
        figures(directory / name / "metrics.jsonl") for name in ("one", "moved")
    )
    assert [step for step, _ in moved] == [step for step, _ in one]
    np.testing.assert_allclose(moved, one, atol=1e-5)


def test_sigterm_before_the_first_step_of_a_resume_stops_it_too(trained):
    directory, _ = trained
    shutil.copytree(directory / "two", directory / "resumed")
    shutil.rmtree(directory / "resumed" / "checkpoints" / "6")
    both = start_two(directory, "resumed", terminated_at=3)
    assert 3 < stopped_at(directory, "resumed", both) < 6


def test_asks_are_numbered_on_from_one_training_to_the_next(monkeypatch):
    asked = []
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(
        multihost_utils, "reached_preemption_sync_point", lambda n: asked.append(n)
    )
    for _ in range(2):
        with distributed.Preemption() as preemption:
            for _ in range(3):
                preemption.noticed()
    assert asked == list(range(asked[0], asked[0] + 6))


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


def test_sigterm_is_noticed_inside_the_block_only_and_lets_nothing_follow_it():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Preempted), distributed.Preemption() as preemption:
        assert not preemption.noticed()
        os.kill(os.getpid(), signal.SIGTERM)
        assert preemption.noticed()
    assert signal.getsignal(signal.SIGTERM) is before
    assert not distributed.Preemption.awaited
    with pytest.raises(ZeroDivisionError), distributed.Preemption():
        os.kill(os.getpid(), signal.SIGTERM)
        raise ZeroDivisionError


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
