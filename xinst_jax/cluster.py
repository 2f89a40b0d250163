"""Whether a process is one of several of a run, and how they find each other.

Nothing here imports JAX: a process that is alone answers without it.
"""

import dataclasses
import importlib.util
import os
import pathlib
from collections.abc import Mapping

from xinst_jax.errors import UserError

COORDINATOR, COUNT, INDEX = (
    "JAX_COORDINATOR_ADDRESS",
    "JAX_NUM_PROCESSES",
    "JAX_PROCESS_ID",
)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A process's place among those of its run; with no fields JAX finds it out.

    Attributes:
      coordinator: host:port of process 0.
      num_processes: how many there are.
      process_id: which of them this one is, from 0.
    """

    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None


def find(
    coordinator: str | None = None,
    num_processes: str | None = None,
    process_id: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Cluster | None:
    """The cluster that this process belongs to; None where it is alone.

    What is not given is taken from the environment: JAX_COORDINATOR_ADDRESS,
    JAX_NUM_PROCESSES and JAX_PROCESS_ID. Where neither says anything, the tasks of a
    Slurm step and the hosts of a TPU slice (or several) find each other.

    Args:
      coordinator: host:port of process 0.
      num_processes: how many there are.
      process_id: which of them this one is, from 0.
      environment: variables; the process's own by default.

    Raises:
      UserError: only some of the three are given, or they make no sense.
    """
    environment = os.environ if environment is None else environment
    values = {
        f"--coordinator or {COORDINATOR}": coordinator or environment.get(COORDINATOR),
        f"--num_processes or {COUNT}": num_processes or environment.get(COUNT),
        f"--process_id or {INDEX}": process_id or environment.get(INDEX),
    }
    if any(values.values()):
        return _given(values)
    if _of_slurm_step(environment) or _of_tpu_slice(environment):
        return Cluster()
    return None


def _given(values: Mapping[str, str | None]) -> Cluster | None:
    """What was given, once it is known to make sense; None for a single process."""
    if missing := [name for name, value in values.items() if not value]:
        raise UserError(
            f"Of {'; '.join(values)} only some are given; missing: "
            f"{'; '.join(missing)}. Give all three, or none for a single process."
        )
    (_, address), (count_name, count), (index_name, index) = values.items()
    assert address
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(
            f"The coordinator is {address!r}; expected host:port of process 0, with a "
            "port that is free there."
        )
    number, place = _number(count_name, count), _number(index_name, index)
    if not place < number:
        raise UserError(
            f"This is process {place} of {number}; expected a number from 0 to "
            f"{number - 1}. Processes count from 0."
        )
    return Cluster(address, number, place) if number > 1 else None


def _number(name: str, value: str | None) -> int:
    if not value or not value.isdecimal():
        raise UserError(f"{name} must be a number; found {value!r}.")
    return int(value)


def _of_slurm_step(environment: Mapping[str, str]) -> bool:
    """Whether this is a task, one of several, that srun has started."""
    tasks = environment.get("SLURM_STEP_NUM_TASKS", "1")
    return "SLURM_PROCID" in environment and tasks.isdecimal() and int(tasks) > 1


def _of_tpu_slice(environment: Mapping[str, str]) -> bool:
    """Whether JAX will compute on the TPU chips of this host."""
    wanted = environment.get("JAX_PLATFORMS", "tpu")
    chips = [*pathlib.Path("/dev").glob("accel*"), *pathlib.Path("/dev/vfio").glob("*")]
    return "tpu" in wanted and bool(chips) and bool(importlib.util.find_spec("libtpu"))
