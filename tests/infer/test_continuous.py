"""Rows that take turns in few slots become what each would be alone."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models import numpy_llama
from xinst_jax.config import DecodeConfig, MeshConfig
from xinst_jax.errors import UserError
from xinst_jax.infer import cache as cache_lib
from xinst_jax.infer import cache_attention, cache_mosaic, refill
from xinst_jax.infer import decode as decode_lib
from xinst_jax.infer.engine import Engine
from xinst_jax.infer.slots import Sizes, empty_slots
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models.decoder import abstract_params
from xinst_jax.models.presets import tiny, tiny_of

RULES = ShardingRules()
MODEL = tiny(vocab_size=64)
LIMIT = 50
SAMPLED = DecodeConfig(
    max_new_tokens=8,
    temperature=1.3,
    top_p=0.95,
    batch_rows=4,
    prompt_buckets=(64, 192),
)


def _text_of(tokens):
    return "".join(chr(ord("A") + token) for token in tokens)


def _engine(decode, mesh=None, model=MODEL):
    mesh = mesh or make_mesh(MeshConfig(fsdp=1), jax.devices()[:1])
    abstract = abstract_params(model, RULES, mesh)
    drawn = numpy_llama.random_params(abstract, seed=5)
    params = jax.device_put(drawn, jax.tree.map(lambda leaf: leaf.sharding, abstract))
    return Engine(params, model, RULES, mesh, decode, (), LIMIT, _text_of)


@pytest.fixture(scope="module")
def engine():
    return _engine(SAMPLED)


@pytest.fixture(scope="module")
def prompts():
    rng = np.random.default_rng(11)
    sizes = [192, 1, 2, *rng.integers(3, 150, 12)]
    return [rng.integers(0, LIMIT, size).tolist() for size in sizes]


@pytest.fixture(scope="module")
def ids(prompts):
    return [f"doc-{number}" for number in range(len(prompts))]


@pytest.fixture(scope="module")
def free(engine, prompts, ids):
    return engine.generate(prompts, ids, seed=0)


def test_a_row_is_the_same_alone_in_any_order_and_without_packing(
    engine, prompts, ids, free
):
    turned = engine.generate(prompts[::-1], ids[::-1], seed=0)
    assert turned == free[::-1]
    for row in (0, 1, 7):
        assert engine.generate([prompts[row]], [ids[row]], seed=0) == [free[row]]
    unpacked = _engine(dataclasses.replace(SAMPLED, pack_prompts=False))
    alone = unpacked.generate(prompts, ids, seed=0)
    for one, other in zip(alone, free, strict=True):
        assert one.tokens == other.tokens
        assert one.logprob == pytest.approx(other.logprob, abs=1e-5)


def test_prompts_read_in_wider_rows_are_continued_the_same(
    engine, prompts, ids, free, monkeypatch
):
    widths, read = set(), decode_lib.read_prompts

    def seen(params, blocks, tokens_bt, *rows, **of):
        widths.add(tokens_bt.shape[1])
        return read(params, blocks, tokens_bt, *rows, **of)

    wide = _engine(dataclasses.replace(SAMPLED, prefill_columns=512))
    monkeypatch.setattr(decode_lib, "read_prompts", seen)
    monkeypatch.setattr(seen, "_cache_size", read._cache_size, raising=False)
    assert wide.generate(prompts, ids, seed=0) == free
    assert max(widths) == 512
    assert wide.longest_prompt == engine.longest_prompt
    assert wide.cache_bytes == engine.cache_bytes


@pytest.mark.parametrize(("devices", "slots"), [(1, 2), (1, 4), (2, 4)])
def test_slots_are_refilled_on_the_devices_from_a_queue(
    devices, slots, engine, prompts, ids
):
    decode = dataclasses.replace(SAMPLED, batch_rows=slots, prefill_columns=1024)
    limits = [1 + 3 * row % 8 for row in range(len(prompts))]
    expected = engine.generate(prompts, ids, seed=0, max_new_tokens=limits)
    mesh = make_mesh(MeshConfig(fsdp=devices), jax.devices()[:devices])
    queued = _engine(decode, mesh)
    made = queued.generate(prompts, ids, seed=0, max_new_tokens=limits)
    for one, other in zip(made, expected, strict=True):
        assert one.tokens == other.tokens
        assert one.logprob == pytest.approx(other.logprob, abs=1e-5)
    # As many rows as there are slots wait in a queue. The host alone would have to look
    # whenever one of them ends.
    usage = queued.usage
    assert usage.looks <= len(prompts) / 2
    assert usage.live_slot_steps == sum(limits)
    assert usage.programs["decode"] == 1
    assert usage.read_columns == 2 * 1024, "nothing is read that holds no prompt"


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("llama", {"no_repeat_ngram": 2}),
        # Prompts longer than their window, which begin in the middle of a row.
        ("mistral", {}),
        ("gemma2", {"cache_dtype": "bfloat16"}),
    ],
)
def test_what_waits_in_a_queue_is_what_the_host_puts_into_slots(
    family, settings, prompts, ids
):
    of = functools.partial(_engine, model=tiny_of(family, vocab_size=64))
    decode = dataclasses.replace(
        SAMPLED, temperature=0, batch_rows=2, prefill_columns=1024, **settings
    )
    queued, alone = of(decode), of(dataclasses.replace(decode, pack_prompts=False))
    made, expected = (one.generate(prompts, ids, seed=0) for one in (queued, alone))
    assert queued.usage.looks <= len(prompts) / 2 < alone.usage.looks
    for one, other in zip(made, expected, strict=True):
        assert one.tokens == other.tokens
        assert one.logprob == pytest.approx(other.logprob, abs=1e-4)


def test_rows_too_narrow_for_the_queue_are_put_into_slots_by_the_host(
    engine, prompts, ids, free
):
    short = [row for row, prompt in enumerate(prompts) if len(prompt) < 100]
    wide = _engine(dataclasses.replace(SAMPLED, batch_rows=2, prefill_columns=2048))
    made = wide.generate(
        [prompts[row] for row in short[:2]], [ids[row] for row in short[:2]], seed=0
    )
    assert made == [free[row] for row in short[:2]]
    assert wide.usage.read_columns < 512


def test_slots_that_were_left_in_the_middle_of_rows_disturb_no_later_call(
    prompts, ids, free, monkeypatch
):
    engine = _engine(SAMPLED)
    advance = decode_lib.decode_slots
    calls = itertools.count()

    def stopped(*args, **kwargs):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return advance(*args, **kwargs)

    stopped._cache_size = advance._cache_size
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(decode_lib, "decode_slots", stopped)
        engine.generate(prompts, ids, seed=0)
    assert engine.generate(prompts, ids, seed=0) == free
    # The slots of a call whose rows ended at strings, which the host alone sees.
    engine.generate(prompts, ids, seed=0, stop_strings=[["A"]] * len(prompts))
    assert engine.generate(prompts, ids, seed=0) == free


def test_a_tpus_kernels_and_its_cache_give_the_same_rows(
    prompts, ids, free, monkeypatch
):
    """Interpreted; heads are filled up to 128 numbers."""
    for module in (cache_lib, cache_attention, refill):
        monkeypatch.setattr(module, "platform", lambda: "tpu")
    called = []

    def interpreted(name, kernel, *how):
        called.append(name)
        return kernel(*how, interpret=True)

    for name in ("added", "attend"):
        of = functools.partial(interpreted, name, getattr(cache_mosaic, name))
        monkeypatch.setattr(cache_mosaic, name, of)
    engine = _engine(
        dataclasses.replace(SAMPLED, batch_rows=3, prompt_buckets=(64, 256))
    )
    numbers = 2 * MODEL.num_layers * MODEL.num_kv_heads * 128
    assert engine.cache_bytes == 3 * 256 * numbers * 4
    made = engine.generate(prompts, ids, seed=0)
    assert set(called) == {"added", "attend"}
    for one, other in zip(made, free, strict=True):
        assert one.tokens == other.tokens
        assert one.logprob == pytest.approx(other.logprob, abs=1e-5)


def test_nothing_of_a_slots_earlier_row_or_of_a_prompts_neighbour_is_left(engine):
    """Neither would weigh nothing if it is no number: 0 times it is none."""
    shape, (slots, keys) = engine._shape, (4, (2, 1, MODEL.num_kv_heads))
    columns = shape.columns
    row = np.full((*keys, 128 + columns, MODEL.head_dim), np.nan, np.float32)
    row[:, :, :, 64:100] = 1
    sizes = Sizes(new=8, stops=4, history=0)
    rows = refill.no_rows(slots, sizes)
    rows.column_b[2], rows.position_b[2], rows.limit_b[2] = 64, 36, 5
    of = {"model": MODEL, "rules": RULES, "shape": shape}
    with jax.set_mesh(make_mesh(MeshConfig(fsdp=1), jax.devices()[:1])):
        empty = empty_slots(**of, sizes=sizes)
        before = jax.tree.map(lambda a: jnp.full_like(a, jnp.nan), empty.cache)
        order_b = np.array([2, 0, 0, 0], np.int32)
        made = refill.insert(
            empty._replace(cache=before), row, row, order_b, refill.joined(rows), **of
        )
    k_lcksh = np.asarray(made.cache.full.k_lcbksh)[:, :, 2]
    k_lksh = np.swapaxes(k_lcksh, 1, 2).reshape(*keys[:1], keys[2], columns, -1)
    np.testing.assert_array_equal(k_lksh[:, :, :36], 1)
    np.testing.assert_array_equal(k_lksh[:, :, 36:], 0)


def test_weights_of_blocks_apart_change_no_token(prompts, ids, free):
    of = {
        unstacked: _engine(dataclasses.replace(SAMPLED, unstacked=unstacked))
        for unstacked in ("yes", "no")
    }
    apart, stacked = (one.generate(prompts, ids, seed=0) for one in of.values())
    assert apart == free, "on a CPU 'auto' has them apart"
    for one, other in zip(apart, stacked, strict=True):
        assert one.tokens == other.tokens
        assert one.logprob == pytest.approx(other.logprob, abs=1e-5)


def test_packed_rows_have_the_models_own_logprobs(prompts, free):
    mesh = make_mesh(MeshConfig(fsdp=1), jax.devices()[:1])
    params = numpy_llama.random_params(abstract_params(MODEL, RULES, mesh), seed=5)
    for row in (0, 1, 9):
        read = [*prompts[row], *free[row].tokens]
        logits_tv = numpy_llama.forward(params, MODEL, read)[1]
        logprobs_tv = numpy_llama.log_softmax(logits_tv)
        first = len(prompts[row]) - 1
        found = sum(
            logprobs_tv[first + place, token]
            for place, token in enumerate(free[row].tokens)
        )
        assert free[row].logprob == pytest.approx(found, abs=1e-3)


def test_what_was_done_is_counted(prompts, ids):
    engine = _engine(SAMPLED)
    made = engine.generate(prompts, ids, seed=0)
    usage, sizes = engine.usage, [len(prompt) for prompt in prompts]
    assert usage.rows == len(prompts)
    assert usage.prompt_tokens == sum(sizes)
    assert usage.read_tokens == sum(sizes) - len(sizes)
    assert usage.new_tokens == sum(len(one.tokens) for one in made)
    assert usage.live_slot_steps == usage.new_tokens
    assert usage.slot_steps == 4 * usage.steps
    assert 0.8 < usage.occupancy <= 1
    assert usage.read_columns < 128 * len(sizes)
    assert 0 < usage.padding_waste < 0.5
    assert usage.looks < usage.steps / 2
    assert f"{usage.occupancy:.1%} of the slots busy" in str(usage)


def test_samples_of_a_prompt_share_its_prefill(engine, prompts, ids, free):
    before = engine.usage.read_tokens
    made = engine.generate(prompts[3:6], ids[3:6], seed=0, samples=6)
    assert engine.usage.read_tokens - before == sum(len(p) - 1 for p in prompts[3:6])
    assert made[::6] == free[3:6]
    for row in range(3):
        assert len({tuple(one.tokens) for one in made[6 * row : 6 * row + 6]}) > 3


def test_each_row_has_its_own_limit_and_stop_ids(engine, prompts, ids, free):
    limits = [1 + row % 8 for row in range(len(prompts))]
    made = engine.generate(prompts, ids, seed=0, max_new_tokens=limits)
    for one, whole, limit in zip(made, free, limits, strict=True):
        assert (one.tokens, one.finish) == (whole.tokens[:limit], "length")
    stops = [[one.tokens[row % 3], 63] for row, one in enumerate(free)]
    made = engine.generate(prompts, ids, seed=0, stop_ids=stops)
    for one, whole, stop in zip(made, free, stops, strict=True):
        assert one.tokens == whole.tokens[: whole.tokens.index(stop[0])]
        assert one.finish == "stop"


def test_stop_strings_cut_text_and_tokens(engine, prompts, ids, free):
    # Every second row has a string of its own that comes, the others one that cannot.
    strings = [
        [_text_of(one.tokens[3:5]) if row % 2 else "~~"] for row, one in enumerate(free)
    ]
    made = engine.generate(prompts, ids, seed=0, stop_strings=strings)
    for row, (one, whole) in enumerate(zip(made, free, strict=True)):
        if row % 2:
            kept = _text_of(whole.tokens).index(strings[row][0])
            assert (one.tokens, one.finish) == (whole.tokens[:kept], "stop")
            assert one.text == _text_of(whole.tokens[:kept])
            assert one.logprob > whole.logprob
        else:
            assert one == whole


def test_no_run_comes_twice_and_greedy_stays_the_likeliest_of_the_rest():
    decode = DecodeConfig(
        max_new_tokens=12,
        temperature=0,
        no_repeat_ngram=2,
        batch_rows=2,
        prompt_buckets=(16,),
    )
    rng = np.random.default_rng(12)
    prompts = [rng.integers(0, 8, size).tolist() for size in (16, 2, 9)]
    made = _engine(decode).generate(prompts, ["a", "b", "c"], seed=0)
    mesh = make_mesh(MeshConfig(fsdp=1), jax.devices()[:1])
    params = numpy_llama.random_params(abstract_params(MODEL, RULES, mesh), seed=5)
    ruled_out = 0
    for prompt, one in zip(prompts, made, strict=True):
        text = list(prompt)
        for token in one.tokens:
            logits_v = numpy_llama.forward(params, MODEL, text)[1][-1, :LIMIT]
            pairs = itertools.pairwise(text)
            seen = {after for at, after in pairs if at == text[-1]}
            ruled_out += int(logits_v.argmax()) in seen
            logits_v[list(seen)] = -np.inf
            assert token == logits_v.argmax()
            text.append(token)
    assert ruled_out


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"max_new_tokens": [9]}, "Row 0 asks for 9 new tokens"),
        ({"samples": 0}, "expected at least one"),
        ({"stop_ids": [[1], [2]]}, "1 prompts and 2 stop_ids"),
    ],
)
def test_what_cannot_be_asked_of_a_row_is_refused(engine, asked, message):
    with pytest.raises(UserError, match=message):
        engine.generate([[1, 2]], ["a"], seed=0, **asked)
