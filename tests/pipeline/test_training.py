"""A training stage that tunes the base model, whole or by adapters."""

import dataclasses
import types

import jax
import numpy as np
import pytest

from xinst_jax.config import (
    DecodeConfig,
    LoraConfig,
    MeshConfig,
    RateConfig,
    RunConfig,
    TokenizerConfig,
    TrainConfig,
)
from xinst_jax.data import loader
from xinst_jax.errors import UserError
from xinst_jax.hf import mapping
from xinst_jax.manifest import StageDirectory
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import decoder, presets
from xinst_jax.pipeline import stages, training
from xinst_jax.train import checkpoint

TRAIN = TrainConfig(
    length=16,
    global_batch=8,
    steps=3,
    learning_rate=1e-2,
    warmup_steps=1,
    lora=LoraConfig(rank=2, targets=("query", "down")),
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A run of which the base model is there and `model` has been trained on it."""
    workdir = tmp_path_factory.mktemp("run")
    mesh, rules = make_mesh(MeshConfig(fsdp=4, tensor=2)), ShardingRules()
    model = presets.tiny(
        vocab_size=64, num_layers=1, compute_dtype="bfloat16", max_length=2048
    )
    run = RunConfig(name="x", languages=("fi",), model=model, sft=TRAIN)
    workspace = types.SimpleNamespace(
        run=run,
        model=model,
        mesh=mesh,
        rules=rules,
        vocabulary=types.SimpleNamespace(bos_id=1, eos_id=2),
        path=lambda stage: workdir / stage,
        seed=lambda stage: len(stage),
    )
    params = decoder.init_params(model, rules, mesh, jax.random.key(0))
    checkpoint.save_params(workdir / "base" / "checkpoints", params)
    stage = StageDirectory(workdir / "model", "model", {}, {})
    made = training.run(workspace, stage, run.sft, examples)
    return workspace, made, jax.device_get(params)


def examples(split):
    rng = np.random.default_rng(len(split))
    for start in rng.integers(3, 30, 20):
        yield [int(start)], [int(start) + step for step in range(1, 7)]


def test_a_stage_of_adapters_leaves_base_plus_adapters(workspace):
    workspace, made, base = workspace
    found = mapping.leaves(training.trained_params(workspace, "model"))
    adapters = mapping.leaves(training.trained_adapters(workspace, "model"))
    assert sorted(path.rpartition("/")[2] for path in adapters) == [
        "down_a_lfr",
        "down_b_lrd",
        "query_a_ldr",
        "query_b_lrnh",
    ]
    changes = {
        "layers/attention/query_ldnh": np.einsum(
            "ldr,lrnh->ldnh",
            adapters["layers/attention/query_a_ldr"],
            adapters["layers/attention/query_b_lrnh"],
        ),
        "layers/mlp/down_lfd": np.einsum(
            "lfr,lrd->lfd",
            adapters["layers/mlp/down_a_lfr"],
            adapters["layers/mlp/down_b_lrd"],
        ),
    }
    for path, leaf in mapping.leaves(base).items():
        if path in changes:
            change = TRAIN.lora.scale * changes[path]
            assert np.abs(change).max() > 1e-4
            np.testing.assert_allclose(found[path], leaf + change, atol=1e-6)
        else:
            np.testing.assert_array_equal(found[path], leaf)
        assert found[path].dtype == np.float32
    assert made.digest == checkpoint.params_digest(
        training.trained_adapters(workspace, "model")
    )


def test_the_base_model_stays_as_it_was(workspace):
    workspace, _, base = workspace
    found = training.trained_params(workspace, "base")
    assert checkpoint.params_digest(found) == checkpoint.params_digest(
        jax.device_put(base)
    )


def test_weights_under_adapters_lie_in_the_dtype_they_are_multiplied_in(workspace):
    workspace, _, base = workspace
    _, frozen = training._on_base(workspace, "model", TRAIN.lora)
    for path, leaf in mapping.leaves(frozen()).items():
        wanted = np.float32 if "scale" in path else jax.numpy.bfloat16
        assert leaf.dtype == wanted
        np.testing.assert_array_equal(leaf, mapping.leaves(base)[path].astype(wanted))


@pytest.mark.parametrize("microbatches", [1, 2])
def test_as_many_held_out_rows_are_evaluated_at_once_as_a_step_works_on(
    microbatches, workspace
):
    workspace, *_ = workspace
    rows = loader.Rows(workspace.path("model") / "data" / training.HELD_OUT)
    config = dataclasses.replace(TRAIN, microbatches=microbatches)
    found = [
        batch for batch, _ in training._held_out(workspace, rows, config).batches()
    ]
    assert {len(batch["tokens"]) for batch in found} == {8 // microbatches}
    segment_ids = [np.asarray(batch["segment_ids"]) for batch in found]
    assert (np.concatenate(segment_ids)[:, 0] > 0).sum() == len(rows)


def test_a_followers_rows_are_looked_at_where_there_is_one():
    model = presets.tiny(max_length=64)
    short = TrainConfig(length=64)
    given = dict.fromkeys(("base", "generator", "rater", "sft"), short)
    decode = DecodeConfig(max_new_tokens=8)
    given |= {"generate": decode, "answer": decode}
    RunConfig("x", ("fi",), model=model, rate=RateConfig(pmi_model="base"), **given)
    with pytest.raises(UserError, match=r"follower/TrainConfig\.length = 2048"):
        RunConfig("x", ("fi",), model=model, **given)


def test_each_stage_has_the_adapters_of_its_own_training():
    tuned = {
        name: dataclasses.replace(TRAIN, lora=LoraConfig(rank=rank))
        for name, rank in (
            *(("base", 9), ("generator", 0), ("rater", 2)),
            *(("follower", 4), ("sft", 3)),
        )
    }
    run = RunConfig(name="x", languages=("fi",), base_model="folder", **tuned)
    ranks = [
        config and config.rank
        for config in (
            training.adapters_of(run, stage)
            for stage in (
                *("base", "generator/round-1", "rater/round-2"),
                *("follower/round-1", "model"),
            )
        )
    ]
    assert ranks == [None, None, 2, 4, 3]


@pytest.mark.parametrize(
    "given",
    [{"base_model": "folder"}, {"tokenizer": TokenizerConfig(path="tokenizer.model")}],
)
def test_a_given_tokenizer_depends_on_no_text(given):
    def inputs(**given):
        run = RunConfig(name="x", languages=("fi",), **given)
        graph = stages.graph(run)
        return next(stage.inputs for stage in graph if stage.name == "tokenizer")

    assert inputs() == ("corpus", "seed")
    assert inputs(**given) == ()


@pytest.mark.parametrize("pmi_model", ["follower", "none"])
def test_what_reads_adapters_reads_the_base_model_too(pmi_model):
    def inputs(**tuned):
        run = RunConfig(
            name="x",
            languages=("fi",),
            rounds=2,
            base_model="folder",
            rate=RateConfig(pmi_model=pmi_model),
            **tuned,
        )
        return {stage.name: stage.inputs for stage in stages.graph(run)}

    whole, adapted = inputs(), inputs(generator=TRAIN, rater=TRAIN, sft=TRAIN)
    readers = {name for name in whole if whole[name] != adapted[name]}
    assert readers == {
        *("candidates/round-1", "candidates/round-2"),
        *("ratings/round-1", "ratings/round-2", "hf_model"),
    }
    for name in readers:
        assert sorted(adapted[name]) == sorted((*whole[name], "base"))
    by_followers = inputs(follower=TRAIN)["ratings/round-1"]
    assert ("base" in by_followers) == (pmi_model == "follower")


@pytest.mark.parametrize(
    ("pmi_model", "models"),
    [
        ("follower", ["follower/round-2", "rater/round-2"]),
        ("base", ["base", "rater/round-2"]),
        ("none", ["rater/round-2"]),
    ],
)
def test_a_round_is_rated_by_the_models_that_the_run_names(pmi_model, models):
    run = RunConfig(
        name="x", languages=("fi",), rounds=2, rate=RateConfig(pmi_model=pmi_model)
    )
    graph = {stage.name: stage for stage in stages.graph(run)}
    read = graph["ratings/round-2"].inputs
    kinds = ("base", "rater", "follower")
    assert sorted(name for name in read if name.split("/")[0] in kinds) == models
    assert ("follower/round-2" in graph) == (pmi_model == "follower")
    assert set(read) <= set(graph)
    trained = [name for name in graph if graph[name].verb == "train --task follow"]
    for name in trained:
        assert graph[name].inputs[:3] == ("seed", "tokenizer", "base")
    kept_by = ("candidates/round-1", "ratings/round-1")
    assert not trained or graph[trained[1]].inputs[3:] == kept_by
