"""FLOPs are those of published models' shapes, and what XLA counts of a small one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xinst_jax.config import MeshConfig
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import decoder, flops, presets


@pytest.mark.parametrize(
    ("name", "billions", "at_2048", "at_4096"),
    [
        ("llama_2_7b", 6.607, 41.3, 42.9),
        ("llama_2_13b", 12.852, 79.6, 82.1),
        ("llama_3_8b", 7.505, 46.6, 48.2),
        ("gemma_7b", 8.538, 52.6, 54.0),
    ],
)
def test_published_models_have_their_known_counts(name, billions, at_2048, at_4096):
    model = presets.published(name)
    assert flops.matmul_weights(model) / 1e9 == pytest.approx(billions, abs=5e-4)
    for length, expected in ((2048, at_2048), (4096, at_4096)):
        found = flops.flops_per_token(model, length, causal=True) / 1e9
        assert found == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize("tied", [True, False])
def test_every_multiplied_weight_and_attention_is_counted(tied):
    model = presets.tiny(tie_embeddings=tied)
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    params = decoder.abstract_params(model, ShardingRules(), mesh)
    sizes = {
        jax.tree_util.keystr(path): np.prod(leaf.shape)
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    weights = sum(size for name, size in sizes.items() if "norm" not in name)
    if not tied:
        weights -= sizes["['embedding']['table_vd']"]
    assert flops.matmul_weights(model) == weights
    # The scores and their use: two products of T x H for each head and layer, forward
    # once and backward twice, two operations a multiplication.
    attention = 2 * 3 * 2 * 32 * model.head_dim * model.num_heads * model.num_layers
    assert flops.flops_per_token(model, 32) == 6 * weights + attention
    # Under adapters a weight has no gradient, and takes two products in place of three.
    under = 4 * weights + 6 * 1000 + attention
    assert flops.flops_per_token(model, 32, adapters=1000) == under


@pytest.mark.parametrize("family", ["llama", "gemma2", "gemma3_text"])
def test_pairs_are_those_that_the_mask_shows(family):
    from xinst_jax.models.attention.masks import segment_mask

    model, lengths = presets.tiny_of(family), (7, 1, 12, 3)
    segments = np.repeat(np.arange(1, 5), lengths)[None]
    seen = 0
    for windowed in model.windowed_layers:
        window = model.window if windowed else 0
        seen += int(segment_mask(segments, segments, window).sum())
    assert flops.attended_pairs(model, lengths) == seen
    everything = model.num_layers * sum(length**2 for length in lengths)
    assert flops.attended_pairs(model, lengths, causal=False) == everything


def test_xla_counts_the_same_of_a_step_without_loops():
    # One block: XLA counts the body of a loop over several once.
    model = presets.tiny(
        num_layers=1, embed_dim=256, mlp_dim=768, head_dim=32, vocab_size=1024
    )
    rules, mesh = ShardingRules(), make_mesh(MeshConfig(), jax.devices()[:1])
    rows = jax.ShapeDtypeStruct((4, 64), jnp.int32)

    def loss(params, tokens_bt, segment_ids_bt, positions_bt):
        bound = decoder.bind(model, rules, params)
        x_btd = bound(tokens_bt, segment_ids_bt, positions_bt)
        return jnp.sum(jax.nn.logsumexp(bound.logits(x_btd), axis=-1))

    with jax.set_mesh(mesh):
        params = decoder.abstract_params(model, rules, mesh)
        compiled = jax.jit(jax.grad(loss)).lower(params, rows, rows, rows).compile()
    pairs = flops.attended_pairs(model, [64] * 4, causal=False)
    expected = flops.training_flops(model, 4 * 64, pairs).total
    extra = compiled.cost_analysis()["flops"] / expected - 1
    # What it counts beyond products: softmax, norms, the sum over the vocabulary.
    assert 0 < extra < 0.02, extra
