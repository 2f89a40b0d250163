"""Several processes, one pipeline: process 0 conducts, and the others follow.

Process 0 alone reads and writes manifests, decides what is made, and makes what is only
text. A stage on devices is made by all: each computes its part, and process 0 writes.
"""

import contextlib
import dataclasses
import functools
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import jax
from jax.experimental import multihost_utils

from xinst_jax import __version__, distributed, fate, shards
from xinst_jax import config as config_lib
from xinst_jax.cluster import Cluster
from xinst_jax.errors import Ending, UserError
from xinst_jax.pipeline import runner
from xinst_jax.pipeline.runner import Stage, Together
from xinst_jax.pipeline.workspace import Workspace

_TOKEN = ".together"
_OVER = ""
_SEEN_SECONDS = 60.0
"""Longest time until a file that one host has written is seen by the others."""


class Conduct(Protocol):
    """Runs the verb in the process that decides what is made."""

    def __call__(
        self, *, meet: Callable[[], None] = ..., together: Together = ...
    ) -> None:
        """See `__main__`."""


def share(
    found: Cluster,
    workspace: Workspace,
    stages: Sequence[Stage],
    conduct: Conduct,
    ending: Callable[[Callable[[], int]], Ending],
) -> int:
    """Joins the other processes and does this one's part; gives the exit status.

    Args:
      found: this process's place among them.
      workspace: the run.
      stages: its whole graph.
      conduct: what process 0 does.
      ending: calls a function and tells how it ended.

    Raises:
      Lost: the others did not come. Whatever happens later ends the process.
    """
    distributed.start(found)
    if jax.process_count() == 1:
        conduct()
        return 0

    def part() -> int:
        if distributed.is_primary():
            conduct(meet=functools.partial(_called, workspace), together=_together)
            _order(_OVER)
        else:
            runner.follow(workspace, stages, _orders(workspace))
        return 0

    return fate.share(functools.partial(ending, part))


@contextlib.contextmanager
def _together(stage: str) -> Iterator[None]:
    """The block in which process 0 makes a stage, and the others make it too."""
    _order(stage)
    yield
    distributed.barrier(stage)


def _orders(workspace: Workspace) -> Iterator[str]:
    """The stages that process 0 names; each is done when the next is asked for."""
    while (stage := _order()) != _OVER:
        if stage == _TOKEN:
            _meet(workspace)
            continue
        yield stage
        distributed.barrier(stage)


def _order(stage: str = _OVER) -> str:
    """What comes next: said by process 0, heard by the others."""
    return distributed.from_primary("order", lambda: stage)


def _called(workspace: Workspace) -> None:
    """Has the others meet, and meets them."""
    _order(_TOKEN)
    _meet(workspace)


def _meet(workspace: Workspace) -> None:
    """Makes sure that all processes reach each other, and do one run in one workdir.

    Raises:
      UserError: they do not.
    """
    # Their devices, too, meet now: backends give up on one that comes late, as it would
    # where process 0 had text to work on first.
    distributed.barrier("meet")
    multihost_utils.sync_global_devices("meet")
    path = workspace.workdir / _TOKEN
    if distributed.is_primary():
        shards.write_bytes(path, secrets.token_bytes(8).hex().encode())
    run = {
        "xinst_jax": __version__,
        "jax": jax.__version__,
        "run": dataclasses.asdict(workspace.run),
    }
    digest = config_lib.digest(run)
    token, expected = distributed.from_primary(
        "token", lambda: [path.read_text(), digest]
    )
    if digest != expected:
        raise UserError(
            f"Process {jax.process_index()} was given another run than process 0: the "
            "gin file, an override or a version differs. Start the same command, from "
            "the same commit, on every host."
        )
    end = time.monotonic() + _SEEN_SECONDS
    while not (path.exists() and path.read_text() == token):
        if time.monotonic() > end:
            raise UserError(
                f"--workdir {workspace.workdir}: process {jax.process_index()} does "
                "not see what process 0 writes there. It must be one directory that "
                "all hosts share: a network file system, or a mounted bucket."
            )
        time.sleep(0.5)
