"""Several processes as one run: joining them, and what they must agree on.

Process 0 decides and writes; what all must know goes through the key-value store of
JAX's coordination service, which waits as long as it takes: collectives on devices have
timeouts, and hours may pass while process 0 works on text.
"""

import functools
import itertools
import json
import signal
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np

# The coordination service has no public interface.
from jax._src import distributed as coordination
from jax.experimental import multihost_utils

from xinst_jax import cluster as cluster_lib
from xinst_jax.cluster import Cluster
from xinst_jax.errors import Lost, Preempted, UserError

HEARTBEAT_SECONDS = 40
"""Time after which a process that gives no sign of life is taken for lost."""

_START_SECONDS = 900
"""Longest wait for the others at the start: hosts of a pod come up minutes apart."""

_FOREVER_MS = 10 * 365 * 24 * 3600 * 1000
_PATIENCE_MS = 5_000
"""Longest wait in one call, so that Python gets to see signals."""

_PIECE = 500_000
"""Characters put into the key-value store at once: it takes no large values."""

_GATHERED_BYTES = 1 << 28
"""Most bytes of a divided array that a device holds whole: a block's matrix."""

_SAID = "xinst_jax/said"
_turns, _barriers, _asks = itertools.count(), itertools.count(), itertools.count(1)

T = TypeVar("T")


def start(found: Cluster | None = None) -> None:
    """Joins this process to the others of its run; alone, there is nothing to do.

    Call it before anything else touches JAX's devices.

    Args:
      found: this process's place; by default what `cluster.find` finds.

    Raises:
      UserError: what the environment says makes no sense.
      Lost: the others do not come.
    """
    found = found or cluster_lib.find()
    if found is None:
        return
    try:
        jax.distributed.initialize(
            found.coordinator,
            found.num_processes,
            found.process_id,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            initialization_timeout=_START_SECONDS,
        )
    except ValueError:
        # JAX knows no cluster here: the one host of a small TPU slice.
        if found.coordinator:
            raise
    except RuntimeError as error:
        raise Lost(
            f"the processes of the run did not find each other: {error} Start the same "
            f"command on every host within {_START_SECONDS // 60} minutes, and let "
            "them reach the coordinator's port."
        ) from error
    if jax.process_count() > 1 and coordination.global_state.client is None:
        raise UserError(
            f"The devices belong to {jax.process_count()} hosts, and JAX does not find "
            "the others. Give --coordinator, --num_processes and --process_id."
        )


def client() -> Any:
    """The coordination service's client; only where there are several processes."""
    return coordination.global_state.client


def is_primary() -> bool:
    """Whether this is the process that writes files and speaks to people."""
    return jax.process_index() == 0


def from_primary(name: str, make: Callable[[], T]) -> T:
    """What process 0 makes, on every process; the others wait for it, however long.

    All processes call it in the same order, with the same names.

    Args:
      name: what is asked, the same on all.
      make: called on process 0 alone; gives what JSON can hold, below a megabyte.

    Raises:
      RuntimeError: process 0 is at another point of the program.
    """
    if jax.process_count() == 1:
        return make()
    key = f"{_SAID}/{next(_turns)}"
    if is_primary():
        value = make()
        client().key_value_set(key, json.dumps([name, value]))
        return value
    at, value = json.loads(_heard(key))
    if at != name:
        raise RuntimeError(f"out of step: process 0 is at {at!r}, this one at {name!r}")
    return value


def from_each(name: str, value: Any) -> list[Any]:
    """What each process says, in their order, on all; each waits for the others.

    All processes call it in the same order, with the same names.

    Args:
      name: what is asked, the same on all.
      value: this process's; what JSON can hold, of any size.

    Raises:
      RuntimeError: another process is at another point of the program.
    """
    if jax.process_count() == 1:
        return [value]
    key = f"{_SAID}/{next(_turns)}"
    text = json.dumps([name, value])
    pieces = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
    own = f"{key}/{jax.process_index()}"
    client().key_value_set(f"{own}/pieces", str(len(pieces)))
    for number, piece in enumerate(pieces):
        client().key_value_set(f"{own}/{number}", piece)
    said = []
    for process in range(jax.process_count()):
        theirs = f"{key}/{process}"
        count = int(_heard(f"{theirs}/pieces"))
        whole = "".join(_heard(f"{theirs}/{number}") for number in range(count))
        at, found = json.loads(whole)
        if at != name:
            raise RuntimeError(
                f"out of step: process {process} is at {at!r}, this one at {name!r}"
            )
        said.append(found)
    return said


