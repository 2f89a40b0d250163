"""A run's training step, compiled ahead of time: does it fit, and what will it cost."""

import dataclasses

import rich.console

from xinst_jax import config as config_lib
from xinst_jax.aot import report as report_lib
from xinst_jax.aot import search as search_lib
from xinst_jax.aot import topology as topology_lib
from xinst_jax.aot.build import Layout
from xinst_jax.aot.report import Report, Training
from xinst_jax.errors import UserError
from xinst_jax.pipeline.workspace import model_shape

TRAININGS = {
    "lm": "base",
    "reverse": "generator",
    "rate": "rater",
    "follow": "follower",
    "sft": "sft",
}
"""The field of `RunConfig` that a task's training is."""


def layout(run: config_lib.RunConfig, task: str, topology: str) -> Layout:
    """The layout that a run gives a training on a topology.

    Fake devices compute attention densely: how much blockwise attention has to do
    depends on where the texts in a row end, and could not be counted.

    Args:
      run: the run; `MeshConfig.slice` says how many slices there are.
      task: one of `TRAININGS`.
      topology: name of a slice.

    Raises:
      UserError: there is no such topology, or rows are longer than the positions.
    """
    model = model_shape(run)
    config_lib.check_lengths(run, model)
    devices = topology_lib.parse(topology, max(run.mesh.slice, 1))
    if devices.chip is None:
        model = dataclasses.replace(model, attention="dense")
    return Layout(model, getattr(run, TRAININGS[task]), run.mesh, devices)


def schedule(run: config_lib.RunConfig) -> list[Training]:
    """The trainings of a run on its base model, in order."""
    return [
        Training(name, getattr(run, name), 1 if name == "sft" else run.rounds)
        for name in run.trainings
        if name != "base"
    ]


def prove(
    run: config_lib.RunConfig, task: str, topology: str, console: rich.console.Console
) -> bool:
    """Compiles a run's step for a topology and prints what it takes.

    Returns:
      Whether it fits.
    """
    planned = layout(run, task, topology)
    console.print(f"compiling {run.name} {task} for {planned.topology} ...")
    found = report_lib.report(planned)
    _print(run, found, console)
    return found.fits


def search(
    run: config_lib.RunConfig,
    task: str,
    topology: str,
    compiles: int,
    console: rich.console.Console,
) -> bool:
    """Compiles the most promising layouts of a run's step; prints those that fit.

    Returns:
      Whether one fits.
    """
    planned = layout(run, task, topology)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    found = search_lib.search(planned, compiles, say)
    for place, (best, made) in enumerate(found, 1):
        say(f"\n{place}. " + " ".join(f"--gin.{text}" for text in _overrides(best)))
        _print(run, made, console)
    if not found:
        say("No layout that was compiled fits; more chips, or fewer rows, may help.")
    return bool(found)


def _overrides(chosen: Layout) -> list[str]:
    """What to give on the command line for a layout."""
    mesh = dataclasses.asdict(chosen.mesh)
    return [
        *(f"MeshConfig.{axis}={size}" for axis, size in mesh.items()),
        f"TrainConfig.microbatches={chosen.train.microbatches}",
        f"ModelConfig.remat=\"'{chosen.model.remat}'\"",
    ]


def _print(
    run: config_lib.RunConfig, found: Report, console: rich.console.Console
) -> None:
    for line in report_lib.lines(found, schedule(run)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def check_task(run: config_lib.RunConfig, task: str) -> None:
    """Raises UserError if the run never does this training."""
    if task == "lm" and run.base_model:
        raise UserError(
            "--task lm: this run imports its base model and does not train one. Give "
            "reverse, rate, follow or sft."
        )
    if task == "follow" and run.rate.pmi_model != "follower":
        raise UserError(
            "--task follow: this run trains no follower, for RateConfig.pmi_model = "
            f"{run.rate.pmi_model!r}. Give another task, or set it to 'follower'."
        )
