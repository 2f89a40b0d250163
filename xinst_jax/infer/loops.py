"""How programs with loops are compiled: on a GPU, as one graph where that is possible.

XLA:GPU by itself has the host launch every turn of a loop and wait for its condition,
and nothing can be put in line behind a loop. As nodes of a CUDA graph, loops and
branches are decided on the device; those that exchange numbers with other devices stay
the host's.
"""

import ctypes
import os
import warnings

_OPTION = "xla_gpu_enable_command_buffer"

_IN_A_GRAPH = (
    "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION,CONDITIONAL,WHILE"
)
"""What XLA has in graphs by its own choice, and branches and loops: an option of one
program replaces the whole list."""

_NESTED = 12090
"""CUDA from whose driver on loops in loops are put into a graph. They ran under 13.0,
and are said to end the process under 12.8, though XLA allows them from 12.3 on."""


def compiler_options(driver: int, flags: str) -> dict[str, str]:
    """Options of `jax.jit` for programs with loops; none where loops stay the host's.

    Warns where an old driver is the reason.

    Args:
      driver: the CUDA version of NVIDIA's driver, 12090 for 12.9; 0 without one.
      flags: XLA_FLAGS; who names the option there has chosen.
    """
    if _OPTION in flags:
        return {}
    if driver < _NESTED:
        if driver:
            warnings.warn(
                f"NVIDIA's driver is for CUDA {driver // 1000}.{driver % 1000 // 10}; "
                "below 12.9 the host asks after every generated token, which is slower",
                stacklevel=2,
            )
        return {}
    return {_OPTION: _IN_A_GRAPH}


def _driver() -> int:
    """The CUDA version of the driver on this host; nothing is initialised."""
    version = ctypes.c_int(0)
    try:
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return 0
    return version.value


LOOPS = compiler_options(_driver(), os.environ.get("XLA_FLAGS", ""))
"""The options on this host."""
