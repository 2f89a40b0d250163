"""Carrying out stages: which are up to date, which are made, in what order."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import rich.console
from rich.markup import escape

from xinst_jax import manifest, shards
from xinst_jax.errors import UserError
from xinst_jax.pipeline import workspace as workspace_lib
from xinst_jax.pipeline.workspace import Workspace

_LONG_SECONDS = 3600
"""Seconds of finished work that are not removed unasked."""


@dataclasses.dataclass(frozen=True)
class Made:
    """What a stage reports of itself.

    Attributes:
      counts: rows in, out and dropped, by language or under 'all'.
      digest: digest of the content where its files' bytes do not repeat from run to
        run (checkpoints); None otherwise.
    """

    counts: Mapping[str, manifest.Counts]
    digest: str | None = None


@dataclasses.dataclass(frozen=True)
class Stage:
    """A node of the pipeline's graph.

    Attributes:
      name: the stage's name and directory, e.g. 'ratings/round-2'.
      verb: the command that makes it.
      config: all that its content depends on beside its inputs, ready for JSON.
      inputs: names of the stages that it reads.
      files: digests of the files from outside the workdir that it reads, by name; it
        raises UserError where one is missing.
      make: writes the stage's directory.
      keyed: names of the directories in it whose shards say what they were made from:
        they stay where another configuration or input makes the stage anew.
      changes_nothing: patterns of the settings and inputs that these shards do not
        depend on, as for `StageDirectory.key`.
      partial: whether it can be made from whatever part of its inputs there is.
      devices: whether all processes of a run make it together, on the devices of all;
        what only reads and writes text is made by process 0 alone.
    """

    name: str
    verb: str
    config: Mapping[str, Any]
    inputs: tuple[str, ...]
    make: Callable[[Workspace, manifest.StageDirectory], Made]
    files: Callable[[], Mapping[str, str]] = dict
    keyed: tuple[str, ...] = ()
    changes_nothing: tuple[str, ...] = ()
    partial: bool = False
    devices: bool = False


Together: TypeAlias = Callable[[str], contextlib.AbstractContextManager]
"""Gives the block in which all processes make the stage of this name."""


def run_all(
    workspace: Workspace,
    stages: Sequence[Stage],
    console: rich.console.Console,
    together: Together = contextlib.nullcontext,
    *,
    remake: bool = False,
) -> None:
    """Brings every stage up to date, in order; what is up to date is left alone.

    A stage is made again when its own directory is missing or was made from another
    configuration, and when a stage that it reads was made again in this call.

    Args:
      workspace: the run.
      stages: its stages, each after all that it reads.
      console: where progress is said.
      together: around what all processes make, where there are several.
      remake: also removes what took long to make, where it is made again.

    Raises:
      UserError: as the stages do, or what took long would be removed unasked; stages
        finished before stay as they are.
    """
    planned = _planned(workspace, stages)
    if not remake:
        _check_kept(workspace, stages, planned)
    made: set[str] = set()
    for number, stage in enumerate(stages, 1):
        directory = stage_directory(workspace, stage)
        redo = bool(made & set(stage.inputs))
        label = f"[{number}/{len(stages)}] {stage.name}"
        if directory.finished() and not redo:
            console.print(f"{label}: up to date", style="dim", highlight=False)
            continue
        again = redo and manifest.read(directory.path) is not None
        reason = "an input was made again" if again else directory.why_stale()
        if not made:
            workspace.check_devices()
        console.print(f"[bold]{label}[/bold]: {escape(reason)}", highlight=False)
        make(workspace, stage, directory, redo, console, together)
        made.add(stage.name)


def preview(
    workspace: Workspace, stages: Sequence[Stage], console: rich.console.Console
) -> None:
    """Prints what `run_all` would make, and why, without making it."""
    workspace.check_owner()
    for name, reason in _planned(workspace, stages).items():
        said = f"would be made ({reason})" if reason else "up to date"
        console.print(f"{name}: {said}", highlight=False, markup=False)


def _planned(workspace: Workspace, stages: Sequence[Stage]) -> dict[str, str | None]:
    """Each stage, and why it would be made; None where it is up to date."""
    for stage in stages:
        stage.files()
    found: dict[str, str | None] = {}
    for stage in stages:
        directory = stage_directory(workspace, stage)
        redo = any(found.get(name) for name in stage.inputs)
        made = manifest.read(directory.path) is not None
        reason = None
        if redo and made:
            reason = "an input would be made again"
        elif redo or not directory.finished():
            reason = directory.why_stale()
        found[stage.name] = reason
    return found


def _check_kept(
    workspace: Workspace, stages: Sequence[Stage], due: Mapping[str, str | None]
) -> None:
    """Refuses to remove, unasked, what took long to make, finished or half-done.

    Keyed shards that can still be used stay, and are not asked for.

    Args:
      workspace: the run.
      stages: its stages.
      due: why each stage is made; None where it is not.

    Raises:
      UserError: making them took over an hour in all.
    """
    took = {}
    for stage in stages:
        directory = stage_directory(workspace, stage)
        if not due.get(stage.name) or not directory.removed():
            continue
        again = [name for name in stage.inputs if due.get(name)]
        if not directory.keyed_alike(stage.changes_nothing, again):
            took[stage.name] = _seconds(workspace, directory)
    if sum(took.values()) <= _LONG_SECONDS:
        return
    lost = "; ".join(
        f"{name} ({seconds / 3600:.1f} h): {due[name]}"
        for name, seconds in took.items()
        if seconds > _LONG_SECONDS / 60
    )
    raise UserError(
        f"Work of {sum(took.values()) / 3600:.1f} hours would be removed and made "
        f"again: {lost}. If settings or files were forgotten, give them as before "
        "('pipeline --dry_run' shows why each is made); if this is meant, add --remake."
    )


def _seconds(workspace: Workspace, directory: manifest.StageDirectory) -> float:
    """How long a stage's content took to make, waits between its parts included."""
    timings = workspace_lib.timings(workspace.workdir)
    took, resumed = timings.get(directory.stage, (0.0, True))
    if manifest.read(directory.path) is not None and not resumed:
        return took
    times = [path.stat().st_mtime for path in shards.each_file(directory.path)]
    return max(times) - min(times)


