"""Functions that Numba compiles, as calls of an XLA program on a CPU.

XLA hands a call one pointer, to a struct of 64-bit words that lead to the arrays: the
frame of its foreign function interface, whose layout is public and kept (jaxlib's
xla/ffi/api/c_api.h). Only what a kernel needs of it is read here.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numba
from numba import extending, types

_HANDLER = types.int64(types.int64)
"""The signature of a call: the frame's address, and 0 if all went well."""

_SUMS = {"reassoc", "contract", "nsz"}
"""Liberties of the compiler: to add a sum's terms in a vector unit's order."""

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
def result(frame: int, number: int) -> tuple[int, Any]:
    """The address of a result of a call, and its shape as an array of int64."""
    return _buffer(_words(frame, _FRAME_WORDS)[_RESULTS], number)


@numba.njit
def _buffer(pointers: int, number: int) -> tuple[int, Any]:
    buffer = _words(_words(pointers, number + 1)[number], 6)
    return buffer[3], _words(buffer[5], buffer[4])


@functools.cache
def compiled(name: str, handler: Callable[[int], int]) -> str:
    """Compiles a function of a frame for XLA, which knows it by this name afterwards.

    What was compiled is kept beside the function's file, for other processes.
    """
    call = numba.cfunc(_HANDLER, cache=True, fastmath=_SUMS, error_model="numpy")(
        handler
    )
    jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(call.ctypes), platform="cpu")
    return name
