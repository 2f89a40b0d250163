"""What a run made, on a terminal: the stage table and a few samples."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import rich.console
import rich.table
import rich.text

from xinst_jax.config import RunConfig
from xinst_jax.report import collect, counts

_REASONS = 3
_RESPONSE_CHARS = 240


def print_results(
    run: RunConfig,
    workdir: pathlib.Path,
    names: Sequence[str],
    console: rich.console.Console,
) -> None:
    """Prints the stage table, three samples and the paths of what was made.

    Args:
      run: the run.
      workdir: its directory.
      names: its stages in the order to show.
      console: where they are printed.
    """
    console.print()
    console.print(summary_table(workdir, names))
    console.print()
    for sample in three_samples(workdir, run.languages):
        console.print(sample_text(sample))
        console.print()
    for name in ("dataset", "hf_model", "report/report.html"):
        if (workdir / name).exists():
            console.print(f"{workdir / name}", markup=False, highlight=False)


def summary_table(workdir: pathlib.Path, names: Sequence[str]) -> rich.table.Table:
    """One line a stage: rows in, rows out, dropped and why, seconds.

    Args:
      workdir: the run's directory.
      names: the stages in the order to show.
    """
    grid = rich.table.Table(title="Stages", title_justify="left")
    grid.add_column("stage", no_wrap=True)
    grid.add_column("rows in", justify="right")
    grid.add_column("rows out", justify="right")
    grid.add_column("dropped, and why", overflow="fold")
    grid.add_column("seconds", justify="right")
    for stage in counts.stage_counts(workdir, names):
        if not stage.made:
            grid.add_row(stage.name, "", "", "not made yet", "", style="dim")
            continue
        total = stage.total
        grid.add_row(
            stage.name,
            f"{total.rows_in:,}",
            f"{total.rows_out:,}",
            dropped_words(total.dropped, _REASONS),
            "" if stage.seconds is None else f"{stage.seconds:,.1f}",
        )
    return grid


def dropped_words(dropped: Mapping[str, int], most: int) -> str:
    """The commonest reasons with their rows, and how many rows the others dropped.

    >>> dropped_words({"too_short": 3, "duplicate": 5, "menu": 1}, most=2)
    'duplicate 5, too short 3, other 1'
    """
    shown = counts.top_reasons(dropped, most)
    parts = [f"{counts.words(reason)} {rows:,}" for reason, rows in shown]
    rest = sum(dropped.values()) - sum(rows for _, rows in shown)
    return ", ".join([*parts, f"other {rest:,}"] if rest else parts)


def three_samples(
    workdir: pathlib.Path, languages: Sequence[str]
) -> list[dict[str, Any]]:
    """The middle pair of each of the first three languages that have a dataset."""
    found = []
    for code in languages:
        found += collect.samples(workdir, code, 1)
        if len(found) == 3:
            break
    return found


def sample_text(sample: Mapping[str, Any]) -> rich.text.Text:
    """A pair for reading; a long response is cut."""
    response = collect.cut(" ".join(sample["output"].split()), _RESPONSE_CHARS)
    return rich.text.Text.assemble(
        (f"{sample['lang']}  ", "bold"),
        (f"score {sample['score']:.2f}\n", "dim"),
        (sample["instruction"] + "\n", "bold"),
        response,
    )