def barrier(name: str) -> None:
    """Waits until every process is here, however long; `name` is the same in all."""
    if jax.process_count() > 1:
        # First, so that processes at different barriers are told apart.
        from_primary(name, lambda: None)
        client().wait_at_barrier(f"{_SAID}/barrier/{next(_barriers)}", _FOREVER_MS)


def to_host(array: jax.Array) -> np.ndarray:
    """All of an array on every process's host; all processes call it."""
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def to_primary(array: jax.Array) -> Iterator[np.ndarray]:
    """An array on process 0's host, some rows of the first axis at a time.

    All processes call it and go through it to the end; the others get nothing. Of an
    array that other processes hold parts of, a device never has more whole than
    `_GATHERED_BYTES`, or one row: one block of a stacked weight.
    """
    if array.is_fully_addressable or array.is_fully_replicated:
        if is_primary():
            yield np.asarray(array)
        return
    rows = max(1, _GATHERED_BYTES * len(array) // array.nbytes)
    for start in range(0, len(array), rows):
        count = min(rows, len(array) - start)
        gathered = jax.block_until_ready(_gathered(array, start, count))
        if is_primary():
            yield np.asarray(gathered)


@functools.partial(jax.jit, static_argnums=2)
def _gathered(array: jax.Array, start: jax.Array, count: int) -> jax.Array:
    """Some rows of the first axis, whole on every device."""
    sharding = jax.typeof(array).sharding
    # An axis is cut where it is not divided; the others stay divided until then.
    undivided = sharding.update(spec=jax.P(None, *sharding.spec[1:]))
    array = jax.reshard(array, undivided)
    rows = jax.lax.dynamic_slice_in_dim(array, start, count)
    return jax.reshard(rows, sharding.update(spec=jax.P()))


def _heard(key: str) -> str:
    """What a process says under a key, once it does."""
    while True:
        try:
            return client().blocking_key_value_get(key, _PATIENCE_MS)
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise


class Preemption:
    """Notices, inside a `with` block, that the machine is about to be taken away.

    The notice is SIGTERM. With several processes one of them getting it is enough: all
    of them then see it at the same ask.

    Raises:
      Preempted: at the end of the block, where the notice came and nothing else was
        raised. With several processes `fate` ends them then.
    """

    awaited = False
    """Whether some block is open, and will stop the work in good order."""

    def __init__(self) -> None:
        self._noticed = False
        self._previous: object = None

    def __enter__(self) -> "Preemption":
        Preemption.awaited = True
        if self._listens():
            self._previous = signal.signal(signal.SIGTERM, self._notice)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._listens():
            signal.signal(signal.SIGTERM, self._previous)  # type: ignore[arg-type]
        Preemption.awaited = False
        if self._noticed and kind is None:
            raise Preempted(
                "SIGTERM came while a training ended, which is saved. Run the same "
                "command again to go on."
            )

    def noticed(self) -> bool:
        """Whether to save and stop now; asked before the first step and after each.

        All processes ask equally often.
        """
        if jax.process_count() > 1:
            # JAX lets all stop at the number that follows the highest asked with when
            # the notice came, and at no later one: so none may ever be left out, from
            # one training of this process to the next, or where one goes on.
            return multihost_utils.reached_preemption_sync_point(next(_asks))
        return self._noticed

    def _notice(self, number: int, frame: types.FrameType | None) -> None:
        self._noticed = True

    @staticmethod
    def _listens() -> bool:
        # With several processes JAX's own service holds the signal; and Python lets
        # nobody but the main thread listen.
        alone = jax.process_count() == 1
        return alone and threading.current_thread() is threading.main_thread()
