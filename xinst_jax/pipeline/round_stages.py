"""The stages of a round: what writes instructions, what rates them, by which models."""

import functools
from collections.abc import Mapping
from typing import Any

from xinst_jax import config as config_lib
from xinst_jax.data import prompts
from xinst_jax.pipeline import generate, rate, raw_files
from xinst_jax.pipeline.dependencies import (
    depends,
    lengths,
    pmi_stage,
    texts,
    under,
    wording,
)
from xinst_jax.pipeline.make import answers, models
from xinst_jax.pipeline.runner import Stage


def parts(run: config_lib.RunConfig) -> tuple[str, ...]:
    """The names of a round's stages, without its number, in order."""
    follower = ("follower",) if run.rate.pmi_model == "follower" else ()
    return ("generator", "candidates", "rater", *follower, "ratings")


def of_round(run: config_lib.RunConfig, number: int) -> list[Stage]:
    """A round's stages; from the second on they learn from what was kept."""
    this, before = f"round-{number}", f"round-{number - 1}"
    kept = (f"candidates/{before}", f"ratings/{before}") if number > 1 else ()
    model = depends(run, seed=run.seed, model=run.model, round=number)
    asked = prompts.of_rating(run.rate.pmi_model, run.prompts)
    if number > 2:
        model = {**model, "settled_change": run.settled_change}
    return [
        Stage(
            name=f"generator/{this}",
            verb="train --task reverse",
            config={
                **model,
                "train": config_lib.as_record(run.generator),
                **wording(run, "reverse"),
            },
            inputs=("seed", "tokenizer", "base", *kept),
            make=functools.partial(models.generator, number=number),
            devices=True,
        ),
        Stage(
            name=f"candidates/{this}",
            verb="generate",
            config={
                **model,
                "generate": config_lib.as_record(run.generate),
                "template": config_lib.digest(prompts.reverse("{text}", run.prompts)),
                "evaluation_sets": list(raw_files.evaluation_sets(run)),
                **lengths(run),
            },
            inputs=(
                *("corpus", "seed", "tokenizer", f"generator/{this}"),
                *(*under(run.generator), *kept),
            ),
            make=functools.partial(answers.candidates, number=number),
            devices=True,
            keyed=(*run.languages, *(f"rejected/{code}" for code in run.languages)),
            changes_nothing=generate.CHANGES_NO_ROW,
            files=functools.partial(raw_files.evaluation_digests, run),
        ),
        Stage(
            name=f"rater/{this}",
            verb="train --task rate",
            config={
                **model,
                "train": config_lib.as_record(run.rater),
                "examples_per_pair": run.rate.examples_per_pair,
                "encoder": run.diversify.encoder,
                "batch_rows": run.diversify.batch_rows,
                **wording(run, "rate", "request"),
                **texts(run),
            },
            inputs=("corpus", "seed", "tokenizer", "base", *kept),
            make=functools.partial(models.rater, number=number),
            devices=True,
            files=functools.partial(raw_files.encoder_digests, run),
        ),
        *_followers(run, model, number, kept),
        Stage(
            name=f"ratings/{this}",
            verb="rate",
            config={
                **model,
                "rate": config_lib.as_record(run.rate),
                "template": config_lib.digest(asked),
                "prompt_buckets": list(run.generate.prompt_buckets),
                **wording(run, "reverse", "answer", "rate"),
            },
            inputs=(
                *("tokenizer", f"candidates/{this}"),
                *(*_rated_by(run, number), *kept),
            ),
            make=functools.partial(answers.ratings, number=number),
            devices=True,
            keyed=tuple(f"scores/{code}" for code in run.languages),
            changes_nothing=rate.CHANGES_NO_SCORE,
        ),
    ]


def _followers(
    run: config_lib.RunConfig,
    model: Mapping[str, Any],
    number: int,
    kept: tuple[str, ...],
) -> list[Stage]:
    """The round's model that follows instructions, if the run rates by one."""
    if run.rate.pmi_model != "follower":
        return []
    return [
        Stage(
            name=f"follower/round-{number}",
            verb="train --task follow",
            config={
                **model,
                "train": config_lib.as_record(run.follower),
                **wording(run, "answer", "request", "seed_request"),
            },
            inputs=("seed", "tokenizer", "base", *kept),
            make=functools.partial(models.follower, number=number),
            devices=True,
        )
    ]


def _rated_by(run: config_lib.RunConfig, number: int) -> tuple[str, ...]:
    """The stages whose models rate a round."""
    stages = [f"rater/round-{number}", *under(run.rater)]
    if stage := pmi_stage(run, number):
        stages.append(stage)
        if stage != "base":
            stages += under(run.follower)
    return tuple(dict.fromkeys(stages))
