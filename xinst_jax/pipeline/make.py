"""Each stage joined to a run: paths and configuration in, what was made out.

What is slow to import is imported where it is used, so that a pipeline of which every
stage is up to date answers at once.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import rich.console

from xinst_jax import run_file, shards
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.pipeline import raw_files, training_rows
from xinst_jax.pipeline.runner import Made
from xinst_jax.pipeline.workspace import Workspace, model_shape

if TYPE_CHECKING:
    from xinst_jax.models.decoder import Params


def corpus(workspace: Workspace, stage: StageDirectory) -> Made:
    """Raw text to clean, response-sized documents."""
    from xinst_jax.pipeline import corpus as corpus_lib

    config = workspace.run.corpus
    config = dataclasses.replace(config, path=raw_files.located(config.path))
    return Made(corpus_lib.run(stage, config, workspace.run.language_table))


def seed(workspace: Workspace, stage: StageDirectory) -> Made:
    """Instruction pairs, checked and split."""
    from xinst_jax.pipeline import seed as seed_lib

    config = workspace.run.seed_pairs
    config = dataclasses.replace(config, path=raw_files.located(config.path))
    return Made(seed_lib.run(stage, config, workspace.run.language_table))


def tokenizer(workspace: Workspace, stage: StageDirectory) -> Made:
    """A SentencePiece model trained on corpus and seed, or the tokenizer given."""
    from xinst_jax.data import train_tokenizer, vocab
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
    hf_tokenizer.from_folder(stage.path, _chat_prompt(), model_shape(run).max_length)
    pieces = vocab.load_vocabulary(stage.path).vocab_size
    return Made({"all": Counts(rows_in=len(texts), rows_out=pieces)})


def trained_base(workspace: Workspace, stage: StageDirectory) -> Made:
    """A small language model trained from scratch on the corpus and the seed pairs."""
    import jax

    from xinst_jax.data import tasks
    from xinst_jax.models import decoder
    from xinst_jax.pipeline import training

    key = jax.random.key(workspace.seed("initial parameters"))
    config, pairs = workspace.run.base, stage.path / "pairs"

    def register() -> None:
        training_rows.write_pair_texts(workspace, pairs)
        tasks.register_lm(
            workspace.path("corpus"),
            pairs,
            workspace.run.languages,
            workspace.vocabulary,
            length=config.length,
            temperature=config.temperature,
        )

    made = training.run(
        workspace,
        stage,
        config,
        _examples(workspace, stage, tasks.LM, config.passes, register),
        lambda: decoder.init_params(
            workspace.model, workspace.rules, workspace.mesh, key
        ),
    )
    # A text that goes in pieces has no end token but in its last: nothing is lost.
    del made.counts["all"].notes["cut"]
    return made


def imported_base(workspace: Workspace, stage: StageDirectory) -> Made:
    """The parameters of a Hugging Face folder, an adapter merged into them if given."""
    import rich.console

    from xinst_jax.hf import adapter, folder, importable
    from xinst_jax.train import checkpoint

    run = workspace.run
    model, rules, mesh = workspace.model, workspace.rules, workspace.mesh
    path = run_file.project_path(run.base_model)
    notes: dict[str, float | int | str] = {}
    if left_out := importable.left_out(path):
        notes = {"left_out_tensors": left_out.tensors, "left_out_bytes": left_out.size}
        rich.console.Console().print(f"  left out: {left_out}", highlight=False)
    params = folder.import_params(path, model, rules, mesh)
    if run.base_adapter:
        path = run_file.project_path(run.base_adapter)
        params = adapter.merge_folder(path, model, rules, mesh, params)
    checkpoint.save_params(stage.path / "checkpoints", params)
    notes["parameters"] = _size(params)
    counts = Counts(rows_in=1, rows_out=1, notes=notes)
    return Made({"all": counts}, checkpoint.params_digest(params))


def generator(workspace: Workspace, stage: StageDirectory, number: int) -> Made:
    """The reverse-instruction generator, on the seed and what was kept so far."""
    from xinst_jax.data import tasks

    config = workspace.run.generator
    pairs = stage.path / "pairs"

    def register() -> None:
        training_rows.write_pairs(workspace, pairs, number)
        tasks.register_reverse(
            pairs,
            workspace.run.languages,
            workspace.vocabulary,
            length=config.length,
            temperature=config.temperature,
        )

    return _tuned(workspace, stage, tasks.REVERSE, "generator", register)


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


def rater(workspace: Workspace, stage: StageDirectory, number: int) -> Made:
    """The three-level rater, on pairs of known level made from seed and kept pairs."""
    from xinst_jax import distributed
    from xinst_jax.data import tasks

    config, rows = workspace.run.rater, stage.path / "levels"
    if not distributed.from_primary("levels", lambda: shards.complete(rows)):
        training_rows.write_levels(workspace, rows, number)

    def register() -> None:
        tasks.register_rate(
            rows,
            workspace.run.language_table,
            workspace.vocabulary,
            length=config.length,
            temperature=config.temperature,
        )

    return _tuned(workspace, stage, tasks.RATE, "rater", register)


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


def dataset(workspace: Workspace, stage: StageDirectory, last: str) -> Made:
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
            ratings=workspace.path(f"ratings/{last}"),
            candidates=workspace.path(f"candidates/{last}"),
            corpus=workspace.path("corpus"),
            seed=workspace.seed(stage.stage),
        )
    )


def model(workspace: Workspace, stage: StageDirectory) -> Made:
    """The final model: cross-lingual fine-tuning on the dataset and the seed."""
    from xinst_jax.data import tasks

    config = workspace.run.sft

    def register() -> None:
        tasks.register_sft(
            workspace.path("dataset"),
            workspace.path("seed"),
            workspace.run.language_table,
            workspace.vocabulary,
            length=config.length,
            temperature=config.temperature,
            min_score=workspace.run.rate.min_score,
        )

    return _tuned(workspace, stage, tasks.SFT, "sft", register)


def hf_model(workspace: Workspace, stage: StageDirectory) -> Made:
    """The tuned model, or its adapter, as a Hugging Face folder."""
    from xinst_jax.hf import adapter, folder, text_half
    from xinst_jax.hf import config as hf_config
    from xinst_jax.hf import tokenizer as hf_tokenizer
    from xinst_jax.pipeline import publish, training

    run, vocabulary = workspace.run, workspace.vocabulary
    lora = training.adapters_of(run, "model")
    alone = lora is not None and run.export.weights == "adapter"
    read = training.trained_adapters if alone else training.trained_params
    params, prompt = read(workspace, "model"), _chat_prompt()
    base = run_file.project_path(run.base_model) if run.base_model else None
    card = publish.model_card(workspace, prompt, adapter=alone)
    tokenizer = hf_tokenizer.from_folder(
        workspace.path("tokenizer"), prompt, workspace.model.max_length
    )
    if lora and alone:
        adapter.export_adapter(
            stage.path,
            params,
            workspace.model,
            workspace.rules,
            workspace.mesh,
            lora,
            base_name=publish.adapter_base(run),
            layout=text_half.modules(hf_config.read_base(base) if base else {}),
            files=tokenizer
            | folder.legal_files(base)
            | folder.lineage_file(publish.lineage(workspace))
            | {"README.md": card.encode()},
        )
    else:
        pieces = hf_config.read(base).vocab_size if base else vocabulary.vocab_size
        folder.export_folder(
            stage.path,
            params,
            workspace.model,
            dtype=run.export.dtype,
            vocab_size=pieces,
            special=hf_config.SpecialIds(
                vocabulary.bos_id, vocabulary.stop_ids, vocabulary.pad_id
            ),
            tokenizer=tokenizer,
            card=card,
            shard_bytes=int(run.export.shard_gigabytes * 10**9),
            base=base,
            lineage=publish.lineage(workspace),
        )
    counts = Counts(rows_in=1, rows_out=1, notes={"parameters": _size(params)})
    return Made({"all": counts})


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
                vocabulary.decode(one.tokens), one.logprob, len(one.tokens), one.finish
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


def report(workspace: Workspace, stage: StageDirectory) -> Made:
    """The page that shows what the run made."""
    from xinst_jax.report import page

    run = workspace.run
    path = stage.path / "report.html"
    page.write(workspace.workdir, path, run.name, run.language_table)
    return Made({"all": Counts(rows_in=len(run.languages), rows_out=1)})


def _chat_prompt() -> str:
    """The prompt that the exported chat template writes, with its slots."""
    from xinst_jax.data import prompts

    return prompts.answer("{instruction}", "{output_lang}", seed_style=True)


def _size(params: "Params") -> int:
    """How many numbers the parameters are."""
    import jax

    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _tuned(
    workspace: Workspace,
    stage: StageDirectory,
    mixture: str,
    name: str,
    register: Callable[[], None],
) -> Made:
    """Trains from the base model on the mixture that `register` makes known."""
    from xinst_jax.pipeline import training

    config = getattr(workspace.run, name)
    return training.run(
        workspace,
        stage,
        config,
        _examples(workspace, stage, mixture, config.passes, register),
    )


def _examples(
    workspace: Workspace,
    stage: StageDirectory,
    mixture: str,
    passes: float,
    register: Callable[[], None],
) -> Callable[[str], Any]:
    """Gives a split's examples; the mixture is registered when first asked for one."""
    from xinst_jax.data import tasks

    registered = functools.cache(register)

    def examples(split: str) -> Any:
        registered()
        return tasks.examples(
            mixture, split, passes=passes, seed=workspace.seed(stage.stage)
        )

    return examples
