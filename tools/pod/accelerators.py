"""TPU slices by the names that Google gives them.

Names and sizes: cloud.google.com/tpu/docs, the page of each version. Runtime versions:
cloud.google.com/tpu/docs/runtimes. Labels of nodes:
cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus.
"""

import dataclasses

from xinst_jax.errors import UserError

_FLAT = {1: "1x1", 4: "2x2", 8: "2x4", 16: "4x4", 32: "4x8", 64: "8x8", 128: "8x16"}
_FLAT |= {256: "16x16"}
_CUBIC = {8: "2x2x1", 16: "2x2x2", 32: "2x2x4", 64: "2x4x4", 128: "4x4x4"}
_CUBIC |= {256: "4x4x8", 512: "4x8x8", 1024: "8x8x8", 2048: "8x8x16", 4096: "8x16x16"}
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
    """A TPU version: the parts of its slices' names, and cores that a chip counts for.

    The number in the name of a v4 or v5p slice counts cores, two a chip.
    """

    prefix: str
    runtime: str
    node: str
    topologies: dict[int, str]
    cores: int


_VERSIONS = {
    "v4": _Version("v4", "tpu-ubuntu2204-base", "tpu-v4-podslice", _CUBIC, 2),
    "v5e": _Version(
        "v5litepod", "v2-alpha-tpuv5-lite", "tpu-v5-lite-podslice", _FLAT, 1
    ),
    "v5p": _Version("v5p", "v2-alpha-tpuv5", "tpu-v5p-slice", _CUBIC, 2),
    "v6e": _Version("v6e", "v2-alpha-tpuv6e", "tpu-v6e-slice", _FLAT, 1),
}


def named(name: str) -> Slice:
    """The slice of a name like 'v5e-64', 'v5p-128' or 'v6e-16'.

    Raises:
      UserError: there is none.
    """
    version, _, number = name.partition("-")
    known = _VERSIONS.get(version)
    if known is None or not number.isdecimal() or int(number) not in known.topologies:
        sizes = "; ".join(
            f"{version}-N with N = {', '.join(map(str, one.topologies))}"
            for version, one in _VERSIONS.items()
        )
        raise UserError(f"--slice {name!r}: expected one of {sizes}.")
    chips = int(number) // known.cores
    # Eight v5e or v6e chips are one host's, in larger slices a host has four.
    host_chips = chips if known.cores == 1 and chips <= 8 else _HOST_CHIPS
    return Slice(
        type=f"{known.prefix}-{number}",
        runtime=known.runtime,
        node=known.node,
        topology=known.topologies[int(number)],
        hosts=chips // host_chips,
        host_chips=host_chips,
    )
