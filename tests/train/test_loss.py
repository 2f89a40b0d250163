"""The fused head and loss equals the plain formula, and holds few logits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding

from xinst_jax.config import MeshConfig
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import presets
from xinst_jax.train.loss import token_loss

B, T, D, V = 8, 24, 16, 96


class LinearHead:
    def __init__(self, table_vd, soft_cap):
        self.config = presets.tiny(final_soft_cap=soft_cap)
        self.table_vd = table_vd

    def head_table(self):
        return self.table_vd


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


def chunked(
    table_vd,
    x_btd,
    targets_bt,
    weights_bt,
    chunk,
    targets_per_row=None,
    soft_cap=0.0,
    z_loss=0.0,
):
    head = LinearHead(table_vd, soft_cap)
    return token_loss(
        head, x_btd, targets_bt, weights_bt, chunk, targets_per_row, z_loss
    )


def plain(table_vd, x_btd, targets_bt, weights_bt, soft_cap=0.0, z_loss=0.0):
    logits_btv = x_btd @ table_vd.T
    if soft_cap:
        logits_btv = soft_cap * jnp.tanh(logits_btv / soft_cap)
    log_p_btv = jax.nn.log_softmax(logits_btv, axis=-1)
    chosen_bt = jnp.take_along_axis(log_p_btv, targets_bt[..., None], -1)[..., 0]
    squared_bt = jnp.square(jax.nn.logsumexp(logits_btv, axis=-1))
    return jnp.sum((z_loss * squared_bt - chosen_bt) * weights_bt)


def mesh_of(count, **sizes):
    return make_mesh(MeshConfig(**sizes), jax.devices()[:count])


def computed(mesh, arrays, *how):
    """((loss, weight), gradients of all but the targets) over a mesh."""
    rules = ShardingRules()
    specs = [
        rules.spec("vocab", "embed"),
        rules.spec("batch", "length", None),
        rules.spec("batch", "length"),
        rules.spec("batch", "length"),
    ]
    placed = [
        jax.device_put(value, NamedSharding(mesh, spec))
        for value, spec in zip(arrays.values(), specs, strict=True)
    ]
    grad_of = jax.value_and_grad(chunked, argnums=(0, 1, 3), has_aux=True)
    with jax.set_mesh(mesh):
        return jax.jit(grad_of, static_argnums=range(4, 4 + len(how)))(*placed, *how)


@pytest.mark.parametrize(
    ("chunk", "soft_cap", "z_loss"),
    [(1, 0.0, 0.0), (50, 0.0, 0.0), (10_000, 0.0, 0.0), (40, 3.0, 0.1)],
)
def test_loss_and_gradients_equal_the_plain_formula(arrays, chunk, soft_cap, z_loss):
    grad_of = jax.value_and_grad(plain, argnums=(0, 1, 3))
    expected, expected_grads = grad_of(*arrays.values(), soft_cap, z_loss)
    (loss, weight), grads = computed(mesh_of(1), arrays, chunk, None, soft_cap, z_loss)
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
    how = 40, None, 3.0, 0.1
    expected = computed(mesh_of(1), arrays, *how)
    found = computed(mesh_of(8, **sizes), arrays, *how)
    for one, eight in zip(
        jax.tree.leaves(expected), jax.tree.leaves(found), strict=True
    ):
        np.testing.assert_allclose(eight, one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("chunk", [96, 10_000])
def test_a_bfloat16_head_has_the_gradients_of_its_rounded_operands(arrays, chunk):
    rounded = dict(arrays)
    for name in ("table_vd", "x_btd"):
        narrow = jnp.asarray(arrays[name], jnp.bfloat16)
        rounded[name] = np.asarray(narrow, np.float32)
        arrays[name] = np.asarray(narrow)
    expected = jax.grad(plain, argnums=(0, 1))(*rounded.values())
    _, (table_vd, x_btd, _) = computed(mesh_of(1), arrays, chunk)
    for found, grad in zip((table_vd, x_btd), expected, strict=True):
        assert found.dtype == jnp.bfloat16
        error = np.asarray(found, np.float32) - np.asarray(grad)
        assert np.abs(error).max() < 0.02 * np.abs(grad).max()


def test_tokens_without_weight_have_no_gradient(arrays):
    _, (_, grad_btd, _) = computed(mesh_of(1), arrays, 16)
    quiet_bt = arrays["weights_bt"] == 0
    assert quiet_bt.any()
    assert not np.asarray(grad_btd)[quiet_bt].any()
    assert np.asarray(grad_btd)[~quiet_bt].any(axis=-1).all()


def compiled(function, length, vocabulary=4096, width=8, rows=8):
    shapes = ((vocabulary, width), (rows, length, width), (rows, length))
    table, x, weights = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    targets = jax.ShapeDtypeStruct((rows, length), jnp.int32)
    with jax.set_mesh(mesh_of(1)):
        return jax.jit(function).lower(table, x, targets, weights).compile()


def test_memory_of_loss_and_gradients_grows_by_no_logits_with_the_length():
    def grad(*args):
        return jax.grad(lambda *args: chunked(*args, 64)[0], argnums=(0, 1))(*args)

    short, long = (
        compiled(grad, length).memory_analysis().temp_size_in_bytes
        for length in (64, 256)
    )
    assert short > 64 * 4096 * 4
    assert long - short < 64 * 4096 * 4 / 4


def test_what_needs_no_gradient_costs_none():
    """One, two or three products with the head: loss, that of tokens, that of both."""

    def flops(argnums):
        def run(*args):
            loss = lambda *args: chunked(*args, 10_000)[0]  # noqa: E731
            return jax.grad(loss, argnums)(*args) if argnums else loss(*args)

        return compiled(run, 64, width=64).cost_analysis()["flops"]

    product = 2 * 8 * 64 * 4096 * 64
    for count, argnums in ((1, ()), (2, (1,)), (3, (0, 1))):
        assert count * product <= flops(argnums) < (count + 0.5) * product


@pytest.mark.parametrize("sizes", [{}, {"fsdp": 4, "tensor": 2}, {"sequence": 2}])
def test_logits_of_weighted_targets_alone_give_the_same_loss(arrays, sizes):
    mesh = mesh_of(8 if sizes else 1, **sizes)
    most = int((arrays["weights_bt"] > 0).sum(axis=1).max())
    assert most < T
    (loss, weight), gradients = computed(mesh, arrays, B * T)
    (fewer_loss, fewer_weight), fewer_gradients = computed(mesh, arrays, 40, most)
    assert fewer_weight == weight
    np.testing.assert_allclose(fewer_loss, loss, rtol=1e-6)
    pairs = zip(fewer_gradients[:2], gradients[:2], strict=True)
    for found, expected in pairs:
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
