"""The command line: one verb a stage, and `pipeline` for all of them."""

import argparse
import contextlib
import functools
import os
import pathlib
import signal
import sys
import types
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from xinst_jax import arguments as arguments_lib
from xinst_jax import cluster
from xinst_jax.errors import (
    INTERRUPTED,
    MISTAKEN,
    PREEMPTED,
    Ending,
    Lost,
    Preempted,
    UserError,
    may_pass,
)

if TYPE_CHECKING:
    import rich.console

    from xinst_jax.hf.hub import Target
    from xinst_jax.pipeline.runner import Stage, Together
    from xinst_jax.pipeline.workspace import Workspace

_DOES_NOT_FIT = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; gives the exit status.

    0 is success, 1 a step that does not fit, 2 a user's error, 75 a machine or a
    process that was taken away or a file system that failed for a moment (start again
    and the run goes on), 130 an interrupt from the keyboard. Of several processes all
    end with the status of the one that ended first.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = arguments_lib.parser().parse_args(
        [a for a in given if not a.startswith("--gin.")]
    )
    overrides = [a.removeprefix("--gin.") for a in given if a.startswith("--gin.")]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    verb = {"compile": _compile, "trace": _trace}.get(options.verb, _run)
    status, message = _ending(functools.partial(verb, options, overrides))
    if message:
        print(message, file=sys.stderr)
    return status


def _ending(run: Callable[[], int]) -> Ending:
    """The exit status of a run, and what is to be said of it."""
    try:
        return Ending(run(), "")
    except UserError as error:
        return _failed(error, str(error))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _failed(error, f"{place}{error.strerror or error}")
    except Preempted as notice:
        return Ending(PREEMPTED, f"preempted: {notice}")
    except Lost as notice:
        return Ending(PREEMPTED, f"lost: {notice}")
    except KeyboardInterrupt:
        return Ending(INTERRUPTED, "stopped; run the same command again to go on")


def _failed(error: Exception, message: str) -> Ending:
    """How an error ends the run: for good, or to be started again."""
    if may_pass(error):
        again = "What is finished is saved: run the same command again to go on."
        return Ending(PREEMPTED, f"input or output failed: {message} ({again})")
    return Ending(MISTAKEN, f"error: {message}")


def _compile(options: argparse.Namespace, overrides: list[str]) -> int:
    """Compiles a step ahead of time; the exit status says whether it fits."""
    # No device here is used; and programs for another platform cannot be read back
    # from the cache.
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    from xinst_jax import run_file

    run = run_file.load(options.gin_file, overrides, leave_open=True)

    import rich.console

    from xinst_jax.pipeline import proof

    console = rich.console.Console()
    proof.check_task(run, options.task)
    if options.search:
        fits = proof.search(
            run, options.task, options.topology, options.compiles, console
        )
    else:
        fits = proof.prove(run, options.task, options.topology, console)
    return 0 if fits else _DOES_NOT_FIT


def _trace(options: argparse.Namespace, overrides: list[str]) -> int:
    """Prints what every stage knows of a row; makes nothing."""
    from xinst_jax import run_file

    run = run_file.load(options.gin_file, overrides)

    import rich.console

    from xinst_jax.pipeline import trace
    from xinst_jax.pipeline.workspace import Workspace

    workspace = Workspace(run, pathlib.Path(options.workdir))
    trace.show(trace.trace(workspace, options.id), rich.console.Console())
    return 0


def _run(options: argparse.Namespace, overrides: list[str]) -> int:
    """Runs the verb, alone or as one of several processes; gives the exit status."""
    if tasks := getattr(options, "tasks", None):
        names = tuple(name.strip() for name in tasks.split(","))
        overrides = [
            *overrides,
            "BenchmarkConfig.sets=()",
            f"BenchmarkConfig.tasks={names!r}",
        ]
    found = cluster.find(options.coordinator, options.num_processes, options.process_id)
    target = _target(options)
    from xinst_jax import run_file

    run = run_file.load(options.gin_file, overrides)
    if target is not None:
        from xinst_jax.pipeline import publish

        publish.check_target(run, target)

    from xinst_jax.pipeline import stages
    from xinst_jax.pipeline.workspace import Workspace

    workspace = Workspace(run, pathlib.Path(options.workdir))
    graph = stages.graph(run)
    if getattr(options, "limit", None) is not None:
        from xinst_jax.pipeline import trial

        graph = trial.graph(workspace, graph, options.verb, options.limit)
    if not getattr(options, "dry_run", False):
        workspace.name_programs()
    conduct = functools.partial(_conduct, options, workspace, graph, target)
    if found is None:
        conduct()
        return 0
    from xinst_jax.pipeline import crew

    return crew.share(found, workspace, graph, conduct, _ending)


