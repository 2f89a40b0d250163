"""What sets families apart: windows, sizes, gin files, and the same on every mesh."""

import dataclasses
import itertools
import math
import pathlib

import gin
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers.models.gemma.modeling_gemma import GemmaTextScaledWordEmbedding

from tests.models import numpy_llama
from xinst_jax.config import FAMILIES, MeshConfig, ModelConfig
from xinst_jax.errors import UserError
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import decoder as decoder_lib
from xinst_jax.models import presets
from xinst_jax.models.presets import tiny, tiny_of

RULES = ShardingRules()
GIN = pathlib.Path(__file__).parents[2] / "gin" / "models"
LENGTH = 16

PUBLISHED = {
    "llama_2_7b": 6_738_415_616,
    "llama_2_13b": 13_015_864_320,
    "llama_3_8b": 8_030_261_248,
    "llama_3_1_8b": 8_030_261_248,
    "llama_3_2_1b": 1_235_814_400,
    "mistral_7b_v0_1": 7_241_732_096,
    "mistral_7b_v0_3": 7_248_023_552,
    "gemma_2b": 2_506_172_416,
    "gemma_7b": 8_537_680_896,
    "gemma_2_2b": 2_614_341_888,
    "gemma_2_9b": 9_241_705_984,
    "gemma_3_1b": 999_885_952,
    # KerasHub's 3,880,099,328 with 64 more rows; tests/hf/test_text_half.py counts it.
    "gemma_3_4b": 3_880_263_168,
    "qwen_2_5_0_5b": 494_032_768,
    "qwen_2_5_7b": 7_615_616_512,
    # Without the second copy of the tied embedding that its file carries.
    "qwen3_0_6b": 596_049_920,
    "qwen3_8b": 8_190_735_360,
}


def _one_device():
    return make_mesh(MeshConfig(), jax.devices()[:1])


def _eight_devices():
    return make_mesh(MeshConfig(fsdp=4, tensor=2))


def _params(config, mesh):
    abstract = decoder_lib.abstract_params(config, RULES, mesh)
    drawn = numpy_llama.random_params(abstract, 3)
    return jax.device_put(drawn, jax.tree.map(lambda leaf: leaf.sharding, abstract))


def _differentiate(config, mesh, rows):
    """States of packed rows, and the gradients of a number made of their logits."""

    @jax.jit
    def run(params, rows):
        def loss(params):
            decoder = decoder_lib.bind(config, RULES, params)
            x_btd = decoder(*rows)
            return jnp.mean(jnp.square(decoder.logits(x_btd))), x_btd

        return jax.grad(loss, has_aux=True)(params)

    with jax.set_mesh(mesh):
        grads, x_btd = jax.device_get(run(_params(config, mesh), rows))
    return x_btd, grads


def _packed_rows():
    """Tokens, segments and positions of four rows, each of three segments."""
    rng = np.random.default_rng(1)
    tokens_bt = rng.integers(0, 128, (4, LENGTH), dtype=np.int32)
    segments_bt, positions_bt = np.zeros((2, 4, LENGTH), np.int32)
    for row in range(4):
        cuts = [0, *sorted(rng.choice(np.arange(1, LENGTH), 2, replace=False)), LENGTH]
        for segment, (start, end) in enumerate(itertools.pairwise(cuts), 1):
            segments_bt[row, start:end] = segment
            positions_bt[row, start:end] = np.arange(end - start)
    return tokens_bt, segments_bt, positions_bt


@pytest.mark.parametrize("family", ["gemma2", "gemma3_text", "qwen2"])
def test_blockwise_on_eight_devices_agrees_with_dense_on_one(family):
    """In states and gradients; with blocks of both kinds where the family has them."""
    config, rows = tiny_of(family), _packed_rows()
    blockwise = dataclasses.replace(config, attention="blockwise")
    found = _differentiate(blockwise, _eight_devices(), rows)
    expected = _differentiate(config, _one_device(), rows)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(expected))
    for ours, theirs in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5, rtol=1e-4)


def test_a_window_counts_a_segments_tokens_not_the_rows_columns():
    """Packed and alone, in blocks of both kinds."""
    config, mesh = tiny_of("gemma3_text"), _one_device()
    params = _params(config, mesh)
    tokens_bt, segments_bt, positions_bt = _packed_rows()

    def alone(params, tokens_t):
        decoder = decoder_lib.bind(config, RULES, params)
        whole = jnp.asarray(tokens_t)[None]
        return decoder(whole, jnp.ones_like(whole), jnp.arange(whole.shape[1])[None])

    @jax.jit
    def read(params):
        decoder = decoder_lib.bind(config, RULES, params)
        return decoder(*map(jnp.asarray, (tokens_bt, segments_bt, positions_bt)))

    with jax.set_mesh(mesh):
        packed_btd = np.asarray(read(params))
        segment = segments_bt[0] == np.bincount(segments_bt[0]).argmax()
        expected_td = np.asarray(alone(params, tokens_bt[0, segment]))[0]
    assert segment.sum() > config.window
    np.testing.assert_allclose(packed_btd[0, segment], expected_td, atol=1e-4)


