"""A small training that tests run, interrupt and compare."""

import functools
import os
import pathlib
import signal

import jax
import numpy as np
from jax.sharding import NamedSharding

from xinst_jax.config import MeshConfig, TrainConfig
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import decoder, presets
from xinst_jax.train import evaluation, loop

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
    skip_bad_steps=1,
)


class Killed(BaseException):
    """Stands for a process that ends without a chance to tidy up."""


def mesh():
    return make_mesh(MeshConfig(fsdp=4, tensor=2))


def batch(number, change=lambda arrays: None):
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
    change(arrays)
    return jax.device_put(arrays, NamedSharding(mesh(), RULES.spec("batch", "length")))


@functools.cache
def numbers():
    """Parameters to start from, on the host."""
    params = decoder.init_params(MODEL, RULES, mesh(), jax.random.key(0))
    return jax.device_get(params)


def held_out():
    """Rows of two languages, by turns."""
    spec = NamedSharding(mesh(), RULES.spec("batch"))
    language_b = jax.device_put(np.arange(8, dtype=np.int32) % 2, spec)
    return [(batch(number), language_b) for number in (1000, 1001)]


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
        held_out=evaluation.HeldOut(held_out, ("fi", "sw")),
        directory=pathlib.Path(directory),
        label="test",
    )


def without_time(lines):
    """The lines of metrics without what the clock gave."""
    timeless = ("step", "loss", "learning_rate", "grad_norm", "bad_steps")
    kept = [
        {
            name: value
            for name, value in line.items()
            if name in timeless or name.startswith("eval_loss")
        }
        for line in lines
    ]
    return [line for line in kept if len(line) > 1]


def killed_at(step):
    """Batches of a run that dies when it asks for those of a step."""

    def train_batch(number):
        if number == step:
            raise Killed
        return batch(number)

    return train_batch


def sigkilled_at(step):
    """Batches of a run whose process is killed when it asks for those of a step."""

    def train_batch(number):
        if number == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return batch(number)

    return train_batch
