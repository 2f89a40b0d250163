"""Generation equals step-by-step NumPy, whatever the batch, the bucket and the mesh."""

import jax
import numpy as np
import pytest

from tests.models import numpy_llama
from xinst_jax.config import DecodeConfig, MeshConfig
from xinst_jax.errors import UserError
from xinst_jax.infer.engine import Engine
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models.decoder import abstract_params
from xinst_jax.models.presets import tiny

RULES = ShardingRules()
MODEL = tiny(vocab_size=64)
LIMIT = 50
GREEDY = DecodeConfig(
    max_new_tokens=6, temperature=0, batch_rows=8, prompt_buckets=(8, 16)
)
SAMPLED = DecodeConfig(
    max_new_tokens=6, temperature=1.3, top_p=0.9, batch_rows=8, prompt_buckets=(8, 16)
)


def _one_device():
    return make_mesh(MeshConfig(fsdp=1), jax.devices()[:1])


def _params(mesh):
    abstract = abstract_params(MODEL, RULES, mesh)
    drawn = numpy_llama.random_params(abstract, seed=5)
    return jax.device_put(drawn, jax.tree.map(lambda leaf: leaf.sharding, abstract))


def _engine(decode, stop_ids=(), mesh=None):
    mesh = mesh or _one_device()
    return Engine(_params(mesh), MODEL, RULES, mesh, decode, stop_ids, LIMIT)


def _prompts(count=11):
    rng = np.random.default_rng(6)
    sizes = rng.integers(1, 17, count)
    return [rng.integers(0, LIMIT, size).tolist() for size in sizes]


def _ids(count=11):
    return [f"doc-{number}" for number in range(count)]


def _step_logprobs(params, tokens):
    """What the model itself gives the tokenizer's ids after `tokens`."""
    logits_tv = numpy_llama.forward(params, MODEL, tokens)[1]
    return numpy_llama.log_softmax(logits_tv[-1])[:LIMIT]


@pytest.fixture(scope="module")
def greedy_generations():
    return _engine(GREEDY).generate(_prompts(), _ids(), seed=0)


@pytest.fixture(scope="module")
def sampled_generations():
    return _engine(SAMPLED).generate(_prompts(), _ids(), seed=0)


def test_greedy_tokens_are_the_argmax_of_full_forward_passes(greedy_generations):
    params = _params(_one_device())
    for prompt, generation in zip(_prompts(), greedy_generations, strict=True):
        tokens, logprob = list(prompt), 0.0
        for _ in range(6):
            logprobs_v = _step_logprobs(params, tokens)
            tokens.append(int(logprobs_v.argmax()))
            logprob += logprobs_v.max()
        assert generation.tokens == tokens[len(prompt) :]
        assert generation.finish == "length"
        assert generation.logprob == pytest.approx(logprob, abs=1e-3)


def test_a_sampled_rows_logprob_is_the_untempered_models(sampled_generations):
    params = _params(_one_device())
    for prompt, generation in zip(_prompts(), sampled_generations, strict=True):
        tokens, logprob = list(prompt), 0.0
        for token in generation.tokens:
            logprob += _step_logprobs(params, tokens)[token]
            tokens.append(token)
        assert generation.logprob == pytest.approx(logprob, abs=1e-3)


def test_a_stop_token_ends_its_row_and_counts_in_its_logprob(greedy_generations):
    stops = (greedy_generations[0].tokens[3], greedy_generations[4].tokens[0])
    stopped = _engine(GREEDY, stops).generate(_prompts(), _ids(), seed=0)
    params = _params(_one_device())
    assert {generation.finish for generation in stopped} == {"stop", "length"}
    for prompt, free, generation in zip(
        _prompts(), greedy_generations, stopped, strict=True
    ):
        ends = [place for place, token in enumerate(free.tokens) if token in stops]
        kept = free.tokens[: ends[0]] if ends else free.tokens
        assert generation.tokens == kept
        assert generation.finish == ("stop" if ends else "length")
        tokens, logprob = list(prompt), 0.0
        for token in free.tokens[: ends[0] + 1] if ends else free.tokens:
            logprob += _step_logprobs(params, tokens)[token]
            tokens.append(token)
        assert generation.logprob == pytest.approx(logprob, abs=1e-3)


