"""Continuations score as in plain full forward passes in NumPy, and so does greed."""

import jax
import numpy as np
import pytest

from tests.models import numpy_llama
from xinst_jax.config import MeshConfig
from xinst_jax.errors import UserError
from xinst_jax.infer import continuations
from xinst_jax.infer.continuations import continuation_scores
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models.decoder import abstract_params
from xinst_jax.models.presets import tiny

RULES = ShardingRules()
MODEL = tiny(vocab_size=64)
MESHES = {
    "one device": MeshConfig(fsdp=1),
    "all axes": MeshConfig(fsdp=2, sequence=2, tensor=2),
}


def _mesh(name):
    devices = jax.devices()[:1] if name == "one device" else None
    return make_mesh(MESHES[name], devices)


def _params(mesh):
    abstract = abstract_params(MODEL, RULES, mesh)
    drawn = numpy_llama.random_params(abstract, seed=8)
    return jax.device_put(drawn, jax.tree.map(lambda leaf: leaf.sharding, abstract))


def _logprobs_tv(params, ids):
    return numpy_llama.log_softmax(numpy_llama.forward(params, MODEL, ids)[1])


def _expected(params, context, continuation):
    """The sum over the continuation of one full forward pass, and whether it is greedy.

    The last token is predicted, not read: a request may be one longer than the model.
    """
    rows_tv = _logprobs_tv(params, [*context, *continuation[:-1]])[len(context) - 1 :]
    chosen = [row[token] for row, token in zip(rows_tv, continuation, strict=True)]
    return sum(chosen), rows_tv.argmax(axis=1).tolist() == continuation


def _requests(params):
    """Contexts with one-token choices, greedy and other texts, one of full length."""
    rng = np.random.default_rng(12)

    def text(size):
        return rng.integers(0, 64, size).tolist()

    shared = text(15)
    pairs = [(shared, [token]) for token in (3, 9, 41)]
    pairs += [(shared[:9], [*shared[9:], 7]), ([1], text(MODEL.max_length))]
    pairs += [(text(size), text(4)) for size in rng.integers(1, 30, 8)]
    for size in (2, 11):
        context = text(size)
        read = list(context)
        for _ in range(3):
            read.append(int(_logprobs_tv(params, read)[-1].argmax()))
        written = read[size:]
        pairs += [
            (context, written),
            (context, [*written[:-1], (written[-1] + 1) % 64]),
        ]
    return pairs


@pytest.mark.parametrize("name", MESHES)
def test_continuations_score_as_full_forward_passes(name):
    mesh = _mesh(name)
    params = _params(mesh)
    pairs, finished = _requests(params), []
    contexts, texts = [list(part) for part in zip(*pairs, strict=True)]
    found = continuation_scores(
        params, MODEL, RULES, mesh, contexts, texts, 2, 64, finished.append
    )
    expected = [_expected(params, *pair) for pair in pairs]
    np.testing.assert_allclose(
        found.logprobs_n, [value for value, _ in expected], rtol=1e-5, atol=1e-4
    )
    assert found.greedy_n.tolist() == [value for _, value in expected]
    assert 2 <= found.greedy_n.sum() < len(pairs)
    assert sum(finished) == len(pairs)


def test_choices_of_one_token_share_what_is_read():
    contexts = [[5, 6], [5, 6], [5], [5, 6]]
    reads = continuations._reads(contexts, [[7], [8], [6, 7], [7]], 16)
    assert [read.ids for read in reads] == [(5, 6)]
    assert list(reads[0].questions) == [(1, 7), (1, 8), (0, 6)]
    assert [request for request, _ in reads[0].requests] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "pair", [([], [1]), ([1], []), ([1], [1] * (MODEL.max_length + 1))]
)
def test_a_request_that_cannot_be_scored_is_refused_by_number(pair):
    mesh = _mesh("one device")
    contexts, texts = [[1], pair[0]], [[2], pair[1]]
    with pytest.raises(UserError, match="Request 1 has"):
        continuation_scores(_params(mesh), MODEL, RULES, mesh, contexts, texts, 2, 64)
