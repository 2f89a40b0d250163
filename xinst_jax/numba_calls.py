"""Functions that Numba compiles, as calls of an XLA program on a CPU.

XLA hands a call one pointer, to a struct of 64-bit words that lead to the arrays: the
frame of its foreign function interface, whose layout is public and kept (jaxlib's
xla/ffi/api/c_api.h). Only what a kernel needs of it is read here.

What was compiled is kept for other processes, until the kernel's file or this one
changes; where nothing can be written, each process compiles for itself.
"""

import functools
import hashlib
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numba
import numpy as np
from llvmlite import ir
from numba import extending, types
from numba.core import cgutils

_HANDLER = types.int64(types.int64)
"""The signature of a handler: the frame's address, and 0 if all went well."""

_SUMS = {"reassoc", "contract", "nsz"}
"""Liberties of the compiler: to add a sum's terms in a vector unit's order."""

ROWS, COLUMNS = 8, 16
"""What `add_product` adds to at once: eight vectors of 512 bits."""

_PARTS, _WORKERS = 8, 4
"""Calls for each core, and most cores at work: XLA's executor computes up to eight
calls that are ready one after the other, shares more with another thread, and asks four
for help (kSplitThreshold and kMaxWorkers of xla/backends/cpu/runtime/thunk.h)."""

_THIS = hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest()[:12]

_ZERO, _HALF = np.float32(0), np.float32(0.5)
_LEAST, _LOG2_E = np.float32(-87), np.float32(1.44269504)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_EXP = (
    np.float32(1.9875691500e-4),
    np.float32(1.3981999507e-3),
    np.float32(8.3334519073e-3),
    np.float32(4.1665795894e-2),
    np.float32(1.6666665459e-1),
    np.float32(5.0000001201e-1),
    np.float32(1),
    np.float32(1),
)
"""Factors of `exp`, the highest power's first."""

_FRAME_WORDS = 15
_EXTENSION, _API, _ARGUMENTS, _RESULTS = 1, 2, 9, 14
"""Words of a frame: what is asked of it beside a call, the interface, and the lists of
pointers to what comes in and goes out."""

_METADATA = 1
"""The kind of extension that asks for the version of the interface."""


@extending.intrinsic
def _pointer(typing_context: Any, address: Any, dtype: Any) -> Any:
    """A number as a pointer to a `dtype`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = context.get_value_type(signature.return_type)
        return builder.inttoptr(arguments[0], kind)

    return types.CPointer(dtype.dtype)(address, dtype), generate


@extending.intrinsic
def float32_of_bits(typing_context: Any, bits: Any) -> Any:
    """The float32 of 32 bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = context.get_value_type(signature.return_type)
        return builder.bitcast(arguments[0], kind)

    return types.float32(types.int32), generate


@extending.intrinsic
def wide(typing_context: Any, x: Any) -> Any:
    """A float32, an int8, or a bfloat16, which comes as uint16, as float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if x != types.uint16:
            return context.cast(builder, arguments[0], x, types.float32)
        word, float_ = map(context.get_value_type, (types.int32, types.float32))
        bits = builder.shl(builder.zext(arguments[0], word), word(16))
        return builder.bitcast(bits, float_)

    return types.float32(x), generate


@numba.njit
def array(address: int, dtype: Any, shape: tuple[int, ...]) -> Any:
    """The array of a Numba type at an address."""
    return numba.carray(_pointer(address, dtype), shape)


@numba.njit
def _words(address: int, count: int) -> Any:
    return array(address, types.int64, (count,))


@numba.njit
def asks_for_version(frame: int) -> bool:
    """Whether the frame is no call but XLA's question for its version, then answered.

    The answer is the version that asks: it is the jaxlib that is pinned.
    """
    words = _words(frame, _FRAME_WORDS)
    if words[_EXTENSION] == 0:
        return False
    extension = _words(words[_EXTENSION], 4)
    if extension[1] & 0xFFFFFFFF != _METADATA:
        return False
    _words(extension[3], 4)[3] = _words(words[_API], 5)[4]
    return True


@numba.njit
def argument(frame: int, number: int) -> tuple[int, Any]:
    """The address of an argument of a call, and its shape as an array of int64."""
    return _buffer(_words(frame, _FRAME_WORDS)[_ARGUMENTS], number)


@numba.njit
def scalar(frame: int, number: int, dtype: Any) -> Any:
    """The one number of an argument of a Numba type."""
    return array(argument(frame, number)[0], dtype, (1,))[0]


@numba.njit
def result(frame: int, number: int) -> tuple[int, Any]:
    """The address of a result of a call, and its shape as an array of int64."""
    return _buffer(_words(frame, _FRAME_WORDS)[_RESULTS], number)


@numba.njit
def _buffer(pointers: int, number: int) -> tuple[int, Any]:
    buffer = _words(_words(pointers, number + 1)[number], 6)
    return buffer[3], _words(buffer[5], buffer[4])


@extending.intrinsic
def _add_tile(
    typing_context: Any,
    c: Any,
    c_stride: Any,
    a: Any,
    a_stride: Any,
    b: Any,
    b_stride: Any,
    depth: Any,
) -> Any:
    """`add_product` of `ROWS` rows and `COLUMNS` columns, by addresses.

    The sums stay in vector registers, which no loop that Numba is given comes to.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        c, c_stride, a, a_stride, b, b_stride, depth = arguments
        float_, word = ir.FloatType(), ir.IntType(64)
        vector, lane = ir.VectorType(float_, COLUMNS), ir.IntType(32)
        everywhere = ir.Constant(ir.VectorType(lane, COLUMNS), [0] * COLUMNS)

        def at(kind: Any, address: Any, stride: Any, row: Any, column: Any) -> Any:
            place = builder.add(builder.mul(stride, row), column)
            bytes_ = builder.mul(place, ir.Constant(word, 4))
            return builder.inttoptr(builder.add(address, bytes_), kind.as_pointer())

        none = ir.Constant(word, 0)
        rows = [ir.Constant(word, row) for row in range(ROWS)]
        places = [at(vector, c, c_stride, row, none) for row in rows]
        sums = [cgutils.alloca_once(builder, vector) for _ in rows]
        for place, sum_ in zip(places, sums, strict=True):
            builder.store(builder.load(place, align=4), sum_)
        with cgutils.for_range(builder, depth, intp=word) as loop:
            factor = builder.load(at(vector, b, b_stride, loop.index, none), align=4)
            for row, sum_ in zip(rows, sums, strict=True):
                one = builder.load(at(float_, a, a_stride, row, loop.index), align=4)
                alike = ir.Constant(vector, ir.Undefined)
                alike = builder.insert_element(alike, one, ir.Constant(lane, 0))
                alike = builder.shuffle_vector(alike, alike, everywhere)
                more = builder.fmul(alike, factor, flags=("contract",))
                more = builder.fadd(builder.load(sum_), more, flags=("contract",))
                builder.store(more, sum_)
        for place, sum_ in zip(places, sums, strict=True):
            builder.store(builder.load(sum_), place, align=4)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 7), generate


