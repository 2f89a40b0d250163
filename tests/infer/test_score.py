"""Scores equal those of plain full forward passes, in NumPy and in transformers."""

import dataclasses

import jax
import numpy as np
import pytest
import torch

from tests.hf import tiny_models
from tests.models import numpy_llama
from tools.bench import score as bench
from xinst_jax.config import MeshConfig
from xinst_jax.errors import UserError
from xinst_jax.hf import config as hf_config
from xinst_jax.hf import folder as hf_folder
from xinst_jax.infer import packs
from xinst_jax.infer.score import (
    continuation_logprobs,
    label_logprobs,
    response_logprobs,
)
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models.decoder import abstract_params
from xinst_jax.models.presets import tiny

RULES = ShardingRules()
MODEL = tiny(vocab_size=64)
LABELS = [[5, 9, 2], [7], [5, 11]]
MESHES = {
    "one device": MeshConfig(fsdp=1),
    "fsdp x tensor": MeshConfig(fsdp=4, tensor=2),
    "all axes": MeshConfig(fsdp=2, sequence=2, tensor=2),
}


def _mesh(name):
    devices = jax.devices()[:1] if name == "one device" else None
    return make_mesh(MESHES[name], devices)


def _params(mesh):
    abstract = abstract_params(MODEL, RULES, mesh)
    drawn = numpy_llama.random_params(abstract, seed=8)
    return jax.device_put(drawn, jax.tree.map(lambda leaf: leaf.sharding, abstract))


def _texts(count, longest, seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, longest + 1, count)
    return [rng.integers(0, 64, size).tolist() for size in sizes]


def _logprobs_tv(params, ids):
    return numpy_llama.log_softmax(numpy_llama.forward(params, MODEL, ids)[1])


def _score(params, prompt, response):
    """The sum over the response of one full forward pass, and whether it is greedy.

    The last token is predicted, not read: a text may be one longer than the model.
    """
    rows_tv = _logprobs_tv(params, [*prompt, *response[:-1]])[len(prompt) - 1 :]
    chosen = [row[token] for row, token in zip(rows_tv, response, strict=True)]
    return sum(chosen), rows_tv.argmax(axis=1).tolist() == response


def _logprob(params, prompt, response):
    return _score(params, prompt, response)[0]


@pytest.mark.parametrize("name", ["fsdp x tensor"])
def test_label_scores_equal_full_forward_passes(name):
    mesh, prompts = _mesh(name), _texts(13, 16, seed=9)
    params = _params(mesh)
    found = label_logprobs(params, MODEL, RULES, mesh, prompts, LABELS, 8, (8, 16))
    expected = [[_logprob(params, p, label) for label in LABELS] for p in prompts]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["one device"])
