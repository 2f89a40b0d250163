import dataclasses
import functools

import jax
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding

from xinst_jax.config import MeshConfig, TrainConfig
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import decoder, flops, presets
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


@functools.cache
def plain_losses():
    """Loss of every target of the batch 0, by the plain formula: (B, T), unweighted."""
    batch, mesh = rows(0), mesh_of(1)
    with jax.set_mesh(mesh):
        model = decoder.bind(MODEL, RULES, params_on(mesh))
        given = placed(batch, mesh)
        x_btd = model(given["tokens"], given["segment_ids"], given["positions"])
        logits_btv = np.asarray(model.logits(x_btd), np.float64)
    log_p = logits_btv - np.log(np.exp(logits_btv).sum(-1, keepdims=True))
    return -np.take_along_axis(log_p, batch["targets"][..., None], -1)[..., 0]


def test_loss_is_the_mean_over_all_response_tokens_not_of_means(full_batch):
    _, metrics = full_batch
    batch, losses_bt = rows(0), plain_losses()
    weights = batch["loss_weights"]
    expected = (losses_bt * weights).sum() / weights.sum()
    of_means = ((losses_bt * weights).sum(1) / weights.sum(1)).mean()
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
        evaluate = step.make_eval_step(MODEL, RULES, CONFIG, 1)
        sums = [
            evaluate(params, placed(part, mesh), jax.numpy.zeros(16, int))
            for part in (batch, half, rest)
        ]
    (loss, weight), (first, w1), (second, w2) = sums
    np.testing.assert_allclose(first + second, loss, rtol=1e-6)
    assert weight == w1 + w2 == batch["loss_weights"].sum()


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, {}), (8, {"fsdp": 2, "sequence": 2, "tensor": 2})]
)
def test_each_language_has_the_loss_of_its_own_rows(count, sizes):
    batch, losses_bt, mesh = rows(0), plain_losses(), mesh_of(count, **sizes)
    language_b = np.arange(16, dtype=np.int32) % 3
    spec = NamedSharding(mesh, RULES.spec("batch"))
    with jax.set_mesh(mesh):
        evaluate = step.make_eval_step(MODEL, RULES, CONFIG, 4)
        loss_g, weight_g = evaluate(
            params_on(mesh), placed(batch, mesh), jax.device_put(language_b, spec)
        )
        look = step.make_look_step(MODEL, RULES, CONFIG)
        weighted_bt, weights_bt, _ = look(params_on(mesh), placed(batch, mesh))
    weights = batch["loss_weights"]
    for language in range(4):
        here = language_b == language
        expected = (losses_bt * weights)[here].sum()
        np.testing.assert_allclose(loss_g[language], expected, rtol=1e-5)
        assert weight_g[language] == weights[here].sum()
    np.testing.assert_allclose(weighted_bt, losses_bt * weights, atol=1e-5)
    np.testing.assert_array_equal(weights_bt, weights)


@pytest.mark.parametrize(("count", "sizes"), [(1, {}), (8, {"fsdp": 4, "tensor": 2})])
def test_a_look_in_microbatches_gives_the_same_losses_in_less_memory(count, sizes):
    mesh, found, temporary = mesh_of(count, **sizes), [], []
    with jax.set_mesh(mesh):
        given = params_on(mesh), placed(rows(0), mesh)
        for microbatches in (1, 4):
            config = dataclasses.replace(CONFIG, microbatches=microbatches)
            look = step.make_look_step(MODEL, RULES, config)
            found.append(look(*given))
            memory = look.lower(*given).compile().memory_analysis()
            temporary.append(memory.temp_size_in_bytes)
    for whole, parts in zip(*found, strict=True):
        np.testing.assert_allclose(parts, whole, atol=1e-6)
    assert temporary[1] < temporary[0] / 2


def test_tokens_and_pairs_are_counted_in_real_examples_only(full_batch):
    _, metrics = full_batch
    lengths = [
        int((segments == segment).sum())
        for segments in rows(0)["segment_ids"]
        for segment in (1, 2)
    ]
    assert metrics["tokens"] == sum(lengths)
    assert metrics["pairs"] == flops.attended_pairs(MODEL, lengths)
    windowed = dataclasses.replace(MODEL, window=5, full_every=2)
    with jax.set_mesh(mesh_of(1)):
        found = step._counts(windowed, placed(rows(0), mesh_of(1)))
    assert found["pairs"] == flops.attended_pairs(windowed, lengths)


def test_a_bad_step_changes_nothing_but_the_counts():
    mesh, optimizer = mesh_of(1), optim.make_optimizer(CONFIG)
    bad = rows(1)
    bad["loss_weights"][3, 5] = np.nan
    with jax.set_mesh(mesh):
        update = step.make_train_step(MODEL, RULES, optimizer, CONFIG)

        def states(batches):
            current = state.init_state(params_on(mesh), optimizer, mesh)
            for batch in batches:
                current, metrics = update(current, placed(batch, mesh))
            return jax.device_get(current), metrics

        one, _ = states([rows(0)])
        same, metrics = states([rows(0), bad])
        two, two_metrics = states([rows(0), rows(2)])
        skipped, skipped_metrics = states([rows(0), bad, rows(2)])
    assert np.isnan(metrics["loss"])
    assert (same.step, same.health.bad_steps) == (2, 1)
    assert (skipped.step, skipped.health.bad_steps) == (3, 1)
    for found, expected in ((same, one), (skipped, two)):
        for name in ("params", "opt_state"):
            jax.tree.map(
                np.testing.assert_array_equal,
                getattr(found, name),
                getattr(expected, name),
            )
        np.testing.assert_array_equal(found.health.losses_w, expected.health.losses_w)
    for name in ("loss", "learning_rate", "grad_norm"):
        assert skipped_metrics[name] == two_metrics[name]
    assert skipped_metrics["bad_steps"] == 1


def test_the_moving_average_is_that_of_the_parameters_after_each_update():
    mesh, decay = mesh_of(1), 0.8
    config = dataclasses.replace(CONFIG, ema_decay=decay)
    bad = rows(5)
    bad["loss_weights"][0, 0] = np.inf
    after = []
    with jax.set_mesh(mesh):
        update = step.make_train_step(MODEL, RULES, DESCENT, config)
        current = state.init_state(params_on(mesh), DESCENT, mesh, ema=True)
        for batch in (rows(0), rows(1), bad, rows(2)):
            current, metrics = update(current, placed(batch, mesh))
            if batch is not bad:
                after.append(jax.device_get(current.params))
    assert metrics["bad_steps"] == 1
    weights = decay ** np.arange(len(after))[::-1]
    expected = jax.tree.map(
        lambda *leaves: np.average(leaves, axis=0, weights=weights), *after
    )
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, atol=1e-6),
        jax.device_get(current.ema),
        expected,
    )
