"""The decoder equals a plain NumPy one on packed rows, on one device or eight."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models import numpy_llama
from xinst_jax.config import MeshConfig
from xinst_jax.errors import UserError
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import decoder as decoder_lib
from xinst_jax.models.presets import tiny

RULES = ShardingRules()
MESHES = {
    "fsdp": MeshConfig(fsdp=8),
    "fsdp x tensor": MeshConfig(fsdp=4, tensor=2),
    "sequence": MeshConfig(fsdp=2, sequence=2, tensor=2),
    "slices": MeshConfig(slice=2, fsdp=2, sequence=2),
}
ROWS, LENGTH = 8, 16


def _one_device():
    return make_mesh(MeshConfig(fsdp=1), jax.devices()[:1])


def _params(config, mesh, seed=0):
    abstract = decoder_lib.abstract_params(config, RULES, mesh)
    drawn = numpy_llama.random_params(abstract, seed)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    return jax.device_put(drawn, shardings)


def _packed_rows(seed=1):
    """Tokens, segment ids and positions: segments, then padding; row 3 all padding."""
    rng = np.random.default_rng(seed)
    tokens_bt = rng.integers(0, 128, (ROWS, LENGTH), dtype=np.int32)
    segments_bt = np.zeros((ROWS, LENGTH), np.int32)
    positions_bt = np.zeros((ROWS, LENGTH), np.int32)
    for row in range(ROWS):
        cuts = [0, *sorted(rng.choice(np.arange(1, LENGTH), 3, replace=False))]
        for segment, (start, end) in enumerate(itertools.pairwise(cuts), 1):
            segments_bt[row, start:end] = 0 if row == 3 else segment
            positions_bt[row, start:end] = np.arange(end - start)
    return tokens_bt, segments_bt, positions_bt


@functools.partial(jax.jit, static_argnames="config")
def _read(params, rows, config):
    decoder = decoder_lib.bind(config, RULES, params)
    x_btd = decoder(*rows)
    return x_btd, decoder.logits(x_btd)


@functools.partial(jax.jit, static_argnames="config")
def _read_and_differentiate(params, rows, config):
    def loss(params):
        decoder = decoder_lib.bind(config, RULES, params)
        x_btd = decoder(*rows)
        logits_btv = decoder.logits(x_btd)
        kept_bt = rows[1] > 0
        losses_bt = jnp.square(jax.nn.log_softmax(logits_btv)).mean(-1)
        return jnp.mean(jnp.where(kept_bt, losses_bt, 0)), (x_btd, logits_btv)

    grads, outputs = jax.grad(loss, has_aux=True)(params)
    return outputs, grads


@pytest.mark.parametrize("tied", [True, False])
def test_packed_rows_equal_each_segment_alone_in_numpy(tied):
    config, mesh = tiny(tie_embeddings=tied), _one_device()
    params, rows = _params(config, mesh), _packed_rows()
    with jax.set_mesh(mesh):
        x_btd, logits_btv = _read(params, rows, config)
    x_btd, logits_btv = np.asarray(x_btd), np.asarray(logits_btv)
    tokens_bt, segments_bt, _ = rows
    assert logits_btv.dtype == jnp.float32
    assert np.isfinite(logits_btv).all()
    for row, segment in np.ndindex(ROWS, 4):
        here = segments_bt[row] == segment + 1
        if here.any():
            expected = numpy_llama.forward(params, config, tokens_bt[row, here])
            np.testing.assert_allclose(x_btd[row, here], expected[0], atol=1e-4)
            np.testing.assert_allclose(logits_btv[row, here], expected[1], atol=1e-4)


@pytest.fixture(scope="module")
def one_device_results():
    config, mesh = tiny(), _one_device()
    with jax.set_mesh(mesh):
        return jax.device_get(
            _read_and_differentiate(_params(config, mesh), _packed_rows(), config)
        )


@pytest.mark.parametrize("name", MESHES)
def test_meshes_agree_with_one_device_in_states_logits_and_gradients(
    name, one_device_results
):
    config, mesh = tiny(), make_mesh(MESHES[name])
    params = _params(config, mesh)
    with jax.set_mesh(mesh):
        outputs, grads = _read_and_differentiate(params, _packed_rows(), config)
    for leaf, grad in zip(*map(jax.tree.leaves, (params, grads)), strict=True):
        assert grad.sharding == leaf.sharding
    for found, expected in zip(
        jax.tree.leaves((outputs, grads)),
        jax.tree.leaves(one_device_results),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)


def test_recomputing_changes_no_gradient_and_saves_memory(one_device_results):
    mesh, rows = _one_device(), _packed_rows()
    held = {}
    for remat in ("none", "minimal", "offload", "full"):
        config = tiny(remat=remat)
        params = _params(config, mesh)
        with jax.set_mesh(mesh):
            lowered = _read_and_differentiate.lower(params, rows, config)
            compiled = lowered.compile()
            _, grads = compiled(params, rows)
        held[remat] = compiled.memory_analysis().temp_size_in_bytes
        for found, expected in zip(
            jax.tree.leaves(grads), jax.tree.leaves(one_device_results[1]), strict=True
        ):
            np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)
    assert held["none"] > held["minimal"] > held["full"]


@pytest.mark.parametrize("unroll", [2, 3])
def test_unrolled_blocks_give_the_same_states_and_gradients(unroll):
    config, mesh = tiny(num_layers=3, unroll=unroll), _one_device()
    scanned = tiny(num_layers=3)
    params, rows = _params(config, mesh), _packed_rows()
    with jax.set_mesh(mesh):
        outputs, grads = _read_and_differentiate(params, rows, config)
        expected = _read_and_differentiate(params, rows, scanned)
        jaxprs = [
            str(jax.make_jaxpr(_read, static_argnums=2)(params, rows, one))
            for one in (config, scanned)
        ]
    for found, one in zip(
        jax.tree.leaves((outputs, grads)), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(found, one, atol=1e-5, rtol=1e-5)
    assert f"unroll={unroll}" in jaxprs[0]
    assert "unroll=1" in jaxprs[1]


def test_bfloat16_compute_stays_near_float32():
    mesh, rows = _one_device(), _packed_rows()
    params = _params(tiny(), mesh)
    with jax.set_mesh(mesh):
        wide_btd, _ = _read(params, rows, tiny())
        narrow_btd, logits_btv = _read(params, rows, tiny(compute_dtype="bfloat16"))
    assert (narrow_btd.dtype, logits_btv.dtype) == (jnp.bfloat16, jnp.float32)
    kept_bt = rows[1] > 0
    wide_btd, narrow_btd = (np.asarray(x, np.float32) for x in (wide_btd, narrow_btd))
    error = (narrow_btd - wide_btd)[kept_bt]
    assert np.sqrt((error**2).mean()) < 0.05 * np.sqrt((wide_btd[kept_bt] ** 2).mean())


def test_initial_weights_are_the_same_on_every_mesh_and_as_described():
    config, made = tiny(tie_embeddings=False), {}
    for mesh in (_one_device(), make_mesh(MESHES["fsdp x tensor"])):
        params = decoder_lib.init_params(config, RULES, mesh, jax.random.key(7))
        abstract = decoder_lib.abstract_params(config, RULES, mesh)
        assert jax.tree.structure(params) == jax.tree.structure(abstract)
        for (path, leaf), wanted in zip(
            jax.tree.leaves_with_path(params), jax.tree.leaves(abstract), strict=True
        ):
            assert (leaf.shape, leaf.dtype) == (wanted.shape, wanted.dtype)
            assert leaf.sharding == wanted.sharding
            axes = path[-1].key.rsplit("_", 1)[1]
            assert len(axes) == leaf.ndim
            found = made.setdefault(jax.tree_util.keystr(path), np.asarray(leaf))
            np.testing.assert_array_equal(found, leaf)
    table_vd = made["['embedding']['table_vd']"]
    assert abs(table_vd.std() - 0.02) < 0.002
    gate_ldf = made["['layers']['mlp']['gate_ldf']"]
    assert abs(gate_ldf.std() - 32**-0.5) < 0.02
    assert (made["['layers']['mlp_norm']['scale_ld']"] == 1).all()


def test_heads_that_do_not_divide_are_refused_before_anything_is_made():
    mesh = make_mesh(MeshConfig(fsdp=2, tensor=4))
    with pytest.raises(UserError, match="'kv_heads' cannot be divided over 4"):
        decoder_lib.init_params(tiny(), RULES, mesh, jax.random.key(0))


def test_weights_readied_for_inference_give_the_same_states():
    config = tiny(compute_dtype="bfloat16")
    mesh, rows = make_mesh(MESHES["fsdp x tensor"]), _packed_rows()
    whole = dataclasses.replace(RULES, embed=None)
    params = _params(config, mesh)
    ready = decoder_lib.compute_params(config, whole, mesh, params)
    with jax.set_mesh(mesh):
        expected_btd, _ = _read(params, rows, config)
        found_btd, _ = _read(ready, rows, config)
    np.testing.assert_array_equal(found_btd, expected_btd)
    attention = ready["layers"]["attention"]
    assert attention["query_ldnh"].dtype == jnp.bfloat16
    assert attention["query_ldnh"].sharding.spec == jax.P(None, None, "tensor", None)
    assert ready["final_norm"]["scale_d"].dtype == jnp.float32
    again = decoder_lib.compute_params(config, whole, mesh, ready)
    assert all(
        a.unsafe_buffer_pointer() == b.unsafe_buffer_pointer()
        for a, b in zip(
            (leaf.addressable_data(0) for leaf in jax.tree.leaves(ready)),
            (leaf.addressable_data(0) for leaf in jax.tree.leaves(again)),
            strict=True,
        )
    )
