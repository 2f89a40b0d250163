"""Stages in which a finished model generates or scores."""

import functools
import shutil
from typing import TYPE_CHECKING

import rich.console

from xinst_jax import shards
from xinst_jax.manifest import StageDirectory
from xinst_jax.pipeline import rounds, training_rows
from xinst_jax.pipeline.runner import Made
from xinst_jax.pipeline.workspace import Workspace

if TYPE_CHECKING:
    from xinst_jax.pipeline import generate
    from xinst_jax.pipeline.signals import Signals


def writer(workspace: Workspace, number: int) -> "generate.Writer":
    """The generator of a round."""
    from xinst_jax.infer import jobs
    from xinst_jax.pipeline import generate, text_models

    run, vocabulary = workspace.run, workspace.vocabulary
    engine = text_models.engine(workspace, f"generator/round-{number}", run.generate)
    share = None
    if engine.replicas > 1:
        share = jobs.Share(engine.replica, engine.replicas, engine.leads)
    # A trial draws what the whole round draws.
    seed = workspace.seed(f"candidates/round-{number}")
    return generate.Writer(
        functools.partial(engine.generate, seed=seed),
        vocabulary.encode_prompt,
        vocabulary.decode,
        engine.longest_prompt,
        run.prompts,
        engine.usage,
        share,
    )


def candidates(
    workspace: Workspace, stage: StageDirectory, number: int, limit: int | None = None
) -> Made:
    """An instruction for every document that has none worth keeping yet.

    With a limit, of each language for its first documents.
    """
    from xinst_jax import distributed
    from xinst_jax.pipeline import generate, raw_files
    from xinst_jax.pipeline.corpus import decontamination

    if rounds.settled(workspace, number):
        return rounds.carried(workspace, stage, "candidates", number, limit)
    run, generator = workspace.run, writer(workspace, number)
    sets = tuple(map(raw_files.located, raw_files.evaluation_sets(run)))
    lengths = run.corpus.decontamination
    counts = generate.run(
        stage,
        run.languages,
        workspace.path("corpus"),
        training_rows.kept_by(workspace, number - 1),
        number,
        generator,
        run.generate.shard_rows,
        limit=limit,
        evaluated=decontamination.read(sets, run.languages, lengths),
        held_out=decontamination.index(
            [("seed", training_rows.held_out_responses(workspace))], lengths
        ),
    )
    if distributed.is_primary():
        share = generator.share
        by = f"; by this replica, one of {share.count}" if share else ""
        print(f"generate: {generator.usage}{by}", flush=True)
    return Made(counts)


def signals(workspace: Workspace, number: int) -> "Signals":
    """What a round rates by: its rater, and the model that the run names beside it."""
    from xinst_jax.pipeline import dependencies, mutual_information, text_models
    from xinst_jax.pipeline.signals import Reading, Signals

    reading, pmi = Reading(), None
    rater = text_models.rater(workspace, f"rater/round-{number}", reading)
    stage = dependencies.pmi_stage(workspace.run, number)
    if stage is not None:
        pmi = mutual_information.of_stage(workspace, stage, reading)
    return Signals(rater, pmi, reading, f"The model of {stage}")


def ratings(
    workspace: Workspace, stage: StageDirectory, number: int, limit: int | None = None
) -> Made:
    """Scores of the candidates, which of them are kept, and how good the rater is.

    With a limit, of each language's first candidates.
    """
    from xinst_jax import distributed
    from xinst_jax.pipeline import rate, trial

    if rounds.settled(workspace, number):
        return rounds.carried(workspace, stage, "ratings", number, limit)
    this, run = f"round-{number}", workspace.run
    rated = workspace.path(f"candidates/{this}")
    first = stage.path / "candidates"
    if limit is not None:
        name = trial.source(workspace, f"candidates/{this}")
        trial.first_rows(workspace.path(name), first, run.languages, limit)
        rated = first
    levels = shards.read_rows(workspace.path(f"rater/{this}") / "levels")
    counts = rate.run(
        stage,
        run.rate,
        run.languages,
        rated,
        signals(workspace, number),
        [row for row in levels if row["split"] == "held_out"],
        run.prompts,
    )
    if distributed.is_primary():
        shutil.rmtree(first, ignore_errors=True)
        if number > 1 and limit is None:
            before = workspace.path(f"ratings/round-{number - 1}")
            rounds.write_moved(before, stage.path, run.languages, counts)
        rich.console.Console().print(rate.quality_table(stage.path, number))
    return Made(counts)
