"""The least time a step can take on a topology: its roofline.

Products, memory, links and network are taken as busy at the same time and at their peak
throughout; the slowest of them binds. No step reaches this time; one that is far from
it has something to find. *How to Scale Your Model*, chapters 1 and 3.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from xinst_jax.aot.collectives import Exchange
from xinst_jax.aot.topology import Chip, Topology


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Seconds of a step, by what would take them alone.

    Attributes:
      compute: products at the chip's bfloat16 peak.
      memory: bytes over HBM.
      links: what chips of a slice exchange.
      network: what slices exchange.
    """

    compute: float
    memory: float
    links: float
    network: float

    @property
    def seconds(self) -> float:
        """The step's least time."""
        return max(dataclasses.astuple(self))

    @property
    def binds(self) -> str:
        """Which of them that is."""
        seconds = dataclasses.asdict(self)
        return max(seconds, key=lambda name: seconds[name])


def roofline(
    topology: Topology,
    mesh: jax.sharding.Mesh,
    flops: float,
    moved: float,
    exchanges: Iterable[Exchange],
) -> Roofline:
    """The roofline of a step.

    Args:
      topology: of TPU chips.
      mesh: its devices.
      flops: that a chip executes.
      moved: bytes over a chip's HBM.
      exchanges: what the chips exchange.
    """
    chip = topology.chip
    assert chip is not None
    links = network = 0.0
    for exchange in exchanges:
        inside, between = _split(exchange, mesh.shape)
        if inside:
            links += inside / link_bandwidth(topology, chip, mesh, exchange)
        network += between / chip.network_bandwidth
    return Roofline(flops / chip.peak_flops, moved / chip.hbm_bandwidth, links, network)


def _split(exchange: Exchange, mesh: Mapping[str, int]) -> tuple[float, float]:
    """Bytes that a chip sends over links, and over the network between slices.

    An exchange over both goes in two stages: inside every slice, and between slices
    each chip its own part. Of g = m s devices, m in a slice, gathering n bytes then
    sends n (m - 1) / m by links and n (s - 1) / g by the network.
    """
    slices = mesh["slice"] if "slice" in exchange.axes else 1
    if slices == 1:
        return exchange.bytes, 0.0
    group, inner = exchange.group, exchange.group // slices
    if inner <= 1 or exchange.kind == "collective-permute":
        return 0.0, exchange.bytes
    per_share = exchange.bytes / (group - 1)
    return per_share * (group - slices), per_share * (slices - 1)


def link_bandwidth(
    topology: Topology, chip: Chip, mesh: jax.sharding.Mesh, exchange: Exchange
) -> float:
    """Bytes/s that a chip can send inside its slice for an exchange.

    A link leads each way along every axis of the torus on which the exchange's devices
    differ; without a ring along that axis only one of the two can be kept busy.
    """
    spanned = _torus_axes(mesh, exchange.axes)
    wraps = chip.wraps(topology.shape)
    links = sum(2 if wraps[axis] else 1 for axis in spanned)
    if exchange.kind == "collective-permute":
        links = 1
    return chip.link_bandwidth * max(links, 1)


def _torus_axes(mesh: jax.sharding.Mesh, axes: tuple[str, ...]) -> list[int]:
    """The axes of the torus along which one walks on these mesh axes."""
    coords = np.array([_coords(device) for device in mesh.devices.flat])
    grid = coords.reshape(*mesh.devices.shape, -1)
    places = [mesh.axis_names.index(axis) for axis in axes if axis != "slice"]
    differ = np.zeros(grid.shape[-1], bool)
    for place in places:
        first = grid.take([0], axis=place)
        differ |= (grid != first).reshape(-1, grid.shape[-1]).any(axis=0)
    return [int(axis) for axis in np.flatnonzero(differ)]


def _coords(device: Any) -> tuple[int, ...]:
    return tuple(device.coords)
