"""What a compiled step says of a run before it is paid for: memory, work, time."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from xinst_jax.aot.build import Built, Layout, TooLargeError, build
from xinst_jax.aot.collectives import Exchange, exchanges
from xinst_jax.aot.hlo import Program
from xinst_jax.aot.roofline import Roofline, roofline
from xinst_jax.aot.topology import Topology
from xinst_jax.aot.traffic import memory_bytes
from xinst_jax.config import TrainConfig
from xinst_jax.mesh import AXES
from xinst_jax.models import flops as flops_lib
from xinst_jax.train import lora

_GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of a chip's memory that the step takes, as the compiler says.

    Attributes:
      arguments: state and batch.
      temporaries: all else while it runs.
      program: its instructions.
    """

    arguments: int
    temporaries: int
    program: int

    @property
    def peak(self) -> int:
        """All three: what must fit at once. Results take the arguments' place."""
        return self.arguments + self.temporaries + self.program


@dataclasses.dataclass(frozen=True)
class Report:
    """A step, compiled for a topology.

    Attributes:
      topology: the devices.
      mesh: size of each mesh axis.
      remat: the model's rematerialisation policy.
      train: the training.
      memory: None where the step does not fit.
      needed: bytes a chip that it takes, whether it fits or not.
      model_flops: of the whole step, (causal, full): attention counted over the pairs
        of whole rows that the causal mask shows, or over all.
      executed: FLOPs that a chip executes, rematerialisation included.
      moved: bytes over a chip's memory.
      exchanges: what chips send each other.
      roofline: the least time; None on fake devices, or where the step does not fit.
    """

    topology: Topology
    mesh: dict[str, int]
    remat: str
    train: TrainConfig
    memory: Memory | None
    needed: float
    model_flops: tuple[float, float]
    executed: float
    moved: float
    exchanges: tuple[Exchange, ...]
    roofline: Roofline | None

    @property
    def fits(self) -> bool:
        """Whether a chip has room for all that the compiler says it takes."""
        return self.memory is not None

    @property
    def tokens(self) -> int:
        """Of a step."""
        return self.train.global_batch * self.train.length

    @property
    def tokens_per_second(self) -> float:
        """At the roofline, all chips together."""
        assert self.roofline is not None
        return self.tokens / self.roofline.seconds

    def mfu(self, causal: bool) -> float:
        """The model FLOPs utilisation that the roofline allows."""
        assert self.roofline is not None and self.topology.chip is not None
        peak = self.topology.chip.peak_flops * self.topology.chips
        return self.model_flops[not causal] / (self.roofline.seconds * peak)

    def chip_hours(self, schedule: "Sequence[Training]") -> float:
        """Of trainings on the same model, at this step's time for a token."""
        assert self.roofline is not None
        tokens = sum(training.tokens for training in schedule)
        seconds = tokens / self.tokens_per_second
        return seconds * self.topology.chips / 3600


@dataclasses.dataclass(frozen=True)
class Training:
    """One training of a run's schedule.

    Attributes:
      name: for a person.
      config: the training.
      times: how often the run does it, a time a round.
    """

    name: str
    config: TrainConfig
    times: int

    @property
    def tokens(self) -> int:
        """Read in all its steps, padding included."""
        config = self.config
        return self.times * config.steps * config.global_batch * config.length


def report(layout: Layout) -> Report:
    """Compiles a step and reads what it takes.

    Raises:
      UserError: the layout does not divide, or the topology cannot be compiled for.
    """
    train, model = layout.train, layout.model
    common: dict[str, Any] = {
        "topology": layout.topology,
        "remat": model.remat,
        "train": train,
    }
    try:
        built = build(layout)
    except TooLargeError as error:
        return _too_large(layout, common, error.needed)
    memory = memory_of(built)
    chip = layout.topology.chip
    if chip is not None and memory.peak > chip.hbm_bytes:
        # Not every program that is too large is refused by the compiler.
        return _too_large(layout, common, memory.peak)
    program = Program(built.compiled.as_text() or "")
    found = tuple(exchanges(program, built.mesh.shape))
    moved = memory_bytes(program)
    return Report(
        **common,
        mesh=dict(built.mesh.shape),
        memory=memory,
        needed=memory.peak,
        model_flops=model_flops(layout),
        executed=built.flops,
        moved=moved,
        exchanges=found,
        roofline=None
        if chip is None
        else roofline(layout.topology, built.mesh, built.flops, moved, found),
    )


def _too_large(layout: Layout, common: dict[str, Any], needed: float) -> Report:
    return Report(
        **common,
        mesh=dict(layout.devices_mesh().shape),
        memory=None,
        needed=needed,
        model_flops=model_flops(layout),
        executed=0.0,
        moved=0.0,
        exchanges=(),
        roofline=None,
    )


