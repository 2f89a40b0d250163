"""The one matrix product of the models: narrow operands, float32 accumulation."""

import functools
from collections.abc import Iterable

import jax
import jax.numpy as jnp

from xinst_jax.mesh import axis_names, platform


def product(
    equation: str,
    x: jax.Array,
    w: jax.Array,
    spec: jax.P,
    dtype: jnp.dtype | None = None,
    gathered: jax.P | None = None,
) -> jax.Array:
    """Multiplies two arrays of one dtype; sums and gradients accumulate in float32.

    Asking for a float32 result is what makes XLA:CPU use its bfloat16 instructions (it
    is twice as fast); the custom gradient keeps both products of the backward pass in
    the operands' dtype, where differentiating through the cast would widen them.

    It also gathers a divided weight, forward and again backward, and gives its gradient
    divided as the weight is: devices then exchange each gradient once, scattered as it
    is summed, where gathering outside would have every device sum it whole first.

    Args:
      equation: einsum equation of two operands.
      x: first operand.
      w: second operand, of the same dtype.
      spec: how the result is divided over the mesh.
      dtype: of the result; the operands' by default.
      gathered: how `w` is divided while it is multiplied; as it is by default.
    """
    return _product(
        equation,
        spec,
        jnp.dtype(dtype or x.dtype),
        gathered or jax.typeof(w).sharding.spec,
        x,
        w,
    )


def wide_product(equation: str, x: jax.Array, y: jax.Array) -> jax.Array:
    """A product of operands of one dtype, summed and given in float32.

    For use inside `jax.shard_map`; gradients are the caller's.
    """
    return jnp.einsum(equation, x, y, preferred_element_type=jnp.float32)


def _einsum(
    equation: str, spec: jax.P, dtype: jnp.dtype, x: jax.Array, w: jax.Array
) -> jax.Array:
    wide = jnp.einsum(
        equation, x, w, preferred_element_type=jnp.float32, out_sharding=spec
    )
    return wide.astype(dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2, 3))
def _product(
    equation: str,
    spec: jax.P,
    dtype: jnp.dtype,
    gathered: jax.P,
    x: jax.Array,
    w: jax.Array,
) -> jax.Array:
    return _einsum(equation, spec, dtype, x, jax.reshard(w, gathered))


def _forward(
    equation: str,
    spec: jax.P,
    dtype: jnp.dtype,
    gathered: jax.P,
    x: jax.Array,
    w: jax.Array,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _einsum(equation, spec, dtype, x, jax.reshard(w, gathered)), (x, w)


def _backward(
    equation: str,
    spec: jax.P,
    dtype: jnp.dtype,
    gathered: jax.P,
    operands: tuple[jax.Array, jax.Array],
    grad: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    x, w = operands
    left, right = equation.split("->")[0].split(",")
    result = equation.split("->")[1]
    grad = grad.astype(x.dtype)
    grad_x = _einsum(
        f"{result},{right}->{left}",
        jax.typeof(x).sharding.spec,
        x.dtype,
        grad,
        jax.reshard(w, gathered),
    )
    return grad_x, _weight_gradient(f"{left},{result}->{right}", gathered, x, grad, w)


def _weight_gradient(
    equation: str, gathered: jax.P, x: jax.Array, grad: jax.Array, w: jax.Array
) -> jax.Array:
    """The gradient of a weight, summed over devices and divided as the weight is.

    Each device's own sum stays unreduced; the axes that the weight is divided over then
    sum and scatter in one exchange, in the weight's dtype. Asking the product itself
    for the divided sum would make XLA:TPU break it up into a ring of small products.
    """
    spec = jax.typeof(w).sharding.spec
    letters = equation.split(",")[0]
    summed = _axes(
        axis
        for letter, axis in zip(letters, jax.typeof(x).sharding.spec, strict=True)
        if letter not in equation.split("->")[1]
    )
    # A cast between product and exchange would have XLA sum the whole before it.
    own = jnp.einsum(
        equation,
        x,
        grad,
        preferred_element_type=jnp.float32 if platform() == "cpu" else w.dtype,
        out_sharding=jax.P(*gathered, unreduced=summed),
    )
    rest = summed - _axes(spec)
    if rest and rest != summed:
        own = jax.reshard(own, jax.P(*spec, unreduced=rest))
    return jax.reshard(own, spec).astype(w.dtype)


def _axes(entries: Iterable[str | tuple[str, ...] | None]) -> set[str]:
    """The mesh axes that entries of a spec name."""
    return {axis for entry in entries for axis in axis_names(entry)}


_product.defvjp(_forward, _backward)
