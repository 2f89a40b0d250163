"""The one matrix product of the models: narrow operands, float32 accumulation."""

import functools

import jax
import jax.numpy as jnp


def product(
    equation: str,
    x: jax.Array,
    w: jax.Array,
    spec: jax.P,
    dtype: jnp.dtype | None = None,
) -> jax.Array:
    """Multiplies two arrays of one dtype; sums and gradients accumulate in float32.

    Asking for a float32 result is what makes XLA:CPU use its bfloat16 instructions (it
    is twice as fast); the custom gradient keeps both products of the backward pass in
    the operands' dtype, where differentiating through the cast would widen them.

    Args:
      equation: einsum equation of two operands.
      x: first operand.
      w: second operand, of the same dtype.
      spec: how the result is divided over the mesh.
      dtype: of the result; the operands' by default.
    """
    return _product(equation, spec, jnp.dtype(dtype or x.dtype), x, w)


def _einsum(
    equation: str, spec: jax.P, dtype: jnp.dtype, x: jax.Array, w: jax.Array
) -> jax.Array:
    wide = jnp.einsum(
        equation, x, w, preferred_element_type=jnp.float32, out_sharding=spec
    )
    return wide.astype(dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _product(
    equation: str, spec: jax.P, dtype: jnp.dtype, x: jax.Array, w: jax.Array
) -> jax.Array:
    return _einsum(equation, spec, dtype, x, w)


def _forward(
    equation: str, spec: jax.P, dtype: jnp.dtype, x: jax.Array, w: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _einsum(equation, spec, dtype, x, w), (x, w)


def _backward(
    equation: str,
    spec: jax.P,
    dtype: jnp.dtype,
    operands: tuple[jax.Array, jax.Array],
    grad: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    x, w = operands
    left, right = equation.split("->")[0].split(",")
    result = equation.split("->")[1]
    grad = grad.astype(x.dtype)
    grad_x = _einsum(
        f"{result},{right}->{left}", jax.typeof(x).sharding.spec, x.dtype, grad, w
    )
    grad_w = _einsum(
        f"{left},{result}->{right}", jax.typeof(w).sharding.spec, w.dtype, x, grad
    )
    return grad_x, grad_w


_product.defvjp(_forward, _backward)
