"""Adapters, held against merged weights and against training without a stop or mesh."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding

from xinst_jax import run_file
from xinst_jax.config import (
    ExportConfig,
    LoraConfig,
    MeshConfig,
    RunConfig,
    TrainConfig,
)
from xinst_jax.errors import UserError
from xinst_jax.hf import mapping
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import decoder, presets
from xinst_jax.train import checkpoint, evaluation, loop, lora, optim, state, step

RULES = ShardingRules()
MODEL = presets.tiny(vocab_size=64)
LORA = LoraConfig(rank=3, alpha=6.0)
CONFIG = TrainConfig(
    length=20,
    global_batch=8,
    steps=6,
    learning_rate=1e-2,
    warmup_steps=1,
    microbatches=2,
    eval_every=4,
    checkpoint_every=2,
    log_every=1,
    lora=LORA,
)


def mesh_of(count, **sizes):
    return make_mesh(MeshConfig(**sizes), jax.devices()[:count])


def eight():
    return mesh_of(8, fsdp=4, tensor=2)


def batch_on(mesh, number):
    """Rows that count upwards, with responses of very different lengths."""
    rng = np.random.default_rng(number)
    shape = (CONFIG.global_batch, CONFIG.length)
    start, by = rng.integers(0, 64, (shape[0], 1)), rng.integers(1, 4, (shape[0], 1))
    tokens = (start + by * np.arange(shape[1] + 1)) % 64
    answered = rng.random(shape) < np.linspace(0.1, 0.9, shape[0])[:, None]
    rows = {
        "tokens": tokens[:, :-1].astype(np.int32),
        "targets": tokens[:, 1:].astype(np.int32),
        "segment_ids": np.ones(shape, np.int32),
        "positions": np.broadcast_to(np.arange(shape[1]), shape).astype(np.int32),
        "loss_weights": answered.astype(np.float32),
    }
    return jax.device_put(rows, NamedSharding(mesh, RULES.spec("batch", "length")))


@functools.cache
def base_numbers(model=MODEL):
    return jax.device_get(
        decoder.init_params(model, RULES, mesh_of(1), jax.random.key(0))
    )


def base_on(mesh, model=MODEL):
    """Weights as they lie under adapters."""
    abstract = decoder.abstract_compute_params(model, RULES, mesh)
    return jax.tree.map(
        lambda leaf, to: jax.device_put(leaf.astype(to.dtype), to.sharding),
        base_numbers(model),
        abstract,
    )


def adapters_on(mesh, config=LORA):
    return lora.init_adapters(MODEL, RULES, mesh, config, jax.random.key(1))


def random_adapters_on(mesh, model=MODEL):
    """Adapters of which B is not zero either."""
    rng = np.random.default_rng(2)
    return jax.tree.map(
        lambda leaf: jax.device_put(
            rng.normal(0, 0.2, leaf.shape).astype(leaf.dtype), leaf.sharding
        ),
        lora.abstract_adapters(model, RULES, mesh, LORA),
    )


def test_adapters_are_the_same_on_every_mesh_and_b_starts_at_zero():
    one, many = (mapping.leaves(adapters_on(mesh)) for mesh in (mesh_of(1), eight()))
    assert one.keys() == many.keys()
    assert len(one) == 2 * len(LORA.targets)
    for path, leaf in many.items():
        np.testing.assert_array_equal(leaf, one[path])
        if "_a_" in path:
            inputs = np.prod(leaf.shape[1:-1])
            assert leaf.size * np.var(leaf) > 0
            np.testing.assert_allclose(np.std(leaf), (3 * inputs) ** -0.5, rtol=0.25)
        else:
            assert not np.any(leaf)
    shapes = {path.rpartition("/")[2]: leaf.shape for path, leaf in one.items()}
    assert shapes["query_a_ldr"] == (2, 32, 3)
    assert shapes["query_b_lrnh"] == (2, 3, 8, 8)
    assert shapes["out_a_lnhr"] == (2, 8, 8, 3)
    assert shapes["down_b_lrd"] == (2, 3, 32)
    spec = many["layers/mlp/gate_b_lrf"].sharding.spec
    assert tuple(spec) == (None, None, "tensor")


def test_only_the_projections_named_have_adapters():
    config = dataclasses.replace(LORA, targets=("value", "down"))
    assert mapping.leaves(adapters_on(mesh_of(1), config)).keys() == {
        "layers/attention/value_a_ldr",
        "layers/attention/value_b_lrkh",
        "layers/mlp/down_a_lfr",
        "layers/mlp/down_b_lrd",
    }


@pytest.mark.parametrize("compute_dtype", ["float32", "bfloat16"])
def test_adapters_that_change_nothing_give_the_base_loss_exactly(compute_dtype):
    model, mesh = dataclasses.replace(MODEL, compute_dtype=compute_dtype), eight()
    frozen, batch = base_on(mesh, model), batch_on(mesh, 0)
    assert str(frozen["layers"]["mlp"]["up_ldf"].dtype) == compute_dtype
    assert frozen["final_norm"]["scale_d"].dtype == np.float32
    plain = decoder.abstract_params(model, RULES, mesh)
    full = jax.tree.map(
        lambda leaf, to: jax.device_put(leaf, to.sharding), base_numbers(model), plain
    )
    with jax.set_mesh(mesh):
        evaluate = step.make_eval_step(model, RULES, CONFIG, 1)
        language_b = jnp.zeros(batch["tokens"].shape[0], int)
        expected = evaluate(full, batch, language_b)
        found = evaluate(adapters_on(mesh), batch, language_b, frozen)
    assert [value.item() for value in found] == [value.item() for value in expected]


def test_gradients_are_those_of_the_merged_weights_by_the_chain_rule():
    """dA = s dW B^T and dB = s A^T dW, dW being the merged weight's own gradient."""
    mesh = mesh_of(1)
    batch, adapters = batch_on(mesh, 0), random_adapters_on(mesh)
    with jax.set_mesh(mesh):
        loss = step._loss_sum(MODEL, RULES, CONFIG, None)
        low_rank = jax.jit(jax.grad(lambda p, f: loss(p, f, batch)[0]))
        compiled = low_rank.lower(adapters, base_on(mesh)).compile()
        found = mapping.leaves(compiled(adapters, base_on(mesh)))
        merged = lora.merge(MODEL, RULES, mesh, LORA, base_on(mesh), adapters)
        dense = jax.grad(lambda p: loss(p, None, batch)[0])(merged)
        targets = lora.targets(MODEL, RULES, LORA)
    numbers, gradients = mapping.leaves(adapters), mapping.leaves(dense)
    for target in targets:
        place = "/".join(target.module)
        a, b = (
            np.asarray(numbers[f"{place}/{matrix.name}"], np.float64)
            for matrix in (target.a, target.b)
        )
        a_lir = a.reshape(a.shape[0], -1, LORA.rank)
        b_lro = b.reshape(b.shape[0], LORA.rank, -1)
        dw = np.asarray(gradients[f"{place}/{target.weight}"], np.float64)
        dw_lio = dw.reshape(dw.shape[0], a_lir.shape[1], b_lro.shape[2])
        expected_a = LORA.scale * dw_lio @ b_lro.transpose(0, 2, 1)
        expected_b = LORA.scale * a_lir.transpose(0, 2, 1) @ dw_lio
        for matrix, expected in ((target.a, expected_a), (target.b, expected_b)):
            scale = np.abs(expected).max()
            assert scale > 1e-3
            np.testing.assert_allclose(
                np.asarray(found[f"{place}/{matrix.name}"]).reshape(expected.shape),
                expected,
                atol=2e-5 * scale,
            )
    products = set(re.findall(r"= f32\[([\d,]+)\]\S* dot\(", compiled.as_text()))
    assert products
    assert not products & {"32,48", "48,32", "32,64", "64,32", "32,16", "16,32"}


