"""Stages in which a finished model generates or scores."""

import functools

import rich.console

from xinst_jax import shards
from xinst_jax.manifest import StageDirectory
from xinst_jax.pipeline import training_rows
from xinst_jax.pipeline.runner import Made
from xinst_jax.pipeline.workspace import Workspace


def candidates(workspace: Workspace, stage: StageDirectory, number: int) -> Made:
    """An instruction for every document that has none worth keeping yet."""
    from xinst_jax.pipeline import generate, text_models

    run, vocabulary = workspace.run, workspace.vocabulary
    engine = text_models.engine(workspace, f"generator/round-{number}", run.generate)
    writer = generate.Writer(
        functools.partial(engine.generate, seed=workspace.seed(stage.stage)),
        vocabulary.encode_prompt,
        vocabulary.decode,
        engine.longest_prompt,
    )
    return Made(
        generate.run(
            stage,
            run.languages,
            workspace.path("corpus"),
            training_rows.kept_by(workspace, number - 1),
            number,
            writer,
            run.generate.shard_rows,
        )
    )


def ratings(workspace: Workspace, stage: StageDirectory, number: int) -> Made:
    """Scores of the candidates, which of them are kept, and how good the rater is."""
    from xinst_jax import distributed
    from xinst_jax.pipeline import rate, text_models

    this, run = f"round-{number}", workspace.run
    levels = shards.read_rows(workspace.path(f"rater/{this}") / "levels")
    counts = rate.run(
        stage,
        run.rate,
        run.languages,
        workspace.path(f"candidates/{this}"),
        text_models.rater(workspace, f"rater/{this}"),
        [row for row in levels if row["split"] == "held_out"],
    )
    if distributed.is_primary():
        rich.console.Console().print(rate.quality_table(stage.path, number))
    return Made(counts)
