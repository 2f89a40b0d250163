"""Products accumulate in float32, forwards and backwards, whatever the operands."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xinst_jax.config import MeshConfig
from xinst_jax.mesh import make_mesh
from xinst_jax.models.product import product

_EQUATION = "btd,dnh->bnth"


@pytest.fixture(scope="module", autouse=True)
def _one_device():
    with jax.set_mesh(make_mesh(MeshConfig(fsdp=1), jax.devices()[:1])):
        yield


def _operands(dtype):
    rng = np.random.default_rng(1)
    x_btd = jnp.asarray(rng.normal(size=(2, 5, 64)), dtype)
    w_dnh = jnp.asarray(rng.normal(size=(64, 3, 4)), dtype)
    grad_bnth = rng.normal(size=(2, 3, 5, 4))
    return x_btd, w_dnh, grad_bnth


@pytest.mark.parametrize(("dtype", "share"), [("float32", 1e-6), ("bfloat16", 5e-3)])
def test_product_and_gradients_equal_float64_numpy(dtype, share):
    x_btd, w_dnh, grad_bnth = _operands(dtype)
    made, pull = jax.vjp(
        lambda x, w: product(_EQUATION, x, w, jax.P(None, None, None, None)),
        x_btd,
        w_dnh,
    )
    grads = pull(jnp.asarray(grad_bnth, dtype))
    assert {leaf.dtype for leaf in (made, *grads)} == {jnp.dtype(dtype)}
    x, w = np.asarray(x_btd, np.float64), np.asarray(w_dnh, np.float64)
    g = np.asarray(jnp.asarray(grad_bnth, dtype), np.float64)
    expected = (
        np.einsum(_EQUATION, x, w),
        np.einsum("bnth,dnh->btd", g, w),
        np.einsum("btd,bnth->dnh", x, g),
    )
    for found, wanted in zip((made, *grads), expected, strict=True):
        error = np.abs(np.asarray(found, np.float64) - wanted).max()
        assert error <= share * np.abs(wanted).max()


def test_float32_can_be_kept_from_narrow_operands():
    x_td = jnp.ones((1, 1001), jnp.bfloat16)
    kept = product("td,dv->tv", x_td, x_td.T, jax.P(None, None), jnp.float32)
    assert kept.dtype == jnp.float32
    assert kept.item() == 1001  # 1001 is not a bfloat16: it would be 1000