def test_packed_responses_score_as_each_pair_alone(name):
    mesh = _mesh(name)
    prompts, responses = _texts(21, 20, seed=10), _texts(21, 30, seed=11)
    params = _params(mesh)
    found, tokens = response_logprobs(
        params, MODEL, RULES, mesh, prompts, responses, 4, 60
    )
    expected = [
        _logprob(params, prompt, response)
        for prompt, response in zip(prompts, responses, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    assert tokens.tolist() == [len(response) for response in responses]


@pytest.mark.parametrize("name", ["fsdp x tensor", "all axes"])
def test_continuations_of_a_prompt_score_as_each_alone(name):
    """Greedy ones and nearly greedy ones too, and one of all that the model holds."""
    mesh = _mesh(name)
    params = _params(mesh)
    prompts = _texts(9, 20, seed=12)
    counts = np.random.default_rng(13).integers(0, 5, len(prompts))
    continuations = [_texts(n, 12, seed=20 + i) for i, n in enumerate(counts)]
    for prompt, given in zip(prompts[:2], continuations, strict=False):
        read = list(prompt)
        for _ in range(3):
            read.append(int(_logprobs_tv(params, read)[-1].argmax()))
        *first, last = read[len(prompt) :]
        given += [[*first, last], [*first, (last + 1) % 64]]
    prompts.append([1])
    continuations.append([(_texts(40, 30, seed=15)[0] * 256)[: MODEL.max_length]])
    finished = []
    found = continuation_logprobs(
        params, MODEL, RULES, mesh, prompts, continuations, 4, 256, finished.append
    )
    assert packs.plan(prompts, continuations, 256).forks
    assert [len(one) for one in found.logprobs] == [len(one) for one in continuations]
    assert sum(finished) == sum(map(len, continuations))
    for prompt, given, logprobs, greedy in zip(
        prompts, continuations, found.logprobs, found.greedy, strict=True
    ):
        expected = [_score(params, prompt, one) for one in given]
        sums = [logprob for logprob, _ in expected]
        np.testing.assert_allclose(logprobs, sums, rtol=1e-5, atol=1e-4)
        assert greedy.tolist() == [written for _, written in expected]
    assert [greedy[-2:].tolist() for greedy in found.greedy[:2]] == [[True, False]] * 2


def test_of_equally_likely_tokens_the_lowest_is_greedy():
    """As in decoding, and in the argmax of NumPy and of transformers."""
    mesh = _mesh("one device")
    params = _params(mesh)
    table_vd = params["embedding"]["table_vd"]
    twice_vd = np.tile(np.asarray(table_vd)[:32], (2, 1))
    params["embedding"]["table_vd"] = jax.device_put(twice_vd, table_vd.sharding)
    each = [[token] for token in range(64)]
    found = continuation_logprobs(params, MODEL, RULES, mesh, [[3, 8]], [each], 1, 64)
    [logprobs], [greedy] = found
    np.testing.assert_array_equal(logprobs[:32], logprobs[32:])
    assert np.flatnonzero(greedy).tolist() == [logprobs.argmax()]


@pytest.mark.parametrize(
    "family",
    [
        *("llama3", "gemma3", "qwen3"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("gemma", "gemma2")),
    ],
)
def test_continuations_score_as_in_transformers(family, tmp_path):
    """Windows of 16 tokens and soft caps too; one continuation is the greedy one."""
    tiny = tiny_models.save(family, tmp_path / "model")
    mesh = _mesh("one device")
    read = hf_config.read(tiny.folder)
    model = dataclasses.replace(read, compute_dtype="float32")
    params = hf_folder.import_params(tiny.folder, model, RULES, mesh)
    rng = np.random.default_rng(14)
    prompts = [rng.integers(3, 500, size).tolist() for size in (40, 7, 23)]
    continuations = [
        [rng.integers(3, 500, size).tolist() for size in (19, 1, 8)] for _ in prompts
    ]
    with torch.no_grad():
        best = tiny.model(torch.tensor(prompts[:1])).logits[0, -1].argmax()
        continuations[0].append([int(best)])
        found = continuation_logprobs(
            params, model, RULES, mesh, prompts, continuations, 1, 192
        )
        for prompt, given, logprobs, greedy in zip(
            prompts, continuations, found.logprobs, found.greedy, strict=True
        ):
            for tokens, logprob, likeliest in zip(given, logprobs, greedy, strict=True):
                whole = torch.tensor([[*prompt, *tokens]])
                logits_tv = tiny.model(whole).logits[0, len(prompt) - 1 : -1]
                of_tokens = torch.log_softmax(logits_tv, -1).gather(
                    1, torch.tensor(tokens)[:, None]
                )
                assert abs(logprob - float(of_tokens.sum())) < 1e-4 * len(tokens)
                assert likeliest == (logits_tv.argmax(-1).tolist() == tokens)
    assert found.greedy[0].tolist() == [False, False, False, True]


def test_continuations_that_overfill_a_row_take_several_with_the_prompt():
    prompt, continuations = [1] * 30, [[2] * 20, [3] * 20, [4] * 20]
    plan = packs.plan([prompt], [continuations], 64)
    groups = [group for row in plan.rows for group, _ in row]
    assert [group.members for group in groups] == [(0,), (1,), (2,)]
    assert [group.columns for group in groups] == [49] * 3
    assert not plan.forks


def test_a_prompt_of_one_token_is_not_worth_a_fork():
    plan = packs.plan([[1], [5, 6]], [[[2, 3, 4], [3, 2]], [[7], [8]]], 64)
    groups = sorted((group.prompt, group.members) for group, _ in plan.rows[0])
    assert groups == [(0, (0,)), (0, (1,)), (1, (0, 1))]
    assert not plan.forks


def test_a_prompt_stands_in_its_row_once():
    """Columns, positions, branches and targets of a small call, by hand."""
    plan = packs.plan([[7, 8], [9]], [[[1, 2, 3], [4]], [[5, 6]]], 8)
    (rows,) = plan.batches(1)
    assert rows.tokens_bt.tolist() == [[7, 8, 1, 2, 9, 5, 0, 0]]
    assert rows.segment_ids_bt.tolist() == [[1, 1, 1, 1, 2, 2, 0, 0]]
    assert rows.positions_bt.tolist() == [[0, 1, 2, 3, 0, 1, 0, 0]]
    assert rows.branch_ids_bt is None
    assert rows.columns_bm[0, :6].tolist() == [1, 2, 3, 1, 4, 5]
    assert rows.targets_bm[0, :6].tolist() == [1, 2, 3, 4, 5, 6]
    assert rows.owners_bm[0].tolist() == [0, 0, 0, 1, 2, 2, -1, -1]


def test_packed_rows_are_full():
    """Under a tenth of padding on lengths like those of instruction pairs."""
    rng = np.random.default_rng(0)
    sizes = np.clip(rng.lognormal(np.log(336) - 0.18, 0.6, 2000), 16, 2040).astype(int)
    plan = packs.plan([[1] * n for n in sizes], [[[2, 3]] * 3] * len(sizes), 2048)
    assert sizes.sum() > 0.95 * len(plan.rows) * 2048


def test_the_benchmark_compares_scores_before_it_prints_a_ratio(capsys):
    bench.compare("smoke", "float32", 1)
    said = capsys.readouterr().out
    assert "times the forward pass' tokens/s" in said
    assert "times those of padded" in said and "times the prompts/s" in said


@pytest.mark.parametrize("labels", [[], [[3], []]])
def test_labels_without_tokens_are_refused(labels):
    mesh = _mesh("one device")
    with pytest.raises(UserError, match="at least one token"):
        label_logprobs(_params(mesh), MODEL, RULES, mesh, [[1]], labels, 8, (8,))


@pytest.mark.parametrize("pair", [([], [1]), ([1], []), ([1] * 40, [1] * 26)])
def test_a_pair_that_cannot_be_scored_is_refused_by_row(pair):
    mesh = _mesh("one device")
    prompts, responses = [[1], pair[0]], [[2], pair[1]]
    with pytest.raises(UserError, match="Pair 1 has"):
        response_logprobs(_params(mesh), MODEL, RULES, mesh, prompts, responses, 4, 64)