def test_a_sampled_row_is_the_same_in_any_batch_and_order(sampled_generations):
    prompts, ids, engine = _prompts(), _ids(), _engine(SAMPLED)
    order = np.random.default_rng(7).permutation(len(prompts))
    turned = engine.generate(
        [prompts[row] for row in order], [ids[row] for row in order], seed=0
    )
    assert turned == [sampled_generations[row] for row in order]
    alone = [engine.generate([prompts[row]], [ids[row]], seed=0)[0] for row in (2, 9)]
    assert alone == [sampled_generations[row] for row in (2, 9)]


def test_seed_and_row_id_change_a_sampled_row(sampled_generations):
    engine, prompts = _engine(SAMPLED), _prompts()
    assert engine.generate(prompts, _ids(), seed=1) != sampled_generations
    same = engine.generate([prompts[0]] * 8, _ids(8), seed=0)
    assert len({tuple(generation.tokens) for generation in same}) > 4
    assert max(max(generation.tokens) for generation in same) < LIMIT


def test_eight_devices_give_the_tokens_of_one(sampled_generations):
    mesh = make_mesh(MeshConfig(fsdp=4, tensor=2))
    found = _engine(SAMPLED, mesh=mesh).generate(_prompts(), _ids(), seed=0)
    for generation, expected in zip(found, sampled_generations, strict=True):
        assert generation.tokens == expected.tokens
        assert generation.logprob == pytest.approx(expected.logprob, abs=1e-4)


def test_a_bucket_is_compiled_once_and_decoding_once_for_all():
    decode = DecodeConfig(
        max_new_tokens=2, temperature=0, batch_rows=2, prompt_buckets=(4, 12, 20)
    )
    engine = _engine(decode)
    engine.generate([[1, 2], [3], [4, 5, 6], [1] * 7], ["a", "b", "c", "d"], seed=0)
    assert engine.usage.programs == {"prefill": 2, "insert": 2, "decode": 1}
    engine.generate([[1, 2, 3, 4], [2] * 8], ["e", "f"], seed=9)
    assert engine.usage.programs == {"prefill": 2, "insert": 2, "decode": 1}
    assert "5 programs compiled" in str(engine.usage)


def test_buckets_leave_room_for_the_new_tokens():
    decode = DecodeConfig(max_new_tokens=56, prompt_buckets=(100, 200, 300, 400))
    assert _engine(decode).buckets == (100, 200)
    assert _engine(decode).longest_prompt == 200


def test_no_prompts_give_no_generations():
    assert _engine(GREEDY).generate([], [], seed=0) == []


@pytest.mark.parametrize(
    ("decode", "limit", "message"),
    [
        (DecodeConfig(max_new_tokens=256), LIMIT, "no room for a prompt"),
        (GREEDY, 65, "tokenizer does not match"),
        (DecodeConfig(max_new_tokens=2, batch_rows=6), LIMIT, "'batch'.*8 devices"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_at_once(decode, limit, message):
    mesh = make_mesh(MeshConfig(fsdp=8))
    with pytest.raises(UserError, match=message):
        Engine(_params(mesh), MODEL, RULES, mesh, decode, (), limit)


@pytest.mark.parametrize("buckets", [(), (0,), (-8, 16), (16, 8), (8, 8)])
def test_buckets_are_positive_and_ascend(buckets):
    with pytest.raises(UserError, match=r"DecodeConfig\.prompt_buckets must be"):
        DecodeConfig(prompt_buckets=buckets)


@pytest.mark.parametrize("decode", [GREEDY, SAMPLED])
def test_a_model_whose_scores_are_no_numbers_writes_nothing(decode):
    mesh = _one_device()
    params = _params(mesh)
    params["final_norm"] = jax.tree.map(lambda a: a * np.nan, params["final_norm"])
    engine = Engine(params, MODEL, RULES, mesh, decode, (), LIMIT)
    with pytest.raises(UserError, match=r"row 'doc-0'.*its weights are damaged"):
        engine.generate([[1, 2], [3]], ["doc-0", "doc-1"], seed=0)
