"""Trials: the first rows of a job, made beside the real one and never in its place."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence

from xinst_jax import distributed, manifest, shards
from xinst_jax.pipeline.runner import Made, Stage
from xinst_jax.pipeline.workspace import Workspace

PREFIX = "trial/"
"""Before the name, and so the directory, of a trial's stage."""

VERBS = ("generate", "rate")
"""The verbs that can be tried on their first rows."""

_RATED = "candidates/"


def graph(
    workspace: Workspace, stages: Sequence[Stage], verb: str, limit: int
) -> list[Stage]:
    """The stages, those of the verb replaced by their trials on `limit` rows.

    A trial of rating reads the round's candidates, or where there are none yet those of
    a trial of generation with the same limit.

    Args:
      workspace: the run.
      stages: its whole graph.
      verb: one of `VERBS`.
      limit: rows of each language, the first ones.
    """
    found = []
    for stage in stages:
        candidates = f"{_RATED}{stage.name.partition('/')[2]}"
        tried = (
            verb == "rate"
            and stage.verb == "generate"
            and (manifest.read(workspace.path(stage.name)) is None)
        )
        if stage.verb == verb or tried:
            limited = _limited(stage, limit)
            if verb == "rate" and not tried:
                inputs = tuple(
                    source(workspace, name) if name == candidates else name
                    for name in stage.inputs
                )
                limited = dataclasses.replace(limited, inputs=inputs)
            found.append(limited)
        else:
            found.append(stage)
    return found


def _limited(stage: Stage, limit: int) -> Stage:
    make: Callable[..., Made] = stage.make
    return dataclasses.replace(
        stage,
        name=PREFIX + stage.name,
        config={**stage.config, "limit": limit},
        make=functools.partial(make, limit=limit),
    )


def source(workspace: Workspace, name: str) -> str:
    """The stage of this name where it is finished, else its trial."""
    finished = manifest.read(workspace.path(name)) is not None
    return name if finished else PREFIX + name


def first_rows(
    directory: pathlib.Path, target: pathlib.Path, languages: Sequence[str], limit: int
) -> None:
    """Copies the first rows of each language's shards, one shard a language.

    Process 0 does it; the others wait.
    """

    def copy() -> None:
        for language in languages:
            table = shards.read_table(directory / language).slice(0, limit)
            path = target / language / shards.shard_name(0, 1)
            shards.write_table(path, table)

    distributed.from_primary("first rows", copy)