def run_verb(
    workspace: Workspace,
    stages: Sequence[Stage],
    wanted: Sequence[Stage],
    console: rich.console.Console,
    together: Together = contextlib.nullcontext,
    *,
    remake: bool = False,
) -> None:
    """Makes the first of the wanted stages that is not up to date, and those after it
    that can be made then.

    Args:
      workspace: the run.
      stages: the whole graph.
      wanted: the stages that the verb stands for, in order (one a round).
      console: where progress is said.
      together: as for `run_all`.
      remake: likewise.

    Raises:
      UserError: what that stage is made from is not up to date; the message names the
        command that makes it. Or what took long would be removed unasked.
    """
    made = False
    for _ in wanted:
        stage = due(workspace, stages, wanted, console, may_end=made)
        if stage is None:
            return
        directory = stage_directory(workspace, stage)
        if not remake:
            _check_kept(workspace, [stage], {stage.name: directory.why_stale()})
        make(workspace, stage, directory, False, console, together)
        made = True


def due(
    workspace: Workspace,
    stages: Sequence[Stage],
    wanted: Sequence[Stage],
    console: rich.console.Console,
    *,
    may_end: bool = False,
) -> Stage | None:
    """The first of the wanted stages that is not up to date; says which are, and why.

    Args:
      workspace: the run.
      stages: the whole graph.
      wanted: the stages that a verb stands for, in order (one a round).
      console: where it is said.
      may_end: whether it is None, and nothing said, where what the stage is made from
        is not up to date.

    Raises:
      UserError: as `run_verb`.
    """
    for stage in wanted:
        stage.files()
        for before in () if stage.partial else _all_before(stages, stage):
            if not stage_directory(workspace, before).finished():
                if may_end:
                    return None
                raise UserError(
                    f"{stage.name} needs {before.name}, which is not up to date. Make "
                    f"it with the verb '{before.verb}' first, or run 'pipeline'."
                )
        directory = stage_directory(workspace, stage)
        if not directory.finished():
            console.print(
                f"[bold]{stage.name}[/bold]: {escape(directory.why_stale())}",
                highlight=False,
            )
            return stage
        console.print(f"{stage.name}: up to date", style="dim", highlight=False)
    return None


def make(
    workspace: Workspace,
    stage: Stage,
    directory: manifest.StageDirectory,
    redo: bool,
    console: rich.console.Console,
    together: Together,
) -> None:
    """Makes one stage, of what there is of it already."""
    resumed = directory.begin(redo)
    if resumed:
        console.print(f"  going on with what is there of {stage.name}", style="dim")
    with workspace.timed(stage.name, resumed):
        with together(stage.name) if stage.devices else contextlib.nullcontext():
            made = stage.make(workspace, directory)
        directory.finish(made.counts, made.digest)
    console.print(f"  {_summary(made.counts)}", style="dim", highlight=False)


def follow(workspace: Workspace, stages: Sequence[Stage], names: Iterable[str]) -> None:
    """Makes this process's part of the stages named, as process 0 names them."""
    by_name = {stage.name: stage for stage in stages}
    for name in names:
        stage = by_name[name]
        # Digests of inputs and manifests are process 0's affair.
        directory = manifest.StageDirectory(
            workspace.path(name), name, stage.config, inputs={}
        )
        stage.make(workspace, directory)


def _all_before(stages: Sequence[Stage], stage: Stage) -> list[Stage]:
    """What a stage is made from, directly or not, in the graph's order."""
    names = set(stage.inputs)
    for other in reversed(stages):
        if other.name in names:
            names |= set(other.inputs)
    return [other for other in stages if other.name in names]


def stage_directory(workspace: Workspace, stage: Stage) -> manifest.StageDirectory:
    """The stage's directory, with the digests of its inputs as they are now."""
    inputs = dict(stage.files())
    for name in stage.inputs:
        record = manifest.read(workspace.path(name))
        inputs[name] = manifest.content_digest(record) if record else "missing"
    return manifest.StageDirectory(
        path=pathlib.Path(workspace.path(stage.name)),
        stage=stage.name,
        config=stage.config,
        inputs=inputs,
        keyed=stage.keyed,
    )


def _summary(counts: Mapping[str, manifest.Counts]) -> str:
    rows_in = sum(count.rows_in for count in counts.values())
    rows_out = sum(count.rows_out for count in counts.values())
    reasons: dict[str, int] = {}
    for count in counts.values():
        for reason, rows in count.dropped.items():
            reasons[reason] = reasons.get(reason, 0) + rows
    dropped = ", ".join(f"{reason} {rows:,}" for reason, rows in reasons.items())
    return f"{rows_in:,} in, {rows_out:,} out" + (f"; {dropped}" if dropped else "")
