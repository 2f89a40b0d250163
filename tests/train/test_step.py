import dataclasses
import functools

import jax
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding

from xinst_jax.config import MeshConfig, TrainConfig
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import decoder, presets
from xinst_jax.train import optim, state, step

RULES = ShardingRules()
MODEL = presets.tiny(vocab_size=64)
CONFIG = TrainConfig(
    length=32,
    global_batch=16,
    steps=60,
    learning_rate=1e-2,
    warmup_steps=5,
    logit_chunk=64,
)

DESCENT = optax.sgd(1.0)


def rows(number, count=CONFIG.global_batch, length=CONFIG.length):
    """Packed rows of counting sequences, with very different response lengths."""
    rng = np.random.default_rng(number)
    steps = rng.integers(1, 4, (count, 1))
    start = rng.integers(0, 64, (count, 1))
    tokens = (start + steps * np.arange(length + 1)) % 64
    segments = np.where(np.arange(length) < length // 2, 1, 2)
    segments = np.where(np.arange(length) < length - 3, segments, 0)
    segments = np.broadcast_to(segments, (count, length))
    answered = rng.random((count, length)) < np.linspace(0.05, 0.95, count)[:, None]
    return {
        "tokens": tokens[:, :-1].astype(np.int32),
        "targets": tokens[:, 1:].astype(np.int32),
        "segment_ids": segments.astype(np.int32),
        "positions": np.broadcast_to(
            np.arange(length) % (length // 2), (count, length)
        ).astype(np.int32),
        "loss_weights": (answered & (segments > 0)).astype(np.float32),
    }


def placed(batch, mesh):
    return jax.device_put(batch, NamedSharding(mesh, RULES.spec("batch", "length")))


def mesh_of(count, **sizes):
    return make_mesh(MeshConfig(**sizes), jax.devices()[:count])


@functools.cache
def numbers():
    params = decoder.init_params(MODEL, RULES, mesh_of(1), jax.random.key(0))
    return jax.device_get(params)


def params_on(mesh):
    abstract = decoder.abstract_params(MODEL, RULES, mesh)
    return jax.device_put(numbers(), jax.tree.map(lambda leaf: leaf.sharding, abstract))


def losses(mesh, count):
    optimizer = optim.make_optimizer(CONFIG)
    params = params_on(mesh)
    current = state.init_state(params, optimizer, mesh)
    found = []
    with jax.set_mesh(mesh):
        update = step.make_train_step(MODEL, RULES, optimizer, CONFIG)
        compiled_before = update._cache_size()
        for number in range(count):
            current, metrics = update(current, placed(rows(number), mesh))
            found.append(float(metrics["loss"]))
    assert update._cache_size() == compiled_before + 1
    return np.array(found)


@pytest.fixture(scope="module")
def losses_on_one_device():
    return losses(mesh_of(1), 60)


@pytest.mark.parametrize("sizes", [{"fsdp": 8}, {"fsdp": 4, "tensor": 2}])
def test_sixty_losses_on_eight_devices_equal_those_on_one(sizes, losses_on_one_device):
    found = losses(mesh_of(8, **sizes), 60)
    np.testing.assert_allclose(found, losses_on_one_device, atol=1e-5, rtol=0)
    assert found[-1] < found[0] / 2


def one_update(microbatches, mesh):
    """(parameters, metrics) after a step of plain descent, which shows the gradient."""
    config = dataclasses.replace(CONFIG, microbatches=microbatches)
    with jax.set_mesh(mesh):
        update = step.make_train_step(MODEL, RULES, DESCENT, config)
        before = state.init_state(params_on(mesh), DESCENT, mesh)
        after, metrics = update(before, placed(rows(0), mesh))
    return after.params, metrics


@pytest.fixture(scope="module")
def full_batch():
    return one_update(1, mesh_of(1))


@pytest.mark.parametrize(
    ("microbatches", "devices", "sizes"),
    [(4, 1, {}), (2, 8, {"fsdp": 4, "tensor": 2})],
)
def test_accumulation_equals_the_full_batch(microbatches, devices, sizes, full_batch):
    whole, metrics = full_batch
    parts, part_metrics = one_update(microbatches, mesh_of(devices, **sizes))
    for name, value in metrics.items():
        np.testing.assert_allclose(part_metrics[name], value, rtol=1e-6)
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-6)


def test_loss_is_the_mean_over_all_response_tokens_not_of_means(full_batch):
    _, metrics = full_batch
    batch, mesh = rows(0), mesh_of(1)
    weights = batch["loss_weights"]
    with jax.set_mesh(mesh):
        model = decoder.bind(MODEL, RULES, params_on(mesh))
        given = placed(batch, mesh)
        x_btd = model(given["tokens"], given["segment_ids"], given["positions"])
        logits_btv = np.asarray(model.logits(x_btd), np.float64)
    log_p = logits_btv - np.log(np.exp(logits_btv).sum(-1, keepdims=True))
    chosen = np.take_along_axis(log_p, batch["targets"][..., None], -1)[..., 0]
    expected = -(chosen * weights).sum() / weights.sum()
    of_means = -((chosen * weights).sum(1) / weights.sum(1)).mean()
    assert abs(expected - of_means) > 1e-3
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-5)
    assert metrics["weight"] == weights.sum()
    assert metrics["tokens"] == (batch["segment_ids"] > 0).sum()


def test_evaluation_sums_loss_and_weight_and_ignores_rows_of_padding():
    mesh = mesh_of(1)
    params = params_on(mesh)
    batch = rows(0)
    padding = {name: np.zeros_like(value) for name, value in batch.items()}
    half = {
        name: np.concatenate([value[:8], padding[name][8:]])
        for name, value in batch.items()
    }
    rest = {
        name: np.concatenate([value[8:], padding[name][8:]])
        for name, value in batch.items()
    }
    with jax.set_mesh(mesh):
        evaluate = step.make_eval_step(MODEL, RULES, CONFIG)
        sums = [evaluate(params, placed(part, mesh)) for part in (batch, half, rest)]
    (loss, weight), (first, w1), (second, w2) = sums
    np.testing.assert_allclose(first + second, loss, rtol=1e-6)
    assert weight == w1 + w2 == batch["loss_weights"].sum()
