"""The graph: which stages a run has, and what each reads.

corpus, seed --> tokenizer --> base    (a tokenizer that is given reads neither)
round k:  generator/round-k --> candidates/round-k --+
          rater/round-k -----------------------------+--> ratings/round-k
          follower/round-k --------------------------+
          (the pairs that a round keeps train the next round's models; a run that rates
          by the base model's mutual information, or by none, has no follower)
last round --> diverse --> dataset --> model --> hf_model, evaluation --> report
base, model --> benchmark/MODEL/TASK --> report    (where the run names tasks)
evaluation --> judgments --> report    (where a judge is configured)
"""

import functools
from collections.abc import Mapping, Sequence

from xinst_jax import config as config_lib
from xinst_jax.config.judging import ENDPOINT
from xinst_jax.data import prompts
from xinst_jax.errors import UserError
from xinst_jax.eval import benchmarks as benchmark_sets
from xinst_jax.pipeline import answering, question_files, raw_files, round_stages
from xinst_jax.pipeline.dependencies import depends, under, wording, words
from xinst_jax.pipeline.make import benchmarks, evaluation, models, texts
from xinst_jax.pipeline.runner import Stage

_PREPARED = ("corpus", "seed", "tokenizer")


def graph(run: config_lib.RunConfig) -> list[Stage]:
    """The run's stages, each after all that it reads."""
    given_tokenizer = bool(run.base_model or run.tokenizer.path)
    rounds = range(1, run.rounds + 1)
    last = f"round-{run.rounds}"
    return [
        Stage(
            name="corpus",
            verb="prepare",
            config={**depends(run, corpus=run.corpus), **words(run)},
            inputs=(),
            make=texts.corpus,
            files=functools.partial(raw_files.corpus_digests, run),
        ),
        Stage(
            name="seed",
            verb="seed",
            config=depends(run, seed_pairs=run.seed_pairs),
            inputs=(),
            make=texts.seed,
            files=functools.partial(raw_files.seed_digests, run),
        ),
        Stage(
            name="tokenizer",
            verb="tokenizer",
            config=depends(run, tokenizer=run.tokenizer, base_model=run.base_model),
            inputs=() if given_tokenizer else ("corpus", "seed"),
            make=texts.tokenizer,
            files=functools.partial(raw_files.tokenizer_digests, run),
        ),
        _base(run),
        *(stage for number in rounds for stage in round_stages.of_round(run, number)),
        Stage(
            name="diverse",
            verb="diversify",
            config=depends(run, seed=run.seed, diversify=run.diversify),
            inputs=(f"candidates/{last}", f"ratings/{last}"),
            make=functools.partial(texts.diverse, last=last),
            devices=True,
            files=functools.partial(raw_files.encoder_digests, run),
        ),
        Stage(
            name="dataset",
            verb="assemble",
            config=depends(
                run, seed=run.seed, license=run.export.dataset_license, name=run.name
            ),
            inputs=(
                *("corpus", "seed"),
                *(
                    f"{part}/round-{number}"
                    for number in rounds
                    for part in ("generator", "candidates", "ratings")
                ),
                "diverse",
            ),
            make=texts.dataset,
        ),
        Stage(
            name="model",
            verb="train --task sft",
            config=depends(
                run,
                seed=run.seed,
                model=run.model,
                train=run.sft,
                min_score=run.rate.lowest_min_score,
                **wording(run, "answer", "request", "seed_request"),
            ),
            inputs=("seed", "tokenizer", "base", "dataset"),
            make=models.model,
            devices=True,
        ),
        Stage(
            name="hf_model",
            verb="export-hf",
            config=depends(
                run,
                export=run.export,
                name=run.name,
                **wording(run, "answer", "seed_request"),
            ),
            inputs=("tokenizer", "dataset", "model", *under(run.sft)),
            make=models.hf_model,
            devices=True,
            files=functools.partial(raw_files.licence_digests, run),
        ),
        Stage(
            name="evaluation",
            verb="evaluate",
            config=depends(
                run,
                seed=run.seed,
                evaluate=run.evaluate,
                answer=run.answer,
                bootstrap=run.judge.bootstrap,
                model=run.model,
                **wording(run, "reverse", "answer", "seed_request"),
            ),
            inputs=("seed", "tokenizer", "base", f"generator/{last}", "model"),
            make=evaluation.evaluation,
            devices=True,
            files=functools.partial(_evaluated_files, run),
        ),
        *_judgments(run),
        *_benchmarks(run),
        _report(run),
    ]


