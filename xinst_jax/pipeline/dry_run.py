"""What a job would take: rows, tokens and FLOPs counted, time from a measured probe."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import rich.console
import rich.table

from xinst_jax import config, shards
from xinst_jax.errors import UserError
from xinst_jax.models import flops
from xinst_jax.pipeline import (
    dependencies,
    generate,
    mutual_information,
    runner,
    text_models,
    training_rows,
    trial,
)
from xinst_jax.pipeline.runner import Stage
from xinst_jax.pipeline.workspace import Workspace

SAMPLE_ROWS = 512
"""Rows of a language whose tokens are counted; of more, evenly spaced ones."""

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Work:
    """What a language's rows ask of the model.

    Attributes:
      rows: rows that would be computed.
      prompts: token ids of the prompts of a sample of them.
      cut: prompts of the sample whose text lost its end.
      rejected: rows of the sample that have no prompt, because its frame is too long.
      beside: of all other texts that are read for the sample, the tokens that are read
        and those that are predicted.
    """

    rows: int
    prompts: list[list[int]]
    cut: int
    rejected: int
    beside: list[tuple[int, int]] = dataclasses.field(default_factory=list)

    @property
    def scale(self) -> float:
        """Rows for each row of the sample."""
        return self.rows / max(1, len(self.prompts) + self.rejected)


@dataclasses.dataclass(frozen=True)
class Probe:
    """What a few rows took.

    Attributes:
      rows: how many.
      seconds: that they took, compilation not counted.
      new_tokens: that were written, in the mean of a row; 0 where none are.
    """

    rows: int
    seconds: float
    new_tokens: float


def report(
    workspace: Workspace,
    stages: Sequence[Stage],
    wanted: Sequence[Stage],
    console: rich.console.Console,
    limit: int | None,
) -> None:
    """Prints what the verb's next stage would take; makes nothing.

    Args:
      workspace: the run.
      stages: the whole graph.
      wanted: the stages that the verb stands for, in order (one a round).
      console: where it is printed.
      limit: rows of each language, or None for all.

    Raises:
      UserError: what the stage is made from is not up to date, or there are several
        processes.
    """
    if jax.process_count() > 1:
        raise UserError(
            "--dry_run measures on the devices of one process, and there are "
            f"{jax.process_count()}. Start it on one host, without --coordinator."
        )
    workspace.check_owner()
    stage = runner.due(workspace, stages, wanted, console)
    if stage is None:
        return
    number = int(stage.name.rpartition("-")[2])
    measure = _generation if stage.verb == "generate" else _rating
    work, probe, behind = measure(workspace, number, limit)
    console.print(table(stage.name, workspace.model, work, probe, behind))


def table(
    title: str,
    model: config.ModelConfig,
    work: dict[str, Work],
    probe: Probe | None,
    behind: int = 0,
) -> rich.table.Table:
    """A row for each language, and one for all.

    Args:
      title: of the table.
      model: the decoder's shape.
      work: by language.
      probe: what a few of the rows took; None where there are no rows.
      behind: tokens that are scored behind each prompt.
    """
    made = rich.table.Table(title=f"{title}: dry run")
    for column in ("language", "rows", "prompt tokens", "prompts cut", "rejected"):
        made.add_column(column, justify="left" if column == "language" else "right")
    for column in ("new tokens", "PFLOP", "hours"):
        made.add_column(column, justify="right")
    totals = [0.0] * 7
    for code, one in work.items():
        cells = _figures(model, one, probe, behind)
        totals = [total + cell for total, cell in zip(totals, cells, strict=True)]
        made.add_row(code, *_cells(cells))
    made.add_section()
    made.add_row("all", *_cells(totals))
    sampled = sum(len(one.prompts) + one.rejected for one in work.values())
    rows = sum(one.rows for one in work.values())
    counted = "every row" if sampled == rows else f"{sampled:,} rows, evenly spaced"
    made.caption = f"tokens counted in {counted}"
    if probe is not None:
        speed = probe.rows / probe.seconds
        made.caption += (
            f"; hours from a probe: {probe.rows} rows in {probe.seconds:.2f} s, "
            f"{speed:.2f} rows/s"
        )
    return made


def _figures(
    model: config.ModelConfig, work: Work, probe: Probe | None, behind: int
) -> list[float]:
    new = probe.new_tokens if probe else 0.0
    tokens = sum(map(len, work.prompts))
    # A prompt is read once, and every later token after all before it.
    lengths = [len(prompt) + round(new) + behind for prompt in work.prompts]
    lengths += [read for read, _ in work.beside]
    predicted = len(work.prompts) * (new + behind)
    predicted += sum(targets for _, targets in work.beside)
    done = flops.forward_flops(
        model,
        sum(lengths),
        flops.attended_pairs(model, lengths),
        predicted=round(predicted),
    )
    hours = probe.seconds / probe.rows / 3600 if probe else 0.0
    counted = [
        tokens,
        work.cut,
        work.rejected,
        len(work.prompts) * new,
        done.total / 1e15,
        len(work.prompts) * hours,
    ]
    return [work.rows, *(figure * work.scale for figure in counted)]


def _cells(figures: Sequence[float]) -> list[str]:
    counts = [f"{figure:,.0f}" for figure in figures[:5]]
    return [*counts, f"{figures[5]:,.3g}", f"{figures[6]:,.3g}"]


def evenly(rows: Sequence[T], most: int) -> list[T]:
    """At most so many of the rows, at equal distances.

    >>> evenly("abcdefg", 3)
    ['a', 'c', 'e']
    """
    if len(rows) <= most:
        return list(rows)
    return [rows[number * len(rows) // most] for number in range(most)]


def _timed(
    compute: Callable[[], Any], rows: int, new_tokens: Callable[[Any], float]
) -> Probe:
    """The second of two times, of which the first compiles."""
    compute()
    start = time.monotonic()
    made = compute()
    return Probe(rows, time.monotonic() - start, new_tokens(made))


def _generation(
    workspace: Workspace, number: int, limit: int | None
) -> tuple[dict[str, Work], Probe | None, int]:
    from xinst_jax.pipeline.make import answers

    run = workspace.run
    writer = answers.writer(workspace, number)
    kept = training_rows.kept_by(workspace, number - 1)
    work: dict[str, Work] = {}
    asked: list[tuple[str, list[int]]] = []
    for code in run.languages:
        documents = generate.corpus_rows(workspace.path("corpus"), code, limit)
        standing = {row["id"] for row in kept.get(code, {}).values()}
        new = [one for one in documents if one["id"] not in standing]
        sample = evenly(new, SAMPLE_ROWS)
        fitted = [(one["id"], generate.fitted(writer, one["text"])) for one in sample]
        found = [(name, prompt) for name, prompt in fitted if prompt is not None]
        asked += [(name, prompt.ids) for name, prompt in found]
        work[code] = Work(
            len(new),
            [prompt.ids for _, prompt in found],
            sum(prompt.cut for _, prompt in found),
            len(fitted) - len(found),
        )
    chosen = evenly(asked, 2 * run.generate.batch_rows)
    if not chosen:
        return work, None, 0
    ids, names = [ids for _, ids in chosen], [name for name, _ in chosen]
    probe = _timed(
        lambda: writer.generate(ids, names),
        len(chosen),
        lambda made: sum(len(one.tokens) for one in made) / len(chosen),
    )
    return work, probe, 0


def _rating(
    workspace: Workspace, number: int, limit: int | None
) -> tuple[dict[str, Work], Probe | None, int]:
    from xinst_jax.pipeline.make import answers

    run, this = workspace.run, f"round-{number}"
    prompt_of = text_models.rating_prompt(workspace)
    stage = dependencies.pmi_stage(run, number)
    beside_of = mutual_information.work(workspace, stage) if stage else lambda _: []
    source = workspace.path(trial.source(workspace, f"candidates/{this}"))
    work: dict[str, Work] = {}
    chosen: list[tuple[str, str, str]] = []
    for code in run.languages:
        columns = ["instruction", "output", "lang"]
        rows = shards.read_rows(source / code, columns)[:limit]
        sample = [
            (one["instruction"], one["output"], one["lang"])
            for one in evenly(rows, SAMPLE_ROWS)
        ]
        prompts = [prompt_of(pair) for pair in sample]
        chosen += sample
        work[code] = Work(
            len(rows),
            [ids for ids, _ in prompts],
            sum(cut for _, cut in prompts),
            rejected=0,
            beside=[one for pair in sample for one in beside_of(pair)],
        )
    chosen = evenly(chosen, 4 * run.rate.batch_rows)
    behind = sum(map(len, text_models.label_ids(workspace)))
    if not chosen:
        return work, None, behind
    signals = answers.signals(workspace, number)
    probe = _timed(
        lambda: signals.read(chosen, "the probe"), len(chosen), lambda _: 0.0
    )
    return work, probe, behind
