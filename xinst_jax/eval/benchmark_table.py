"""What benchmarks found, as tables: languages down and sets across, or task by task."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import rich.table

from xinst_jax.config import BenchmarkConfig
from xinst_jax.eval.benchmarks import COVERAGE, unmeasured
from xinst_jax.languages import Language

Records = Mapping[tuple[str, str], Mapping[str, Any]]
"""What is in `benchmarks.RESULTS`, by model and task."""

_METRICS = ("acc", "acc_norm")
"""The metric that a set's table shows: the first of these that a task has."""


def set_table(
    config: BenchmarkConfig,
    languages: Mapping[str, Language],
    records: Records,
) -> rich.table.Table:
    """Languages down, sets across, a figure for each model.

    Args:
      config: what was measured.
      languages: the run's languages, by code.
      records: the finished tasks.
    """
    sets = [COVERAGE[name] for name in config.sets]
    grid = rich.table.Table(
        title=f"Benchmarks: accuracy of {', '.join(config.models)}",
        title_justify="left",
    )
    grid.add_column("language")
    for one in sets:
        grid.add_column(f"{one.title}\n(chance {one.chance:.2f})", justify="right")
    for code, language in languages.items():
        cells = []
        for one in sets:
            if code not in one.tasks:
                cells.append("–")
                continue
            lines = [
                _cell(records.get((model, one.tasks[code])), one.tasks[code])
                for model in config.models
            ]
            cells.append("\n".join(lines))
        grid.add_row(language.name, *cells)
    if left := unmeasured(config, languages):
        names = ", ".join(language.name for language in left)
        grid.caption = f"No set measures {names}; name tasks for it."
    return grid


def task_table(config: BenchmarkConfig, records: Records) -> rich.table.Table:
    """Every figure of the tasks that were named by themselves, groups' parts too."""
    grid = rich.table.Table(title="Tasks", title_justify="left")
    for heading in ("model", "task", "metric"):
        grid.add_column(heading)
    grid.add_column("value", justify="right")
    for (model, name), record in records.items():
        if name in config.tasks:
            for task, metric, value in figures(record):
                grid.add_row(model, task, metric, value)
    return grid


def headline(record: Mapping[str, Any], task: str) -> tuple[str, float, float] | None:
    """The metric of a task that tables show: (name, value, standard error).

    The first of `acc` and `acc_norm` that it has, else its first; the error is NaN
    where the harness gives none. None where the task has no figure of its own.
    """
    figures = record["results"].get(task, {})
    values = {
        name.split(",")[0]: (name, value)
        for name, value in figures.items()
        if "_stderr" not in name and isinstance(value, float)
    }
    chosen = next((name for name in _METRICS if name in values), None)
    chosen = chosen or next(iter(values), None)
    if chosen is None:
        return None
    key, value = values[chosen]
    metric, _, filter_ = key.partition(",")
    error = figures.get(f"{metric}_stderr,{filter_}")
    return metric, value, error if isinstance(error, float) else math.nan


def figures(record: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yields (task, metric, value with its standard error) of every figure."""
    for task, figures in record["results"].items():
        for key, value in figures.items():
            metric, _, filter_ = key.partition(",")
            if metric.endswith("_stderr") or not isinstance(value, float):
                continue
            error = figures.get(f"{metric}_stderr,{filter_}")
            shown = f" ± {error:.4f}" if isinstance(error, float) else ""
            suffix = "" if filter_ in ("", "none") else f" ({filter_})"
            yield task, f"{metric}{suffix}", f"{value:.4f}{shown}"


def _cell(record: Mapping[str, Any] | None, task: str) -> str:
    found = headline(record, task) if record else None
    return "not made" if found is None else f"{found[1]:.3f} ± {found[2]:.3f}"