@numba.njit(forceinline=True)
def add_product(
    c: int,
    c_stride: int,
    a: int,
    a_stride: int,
    b: int,
    b_stride: int,
    shape: tuple[int, int, int],
) -> None:
    """Adds the product a @ b of float32 matrices to c.

    Args:
      c: address of the first number of (rows, columns).
      c_stride: numbers from one row to the next.
      a: address of (rows, depth).
      a_stride: likewise.
      b: address of (depth, columns).
      b_stride: likewise.
      shape: rows, a multiple of `ROWS`; columns, one of `COLUMNS`; depth.
    """
    rows, columns, depth = shape
    for row in range(0, rows, ROWS):
        for column in range(0, columns, COLUMNS):
            _add_tile(
                c + 4 * (row * c_stride + column),
                c_stride,
                a + 4 * row * a_stride,
                a_stride,
                b + 4 * column,
                b_stride,
                depth,
            )


@numba.njit(forceinline=True)
def highest(scores_s: Any, least: Any, highest_c: Any) -> Any:
    """The largest of float32 numbers and `least`, by way of `COLUMNS` numbers of room.

    Each of those is the largest of every so many-th score, as vector units find them.
    """
    size = len(scores_s)
    whole = size - size % COLUMNS
    highest_c[:] = least
    for first in range(0, whole, COLUMNS):
        for c in range(COLUMNS):
            highest_c[c] = max(highest_c[c], scores_s[first + c])
    for s in range(whole, size):
        highest_c[0] = max(highest_c[0], scores_s[s])
    for c in range(COLUMNS):
        least = max(least, highest_c[c])
    return least


@numba.njit(fastmath={"contract"}, error_model="numpy", forceinline=True)
def exp(x: Any) -> Any:
    """e^x of a float32 that is not positive, in steps that a vector unit knows.

    As Cephes' expf (Moshier, 1992): 2^n times a polynomial for what is left, up to
    ln(2) / 2. Below -87, where float32 has no normal numbers, it is 0; of no number
    it is none.
    """
    n = np.floor(max(x, _LEAST) * _LOG2_E + _HALF)
    left = x - n * _LN2_HIGH - n * _LN2_LOW
    sum_ = _EXP[0]
    for factor in _EXP[1:]:
        sum_ = sum_ * left + factor
    power = float32_of_bits((np.int32(n) + np.int32(127)) << np.int32(23))
    return _ZERO if x < _LEAST else power * sum_


def computed(
    name: str,
    handler: Callable[[int], int],
    items: int,
    shape: Sequence[int],
    arguments: Sequence[Any],
) -> jax.Array:
    """What a handler makes of every item, (items, *shape) float32.

    XLA runs calls that need nothing of each other side by side: each of several calls
    computes every so many-th item, so that all share in what is long. A call's first
    argument is an int32 array: its first item, and from one item to its next. What it
    gives has room for as many items as the first call's.

    Args:
      name: how XLA knows the handler; one name, one handler.
      handler: compiled when first asked for.
      items: how many there are.
      shape: of what is made of one.
      arguments: arrays, the handler's from the second on.
    """
    call = _compiled(name, handler)
    parts = min(_PARTS * min(_cores(), _WORKERS), items)
    part = jax.ShapeDtypeStruct((-(-items // parts), *shape), jnp.float32)
    found = [
        jax.ffi.ffi_call(call, part)(np.array([first, parts], np.int32), *arguments)
        for first in range(parts)
    ]
    return jnp.stack(found, axis=1).reshape(-1, *shape)[:items]


def _cores() -> int:
    """This process' cores, for each of its devices."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, cores // jax.local_device_count())


@functools.cache
def _compiled(name: str, handler: Callable[[int], int]) -> str:
    """Compiles a function of a frame for XLA, which knows it by this name then."""
    # Numba looks at the kernel's file alone, and keeps what it compiled by this name.
    handler.__qualname__ += f"_{_THIS}"
    compile_ = functools.partial(
        numba.cfunc, _HANDLER, fastmath=_SUMS, error_model="numpy"
    )
    try:
        call = compile_(cache=True)(handler)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        call = compile_()(handler)
    capsule = jax.ffi.pycapsule(call.ctypes)
    jax.ffi.register_ffi_target(name, capsule, platform="cpu")
    return name
