"""What the devices exchange in a step, read from the compiled program.

A collective that runs in the background is written in several pieces, a start and an
end or a chain of fusions; they share a channel, and count once a turn of their loop.
"""

import dataclasses
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from xinst_jax.aot.hlo import Computation, Instruction, Program

KINDS = (
    "all-gather",
    "all-reduce",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
)

Groups = list[tuple[int, ...]]
_Key = tuple[str, tuple[str, ...], int]


@dataclasses.dataclass(frozen=True)
class Exchange:
    """All collectives of a kind over the same mesh axes.

    Attributes:
      kind: one of `KINDS`.
      axes: the mesh axes along which the devices of a group differ.
      group: devices of a group.
      count: how many there are in a step.
      bytes: what a device sends in a step, and receives as well: of an array of n bytes
        over g devices n (g - 1) / g to gather or scatter it whole, twice that to reduce
        it everywhere (rings; Thakur et al., 2005, *Optimization of Collective
        Communication Operations in MPICH*).
    """

    kind: str
    axes: tuple[str, ...]
    group: int
    count: int
    bytes: float


def exchanges(program: Program, mesh: Mapping[str, int]) -> list[Exchange]:
    """The step's collectives, those with most bytes first.

    Args:
      program: compiled for the mesh's devices, in the mesh's order.
      mesh: size of each mesh axis, in order.

    Raises:
      ValueError: a group of devices that the program names in an unknown way.
    """
    counts: defaultdict[_Key, int] = defaultdict(int)
    sent: defaultdict[_Key, float] = defaultdict(float)
    for name, times in program.times().items():
        for kind, instruction, size in _collectives(program, name):
            groups = _groups(instruction, math.prod(mesh.values()))
            key = kind, _axes(groups, mesh), len(groups[0])
            if len(groups[0]) > 1:
                counts[key] += times
                sent[key] += times * _sent(kind, size, len(groups[0]))
    found = [
        Exchange(kind, axes, group, count, sent[kind, axes, group])
        for (kind, axes, group), count in counts.items()
    ]
    return sorted(found, key=lambda exchange: -exchange.bytes)


def _collectives(
    program: Program, name: str
) -> Iterator[tuple[str, Instruction, float]]:
    """(kind, instruction, bytes that a device puts in) of one run of a computation."""
    seen = set()
    for outer in program.computations[name].values():
        scattered = (outer.called("calls") or "").startswith("all-reduce-scatter")
        for computation, instruction in _within(program, outer, name):
            kind = instruction.opcode.removesuffix("-start")
            if kind not in KINDS:
                continue
            channel = re.search(r"channel_id=(\d+)", instruction.rest)
            identity = channel[1] if channel else instruction.name
            if identity in seen:
                continue
            seen.add(identity)
            size = sum(
                shape.bytes
                for operand in instruction.operands
                for shape in computation[operand].shapes
            )
            yield "reduce-scatter" if scattered else kind, instruction, size


def _within(
    program: Program, outer: Instruction, name: str
) -> Iterator[tuple[Computation, Instruction]]:
    """An instruction and those of its fusions, each with the computation it is in."""
    yield program.computations[name], outer
    called = outer.called("calls")
    if called and outer.opcode in ("fusion", "async-start"):
        for inner in program.computations[called].values():
            yield from _within(program, inner, called)


def _sent(kind: str, size: float, group: int) -> float:
    """Bytes that a device sends, of `size` bytes that it puts in."""
    return {
        "all-gather": size * (group - 1),
        "all-reduce": 2 * size * (group - 1) / group,
        "reduce-scatter": size * (group - 1) / group,
        "all-to-all": size * (group - 1) / group,
        "collective-permute": size,
    }[kind]


def _groups(instruction: Instruction, devices: int) -> Groups:
    """The groups of devices among which a collective exchanges."""
    pairs = re.search(r"source_target_pairs=\{(\{[\d,{}]*\})\}", instruction.rest)
    if pairs:
        return _numbers(pairs[1])
    text = instruction.rest.partition("replica_groups=")[2]
    if text.startswith("{}"):
        return [tuple(range(devices))]
    listed = re.match(r"\{(\{[\d,{}]*\})\}", text)
    if listed:
        return _numbers(listed[1])
    iota = re.match(r"\[(\d+),(\d+)\]<=(\[[\d,]+\](?:T\([\d,]+\))?)", text)
    if iota:
        return _rows(_iota(iota[3]).reshape(int(iota[1]), int(iota[2])))
    named = re.match(
        r"mesh\[([^\]]*)\](?:, device_ids=\((\[[\d,]+\](?:T\([\d,]+\))?)\))? *"
        r"\{([^}:]*)\}",
        text,
    )
    if named:
        sizes = {k: int(n) for k, n in re.findall(r"'(\w+)'=(\d+)", named[1])}
        ids = _iota(named[2]) if named[2] else np.arange(devices)
        last = [[*sizes].index(axis) for axis in re.findall(r"'(\w+)'", named[3])]
        first = [n for n in range(len(sizes)) if n not in last]
        group = math.prod([*sizes.values()][n] for n in last)
        grid = ids.reshape([*sizes.values()]).transpose(first + last)
        return _rows(grid.reshape(-1, group))
    raise ValueError(f"unknown groups of devices: {text[:200]}")


def _numbers(text: str) -> Groups:
    groups = re.findall(r"\{([\d,]*)\}", text)
    return [tuple(int(n) for n in group.split(",")) for group in groups]


def _iota(text: str) -> np.ndarray:
    """Device numbers in an order that XLA writes as '[4,2]T(1,0)'.

    They count up in an array of those dimensions, whose axes are then transposed.
    """
    dims, _, order = text.removeprefix("[").rstrip(")").partition("]T(")
    sizes = [int(n) for n in dims.rstrip("]").split(",")]
    ids = np.arange(math.prod(sizes)).reshape(sizes)
    return (ids.transpose([int(n) for n in order.split(",")]) if order else ids).ravel()


def _rows(ids: np.ndarray) -> Groups:
    return [tuple(int(n) for n in row) for row in ids]


def _axes(
    groups: Sequence[tuple[int, ...]], mesh: Mapping[str, int]
) -> tuple[str, ...]:
    """The mesh axes along which the devices of a group differ."""
    places = np.stack(
        np.unravel_index(np.arange(math.prod(mesh.values())), [*mesh.values()])
    )
    differ = np.zeros(len(mesh), bool)
    for group in groups:
        inside = places[:, list(group)]
        differ |= (inside != inside[:, :1]).any(axis=1)
    return tuple(axis for axis, used in zip(mesh, differ, strict=True) if used)
