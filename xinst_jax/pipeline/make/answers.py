"""Stages in which a finished model generates or scores."""

import functools
import json
from collections.abc import Sequence

import rich.console

from xinst_jax import shards
from xinst_jax.manifest import StageDirectory
from xinst_jax.pipeline import raw_files, training_rows
from xinst_jax.pipeline.runner import Made
from xinst_jax.pipeline.workspace import Workspace


def candidates(workspace: Workspace, stage: StageDirectory, number: int) -> Made:
    """An instruction for every document that has none worth keeping yet."""
    from xinst_jax import distributed
    from xinst_jax.pipeline import generate, text_models

    run, vocabulary = workspace.run, workspace.vocabulary
    engine = text_models.engine(workspace, f"generator/round-{number}", run.generate)
    writer = generate.Writer(
        functools.partial(engine.generate, seed=workspace.seed(stage.stage)),
        vocabulary.encode_prompt,
        vocabulary.decode,
        engine.longest_prompt,
    )
    counts = generate.run(
        stage,
        run.languages,
        workspace.path("corpus"),
        training_rows.kept_by(workspace, number - 1),
        number,
        writer,
        run.generate.shard_rows,
    )
    if distributed.is_primary():
        print(f"generate: {engine.usage}", flush=True)
    return Made(counts)


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


def evaluation(workspace: Workspace, stage: StageDirectory) -> Made:
    """The tuned model's answers, and how likely it finds held-out responses."""
    from xinst_jax import distributed
    from xinst_jax.eval import evaluate
    from xinst_jax.pipeline import text_models

    run, vocabulary = workspace.run, workspace.vocabulary
    engine = text_models.engine(workspace, "model", run.answer)
    seed = workspace.seed(stage.stage)

    def answer(prompts: list[str], ids: list[str]) -> Sequence[evaluate.Answer]:
        tokens = [vocabulary.encode_prompt(prompt) for prompt in prompts]
        return [
            evaluate.Answer(
                vocabulary.decode(one.tokens) if one.text is None else one.text,
                one.logprob,
                len(one.tokens),
                one.finish,
            )
            for one in engine.generate(tokens, ids, seed)
        ]

    held_out = {
        code: text_models.held_out_pairs(workspace, code) for code in run.languages
    }
    counts = evaluate.run(
        stage,
        raw_files.questions(run),
        run.language_table,
        answer,
        {code: pairs for code, (pairs, _) in held_out.items()},
        {
            "base": text_models.response_scorer(workspace, "base"),
            "tuned": text_models.response_scorer(workspace, "model"),
        },
    )
    if not distributed.is_primary():
        return Made(counts)
    for code, (_, left_out) in held_out.items():
        if left_out:
            counts[code].notes["held_out_too_long"] = left_out
    record = json.loads((stage.path / evaluate.FIGURES).read_bytes())
    rich.console.Console().print(evaluate.table(record))
    return Made(counts)