def of_verb(stages: Sequence[Stage], verb: str) -> list[Stage]:
    """The stages that a verb makes, in order: one, or one a round.

    Raises:
      UserError: the run has none.
    """
    found = [stage for stage in stages if stage.verb == verb]
    if not found and verb == "train --task follow":
        raise UserError(
            "This run trains no follower: RateConfig.pmi_model is not 'follower', but "
            "'base' or 'none'."
        )
    if not found and verb == "benchmark":
        raise UserError(
            "This run names no benchmark. Give --tasks NAME,NAME, or include "
            "'gin/benchmarks/ten_languages.gin' in the run file."
        )
    if not found:
        raise UserError(
            f"This run has no stage for the verb '{verb}': its base model is made by "
            f"'{next(stage.verb for stage in stages if stage.name == 'base')}', as "
            "RunConfig.base_model says."
        )
    return found


def _base(run: config_lib.RunConfig) -> Stage:
    if run.base_model:
        return Stage(
            name="base",
            verb="import-hf",
            config=depends(
                run,
                base_model=run.base_model,
                base_adapter=run.base_adapter,
                model=run.model,
            ),
            inputs=("tokenizer",),
            make=models.imported_base,
            devices=True,
            files=functools.partial(raw_files.base_model_digests, run),
        )
    return Stage(
        name="base",
        verb="train --task lm",
        config=depends(run, seed=run.seed, model=run.model, train=run.base),
        inputs=_PREPARED,
        make=models.trained_base,
        devices=True,
        files=functools.partial(raw_files.base_model_digests, run),
    )


def _benchmarks(run: config_lib.RunConfig) -> list[Stage]:
    """A stage for each model and task: another task makes none of them again."""
    config = run.benchmark
    settings = {
        "seed": run.seed,
        "model": run.model,
        "num_fewshot": config.num_fewshot,
        "limit": config.limit,
    }
    if config.chat_template:
        settings["template"] = config_lib.digest(prompts.chat(run.prompts))
    return [
        Stage(
            name=benchmarks.directory_name(model, task),
            verb="benchmark",
            config=depends(run, **settings),
            inputs=(
                *("tokenizer", benchmarks.STAGES[model]),
                *(under(run.sft) if model == "tuned" else ()),
            ),
            make=functools.partial(benchmarks.benchmark, model=model, task=task),
            devices=True,
            files=functools.partial(_measured_files, run, model, task),
        )
        for model in config.models
        for task in benchmark_sets.tasks(config, run.language_table)
    ]


def _measured_files(
    run: config_lib.RunConfig, model: str, task: benchmark_sets.BenchmarkTask
) -> Mapping[str, str]:
    """Digests of what a task is measured with."""
    found = benchmark_sets.digests(run.benchmark, task)
    if run.benchmark.chat_template and model == "base":
        return {**found, **raw_files.template_digests(run)}
    return found


def _judgments(run: config_lib.RunConfig) -> list[Stage]:
    """The stage that judges answers, if the run has a judge."""
    judge = run.judge.judge
    if not judge:
        return []
    local = ("tokenizer", "base", "model") if judge in answering.STAGES else ()
    return [
        Stage(
            name="judgments",
            verb="evaluate",
            config=depends(
                run,
                judge=run.judge,
                buckets=run.answer.prompt_buckets,
                model=run.model,
                name=run.name,
            ),
            inputs=("seed", "evaluation", *local),
            make=evaluation.judgments,
            devices=judge != ENDPOINT,
            files=functools.partial(
                raw_files.folder_digests, answering.folders((judge,))
            ),
        )
    ]


def _evaluated_files(run: config_lib.RunConfig) -> Mapping[str, str]:
    """Digests of the questions, and of the opponents that are folders."""
    opponents = raw_files.folder_digests(answering.folders(run.evaluate.opponents))
    return {**question_files.digests(run), **opponents}


def _report(run: config_lib.RunConfig) -> Stage:
    rounds = range(1, run.rounds + 1)
    return Stage(
        name="report",
        verb="report",
        config=depends(run, name=run.name),
        inputs=(
            *_PREPARED,
            "base",
            *(
                f"{part}/round-{number}"
                for number in rounds
                for part in round_stages.parts(run)
            ),
            "diverse",
            "dataset",
            "model",
            "hf_model",
            "evaluation",
            *(stage.name for stage in (*_judgments(run), *_benchmarks(run))),
        ),
        make=texts.report,
        partial=True,
    )