def _conduct(
    options: argparse.Namespace,
    workspace: "Workspace",
    graph: "list[Stage]",
    target: "Target | None",
    meet: "Callable[[], None]" = lambda: None,
    together: "Together" = contextlib.nullcontext,
) -> None:
    """Runs the verb, in the one process that decides what is made.

    Args:
      meet: called once the workdir is the run's; where there are other processes, they
        are there too.
      together: around what all processes do.
    """
    import rich.console

    from xinst_jax.pipeline import runner, stages

    console = rich.console.Console()
    if options.verb == "pipeline" and options.dry_run:
        runner.preview(workspace, graph, console)
        return
    if options.verb == "seed" and options.dry_run:
        from xinst_jax.pipeline.make import texts

        texts.print_translator_estimate(workspace)
        return
    if options.verb == "evaluate" and options.dry_run:
        from xinst_jax.pipeline.make import evaluation

        made = stages.of_verb(graph, "evaluate")[0]
        evaluated = runner.stage_directory(workspace, made).finished()
        evaluation.print_opponent_estimate(workspace)
        evaluation.print_judge_estimate(workspace, evaluated=evaluated)
        return
    if options.verb in arguments_lib.TRIED and options.dry_run:
        from xinst_jax.pipeline import dry_run

        wanted = stages.of_verb(graph, options.verb)
        dry_run.report(workspace, graph, wanted, console, options.limit)
        return
    with workspace.lock():
        workspace.claim()
        meet()
        with workspace.kept_programs():
            _make(options, workspace, graph, console, together)
            if target is not None:
                stage = stages.of_verb(graph, options.verb)[-1]
                from xinst_jax.pipeline import publish

                publish.push(workspace, stage, target, console)


def _target(options: argparse.Namespace) -> "Target | None":
    """Where the folder goes that a verb makes; None unless --push was given."""
    name = getattr(options, "push", None)
    if name is None:
        return None
    from xinst_jax.hf import hub

    try:
        return hub.target(name, arguments_lib.PUSHED[options.verb])
    except UserError as error:
        raise UserError(f"--push: {error}") from error


def _make(
    options: argparse.Namespace,
    workspace: "Workspace",
    graph: "list[Stage]",
    console: "rich.console.Console",
    together: "Together",
) -> None:
    from xinst_jax.pipeline import runner, stages
    from xinst_jax.report import table

    if options.verb == "pipeline":
        runner.run_all(workspace, graph, console, together, remake=options.remake)
        (shown,) = stages.of_verb(graph, "report")
        table.print_results(workspace.run, workspace.workdir, shown.inputs, console)
        return
    verb = options.verb
    if verb == "compare":
        from xinst_jax.pipeline import comparing

        runs = [pathlib.Path(options.run_a), pathlib.Path(options.run_b)]
        comparing.run(workspace, runs, console, dry=options.dry_run)
        return
    if verb == "train":
        verb += f" --task {options.task}"
    wanted = stages.of_verb(graph, verb)
    make = functools.partial(
        runner.run_verb,
        workspace,
        graph,
        console=console,
        together=together,
        remake=options.remake,
    )
    if verb == "benchmark":
        from xinst_jax.pipeline.make import benchmarks

        for stage in wanted:
            make([stage])
        benchmarks.print_tables(workspace, console)
        return
    told = verb == "evaluate" and all(
        runner.stage_directory(workspace, stage).finished() for stage in wanted
    )
    make(wanted)
    if told:
        from xinst_jax.pipeline.make import evaluation

        evaluation.print_tables(workspace)


def _terminate(number: int, frame: types.FrameType | None) -> None:
    """Ends at SIGTERM outside of a training, which would save first."""
    print("terminated; run the same command again to go on", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # At once: an exception could be lost in the callback of some library. What is
    # finished has its name, as after any kill.
    os._exit(PREEMPTED)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(main())
