"""A compiled program's text, read: its instructions, and how often each one runs.

XLA prints an optimised program as computations of instructions. Loops and fusions call
other computations; XLA's own cost analysis counts a loop's body once, so the loops are
counted here.
"""

import dataclasses
import math
import re
from collections import defaultdict
from collections.abc import Mapping

_BYTES = {
    "pred": 1,
    "s4": 0.5,
    "u4": 0.5,
    "s8": 1,
    "u8": 1,
    "s16": 2,
    "u16": 2,
    "bf16": 2,
    "f16": 2,
    "s32": 4,
    "u32": 4,
    "f32": 4,
    "s64": 8,
    "u64": 8,
    "f64": 8,
    "c64": 8,
}


@dataclasses.dataclass(frozen=True)
class Shape:
    """An array in a program.

    Attributes:
      dtype: as XLA writes it, 'bf16'.
      dims: its dimensions on one device.
      memory: XLA's memory space; 0 is the device's main memory.
    """

    dtype: str
    dims: tuple[int, ...]
    memory: int

    @property
    def bytes(self) -> float:
        """Its size without padding; what only orders instructions has none."""
        return math.prod(self.dims) * _BYTES.get(self.dtype, 0)


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
      name: unique in the program.
      opcode: 'all-gather', 'fusion', ...
      shapes: the arrays that it gives, a tuple's one after the other.
      operands: names of the instructions that it reads.
      number: of a parameter its place, of an integer constant its value.
      rest: its attributes, as text.
      root: whether it is what the computation gives.
    """

    name: str
    opcode: str
    shapes: tuple[Shape, ...]
    operands: tuple[str, ...]
    number: int | None
    rest: str
    root: bool

    def called(self, attribute: str) -> str | None:
        """The computation that an attribute names."""
        found = re.search(rf"\b{attribute}=%?([\w.\-]+)", self.rest)
        return found[1] if found else None

    @property
    def constant(self) -> int | None:
        """The value of an integer constant."""
        return self.number if self.opcode == "constant" else None


Computation = dict[str, Instruction]


class Program:
    """An optimised program.

    Attributes:
      computations: by name; instructions in the order in which they run.
      entry: the name of the one that is run.
    """

    def __init__(self, text: str):
        """Reads `jax.stages.Compiled.as_text()`.

        Raises:
          ValueError: it is not a program's text.
        """
        self.computations: dict[str, Computation] = {}
        self.entry = ""
        current: Computation = {}
        for line in text.splitlines():
            header = re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line)
            if header:
                current = self.computations[header[2]] = {}
                self.entry = header[2] if header[1] else self.entry
            elif line.startswith("  "):
                instruction = _instruction(line)
                if instruction:
                    current[instruction.name] = instruction
        if not self.entry:
            raise ValueError("the program's text has no ENTRY computation")

    def times(self) -> Mapping[str, int]:
        """How often each computation runs when the program does, fusions apart.

        Of a conditional's branches the dearest runs, the others do not.

        Raises:
          ValueError: a loop whose number of turns cannot be read.
        """
        counts: defaultdict[str, int] = defaultdict(int)
        self._count(self.entry, 1, counts)
        return counts

    def _count(self, name: str, times: int, counts: defaultdict[str, int]) -> None:
        counts[name] += times
        for instruction in self.computations[name].values():
            if instruction.opcode == "while":
                turns = self._turns(instruction, self.computations[name])
                body = instruction.called("body")
                assert body is not None
                self._count(body, times * turns, counts)
            elif instruction.opcode == "call":
                callee = instruction.called("to_apply")
                assert callee is not None
                self._count(callee, times, counts)
            elif instruction.opcode == "conditional":
                branches = re.findall(
                    r"%([\w.\-]+)", _braces(instruction.rest, "branch_computations=")
                )
                self._count(max(branches, key=self._written), times, counts)

    def _written(self, name: str) -> float:
        """Bytes that a computation's instructions give: how dear a branch is."""
        given = (i.shapes for i in self.computations[name].values())
        return sum(shape.bytes for shapes in given for shape in shapes)

    def _turns(self, loop: Instruction, caller: Computation) -> int:
        """How often a loop's body runs: as XLA notes it, or from its counter."""
        noted = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.rest)
        if noted:
            return int(noted[1])
        condition, body = loop.called("condition"), loop.called("body")
        assert condition is not None and body is not None
        bound = self._bound(self.computations[condition])
        if bound is not None:
            index, limit = bound
            start = _start(caller, loop, index)
            step = _step(self.computations[body], index)
            if start is not None and step:
                return max(0, -(-(limit - start) // step))
        raise ValueError(f"the number of turns of the loop {loop.name} cannot be read")

    @staticmethod
    def _bound(condition: Computation) -> tuple[int, int] | None:
        """(the counter's place in the loop's state, its limit) of 'counter < limit'."""
        root = next(i for i in condition.values() if i.root)
        if root.opcode != "compare" or "direction=LT" not in root.rest:
            return None
        counter, limit = (_source(condition, name) for name in root.operands)
        index = _index(counter)
        if index is None or limit.constant is None:
            return None
        return index, limit.constant


def _index(instruction: Instruction) -> int | None:
    found = re.search(r"\bindex=(\d+)", instruction.rest)
    is_element = instruction.opcode == "get-tuple-element" and found
    return int(found[1]) if is_element and found else None


def _source(computation: Computation, name: str) -> Instruction:
    """What an instruction's value is, behind the copies that were made of it."""
    value = computation[name]
    while value.opcode in ("copy", "bitcast", "copy-start", "copy-done"):
        value = computation[value.operands[0]]
    return value


def _start(caller: Computation, loop: Instruction, index: int) -> int | None:
    """What the loop's counter is before the first turn."""
    state = caller[loop.operands[0]]
    if state.opcode != "tuple":
        return None
    return _source(caller, state.operands[index]).constant


def _step(body: Computation, index: int) -> int | None:
    """What a turn adds to the loop's counter."""
    root = next(i for i in body.values() if i.root)
    if root.opcode != "tuple":
        return None
    value = _source(body, root.operands[index])
    if value.opcode != "add":
        return None
    parts = [_source(body, name) for name in value.operands]
    steps = [part.constant for part in parts if part.constant is not None]
    counters = [part for part in parts if _index(part) == index]
    return steps[0] if len(steps) == len(counters) == 1 else None


def _instruction(line: str) -> Instruction | None:
    head = re.match(r"  (ROOT )?%?([\w.\-]+) = ", line)
    if not head:
        return None
    line = re.sub(r"/\*.*?\*/", "", line[head.end() :])
    end = _closing(line, 0) + 1 if line.startswith("(") else line.index(" ")
    shapes = tuple(_shape(*found) for found in _SHAPE.findall(line[:end]))
    call = re.match(r" *([\w\-]+)\(", line[end:])
    if not call:
        return None
    opened = end + call.end() - 1
    closed = _closing(line, opened)
    given = line[opened + 1 : closed]
    operands = tuple(re.findall(r"%([\w.\-]+)", given))
    number = int(given) if re.fullmatch(r"-?\d+", given) else None
    rest = line[closed + 1 :]
    return Instruction(head[2], call[1], shapes, operands, number, rest, bool(head[1]))


_SHAPE = re.compile(r"([a-z]\w*)\[([\d,<=]*)\](?:\{([^{}]*)\})?")


def _shape(dtype: str, dims: str, layout: str) -> Shape:
    space = re.search(r"S\((\d+)\)", layout)
    sizes = tuple(int(size.strip("<=")) for size in dims.split(",") if size)
    return Shape(dtype, sizes, int(space[1]) if space else 0)


def _closing(text: str, opened: int) -> int:
    """Where the parenthesis is closed that is opened there."""
    depth = 0
    for place in range(opened, len(text)):
        depth += (text[place] == "(") - (text[place] == ")")
        if not depth:
            return place
    raise ValueError(f"no closing parenthesis in {text[:80]!r}")


def _braces(text: str, before: str) -> str:
    found = re.search(re.escape(before) + r"\{([^}]*)\}", text)
    return found[1] if found else ""
