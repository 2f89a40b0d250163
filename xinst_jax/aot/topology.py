"""TPU slices by name, without having one: their chips, and devices to compile for.

Compiling for a TPU that is not attached needs libtpu, which a CPU machine can install
(requirements-tpu.txt). A topology of fake CPU devices needs nothing: its program has
the same arrays and the same kinds of exchange, but no HBM and no speed.
"""

import contextlib
import dataclasses
import importlib.util
import math
import os
import re
from collections.abc import Sequence

import jax

from xinst_jax import slices as slices_lib
from xinst_jax.errors import UserError
from xinst_jax.train.monitor import PEAK_FLOPS

_GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """What a chip can do at most.

    Attributes:
      name: as topologies are named, 'v5e'.
      peak_flops: dense bfloat16 FLOP/s.
      hbm_bytes: memory that the compiler lets a program use.
      hbm_bandwidth: bytes/s.
      link_bandwidth: bytes/s of one link to a neighbour, in one direction.
      network_bandwidth: bytes/s of a chip's share in the network between slices, in one
        direction.
      torus_axes: dimensions of the interconnect.
    """

    name: str
    peak_flops: float
    hbm_bytes: float
    hbm_bandwidth: float
    link_bandwidth: float
    network_bandwidth: float
    torus_axes: int

    def wraps(self, shape: Sequence[int]) -> tuple[bool, ...]:
        """Whether the interconnect closes to a ring along each axis of a slice.

        v5e and v6e have the wires of a whole pod's side, 16; v4 and v5p close slices
        made of whole cubes of 4 x 4 x 4.
        """
        if self.torus_axes == 2:
            return tuple(size == 16 for size in shape)
        return (all(size % 4 == 0 for size in shape),) * len(shape)


_CHIPS = {
    chip.name: chip
    for chip in (
        Chip(
            name="v4",
            peak_flops=PEAK_FLOPS["TPU v4"],
            hbm_bytes=30.75 * _GIB,
            hbm_bandwidth=1.2e12,
            link_bandwidth=45e9,
            network_bandwidth=6.25e9,
            torus_axes=3,
        ),
        Chip(
            name="v5e",
            peak_flops=PEAK_FLOPS["TPU v5 lite"],
            hbm_bytes=15.75 * _GIB,
            hbm_bandwidth=0.819e12,
            link_bandwidth=45e9,
            network_bandwidth=3.125e9,
            torus_axes=2,
        ),
        Chip(
            name="v5p",
            peak_flops=PEAK_FLOPS["TPU v5p"],
            hbm_bytes=95.74 * _GIB,
            hbm_bandwidth=2.765e12,
            link_bandwidth=90e9,
            network_bandwidth=6.25e9,
            torus_axes=3,
        ),
        Chip(
            name="v6e",
            peak_flops=PEAK_FLOPS["TPU v6 lite"],
            hbm_bytes=31.25 * _GIB,
            hbm_bandwidth=1.638e12,
            link_bandwidth=90e9,
            network_bandwidth=12.5e9,
            torus_axes=2,
        ),
    )
}
"""HBM bandwidth: each version's page under docs.cloud.google.com/tpu/docs. Links and
network: *How to Scale Your Model* (jax-ml.github.io/scaling-book), chapter 2, "TPU
specs". HBM in bytes: the capacity that libtpu's compiler names when a program exceeds
it."""


@dataclasses.dataclass(frozen=True)
class Topology:
    """Slices of one shape.

    Attributes:
      name: as the user gave it.
      chip: None for fake CPU devices.
      shape: chips along each axis of a slice.
      slices: how many there are, joined by the data centre's network.
    """

    name: str
    chip: Chip | None
    shape: tuple[int, ...]
    slices: int

    @property
    def chips(self) -> int:
        """Of all slices together."""
        return self.slices * math.prod(self.shape)

    def __str__(self) -> str:
        several = f"{self.slices} slices of " if self.slices > 1 else ""
        if self.chip is None:
            return f"{several}{self.shape[0]} fake CPU devices"
        shape = "x".join(map(str, self.shape))
        return f"{several}{shape} {self.chip.name}, {self.chips} chips"