@pytest.mark.parametrize("family", sorted(mapping.FAMILIES))
def test_merged_logits_equal_base_plus_adapter(family):
    mesh = eight()
    model = presets.tiny_of(family, vocab_size=64)
    batch, adapters = batch_on(mesh, 3), random_adapters_on(mesh, model)
    base, to_merge = base_on(mesh, model), base_on(mesh, model)

    @jax.jit
    def logits(decoder, batch):
        x_btd = decoder(batch["tokens"], batch["segment_ids"], batch["positions"])
        return decoder.logits(x_btd)

    with jax.set_mesh(mesh):
        beside = logits(lora.bind(model, RULES, LORA, base, adapters), batch)
        merged = lora.merge(model, RULES, mesh, LORA, to_merge, adapters)
        found = logits(decoder.bind(model, RULES, merged), batch)
        plain = logits(decoder.bind(model, RULES, base), batch)
    assert np.abs(np.asarray(plain) - np.asarray(beside)).max() > 0.1
    np.testing.assert_allclose(found, beside, atol=1e-5, rtol=0)
    assert jax.tree.map(lambda leaf: leaf.sharding, merged) == jax.tree.map(
        lambda leaf: leaf.sharding, decoder.abstract_params(model, RULES, mesh)
    )


def losses(mesh, microbatches):
    config = dataclasses.replace(CONFIG, microbatches=microbatches)
    optimizer = optim.make_optimizer(config)
    frozen = base_on(mesh)
    before = checkpoint.params_digest(frozen)
    start = jax.device_get(adapters_on(mesh))
    current = state.init_state(adapters_on(mesh), optimizer, mesh)
    found = []
    with jax.set_mesh(mesh):
        update = step.make_train_step(MODEL, RULES, optimizer, config)
        for _ in range(4):
            current, metrics = update(current, batch_on(mesh, 0), frozen)
            found.append([float(metrics["loss"]), float(metrics["grad_norm"])])
    assert update._cache_size() == 1
    assert checkpoint.params_digest(frozen) == before
    for one, other in zip(
        jax.tree.leaves(start), jax.tree.leaves(current.params), strict=True
    ):
        assert np.abs(one - np.asarray(other)).max() > 0
    return np.array(found), current


