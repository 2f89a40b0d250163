"""Stages in which a finished model generates or scores."""

import functools
import json
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import rich.console

from xinst_jax import shards
from xinst_jax.manifest import StageDirectory
from xinst_jax.pipeline import raw_files, rounds, training_rows
from xinst_jax.pipeline.runner import Made
from xinst_jax.pipeline.workspace import Workspace

if TYPE_CHECKING:
    from xinst_jax.pipeline import generate


def writer(workspace: Workspace, number: int) -> "generate.Writer":
    """The generator of a round."""
    from xinst_jax.pipeline import generate, text_models

    run, vocabulary = workspace.run, workspace.vocabulary
    engine = text_models.engine(workspace, f"generator/round-{number}", run.generate)
    # A trial draws what the whole round draws.
    seed = workspace.seed(f"candidates/round-{number}")
    return generate.Writer(
        functools.partial(engine.generate, seed=seed),
        vocabulary.encode_prompt,
        vocabulary.decode,
        engine.longest_prompt,
        lambda: str(engine.usage),
    )


def candidates(
    workspace: Workspace, stage: StageDirectory, number: int, limit: int | None = None
) -> Made:
    """An instruction for every document that has none worth keeping yet.

    With a limit, of each language for its first documents.
    """
    from xinst_jax import distributed
    from xinst_jax.pipeline import generate

    if rounds.settled(workspace, number):
        return rounds.carried(workspace, stage, "candidates", number)
    run, generator = workspace.run, writer(workspace, number)
    counts = generate.run(
        stage,
        run.languages,
        workspace.path("corpus"),
        training_rows.kept_by(workspace, number - 1),
        number,
        generator,
        run.generate.shard_rows,
        limit=limit,
    )
    if distributed.is_primary() and generator.usage is not None:
        print(f"generate: {generator.usage()}", flush=True)
    return Made(counts)


def ratings(
    workspace: Workspace, stage: StageDirectory, number: int, limit: int | None = None
) -> Made:
    """Scores of the candidates, which of them are kept, and how good the rater is.

    With a limit, of each language's first candidates.
    """
    from xinst_jax import distributed
    from xinst_jax.pipeline import rate, signals, text_models, trial

    if rounds.settled(workspace, number):
        return rounds.carried(workspace, stage, "ratings", number)
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
        signals.Signals(
            text_models.rater(workspace, f"rater/{this}"),
            text_models.mutual_information(workspace, "base") if run.rate.pmi else None,
        ),
        [row for row in levels if row["split"] == "held_out"],
    )
    if distributed.is_primary():
        shutil.rmtree(first, ignore_errors=True)
        if number > 1 and limit is None:
            before = workspace.path(f"ratings/round-{number - 1}")
            rounds.write_moved(before, stage.path, run.languages, counts)
        rich.console.Console().print(rate.quality_table(stage.path, number))
    return Made(counts)


def evaluation(workspace: Workspace, stage: StageDirectory) -> Made:
    """The tuned model's answers, and how likely it finds held-out responses."""
    from xinst_jax import distributed
    from xinst_jax.eval import evaluate, retrieval
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
    ranked = _retrieval(workspace, stage)
    if not distributed.is_primary():
        return Made(counts)
    for code, (_, left_out) in held_out.items():
        if left_out:
            counts[code].notes["held_out_too_long"] = left_out
    record = json.loads((stage.path / evaluate.FIGURES).read_bytes())
    for code, found in ranked.items():
        record["languages"][code]["retrieval"] = found
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    shards.write_bytes(stage.path / evaluate.FIGURES, text.encode())
    rich.console.Console().print(evaluate.table(record))
    if ranked:
        rich.console.Console().print(retrieval.table(record["languages"]))
    return Made(counts)


def _retrieval(workspace: Workspace, stage: StageDirectory) -> dict[str, Any]:
    """By language, how well both models find the true instruction among others.

    Of several processes only process 0 reads the figures.
    """
    from xinst_jax import distributed
    from xinst_jax.eval import retrieval
    from xinst_jax.pipeline import text_models

    run, seed = workspace.run, workspace.seed(f"{stage.stage}/retrieval")
    if not run.evaluate.retrieval_pairs:
        return {}

    @functools.cache
    def models() -> retrieval.Models:
        generator = f"generator/round-{run.rounds}"
        return retrieval.Models(
            generator=text_models.response_scorer(workspace, generator),
            tuned=text_models.response_scorer(workspace, "model"),
        )

    found = {}
    for code, language in run.language_table.items():
        directory = stage.path / "retrieval" / code
        pairs, _ = text_models.retrieval_pairs(workspace, code)
        most = run.evaluate.retrieval_pairs
        retrieval.run(directory, pairs, language, most, seed, models)
        if distributed.is_primary():
            found[code] = retrieval.figures(shards.read_rows(directory), seed)
    return found
