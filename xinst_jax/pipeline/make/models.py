"""Stages that make a model: trained, taken from a folder, or written to one."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import rich.console

from xinst_jax import distributed, run_file, shards
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.pipeline import rounds, training_rows
from xinst_jax.pipeline.runner import Made
from xinst_jax.pipeline.workspace import Workspace

if TYPE_CHECKING:
    from xinst_jax.models.decoder import Params


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
    from xinst_jax.hf import adapter, folder, importable
    from xinst_jax.train import checkpoint

    run = workspace.run
    model, rules, mesh = workspace.model, workspace.rules, workspace.mesh
    path = run_file.project_path(run.base_model)
    notes: dict[str, float | int | str] = {}
    if left_out := importable.left_out(path):
        notes = {"left_out_tensors": left_out.tensors, "left_out_bytes": left_out.size}
        if distributed.is_primary():
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

    if rounds.settled(workspace, number):
        return rounds.left_out(workspace, number)
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
            wording=workspace.run.prompts,
        )

    return _tuned(workspace, stage, tasks.REVERSE, "generator", register)


def rater(workspace: Workspace, stage: StageDirectory, number: int) -> Made:
    """The three-level rater, on pairs of known level made from seed and kept pairs."""
    from xinst_jax.data import tasks
    from xinst_jax.pipeline import levels

    if rounds.settled(workspace, number):
        return rounds.left_out(workspace, number)
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
            wording=workspace.run.prompts,
        )

    made = _tuned(workspace, stage, tasks.RATE, "rater", register)
    columns = ["split", "corruption"]
    made.counts["all"].notes |= levels.summary(shards.read_rows(rows, columns))
    return made


def follower(workspace: Workspace, stage: StageDirectory, number: int) -> Made:
    """A model that follows instructions, on the seed and what was kept so far.

    It is tuned as the final model is, and asked how much an instruction helps to
    predict its response.
    """
    from xinst_jax.data import tasks

    if rounds.settled(workspace, number):
        return rounds.left_out(workspace, number)
    config, kept = workspace.run.follower, stage.path / "kept"

    def register() -> None:
        training_rows.write_kept(workspace, kept, number)
        tasks.register_sft(
            kept,
            workspace.path("seed"),
            workspace.run.language_table,
            workspace.vocabulary,
            length=config.length,
            temperature=config.temperature,
            wording=workspace.run.prompts,
        )

    return _tuned(workspace, stage, tasks.SFT, "follower", register)


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
            min_score=workspace.run.rate.lowest_min_score,
            wording=workspace.run.prompts,
        )

    return _tuned(workspace, stage, tasks.SFT, "sft", register)


def hf_model(workspace: Workspace, stage: StageDirectory) -> Made:
    """The tuned model, or its adapter, as a Hugging Face folder."""
    from xinst_jax.data import prompts
    from xinst_jax.hf import adapter, folder, text_half
    from xinst_jax.hf import config as hf_config
    from xinst_jax.hf import tokenizer as hf_tokenizer
    from xinst_jax.pipeline import publish, training

    run, vocabulary = workspace.run, workspace.vocabulary
    lora = training.adapters_of(run, "model")
    alone = lora is not None and run.export.weights == "adapter"
    read = training.trained_adapters if alone else training.trained_params
    params, prompt = read(workspace, "model"), prompts.chat(workspace.run.prompts)
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
    from xinst_jax.data import stream

    registered = functools.cache(register)

    def examples(split: str) -> Any:
        registered()
        return stream.examples(
            mixture, split, passes=passes, seed=workspace.seed(stage.stage)
        )

    return examples