def test_sharded_and_accumulated_equals_unsharded():
    expected, _ = losses(mesh_of(1), 1)
    found, current = losses(eight(), 2)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found[-1, 0] < found[0, 0]
    adapters = mapping.leaves(current.params)
    moments = {
        path.partition(f"{kind}/")[2]: leaf
        for path, leaf in mapping.leaves(current.opt_state).items()
        for kind in ("mu", "nu")
        if f"{kind}/" in path
    }
    assert moments.keys() == adapters.keys()
    for path, leaf in moments.items():
        assert leaf.sharding == adapters[path].sharding
    sizes = sum(leaf.size for leaf in jax.tree.leaves(current.opt_state))
    assert sizes <= 2 * sum(leaf.size for leaf in adapters.values()) + 2


class Killed(BaseException):
    """Stands for a process that ends without a chance to tidy up."""


def train(directory, killed_at=None):
    mesh = eight()

    def batch(number):
        if number == killed_at:
            raise Killed
        return batch_on(mesh, number)

    def held_out():
        rows = NamedSharding(mesh, RULES.spec("batch"))
        held = batch_on(mesh, 1000)
        language_b = np.zeros(held["tokens"].shape[0], np.int32)
        return [(held, jax.device_put(language_b, rows))]

    return loop.train(
        model=MODEL,
        rules=RULES,
        mesh=mesh,
        config=CONFIG,
        initial_params=lambda: adapters_on(mesh),
        train_batch=batch,
        held_out=evaluation.HeldOut(held_out),
        directory=directory,
        label="test",
        frozen_params=lambda: base_on(mesh),
    )


def test_resume_equals_uninterrupted_and_checkpoints_hold_adapters_alone(tmp_path):
    whole = train(tmp_path / "whole")
    assert whole.compiles <= 1
    with pytest.raises(Killed):
        train(tmp_path / "killed", killed_at=5)
    resumed = train(tmp_path / "killed")
    assert resumed.compiles == 0
    assert checkpoint.params_digest(resumed.params) == checkpoint.params_digest(
        whole.params
    )
    kept = ("step", "loss", "eval_loss", "grad_norm")
    one, other = (
        [{name: line[name] for name in kept if name in line} for line in run.history]
        for run in (whole, resumed)
    )
    assert one == other
    saved = tmp_path / "whole" / "checkpoints"
    with pytest.raises(UserError, match=r"table_vd has nothing, expected"):
        checkpoint.restore_params(saved, decoder.abstract_params(MODEL, RULES, eight()))
    abstract = lora.abstract_adapters(MODEL, RULES, eight(), LORA)
    adapters = checkpoint.restore_params(saved, abstract)
    assert checkpoint.params_digest(adapters) == checkpoint.params_digest(whole.params)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"rank": -1}, "rank"),
        ({"alpha": 0.0}, "alpha"),
        ({"targets": ("query", "head")}, "query, key, value"),
        ({"targets": ()}, "targets"),
        ({"targets": ("up", "up")}, "different"),
    ],
)
def test_adapters_that_cannot_be_are_refused(fields, told):
    with pytest.raises(UserError, match=told):
        LoraConfig(**fields)


def test_a_run_says_what_adapters_need():
    adapted = TrainConfig(lora=LORA)
    given = {"name": "x", "languages": ("fi",)}
    with pytest.raises(UserError, match=r"base/LoraConfig\.rank = 0"):
        RunConfig(**given, base=adapted)
    with pytest.raises(UserError, match=r"needs RunConfig\.base_model"):
        RunConfig(**given, base_adapter="adapter")
    alone = ExportConfig(weights="adapter")
    for run in (
        {"sft": adapted},
        {"base_model": "folder"},
        {"sft": adapted, "base_model": "folder", "base_adapter": "adapter"},
    ):
        with pytest.raises(UserError, match="'merged'"):
            RunConfig(**given, **run, export=alone)
    RunConfig(**given, sft=adapted, base_model="folder", export=alone)


def test_each_training_has_its_own_adapters(tmp_path):
    path = tmp_path / "run.gin"
    path.write_text("RunConfig.name = 'x'\nRunConfig.languages = ('fi',)\n")
    run = run_file.load(
        str(path),
        [
            "LoraConfig.rank=4",
            "base/LoraConfig.rank=0",
            "sft/LoraConfig.rank=8",
            "rater/LoraConfig.targets=('query', 'value')",
        ],
    )
    ranks = [getattr(run, name).lora.rank for name in ("base", "generator", "sft")]
    assert ranks == [0, 4, 8]
    assert run.rater.lora.targets == ("query", "value")
    assert run.sft.lora.targets == LORA.targets
