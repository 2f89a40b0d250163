"""TPU slices by the names that Google gives them.

Names and sizes: cloud.google.com/tpu/docs, the page of each version. Runtime versions:
cloud.google.com/tpu/docs/runtimes. Labels of nodes:
cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus.
"""

import dataclasses
import math

from xinst_jax import slices
from xinst_jax.errors import UserError

_HOST_CHIPS = 4


@dataclasses.dataclass(frozen=True)
class Slice:
    """A TPU slice.

    Attributes:
      type: its name for Cloud TPU, e.g. 'v5litepod-64'.
      runtime: the software of its hosts.
      node: its name for GKE's nodes.
      topology: chips along each axis, e.g. '8x8'.
      hosts: how many it has.
      host_chips: chips of each.
    """

    type: str
    runtime: str
    node: str
    topology: str
    hosts: int
    host_chips: int


@dataclasses.dataclass(frozen=True)
class _Version:
    """A TPU version: the parts of its slices' names."""

    prefix: str
    runtime: str
    node: str


_VERSIONS = {
    "v4": _Version("v4", "tpu-ubuntu2204-base", "tpu-v4-podslice"),
    "v5e": _Version("v5litepod", "v2-alpha-tpuv5-lite", "tpu-v5-lite-podslice"),
    "v5p": _Version("v5p", "v2-alpha-tpuv5", "tpu-v5p-slice"),
    "v6e": _Version("v6e", "v2-alpha-tpuv6e", "tpu-v6e-slice"),
}


def named(name: str) -> Slice:
    """The slice of a name like 'v5e-64', 'v5p-128' or 'v6e-16'.

    Raises:
      UserError: there is none.
    """
    version, _, number = name.partition("-")
    known = _VERSIONS.get(version)
    shape = (
        slices.shapes(version).get(int(number))
        if known and number.isdecimal()
        else None
    )
    if known is None or shape is None:
        sizes = "; ".join(
            f"{version}-N with N = {', '.join(map(str, slices.shapes(version)))}"
            for version in _VERSIONS
        )
        raise UserError(f"--slice {name!r}: expected one of {sizes}.")
    chips = math.prod(shape)
    # Eight v5e or v6e chips are one host's, in larger slices a host has four.
    host_chips = chips if len(shape) == 2 and chips <= 8 else _HOST_CHIPS
    return Slice(
        type=f"{known.prefix}-{number}",
        runtime=known.runtime,
        node=known.node,
        topology="x".join(map(str, shape)),
        hosts=chips // host_chips,
        host_chips=host_chips,
    )
