"""The sentence encoder's own promises; its numbers are held in tests/hf."""

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding

from xinst_jax.config import MeshConfig
from xinst_jax.mesh import make_mesh
from xinst_jax.models import encoder as encoder_lib
from xinst_jax.models.encoder import EncoderConfig

CONFIG = EncoderConfig(
    vocab_size=50,
    num_layers=2,
    embed_dim=32,
    mlp_dim=48,
    num_heads=4,
    positions=24,
    token_types=2,
    max_tokens=24,
    norm_eps=1e-12,
)


@pytest.fixture(scope="module")
def params():
    leaves, tree = jax.tree.flatten(encoder_lib.abstract_params(CONFIG))
    rng = np.random.default_rng(0)
    drawn = [0.3 * rng.normal(size=leaf.shape).astype(np.float32) for leaf in leaves]
    return jax.tree.unflatten(tree, drawn)


def rows(count: int, length: int):
    rng = np.random.default_rng(1)
    tokens_bt = rng.integers(0, 50, (count, length))
    counts_b = rng.integers(1, length + 1, count)
    mask_bt = np.arange(length) < counts_b[:, None]
    return tokens_bt, mask_bt


def encode(params, tokens_bt, mask_bt, mesh=None) -> jax.Array:
    mesh = mesh or make_mesh(MeshConfig(), jax.devices()[:1])
    with jax.set_mesh(mesh):
        placed = jax.device_put(params, NamedSharding(mesh, jax.P()))
        rows = NamedSharding(mesh, jax.P(("slice", "fsdp"), None))
        batch = jax.device_put((tokens_bt, mask_bt), rows)
        return encoder_lib.encode(CONFIG, placed, *batch)


def test_padding_changes_no_vector(params):
    tokens_bt, mask_bt = rows(6, 12)
    expected_be = encode(params, tokens_bt, mask_bt)
    for row in range(3):
        count = int(mask_bt[row].sum())
        alone_bt = tokens_bt[row : row + 1, :count]
        alone_be = encode(params, alone_bt, np.ones((1, count), bool))
        np.testing.assert_allclose(alone_be[0], expected_be[row], atol=1e-6)


def test_what_stands_in_the_padding_changes_no_vector(params):
    tokens_bt, mask_bt = rows(6, 12)
    other_bt = np.where(mask_bt, tokens_bt, (tokens_bt + 7) % 50)
    np.testing.assert_array_equal(
        encode(params, tokens_bt, mask_bt), encode(params, other_bt, mask_bt)
    )


def test_vectors_have_length_one_and_an_empty_row_has_none(params):
    tokens_bt, mask_bt = rows(4, 12)
    mask_bt[3] = False
    lengths_b = np.linalg.norm(encode(params, tokens_bt, mask_bt), axis=1)
    np.testing.assert_allclose(lengths_b, [1, 1, 1, 0], atol=1e-6)


def test_eight_devices_give_the_vectors_of_one(params):
    tokens_bt, mask_bt = rows(8, 12)
    expected_be = encode(params, tokens_bt, mask_bt)
    mesh = make_mesh(MeshConfig(slice=2, fsdp=4))
    vectors_be = encode(params, tokens_bt, mask_bt, mesh)
    assert len(vectors_be.addressable_shards) == 8
    np.testing.assert_allclose(vectors_be, expected_be, atol=1e-6)
