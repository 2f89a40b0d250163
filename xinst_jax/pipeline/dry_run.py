"""What a job would take: rows, tokens and FLOPs counted, time from a measured probe."""

import dataclasses
from collections.abc import Sequence

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
    probes,
    rounds,
    runner,
    text_models,
    training_rows,
    trial,
)
from xinst_jax.pipeline.runner import Stage
from xinst_jax.pipeline.workspace import Workspace

SAMPLE_ROWS = 512
"""Rows of a language whose tokens are counted; of more, evenly spaced ones."""


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
    if rounds.settled(workspace, number):
        console.print(
            f"{stage.name}: nothing to do, for what is kept settled in round "
            f"{rounds.last_trained(workspace, number)}",
            highlight=False,
        )
        return
    measure = _generation if stage.verb == "generate" else _rating
    work, probe, behind = measure(workspace, number, limit)
    console.print(table(stage.name, workspace.model, work, probe, behind))


def table(
    title: str,
    model: config.ModelConfig,
    work: dict[str, Work],
    probe: probes.Probe | None,
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
        made.caption += f"; hours from {probe}"
    return made


def _figures(
    model: config.ModelConfig, work: Work, probe: probes.Probe | None, behind: int
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
    counted = [
        tokens,
        work.cut,
        work.rejected,
        len(work.prompts) * new,
        done.total / 1e15,
    ]
    hours = probe.hours(len(work.prompts) * work.scale) if probe else 0.0
    return [work.rows, *(figure * work.scale for figure in counted), hours]


def _cells(figures: Sequence[float]) -> list[str]:
    counts = [f"{figure:,.0f}" for figure in figures[:5]]
    return [*counts, f"{figures[5]:,.3g}", f"{figures[6]:,.3g}"]


def _generation(
    workspace: Workspace, number: int, limit: int | None
) -> tuple[dict[str, Work], probes.Probe | None, int]:
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
        sample = probes.evenly(new, SAMPLE_ROWS)
        fitted = [(one["id"], generate.fitted(writer, one["text"])) for one in sample]
        found = [(name, prompt) for name, prompt in fitted if prompt is not None]
        asked += [(name, prompt.ids) for name, prompt in found]
        work[code] = Work(
            len(new),
            [prompt.ids for _, prompt in found],
            sum(prompt.cut for _, prompt in found),
            len(fitted) - len(found),
        )
    chosen = probes.evenly(asked, 2 * run.generate.batch_rows)
    return work, probes.of_generation(writer, chosen, run.generate.shard_rows), 0


def _rating(
    workspace: Workspace, number: int, limit: int | None
) -> tuple[dict[str, Work], probes.Probe | None, int]:
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
            for one in probes.evenly(rows, SAMPLE_ROWS)
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
    chosen = probes.evenly(chosen, 4 * run.rate.batch_rows)
    behind = sum(map(len, text_models.label_ids(workspace)))
    if not chosen:
        return work, None, behind
    signals = answers.signals(workspace, number)
    _, seconds = probes.timed(lambda: signals.read(chosen, "the probe"))
    return work, probes.Probe(len(chosen), seconds, new_tokens=0.0), behind
