"""Several processes as one run: joining them, and what they must agree on."""

import importlib.util
import os
import pathlib
import signal
import threading
import types

import jax
from jax.experimental import multihost_utils

from xinst_jax.errors import UserError

_ADDRESS, _COUNT, _INDEX = (
    "JAX_COORDINATOR_ADDRESS",
    "JAX_NUM_PROCESSES",
    "JAX_PROCESS_ID",
)


def start() -> None:
    """Joins this process to the others of its run; alone, there is nothing to do.

    On TPU hosts and under Slurm JAX finds the others by itself. Elsewhere the variables
    JAX_COORDINATOR_ADDRESS (host:port of process 0), JAX_NUM_PROCESSES and
    JAX_PROCESS_ID say who they are. Call it before anything else touches JAX.

    Raises:
      UserError: only some of the variables are set, or they are not numbers.
    """
    if _ADDRESS in os.environ:
        jax.distributed.initialize(
            os.environ[_ADDRESS], _number(_COUNT), _number(_INDEX)
        )
    elif _on_tpu_host() or int(os.environ.get("SLURM_NTASKS", "1")) > 1:
        jax.distributed.initialize()


def is_primary() -> bool:
    """Whether this is the process that writes files and speaks to people."""
    return jax.process_index() == 0


def barrier(name: str) -> None:
    """Waits until every process is here; `name` must be the same in all."""
    multihost_utils.sync_global_devices(name)


class Preemption:
    """Notices, inside a `with` block, that the machine is about to be taken away.

    The notice is SIGTERM. With several processes one of them getting it is enough: all
    of them then see it at the same step.
    """

    def __init__(self) -> None:
        self._noticed = False
        self._previous: object = None

    def __enter__(self) -> "Preemption":
        if self._listens():
            self._previous = signal.signal(signal.SIGTERM, self._notice)
        return self

    def __exit__(self, *error: object) -> None:
        if self._listens():
            signal.signal(signal.SIGTERM, self._previous)  # type: ignore[arg-type]

    def noticed(self, step: int) -> bool:
        """Whether to save and stop after this step; to be asked after every step."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._noticed

    def _notice(self, number: int, frame: types.FrameType | None) -> None:
        self._noticed = True

    @staticmethod
    def _listens() -> bool:
        # With several processes JAX's own service holds the signal; and Python lets
        # nobody but the main thread listen.
        alone = jax.process_count() == 1
        return alone and threading.current_thread() is threading.main_thread()


def _number(name: str) -> int:
    value = os.environ.get(name, "")
    if not value.isdecimal():
        raise UserError(
            f"{_ADDRESS} is set, so {name} must be a number; found {value!r}. Set all "
            f"of {_ADDRESS}, {_COUNT} and {_INDEX}, or none for a single process."
        )
    return int(value)


def _on_tpu_host() -> bool:
    wanted = os.environ.get("JAX_PLATFORMS", "tpu")
    chips = [*pathlib.Path("/dev").glob("accel*"), *pathlib.Path("/dev/vfio").glob("*")]
    return "tpu" in wanted and bool(chips) and bool(importlib.util.find_spec("libtpu"))
