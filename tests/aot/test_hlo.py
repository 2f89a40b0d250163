"""A program's text is read as it is meant: loops, copies, fusions, device groups."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xinst_jax.aot import collectives
from xinst_jax.aot.hlo import Program, Shape
from xinst_jax.aot.traffic import memory_bytes

# A loop as XLA:TPU writes it: no number of turns, and copies of the counter.
_LOOP = """
HloModule test

%body (p.0: (s32[], bf16[8,4])) -> (s32[], bf16[8,4]) {
  %p.0 = (s32[]{:T(128)}, bf16[8,4]{1,0:T(8,128)(2,1)}) parameter(0)
  %one = s32[]{:T(128)} constant(2)
  %counter = s32[]{:T(128)} get-tuple-element(%p.0), index=0
  %counter.copy = s32[]{:T(128)S(6)} copy(%counter)
  %rows = bf16[8,4]{1,0:T(8,128)(2,1)} get-tuple-element(%p.0), index=1
  %next = s32[]{:T(128)} add(%counter.copy, %one)
  ROOT %out = (s32[]{:T(128)}, bf16[8,4]{1,0}) tuple(%next, %rows)
}

%condition (p.1: (s32[], bf16[8,4])) -> pred[] {
  %p.1 = (s32[]{:T(128)}, bf16[8,4]{1,0:T(8,128)(2,1)}) parameter(0)
  %limit = s32[]{:T(128)} constant(START_LIMIT)
  %at = s32[]{:T(128)} get-tuple-element(%p.1), index=0
  ROOT %less = pred[]{:T(512)} compare(%at, %limit), direction=LT
}

ENTRY %main (p: bf16[8,4]) -> bf16[8,4] {
  %p = bf16[8,4]{1,0:T(8,128)(2,1)S(1)} parameter(0)
  %three = s32[]{:T(128)} constant(3)
  %three.copy = s32[]{:T(128)} copy(%three)
  %start = (s32[]{:T(128)}, /*index=1*/bf16[8,4]{1,0}) tuple(%three.copy, %p)
  %loop = (s32[], bf16[8,4]{1,0}) while(%start), condition=%condition, body=%body
  ROOT %result = bf16[8,4]{1,0} get-tuple-element(%loop), index=1
}
"""


def test_turns_of_a_loop_are_counted_from_its_counter():
    program = Program(_LOOP.replace("START_LIMIT", "10"))
    # 3, 5, 7, 9.
    assert program.times() == {"main": 1, "body": 4}
    parameter = program.computations["main"]["p"]
    assert parameter.shapes == (Shape("bf16", (8, 4), memory=1),)
    assert parameter.shapes[0].bytes == 64


def test_of_a_conditional_the_dearest_branch_runs():
    def step(x, chosen):
        return jax.lax.cond(chosen, lambda x: jnp.sin(x @ x) @ x, lambda x: x + 1, x)

    shapes = jax.ShapeDtypeStruct((64, 64), jnp.float32), jax.ShapeDtypeStruct((), bool)
    program = Program(jax.jit(step).lower(*shapes).compile().as_text())
    (taken,) = set(program.times()) - {program.entry}
    assert any(
        "dot_general" in instruction.rest
        for instruction in program.computations[taken].values()
    )


def test_a_loop_whose_turns_cannot_be_read_is_an_error():
    text = _LOOP.replace("START_LIMIT", "10").replace("add(", "multiply(")
    with pytest.raises(ValueError, match="turns of the loop loop"):
        Program(text).times()


@pytest.mark.parametrize(
    ("text", "axes"),
    [
        ("replica_groups={{0,1},{2,3},{4,5},{6,7}}", ("tensor",)),
        ("replica_groups=[4,2]<=[8]", ("tensor",)),
        ("replica_groups=[2,4]<=[4,2]T(1,0)", ("fsdp",)),
        ("replica_groups=mesh['axis_0'=4,'axis_1'=2] {'axis_0'}", ("fsdp",)),
        (
            "replica_groups=mesh['axis_0'=2,'axis_1'=4], device_ids=([4,2]T(1,0)) "
            "{'axis_1'}",
            ("fsdp",),
        ),
        ("replica_groups={}", ("fsdp", "tensor")),
        ("source_target_pairs={{0,2},{2,4},{4,6},{6,0}}", ("fsdp",)),
    ],
)
def test_groups_of_devices_are_read_in_every_notation(text, axes):
    line = f"  %x = f32[4]{{0}} all-reduce(%p), channel_id=1, {text}, to_apply=%add"
    program = Program(
        "ENTRY %main (p: f32[4]) -> f32[4] {\n  %p = f32[4]{0} parameter(0)\n"
        f"{line}\n}}\n"
    )
    mesh = {"slice": 1, "fsdp": 4, "sequence": 1, "tensor": 2}
    (found,) = collectives.exchanges(program, mesh)
    assert found.axes == axes


def test_pieces_of_one_collective_count_once():
    piece = "fusion(%p), kind=kCustom, calls=%piece"
    text = (
        "%piece (q: f32[4]) -> f32[8] {\n  %q = f32[4]{0} parameter(0)\n"
        "  ROOT %g = f32[8]{0} all-gather(%q), channel_id=7, "
        "replica_groups={{0,1}}, dimensions={0}\n}\n"
        "ENTRY %main (p: f32[4]) -> f32[8] {\n  %p = f32[4]{0} parameter(0)\n"
        f"  %begin = f32[8]{{0}} {piece}\n  ROOT %end = f32[8]{{0}} {piece}\n}}\n"
    )
    (found,) = collectives.exchanges(Program(text), {"fsdp": 2})
    assert (found.kind, found.count, found.bytes) == ("all-gather", 1, 16)


def test_bytes_moved_count_slices_and_turns():
    def summed(stack_lab, start_ab):
        def turn(total_ab, slice_ab):
            return jnp.tanh(total_ab @ slice_ab), None

        return jax.lax.scan(turn, start_ab, stack_lab)[0]

    stack = jax.ShapeDtypeStruct((16, 256, 256), np.float32)
    start = jax.ShapeDtypeStruct((256, 256), np.float32)
    compiled = jax.jit(summed).lower(stack, start).compile()
    moved = memory_bytes(Program(compiled.as_text()))
    once = 4 * 256 * 256
    # In each turn a slice, the total and the product are read and written a few times;
    # reading the whole stack in each would be 16 turns x 16 slices.
    assert 16 * 3 * once <= moved <= 16 * 10 * once
