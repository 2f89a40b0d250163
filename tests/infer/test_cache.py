"""What a cache keeps: each token's own numbers, narrow ones nearly, a window's only."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models import numpy_llama
from xinst_jax.config import MeshConfig
from xinst_jax.infer import cache as cache_lib
from xinst_jax.infer.cache_attention import attention
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import cached
from xinst_jax.models.decoder import Block, abstract_params, bind
from xinst_jax.models.presets import tiny, tiny_of

RULES = ShardingRules()
MODEL = tiny(vocab_size=64)
MESHES = {
    "one device": None,
    "fsdp x tensor": MeshConfig(fsdp=4, tensor=2),
    "sequence": MeshConfig(fsdp=2, sequence=2, tensor=2),
}
TEXT_BT = np.random.default_rng(13).integers(0, 64, (8, 48)).astype(np.int32)


@functools.cache
def _params(mesh=None, model=MODEL):
    abstract = abstract_params(model, RULES, mesh or _mesh())
    drawn = numpy_llama.random_params(abstract, seed=14, scale=0.2)
    return jax.device_put(drawn, jax.tree.map(lambda leaf: leaf.sharding, abstract))


@functools.cache
def _mesh():
    return make_mesh(MeshConfig(fsdp=1), jax.devices()[:1])


def _read_through(dtype, mesh, model=MODEL):
    """Log-probabilities (B, T, V) after each token, read one by one."""
    shape = cache_lib.layout(model, len(TEXT_BT), TEXT_BT.shape[1], dtype)

    @jax.jit
    def read(params, tokens_tb):
        decoder = bind(model, RULES, params)
        row_b = jax.reshard(jnp.zeros(len(TEXT_BT), jnp.int32), RULES.spec("batch"))

        def step(cache, place_token):
            place, token_b = place_token
            attend = attention(model, RULES, shape, row_b + place, row_b == 0)
            x_b1d, cache = cached.read_token(
                decoder, token_b, row_b + place, attend, cache
            )
            return cache, jax.nn.log_softmax(decoder.logits(x_b1d)[:, 0])

        cache = cache_lib.empty(model, RULES, shape)
        columns = jnp.arange(TEXT_BT.shape[1])
        return jax.lax.scan(step, cache, (columns, tokens_tb))[1]

    with jax.set_mesh(mesh):
        return np.swapaxes(np.asarray(read(_params(mesh, model), TEXT_BT.T)), 0, 1)


@functools.cache
def _expected_btv():
    return np.stack(
        [
            numpy_llama.log_softmax(numpy_llama.forward(_params(), MODEL, text)[1])
            for text in TEXT_BT
        ]
    )


def _perplexity(logprobs_btv):
    targets_bt1 = TEXT_BT[:, 1:, None]
    found = np.take_along_axis(logprobs_btv[:, :-1], targets_bt1, axis=2)
    return np.exp(-found.mean())


@pytest.mark.parametrize("name", MESHES)
def test_a_cache_in_the_compute_dtype_gives_the_models_own_numbers(name):
    mesh = make_mesh(MESHES[name]) if MESHES[name] else _mesh()
    found_btv = _read_through("compute", mesh)
    np.testing.assert_allclose(found_btv, _expected_btv(), atol=1e-4)


@pytest.mark.parametrize(
    ("sizes", "rows"),
    [({}, 16), ({"tensor": 2}, 16), ({"fsdp": 4, "tensor": 2}, 8)],
    ids=["one device", "tensor", "fsdp x tensor"],
)
def test_eight_rows_are_on_a_gpu_multiplied_as_sixteen_unless_divided(
    sizes, rows, monkeypatch
):
    multiplied, through = set(), Block.through

    def seen(block, x_b1d, *how):
        multiplied.add(len(x_b1d))
        return through(block, x_b1d, *how)

    monkeypatch.setattr(Block, "through", seen)
    monkeypatch.setattr(cached, "platform", lambda: "gpu")
    config = MeshConfig(**{"fsdp": 1} | sizes)
    mesh = make_mesh(config, jax.devices()[: config.fsdp * config.tensor])
    found_btv = _read_through("compute", mesh)
    np.testing.assert_allclose(found_btv, _expected_btv(), atol=1e-4)
    assert multiplied == {rows}


@pytest.mark.parametrize("family", ["mistral", "gemma3_text"])
def test_a_window_read_token_by_token_is_that_of_reading_at_once(family):
    """In a model whose blocks are all windowed, and in one of both kinds."""
    model = tiny_of(family, vocab_size=64)

    @jax.jit
    def at_once(params):
        decoder = bind(model, RULES, params)
        ones_bt = jnp.ones_like(TEXT_BT)
        positions_bt = jnp.cumsum(ones_bt, axis=1) - 1
        x_btd = decoder(jnp.asarray(TEXT_BT), ones_bt, positions_bt)
        return jax.nn.log_softmax(decoder.logits(x_btd))

    with jax.set_mesh(_mesh()):
        expected_btv = np.asarray(at_once(_params(None, model)))
    assert TEXT_BT.shape[1] > 4 * model.window
    found_btv = _read_through("compute", _mesh(), model)
    np.testing.assert_allclose(found_btv, expected_btv, atol=1e-4)


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_prompts_are_read_the_same_with_the_blocks_weights_apart(family):
    model = tiny_of(family, vocab_size=64)
    segments_bt = np.repeat([[1, 2]], len(TEXT_BT), axis=0).repeat(24, axis=1)
    positions_bt = np.tile(np.arange(24), (len(TEXT_BT), 2))
    rows = jnp.asarray(TEXT_BT), jnp.asarray(segments_bt), jnp.asarray(positions_bt)

    @jax.jit
    def read(params, blocks):
        return cached.keys_and_values(bind(model, RULES, params), *rows, blocks)

    with jax.set_mesh(_mesh()):
        params = _params(None, model)
        stacked, apart = (
            read(params, blocks) for blocks in ((), cached.apart(params["layers"]))
        )
    for one, other in zip(stacked, apart, strict=True):
        assert one.shape[:2] == (model.num_layers, len(TEXT_BT))
        assert (np.abs(np.asarray(one)).max(axis=(1, 2, 3, 4)) > 0).all()
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_of_the_last_block_keys_and_values_are_computed_and_nothing_else():
    rows = [jnp.asarray(np.ones_like(TEXT_BT))] * 3

    def flops(layers):
        model = tiny(vocab_size=64, num_layers=layers)

        @jax.jit
        def read(params, blocks):
            return cached.keys_and_values(bind(model, RULES, params), *rows, blocks)

        with jax.set_mesh(_mesh()):
            params = _params(None, model)
            blocks = cached.apart(params["layers"])
            return read.lower(params, blocks).compile().cost_analysis()["flops"]

    one, two, three = map(flops, (1, 2, 3))
    assert three - two == pytest.approx(two - one, rel=0.01), "a whole block each"
    assert one < 0.25 * (two - one)


@pytest.mark.parametrize(
    ("dtype", "most_change", "least_agreement"),
    [("bfloat16", 0.0005, 0.99), ("int8", 0.001, 0.98)],
)
def test_a_narrow_cache_keeps_perplexity_and_the_likeliest_tokens(
    dtype, most_change, least_agreement
):
    found_btv, expected_btv = _read_through(dtype, _mesh()), _expected_btv()
    change = _perplexity(found_btv) / _perplexity(expected_btv) - 1
    agreement = (found_btv.argmax(-1) == expected_btv.argmax(-1)).mean()
    assert 0 < abs(change) < most_change
    assert agreement > least_agreement


def test_int8_is_within_half_a_step_of_each_heads_largest_number():
    x_bkh = np.random.default_rng(15).normal(size=(5, 3, 16)).astype(np.float32)
    x_bkh[0, 0] = 0
    values_bkh, scale_bk = cache_lib.kept(jnp.asarray(x_bkh), jnp.int8)
    assert values_bkh.dtype == jnp.int8
    back_bkh = np.asarray(values_bkh) * np.asarray(scale_bk)[..., None]
    largest_bk1 = np.abs(x_bkh).max(-1, keepdims=True)
    assert (np.abs(back_bkh - x_bkh) <= largest_bk1 / 127 * 0.501).all()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2"])
def test_windowed_blocks_keep_their_window_and_the_bytes_are_counted(family, dtype):
    model = tiny_of(family)
    shape = cache_lib.layout(model, 8, 100, dtype)
    with jax.set_mesh(_mesh()):
        made = jax.eval_shape(lambda: cache_lib.empty(model, RULES, shape))
    kinds = {False: made.full, True: made.windowed}
    for windowed, store in kinds.items():
        blocks = model.windowed_layers.count(windowed)
        assert (store is None) == (blocks == 0)
        if store is not None:
            assert store.v_lcbksh.shape[0] == blocks
            columns = store.v_lcbksh.shape[1] * store.v_lcbksh.shape[4]
            assert columns == 5 if windowed else columns >= 100
    sizes = [leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(made)]
    assert cache_lib.bytes_of(model, shape) == sum(sizes)
