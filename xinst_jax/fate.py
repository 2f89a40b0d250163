"""The processes of a run end together: what ends one ends all, and says why.

A process that ends early writes why under its name in the key-value store of JAX's
coordination service. A thread in each of the others looks there every second, says the
same and ends its process, whatever that is waiting for. Of a process that dies without
a word JAX itself learns by its silence; it then aborts the others (SIGABRT).
"""

import contextlib
import json
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import jax

from xinst_jax import distributed
from xinst_jax.errors import FAILED, PREEMPTED, Ending

_ENDED, _STRUCK = "xinst_jax/ended", "xinst_jax/struck"
_NOTICE = "RECEIVED_PREEMPTION_NOTICE"
"""Where JAX's coordination service keeps that a process got SIGTERM."""

_LOOK_SECONDS = 1.0
_FAREWELL_SECONDS = 10.0
"""Longest time that process 0, and the service with it, stays for the others' sake."""

_VERDICT_SECONDS = 20.0
"""Longest time to learn whether a failed computation was another process's fault."""


def share(run: Callable[[], Ending]) -> int:
    """Runs one process's part of a run; gives the exit status where all went well.

    Where it did not, in this process or another, the process ends in here: with the
    status and the message of the one that failed first.

    Args:
      run: the part; called once this process has joined the others.
    """
    watch = _Watch(distributed.client(), jax.process_index(), jax.process_count())
    try:
        ending = run()
    except jax.errors.JaxRuntimeError as error:
        traceback.print_exc()
        ending = watch.verdict(Ending(FAILED, _named(error)))
    except Exception as error:
        traceback.print_exc()
        ending = Ending(FAILED, _named(error))
    if ending.status:
        watch.leave(ending)
    watch.stop()
    jax.distributed.shutdown()
    return ending.status


class _Watch:
    """Looks whether the run goes on, in a thread, and ends the process if not."""

    def __init__(self, client: Any, process: int, count: int):
        self._client, self._process, self._count = client, process, count
        self._over, self._leaving = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Looks no longer."""
        self._over.set()
        self._thread.join()

    def leave(self, ending: Ending, origin: int | None = None) -> None:
        """Tells the others, and ends this process without waiting for anything else.

        Args:
          ending: how.
          origin: the process that it began with; this one by default.
        """
        if not self._leaving.acquire(blocking=False):
            threading.Event().wait()  # the other thread is just ending the process
        began = self._process if origin is None else origin
        if began == self._process:
            print(ending.message, file=sys.stderr)
        else:
            where = f"process {began} of {self._count}"
            print(f"ended by {where}: {ending.message}", file=sys.stderr)
        record = json.dumps([*ending, began])
        with contextlib.suppress(RuntimeError):
            self._client.key_value_set(f"{_ENDED}/{self._process}", record)
            self._see_off()
        sys.stdout.flush()
        sys.stderr.flush()
        # Not sys.exit: JAX would wait for the others, and threads for what they do.
        os._exit(ending.status)

    def verdict(self, own: Ending) -> Ending:
        """How to end where a computation over all processes has failed here.

        If it failed in every process, it is the computation's fault. If some of them
        say nothing, they are lost, and those left are to be started again.
        """
        with contextlib.suppress(RuntimeError):
            self._client.key_value_set(f"{_STRUCK}/{self._process}", own.message)
            end = time.monotonic() + _VERDICT_SECONDS
            while time.monotonic() < end:
                struck = self._client.key_value_dir_get(f"{_STRUCK}/")
                if len(struck) == self._count:
                    return own
                time.sleep(_LOOK_SECONDS)
            heard = {int(key.rpartition("/")[2]) for key, _ in struck}
            silent = sorted(set(range(self._count)) - heard)
            names = ", ".join(map(str, silent))
            return Ending(
                PREEMPTED,
                f"lost: process {names} of {self._count} no longer answers "
                f"({own.message}). What is finished is saved: start the run again.",
            )
        return own

    def _see_off(self) -> None:
        """Lets process 0, which keeps the store, end last."""
        end = time.monotonic() + _FAREWELL_SECONDS
        while self._process == 0 and time.monotonic() < end:
            if len(self._client.key_value_dir_get(f"{_ENDED}/")) == self._count:
                # The last one is still closing its connection.
                time.sleep(_LOOK_SECONDS)
                return
            time.sleep(_LOOK_SECONDS / 10)

    def _look(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            try:
                ended = self._client.key_value_dir_get(f"{_ENDED}/")
                noticed = self._noticed()
            except RuntimeError:
                return  # the service is gone, and JAX ends this process
            if ended:
                status, message, origin = json.loads(ended[0][1])
                self.leave(Ending(status, message), origin)
            if noticed and not distributed.Preemption.awaited:
                self.leave(
                    Ending(
                        PREEMPTED,
                        f"preempted: a process of the run got SIGTERM (noticed on "
                        f"{socket.gethostname()}). Finished shards and checkpoints "
                        "are saved. Run the same command again to go on.",
                    )
                )

    def _noticed(self) -> bool:
        """Whether some process got SIGTERM."""
        try:
            return bool(self._client.key_value_try_get(_NOTICE))
        except jax.errors.JaxRuntimeError as error:
            if "NOT_FOUND" in str(error):
                return False
            raise


def _named(error: Exception) -> str:
    """The error's kind and the first line of what it says."""
    first = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {first}"