def parse(name: str, slices: int = 1) -> Topology:
    """A topology by name.

    Example: 'v5e-64' and 'v5e:8x8' are 64 chips in a square; 'v5p-64' is 32 chips in
    2x4x4, since Google Cloud counts the TensorCores of v4 and v5p; 'cpu:8' is eight
    fake devices.

    Raises:
      UserError: it is not the name of a topology.
    """
    fake = re.fullmatch(r"cpu:(\d+)", name)
    if fake:
        if int(fake[1]) % slices or int(fake[1]) < slices:
            raise UserError(
                f"--topology {name} cannot be cut into MeshConfig.slice = {slices} "
                "equal slices."
            )
        return Topology(name, None, (int(fake[1]) // slices,), slices)
    given = re.fullmatch(r"(\w+?)(?:-(\d+)|:(\d+(?:x\d+)*))", name)
    chip = _CHIPS.get(given[1]) if given else None
    if not given or chip is None:
        raise _unknown(name)
    if given[3]:
        shape = tuple(map(int, given[3].split("x")))
        if len(shape) != chip.torus_axes:
            raise UserError(
                f"--topology {name}: a slice of {chip.name} has {chip.torus_axes} "
                f"axes, found {len(shape)}."
            )
        return Topology(name, chip, shape, slices)
    shapes = slices_lib.shapes(chip.name)
    if int(given[2]) not in shapes:
        known = ", ".join(f"{chip.name}-{number}" for number in shapes)
        raise UserError(
            f"--topology {name}: no such slice. Known: {known}; or give its shape, as "
            f"in {chip.name}:{'x'.join(map(str, shapes[32]))}."
        )
    return Topology(name, chip, shapes[int(given[2])], slices)


def _unknown(name: str) -> UserError:
    return UserError(
        f"--topology {name}: expected a slice of {', '.join(_CHIPS)} by name or shape "
        "(v5e-64, v5e:8x8, v5p:4x4x4), or cpu:N for N fake devices."
    )


def devices(topology: Topology) -> list[jax.Device]:
    """The topology's devices: to make a mesh of and compile for, not to run on.

    Raises:
      UserError: libtpu is missing or knows no such topology, or JAX was started with
        fewer fake devices.
    """
    if topology.chip is None:
        return _fake_devices(topology.chips)
    if not importlib.util.find_spec("libtpu"):
        raise UserError(
            f"Compiling for {topology.name} needs the TPU compiler, libtpu, which is "
            "not installed; no TPU is needed. pip install --no-deps -r "
            "requirements-tpu.txt (684 MB), or try the same on fake devices: "
            f"--topology cpu:{topology.chips}."
        )
    from jax.experimental import topologies

    _quiet()
    shape = "x".join(map(str, topology.shape))
    options: dict[str, str | int] = {}
    if topology.slices > 1:
        options["num_slices"] = topology.slices
    if topology.chip.name == "v4":
        # The two TensorCores of a chip as one device, as JAX shows them on a v4.
        options["chip_config_name"] = "megacore"
    try:
        found = topologies.get_topology_desc(
            f"{topology.chip.name}:{shape}", "tpu", **options
        )
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).split("\n")[0]
        raise UserError(f"--topology {topology.name}: {reason}") from error
    return list(found.devices)


def _quiet() -> None:
    """Keeps libtpu from looking for a TPU here, and from complaining of its absence."""
    for name, value in (
        ("TPU_SKIP_MDS_QUERY", "1"),
        ("TPU_WORKER_HOSTNAMES", "localhost"),
        ("TPU_ACCELERATOR_TYPE", "v5litepod-8"),
        ("ALLOW_MULTIPLE_LIBTPU_LOAD", "1"),
    ):
        os.environ.setdefault(name, value)


def _fake_devices(count: int) -> list[jax.Device]:
    # Where JAX runs already, it has as many as it was started with.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", count)
    found = jax.devices("cpu")
    if len(found) < count:
        raise UserError(
            f"--topology cpu:{count}: this process has {len(found)} fake devices "
            f"already. Start it with JAX_NUM_CPU_DEVICES={count}."
        )
    return found[:count]
