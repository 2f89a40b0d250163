"""Bytes that a compiled program moves over a device's main memory.

XLA's own cost analysis counts a loop's body once; here every instruction counts as
often as it runs. What lies in the chip's own scratch memory moves nothing, of a stacked
array a loop reads its slice, and an update in place writes what it changes.
"""

from collections.abc import Iterator

from xinst_jax.aot.hlo import Computation, Instruction, Program, Shape

_FREE = frozenset(
    (
        "parameter",
        "constant",
        "tuple",
        "get-tuple-element",
        "bitcast",
        "while",
        "call",
        "conditional",
        "after-all",
        "partition-id",
        "replica-id",
        "opt-barrier",
        "iota",
    )
)
_VIEWS = ("bitcast", "reshape", "get-tuple-element", "copy-done")


def memory_bytes(program: Program) -> float:
    """Bytes read and written in one run, padding of tiles not counted."""
    total = 0.0
    for name, times in program.times().items():
        computation = program.computations[name]
        for instruction in computation.values():
            if instruction.opcode in _FREE or instruction.opcode.endswith("-done"):
                continue
            total += times * _moved(program, computation, instruction)
    return total


def _moved(
    program: Program, computation: Computation, instruction: Instruction
) -> float:
    read = 0.0
    for place, name in enumerate(instruction.operands):
        if name not in computation:
            continue
        whole = _size(computation[name].shapes)
        read += min(whole, _read(program, computation, instruction, place, whole))
    return read + _written(program, computation, instruction)


def _read(
    program: Program,
    computation: Computation,
    instruction: Instruction,
    place: int,
    whole: float,
) -> float:
    """Bytes that an instruction reads of its operand at a place."""
    opcode = instruction.opcode
    if opcode in ("dynamic-slice", "gather") and place == 0:
        return _size(instruction.shapes)
    if opcode in ("dynamic-update-slice", "scatter") and place == 0:
        return 0.0
    name = instruction.called("calls")
    if opcode != "fusion" or name is None:
        return whole
    inner = program.computations[name]
    parameter = _parameter(inner, place)
    if parameter is None:
        return whole
    return sum(
        _read(program, inner, user, at, whole)
        for user, at in _users(inner, parameter.name)
    )


def _written(
    program: Program, computation: Computation, instruction: Instruction
) -> float:
    """Bytes that an instruction writes."""
    if instruction.opcode == "dynamic-update-slice":
        return _size(computation[instruction.operands[1]].shapes)
    name = instruction.called("calls")
    if instruction.opcode != "fusion" or name is None:
        return _size(instruction.shapes)
    inner = program.computations[name]
    root = next(i for i in inner.values() if i.root)
    parts = [inner[n] for n in root.operands] if root.opcode == "tuple" else [root]
    total = 0.0
    for shape, part in zip(instruction.shapes, parts, strict=False):
        if shape.memory or part.opcode == "parameter":
            continue
        total += min(shape.bytes, _written(program, inner, _behind(inner, part)))
    return total


def _behind(computation: Computation, instruction: Instruction) -> Instruction:
    while instruction.opcode in ("bitcast", "reshape") and instruction.operands:
        instruction = computation[instruction.operands[0]]
    return instruction


def _users(computation: Computation, name: str) -> Iterator[tuple[Instruction, int]]:
    """Who reads a value, and as which operand; views of it are looked through."""
    for user in computation.values():
        if user.opcode == "tuple":
            continue
        for place, operand in enumerate(user.operands):
            if operand != name:
                continue
            if user.opcode in _VIEWS:
                yield from _users(computation, user.name)
            else:
                yield user, place


def _parameter(computation: Computation, place: int) -> Instruction | None:
    return next(
        (
            instruction
            for instruction in computation.values()
            if instruction.opcode == "parameter" and instruction.number == place
        ),
        None,
    )


def _size(shapes: tuple[Shape, ...]) -> float:
    return sum(shape.bytes for shape in shapes if shape.memory == 0)
