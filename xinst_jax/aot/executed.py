"""FLOPs that a device executes in a step, read off the traced function.

The trace knows the length of every loop, what rematerialisation computes again, and how
each array is divided; XLA's own count knows none of the three.
"""

import math
from collections.abc import Iterator
from typing import Any

from jax.extend import core
from jax.interpreters import partial_eval

from xinst_jax.mesh import axis_names


def executed_flops(jaxpr: core.Jaxpr) -> float:
    """FLOPs of the matrix products, on one device, of one call.

    What nothing depends on is left out, as the compiler does: gradients of weights that
    adapters leave as they are. Of a kernel written in Pallas its own estimate counts,
    or its products at every place of its grid; of branches the dearest.

    Args:
      jaxpr: traced under explicit sharding.

    Raises:
      ValueError: products in a loop whose number of turns is not known.
    """
    needed, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    return _flops(needed)


def _flops(jaxpr: core.Jaxpr) -> float:
    return sum(map(_equation_flops, jaxpr.eqns))


def _equation_flops(equation: core.JaxprEqn) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        return _product_flops(equation)
    if name == "pallas_call" and params.get("cost_estimate") is not None:
        return float(params["cost_estimate"].flops)
    inner = [_flops(jaxpr) for jaxpr in _jaxprs(params)]
    if name == "cond":
        return max(inner)
    if name == "while" and any(inner):
        raise ValueError("products in a loop whose number of turns is not known")
    if name == "scan":
        return params["length"] * sum(inner)
    if name == "pallas_call":
        return math.prod(params["grid_mapping"].grid) * sum(inner)
    return sum(inner)


def _product_flops(equation: core.JaxprEqn) -> float:
    (contracted, _), _ = equation.params["dimension_numbers"]
    given = _on_device(equation.invars[0].aval)
    made = _on_device(equation.outvars[0].aval)
    return 2.0 * math.prod(made) * math.prod(given[axis] for axis in contracted)


def _on_device(aval: Any) -> tuple[int, ...]:
    """An array's dimensions on one device, which `jax.shard_map` works with itself."""
    sizes = aval.sharding.mesh.shape
    parts = (*aval.sharding.spec.partitions, *[None] * aval.ndim)
    return tuple(
        size // math.prod(sizes[axis] for axis in axis_names(part))
        for size, part in zip(aval.shape, parts, strict=False)
    )


def _jaxprs(params: dict[str, Any]) -> Iterator[core.Jaxpr]:
    for value in params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(item, core.ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, core.Jaxpr):
                yield item