def test_a_windowed_block_forgets_what_lies_behind_its_window():
    config, mesh = tiny_of("mistral", num_layers=1, window=4), _one_device()
    params = _params(config, mesh)
    tokens_bt = np.random.default_rng(2).integers(0, 128, (2, 12), dtype=np.int32)
    tokens_bt[1] = tokens_bt[0]
    tokens_bt[1, 5] += 1
    ones_bt, places_bt = np.ones((2, 12), np.int32), np.tile(np.arange(12), (2, 1))

    @jax.jit
    def read(params, *rows):
        return decoder_lib.bind(config, RULES, params)(*rows)

    with jax.set_mesh(mesh):
        x_btd = np.asarray(read(params, tokens_bt, ones_bt, places_bt))
    changed_t = np.abs(x_btd[0] - x_btd[1]).max(-1) > 0
    np.testing.assert_array_equal(np.flatnonzero(changed_t), [5, 6, 7, 8])


def test_embeddings_in_bfloat16_are_scaled_by_a_rounded_number_as_in_transformers():
    """The root of 48 is 6.928, and 6.9375 in bfloat16."""
    config = tiny_of("gemma", embed_dim=48, compute_dtype="bfloat16")
    mesh = _one_device()
    params = _params(config, mesh)
    tokens_bt = np.arange(128, dtype=np.int32)[None]
    theirs = GemmaTextScaledWordEmbedding(128, 48, 0, embed_scale=48**0.5)
    theirs.weight.data = torch.tensor(np.asarray(params["embedding"]["table_vd"]))
    with jax.set_mesh(mesh):
        x_btd = decoder_lib.bind(config, RULES, params).embed(jnp.asarray(tokens_bt))
    assert x_btd.dtype == jnp.bfloat16
    expected_btd = theirs.to(torch.bfloat16)(torch.tensor(tokens_bt)).float()
    np.testing.assert_array_equal(
        np.asarray(x_btd, np.float32), expected_btd.detach().numpy()
    )


def test_a_switch_that_is_off_adds_nothing_to_the_program():
    """The Llama of every setting's zero compiles to what it was without them."""
    config, mesh = tiny(), _one_device()
    params, rows = _params(config, mesh), _packed_rows()

    def read(params, *rows):
        decoder = decoder_lib.bind(config, RULES, params)
        return decoder.logits(decoder(*rows))

    with jax.set_mesh(mesh):
        program = str(jax.make_jaxpr(read)(params, *rows))
    assert "tanh" not in program
    assert program.count("select_n") == 2  # the mask, and the embedding's index


@pytest.mark.parametrize("name", presets.PUBLISHED)
def test_a_preset_has_the_published_number_of_parameters(name):
    config = presets.published(name)
    leaves = jax.tree.leaves(decoder_lib.abstract_params(config, RULES, _one_device()))
    assert sum(math.prod(leaf.shape) for leaf in leaves) == PUBLISHED[name]


def test_every_family_has_switches_a_preset_and_a_tiny_model():
    assert set(presets.SWITCHES) == set(FAMILIES)
    assert {presets.published(name).family for name in presets.PUBLISHED} == set(
        FAMILIES
    )
    assert {tiny_of(family).family for family in FAMILIES} == set(FAMILIES)


@pytest.mark.parametrize(
    "path",
    [path for path in GIN.glob("*.gin") if path.stem in presets.PUBLISHED],
    ids=lambda path: path.stem,
)
def test_a_gin_file_is_its_preset_and_says_what_it_is(path):
    with gin.unlock_config():
        gin.clear_config()
        try:
            gin.parse_config_file(str(path))
            found = ModelConfig()
        finally:
            gin.clear_config()
    assert found == presets.published(path.stem)
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert f"{PUBLISHED[path.stem]:,} parameters" in " ".join(header)


def test_the_models_that_runs_start_from_have_gin_files():
    wanted = "llama_2_7b llama_2_13b llama_3_8b gemma_7b llama_3_2_1b qwen3_0_6b"
    wanted += " qwen3_8b gemma_3_1b gemma_3_4b"
    assert set(wanted.split()) <= {path.stem for path in GIN.glob("*.gin")}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"family": "gpt2"}, "family = 'gpt2'"),
        ({"activation": "gelu"}, "activation = 'gelu'"),
        ({"window": -1}, "window must not be negative"),
        ({"full_every": 6}, "ModelConfig.window is 0"),
        ({"local_rope_theta": 1e4}, "ModelConfig.window is 0"),
        ({"window": 8, "full_every": 1}, "leaves no block windowed"),
        ({"rope_scaling": "yarn"}, "rope_scaling = 'yarn'"),
        ({"rope_factor": 8.0}, "rope_factor = 8.0 with rope_scaling = 'none'"),
        ({"rope_scaling": "linear", "rope_factor": 0.5}, "rope_factor = 0.5"),
        ({"rope_high_freq_factor": 1.0}, "rope_high_freq_factor must be greater"),
        ({"attention_soft_cap": -1.0}, "attention_soft_cap must not be negative"),
        ({"norm_offset": 1}, "norm_offset = 1; expected a bool"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, named):
    with pytest.raises(UserError, match=named):
        tiny(**settings)