def memory_of(built: Built) -> Memory:
    """What the compiler says that a step takes."""
    stats: Any = built.compiled.memory_analysis()
    results = stats.output_size_in_bytes - stats.alias_size_in_bytes
    return Memory(
        arguments=stats.argument_size_in_bytes,
        temporaries=stats.temp_size_in_bytes + results,
        program=stats.generated_code_size_in_bytes,
    )


def model_flops(layout: Layout) -> tuple[float, float]:
    """FLOPs of the whole step by the model's shape, (causal, full)."""
    train, model = layout.train, layout.model
    adapters = lora.count(model, train.lora)
    tokens = train.global_batch * train.length
    causal, full = (
        flops_lib.flops_per_token(model, train.length, adapters, causal=kind)
        for kind in (True, False)
    )
    return causal * tokens, full * tokens


def described(layout_mesh: dict[str, int]) -> str:
    """A mesh in words: the axes with more than one device.

    Example: {'slice': 1, 'fsdp': 16, 'sequence': 1, 'tensor': 4} is 'fsdp 16 x tensor
    4'.
    """
    parts = [f"{axis} {layout_mesh[axis]}" for axis in AXES if layout_mesh[axis] > 1]
    return " x ".join(parts) or "one device"


def lines(found: Report, schedule: Sequence[Training]) -> list[str]:
    """The report for a person, one line each."""
    train = found.train
    parts = f" in {train.microbatches} parts" if train.microbatches > 1 else ""
    text = [
        f"{found.topology.name}: {found.topology}; {described(found.mesh)}",
        f"step: {train.global_batch:,} rows of {train.length:,} tokens{parts}, "
        f"{found.tokens:,} tokens; remat {found.remat}",
        *_memory_lines(found),
    ]
    if not found.fits:
        return text
    text += _work_lines(found)
    if found.roofline is None:
        return [*text, "roofline: none for fake devices, which have no speed"]
    return text + _time_lines(found, found.roofline, schedule)


def _memory_lines(found: Report) -> list[str]:
    chip = found.topology.chip
    if found.memory is None:
        assert chip is not None
        over = found.needed - chip.hbm_bytes
        return [
            f"memory: DOES NOT FIT: {found.needed / _GIB:.2f} GiB a chip of "
            f"{chip.hbm_bytes / _GIB:.2f} GiB, {over / _GIB:.2f} GiB too much"
        ]
    memory = found.memory
    share = ""
    if chip:
        room = chip.hbm_bytes
        share = f" = {memory.peak / room:.1%} of {room / _GIB:.2f} GiB: fits"
    return [
        f"memory a chip: arguments {memory.arguments / _GIB:.2f} GiB, temporaries "
        f"{memory.temporaries / _GIB:.2f} GiB, program {memory.program / _GIB:.2f} GiB",
        f"  peak {memory.peak / _GIB:.2f} GiB{share}",
    ]


def _work_lines(found: Report) -> list[str]:
    causal, full = (flops / found.topology.chips for flops in found.model_flops)
    text = [
        f"FLOPs a chip: model {causal / 1e12:,.3f} T causal, {full / 1e12:,.3f} T "
        f"full; executed {found.executed / 1e12:,.3f} T",
        f"bytes over HBM a chip: {found.moved / 1e9:,.1f} GB",
        "collectives (GB that a chip sends):",
    ]
    text += [
        f"  {e.kind:<18} {' x '.join(e.axes):<16} of {e.group:<4} {e.count:>6} times "
        f"{e.bytes / 1e9:>9.3f} GB"
        for e in found.exchanges
    ]
    return text if found.exchanges else [*text, "  none"]


def _time_lines(
    found: Report, least: Roofline, schedule: Sequence[Training]
) -> list[str]:
    speed = found.tokens_per_second
    rounds = ", ".join(
        f"{training.name}{f' x {training.times}' if training.times > 1 else ''}"
        for training in schedule
    )
    return [
        f"roofline: compute {least.compute:.3f} s, HBM {least.memory:.3f} s, links "
        f"{least.links:.3f} s, network {least.network:.3f} s: {least.binds} binds",
        f"  a step takes at least {least.seconds:.3f} s; MFU at most "
        f"{found.mfu(True):.1%} causal, {found.mfu(False):.1%} full",
        f"  at most {speed:,.0f} tokens/s, {speed / found.topology.chips:,.0f} a chip",
        f"  at least {found.chip_hours(schedule):,.1f} chip-hours for {rounds}",
    ]
