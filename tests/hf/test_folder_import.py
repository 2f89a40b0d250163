"""Import of a model's folder, held against transformers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from tests.hf.tiny_llama import (
    RULES,
    VOCAB,
    eight_devices,
    float32,
    one_device,
    padded_rows,
)
from xinst_jax.config import MeshConfig, ModelConfig
from xinst_jax.hf import folder as folder_lib
from xinst_jax.hf import mapping
from xinst_jax.mesh import make_mesh
from xinst_jax.models import decoder as decoder_lib


def forward(model: ModelConfig, mesh: jax.sharding.Mesh):
    @jax.jit
    def run(params, tokens_bt, segments_bt, positions_bt):
        decoder = decoder_lib.bind(model, RULES, params)
        return decoder.logits(decoder(tokens_bt, segments_bt, positions_bt))

    def call(params, *arrays):
        with jax.set_mesh(mesh):
            return np.asarray(run(params, *map(jnp.asarray, arrays)))

    return call


@pytest.mark.parametrize("mesh", [one_device, eight_devices])
def test_logits_equal_transformers_with_padding_on_either_side(llama, mesh):
    folder, theirs = llama
    model = float32(folder)
    params = folder_lib.import_params(folder, model, RULES, mesh())
    tokens_bt, mask_bt = padded_rows()
    positions_bt = np.maximum(mask_bt.cumsum(1) - 1, 0)
    logits_btv = forward(model, mesh())(params, tokens_bt, mask_bt, positions_bt)
    with torch.no_grad():
        expected_btv = theirs(
            torch.tensor(tokens_bt),
            attention_mask=torch.tensor(mask_bt),
            position_ids=torch.tensor(positions_bt),
        ).logits.numpy()
    seen_bt = mask_bt.astype(bool)
    assert seen_bt.sum() > 200
    assert np.std(expected_btv[seen_bt]) > 0.3
    np.testing.assert_allclose(logits_btv[seen_bt], expected_btv[seen_bt], atol=1e-4)


def test_greedy_tokens_equal_transformers(llama):
    folder, theirs = llama
    model, mesh = float32(folder), one_device()
    params = folder_lib.import_params(folder, model, RULES, mesh)
    call = forward(model, mesh)
    tokens_bt = np.zeros((2, 44), np.int64)
    tokens_bt[:, :12] = np.random.default_rng(6).integers(0, VOCAB, (2, 12))
    expected_bt = theirs.generate(
        torch.tensor(tokens_bt[:, :12]),
        attention_mask=torch.ones(2, 12),
        generation_config=transformers.GenerationConfig(
            do_sample=False, max_new_tokens=32, eos_token_id=None, pad_token_id=0
        ),
    ).numpy()
    ones_bt = np.ones((2, 44), np.int32)
    positions_bt = np.tile(np.arange(44), (2, 1))
    for column in range(12, 44):
        logits_btv = call(params, tokens_bt, ones_bt, positions_bt)
        tokens_bt[:, column] = logits_btv[:, column - 1].argmax(1)
    np.testing.assert_array_equal(tokens_bt, expected_bt)


def test_padding_rows_of_the_embedding_are_zero(llama):
    folder, _ = llama
    model = float32(folder, vocab_size=512)
    params = folder_lib.import_params(folder, model, RULES, eight_devices())
    table_vd = np.asarray(params["embedding"]["table_vd"])
    assert (table_vd[VOCAB:] == 0).all()
    assert (table_vd[:VOCAB] != 0).all()


def test_every_way_to_shard_gives_the_same_parameters(llama):
    folder, _ = llama
    model = float32(folder)
    expected = folder_lib.import_params(folder, model, RULES, one_device())
    odd = dataclasses.replace(RULES, heads=None, kv_heads=None, head_dim="tensor")
    for rules, config in (
        (RULES, MeshConfig(slice=2, fsdp=2, tensor=2)),
        (odd, MeshConfig(tensor=4, fsdp=2)),
    ):
        mesh = make_mesh(config)
        params = folder_lib.import_params(folder, model, rules, mesh)
        abstract = decoder_lib.abstract_params(model, rules, mesh)
        for path, leaf in mapping.leaves(params).items():
            wanted = mapping.leaves(expected)[path]
            np.testing.assert_array_equal(leaf, wanted, err_msg=path)
            assert leaf.sharding == mapping.leaves(abstract)[path].sharding
