"""Stages that are work on text: what is read, drawn and written for people."""

import dataclasses

from xinst_jax import run_file
from xinst_jax.config import SeedConfig
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.pipeline import answering, raw_files, training_rows
from xinst_jax.pipeline.runner import Made
from xinst_jax.pipeline.workspace import Workspace, model_shape


def corpus(workspace: Workspace, stage: StageDirectory) -> Made:
    """Raw text to clean, response-sized documents."""
    from xinst_jax.pipeline.corpus import stage as corpus_lib

    config = workspace.run.corpus
    config = dataclasses.replace(
        config,
        path=raw_files.located(config.path),
        evaluation_sets=tuple(map(raw_files.located, config.evaluation_sets)),
        language_model=raw_files.located(config.language_model),
        screen_words=raw_files.located(config.screen_words),
    )
    return Made(corpus_lib.run(stage, config, workspace.run.language_table))


def seed(workspace: Workspace, stage: StageDirectory) -> Made:
    """Instruction pairs, checked and split."""
    from xinst_jax.pipeline import seed as seed_lib

    config, languages = _seed_pairs(workspace), workspace.run.language_table
    translator = None
    if config.translate.path:
        translator = answering.endpoint(workspace, "translator")
    return Made(seed_lib.run(stage, config, languages, translator))


def print_translator_estimate(workspace: Workspace) -> None:
    """Prints what the translator's endpoint costs, if there is one; sends nothing."""
    from xinst_jax.pipeline import seed as seed_lib

    config = _seed_pairs(workspace)
    if not config.translate.path:
        print("  nothing is translated: TranslateConfig.path is empty", flush=True)
        return
    asked = seed_lib.requests(config, workspace.run.language_table)
    answering.print_estimate(workspace, "translator", asked)


def _seed_pairs(workspace: Workspace) -> SeedConfig:
    """The seed's configuration, with its files where they are."""
    config = workspace.run.seed_pairs
    return dataclasses.replace(
        config,
        path=raw_files.located(config.path),
        evaluation_sets=tuple(map(raw_files.located, config.evaluation_sets)),
        translate=dataclasses.replace(
            config.translate, path=raw_files.located(config.translate.path)
        ),
    )


def tokenizer(workspace: Workspace, stage: StageDirectory) -> Made:
    """A SentencePiece model trained on corpus and seed, or the tokenizer given."""
    from xinst_jax.data import prompts, train_tokenizer, vocab
    from xinst_jax.hf import tokenizer as hf_tokenizer

    run = workspace.run
    given = run.base_model or run.tokenizer.path
    texts: list[str] = []
    if given:
        vocab.copy_tokenizer(run_file.project_path(given), stage.path)
    else:
        texts = training_rows.tokenizer_texts(workspace)
        file = stage.path / hf_tokenizer.SENTENCEPIECE
        train_tokenizer.train_sentencepiece(texts, file, run.tokenizer)
    # What export-hf could not write is found now, not after all the training.
    asked = prompts.chat(run.prompts)
    hf_tokenizer.from_folder(stage.path, asked, model_shape(run).max_length)
    pieces = vocab.load_vocabulary(stage.path).vocab_size
    return Made({"all": Counts(rows_in=len(texts), rows_out=pieces)})


def diverse(workspace: Workspace, stage: StageDirectory, last: str) -> Made:
    """The kept pairs clustered by their instructions, and drawn evenly."""
    from xinst_jax.pipeline import diversify

    return Made(
        diversify.run(
            stage,
            workspace.run.diversify,
            workspace.run.languages,
            workspace.path(f"ratings/{last}"),
            workspace.path(f"candidates/{last}"),
            workspace.mesh,
            workspace.seed(stage.stage),
        )
    )


def dataset(workspace: Workspace, stage: StageDirectory) -> Made:
    """The X-Instruction dataset: Parquet, JSON, card, statistics."""
    from xinst_jax.pipeline import assemble

    run = workspace.run
    return Made(
        assemble.run(
            stage,
            run.language_table,
            name=run.name,
            license=run.export.dataset_license,
            diverse=workspace.path("diverse"),
            rounds=[
                assemble.Round(
                    workspace.path(f"generator/round-{number}"),
                    workspace.path(f"candidates/round-{number}"),
                    workspace.path(f"ratings/round-{number}"),
                )
                for number in range(1, run.rounds + 1)
            ],
            corpus=workspace.path("corpus"),
            seed_pairs=workspace.path("seed"),
            rate=run.rate,
            seed=workspace.seed(stage.stage),
        )
    )


def report(workspace: Workspace, stage: StageDirectory) -> Made:
    """The page that shows what the run made."""
    from xinst_jax.report import page

    run = workspace.run
    path = stage.path / "report.html"
    # The report reads every other stage of the run, and nothing else.
    page.write(
        workspace.workdir, path, run.name, run.language_table, list(stage.inputs)
    )
    counts = {"all": Counts(rows_in=len(run.languages), rows_out=1)}
    # The page prints seconds, so that its bytes do not repeat from run to run.
    return Made(counts, digest=stage.fingerprint)
