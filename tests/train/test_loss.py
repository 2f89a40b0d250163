import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding

from xinst_jax.config import MeshConfig
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.train.loss import token_loss

B, T, D, V = 8, 24, 16, 96


class LinearHead:
    def __init__(self, table_vd):
        self.table_vd = table_vd

    def logits(self, x_btd):
        rows = tuple(jax.typeof(x_btd).sharding.spec)[:2]
        vocab = jax.typeof(self.table_vd).sharding.spec[0]
        return jnp.einsum(
            "btd,vd->btv", x_btd, self.table_vd, out_sharding=jax.P(*rows, vocab)
        )


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {
        "table_vd": rng.normal(size=(V, D)).astype(np.float32),
        "x_btd": rng.normal(size=(B, T, D)).astype(np.float32),
        "targets_bt": rng.integers(0, V, (B, T)).astype(np.int32),
        "weights_bt": (rng.random((B, T)) * (rng.random((B, T)) < 0.7)).astype(
            np.float32
        ),
    }


def chunked(table_vd, x_btd, targets_bt, weights_bt, chunk, targets_per_row=None):
    head = LinearHead(table_vd)
    return token_loss(head, x_btd, targets_bt, weights_bt, chunk, targets_per_row)


def plain(table_vd, x_btd, targets_bt, weights_bt):
    log_p_btv = jax.nn.log_softmax(x_btd @ table_vd.T, axis=-1)
    chosen_bt = jnp.take_along_axis(log_p_btv, targets_bt[..., None], -1)[..., 0]
    return -jnp.sum(chosen_bt * weights_bt)


def mesh_of(count, **sizes):
    return make_mesh(MeshConfig(**sizes), jax.devices()[:count])


def computed(mesh, arrays, chunk, targets_per_row=None):
    """((loss, weight), gradients of table and hidden states) over a mesh."""
    rules = ShardingRules()
    specs = [
        rules.spec("vocab", None),
        rules.spec("batch", "length", None),
        rules.spec("batch", "length"),
        rules.spec("batch", "length"),
    ]
    placed = [
        jax.device_put(value, NamedSharding(mesh, spec))
        for value, spec in zip(arrays.values(), specs, strict=True)
    ]
    grad_of = jax.value_and_grad(chunked, argnums=(0, 1), has_aux=True)
    with jax.set_mesh(mesh):
        return jax.jit(grad_of, static_argnums=(4, 5))(*placed, chunk, targets_per_row)


@pytest.mark.parametrize("chunk", [1, 8, 40, 50, B * T, 10_000])
def test_loss_and_gradients_equal_the_plain_formula(arrays, chunk):
    grad_of = jax.value_and_grad(plain, argnums=(0, 1))
    expected, expected_grads = grad_of(*arrays.values())
    (loss, weight), grads = computed(mesh_of(1), arrays, chunk)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_allclose(weight, arrays["weights_bt"].sum(), rtol=1e-6)
    for found, grad in zip(grads, expected_grads, strict=True):
        np.testing.assert_allclose(found, grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "sizes",
    [
        {"fsdp": 8},
        {"fsdp": 4, "tensor": 2},
        {"slice": 2, "fsdp": 1, "sequence": 2, "tensor": 2},
    ],
)
def test_a_divided_vocabulary_length_or_batch_changes_nothing(arrays, sizes):
    expected = computed(mesh_of(1), arrays, 40)
    found = computed(mesh_of(8, **sizes), arrays, 40)
    for one, eight in zip(
        jax.tree.leaves(expected), jax.tree.leaves(found), strict=True
    ):
        np.testing.assert_allclose(eight, one, rtol=1e-5, atol=1e-5)


def test_tokens_without_weight_have_no_gradient(arrays):
    _, (_, grad_btd) = computed(mesh_of(1), arrays, 16)
    quiet_bt = arrays["weights_bt"] == 0
    assert quiet_bt.any()
    assert not np.asarray(grad_btd)[quiet_bt].any()
    assert np.asarray(grad_btd)[~quiet_bt].any(axis=-1).all()


def test_logits_of_all_tokens_never_exist_at_once():
    rows, length, width, vocabulary = 8, 256, 8, 4096
    shapes = ((vocabulary, width), (rows, length, width), (rows, length))
    table, x, weights = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    targets = jax.ShapeDtypeStruct((rows, length), jnp.int32)
    with jax.set_mesh(mesh_of(1)):
        lowered = jax.jit(
            jax.grad(lambda *args: chunked(*args, 64)[0], argnums=(0, 1))
        ).lower(table, x, targets, weights)
        temporary = lowered.compile().memory_analysis().temp_size_in_bytes
    assert temporary < rows * length * vocabulary * 4 / 4


@pytest.mark.parametrize("sizes", [{}, {"fsdp": 4, "tensor": 2}, {"sequence": 2}])
def test_logits_of_weighted_targets_alone_give_the_same_loss(arrays, sizes):
    mesh = mesh_of(8 if sizes else 1, **sizes)
    most = int((arrays["weights_bt"] > 0).sum(axis=1).max())
    assert most < T
    (loss, weight), gradients = computed(mesh, arrays, chunk=B * T)
    (fewer_loss, fewer_weight), fewer_gradients = computed(
        mesh, arrays, chunk=40, targets_per_row=most
    )
    assert fewer_weight == weight
    np.testing.assert_allclose(fewer_loss, loss, rtol=1e-6)
    for found, expected in zip(fewer_gradients, gradients, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_rows_of_few_targets_hold_few_logits(arrays):
    """The program of one target a row multiplies a T-th of what that of all does."""
    placed = [jnp.asarray(value) for value in arrays.values()]
    mesh = mesh_of(1)

    def flops(targets_per_row):
        with jax.set_mesh(mesh):
            lowered = jax.jit(chunked, static_argnums=(4, 5)).lower(
                *placed, B * T, targets_per_row
            )
        return lowered.compile().cost_analysis()["flops"]

    assert flops(1) < 2 * flops(None) / T
