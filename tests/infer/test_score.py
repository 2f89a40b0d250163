"""Scores equal log-probabilities of plain full forward passes in NumPy."""

import jax
import numpy as np
import pytest

from tests.models import numpy_llama
from xinst_jax.config import MeshConfig
from xinst_jax.errors import UserError
from xinst_jax.infer.score import label_logprobs, response_logprobs
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models.decoder import abstract_params
from xinst_jax.models.presets import tiny

RULES = ShardingRules()
MODEL = tiny(vocab_size=64)
LABELS = [[5, 9, 2], [7], [5, 11]]
MESHES = {
    "one device": MeshConfig(fsdp=1),
    "fsdp x tensor": MeshConfig(fsdp=4, tensor=2),
    "sequence": MeshConfig(fsdp=4, sequence=2),
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


def _logprob(params, prompt, response):
    """The sum over the response of one full forward pass."""
    logits_tv = numpy_llama.forward(params, MODEL, [*prompt, *response])[1]
    logprobs_tv = numpy_llama.log_softmax(logits_tv)[len(prompt) - 1 : -1]
    return sum(row[token] for row, token in zip(logprobs_tv, response, strict=True))


@pytest.mark.parametrize("name", ["one device", "fsdp x tensor"])
def test_label_scores_equal_full_forward_passes(name):
    mesh, prompts = _mesh(name), _texts(13, 16, seed=9)
    params = _params(mesh)
    found = label_logprobs(params, MODEL, RULES, mesh, prompts, LABELS, 8, (8, 16))
    expected = [[_logprob(params, p, label) for label in LABELS] for p in prompts]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("name", MESHES)
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


@pytest.mark.parametrize("labels", [[], [[3], []]])
def test_labels_without_tokens_are_refused(labels):
    mesh = _mesh("one device")
    with pytest.raises(UserError, match="at least one token"):
        label_logprobs(_params(mesh), MODEL, RULES, mesh, [[1]], labels, 8, (8,))


@pytest.mark.parametrize("pair", [([], [1]), ([1], []), ([1] * 40, [1] * 40)])
def test_a_pair_that_cannot_be_scored_is_refused_by_row(pair):
    mesh = _mesh("one device")
    prompts, responses = [[1], pair[0]], [[2], pair[1]]
    with pytest.raises(UserError, match="Pair 1 has"):
        response_logprobs(_params(mesh), MODEL, RULES, mesh, prompts, responses, 4, 64)
