"""One model's training as a stage: examples packed, then trained on."""

import functools
import pathlib
from collections.abc import Callable, Iterator

import jax

from xinst_jax import distributed
from xinst_jax.config import LoraConfig, RunConfig, TrainConfig
from xinst_jax.data import loader, packed_files, packing
from xinst_jax.data.examples import Pair
from xinst_jax.errors import UserError
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.models import decoder
from xinst_jax.models.decoder import Params
from xinst_jax.pipeline.runner import Made
from xinst_jax.pipeline.workspace import Workspace
from xinst_jax.train import checkpoint, evaluation, loop, lora

Pairs = Iterator[Pair]

TRAIN, HELD_OUT = "train", "validation"
"""The splits of a task, named as seqio names them."""

_TARGET_STEP = 32


def run(
    workspace: Workspace,
    stage: StageDirectory,
    config: TrainConfig,
    examples: Callable[[str], Pairs],
    initial_params: Callable[[], Params] | None = None,
) -> Made:
    """Packs a task's examples into `data/` and trains on them; goes on if stopped.

    Args:
      workspace: the run.
      stage: the directory that the training owns.
      config: the training.
      examples: the pairs of a split, in the order to pack them; the held-out ones
        language by language; asked for by process 0 alone.
      initial_params: the parameters to start from, called only at step 0; the base
        model's if not given, or adapters on it as `config.lora` says.

    Raises:
      UserError: as `packing.pack` and `loop.train` do.
    """

    def packed() -> bool:
        """Packs both splits; says whether there is anything held out."""
        for split in (TRAIN, HELD_OUT):
            _pack(workspace, stage.path / "data" / split, split, config, examples)
        return (stage.path / "data" / HELD_OUT / packed_files.SUMMARY).exists()

    holds_out = distributed.from_primary(f"packed for {stage.stage}", packed)
    train_rows = loader.Rows(stage.path / "data" / TRAIN)
    held_out_rows = loader.Rows(stage.path / "data" / HELD_OUT) if holds_out else None
    mesh, rules = workspace.mesh, workspace.rules
    seed = workspace.seed(stage.stage)

    def origin(step: int, place: int) -> tuple[int, list[str]]:
        row = int(train_rows.row_numbers(step, config.global_batch, seed)[place])
        return row, train_rows.names(row)

    frozen_params = None
    if initial_params is None:
        initial_params, frozen_params = _on_base(workspace, stage.stage, config.lora)
    result = loop.train(
        model=workspace.model,
        rules=rules,
        mesh=mesh,
        config=config,
        initial_params=initial_params,
        train_batch=lambda step: train_rows.batch(
            step, config.global_batch, mesh, rules, seed
        ),
        held_out=_held_out(workspace, held_out_rows, config),
        directory=stage.path,
        label=stage.stage,
        targets_per_row=_most_targets(train_rows, held_out_rows),
        frozen_params=frozen_params,
        origin=origin,
    )
    counts = _counts(train_rows.summary, result)
    return Made({"all": counts}, checkpoint.params_digest(result.params))


def trained_params(workspace: Workspace, stage: str) -> Params:
    """The parameters that a finished training stage left: base and adapters merged."""
    mesh, rules, model = workspace.mesh, workspace.rules, workspace.model
    config = adapters_of(workspace.run, stage)
    params = _restored(
        workspace,
        "base" if config else stage,
        decoder.abstract_params(model, rules, mesh),
    )
    if not config:
        return params
    adapters = trained_adapters(workspace, stage)
    return lora.merge(model, rules, mesh, config, params, adapters)


def inference_params(workspace: Workspace, stage: str) -> Params:
    """`trained_params` as inference multiplies them: `decoder.compute_params`."""
    return decoder.compute_params(
        workspace.model,
        workspace.rules,
        workspace.mesh,
        trained_params(workspace, stage),
    )


def trained_adapters(workspace: Workspace, stage: str) -> Params:
    """The adapters that a finished training stage left."""
    config = adapters_of(workspace.run, stage)
    assert config is not None
    abstract = lora.abstract_adapters(
        workspace.model, workspace.rules, workspace.mesh, config
    )
    return _restored(workspace, stage, abstract)


def adapters_of(run: RunConfig, stage: str) -> LoraConfig | None:
    """What a training stage's adapters are; None where it trains all weights.

    Args:
      run: the run.
      stage: 'base', 'generator/round-k', 'rater/round-k', 'follower/round-k' or
        'model'.
    """
    if stage == "base":
        return None
    config = _config_of(run, stage)
    return config.lora if config.lora.rank else None


def _config_of(run: RunConfig, stage: str) -> TrainConfig:
    name = stage.split("/")[0]
    return getattr(run, "sft" if name == "model" else name)


def _restored(workspace: Workspace, stage: str, abstract: Params) -> Params:
    """What a stage left, trained or imported, as its configuration chooses it."""
    run, best_metric = workspace.run, None
    config = _config_of(run, stage)
    if config.final == "best" and not (stage == "base" and run.base_model):
        best_metric = config.best_metric
    return checkpoint.restore_params(
        workspace.path(stage) / "checkpoints", abstract, best_metric
    )


def _on_base(
    workspace: Workspace, stage: str, config: LoraConfig
) -> tuple[Callable[[], Params], Callable[[], Params] | None]:
    """What a training on the base model starts from, and what it leaves as it is.

    Under adapters the base's matrices are kept in the dtype in which they are
    multiplied: the same numbers come out, and float32 weights take half the memory.
    """
    if not config.rank:
        return functools.partial(trained_params, workspace, "base"), None
    model, rules, mesh = workspace.model, workspace.rules, workspace.mesh
    key = jax.random.key(workspace.seed(f"adapters of {stage}"))

    def frozen() -> Params:
        return _restored(
            workspace, "base", decoder.abstract_compute_params(model, rules, mesh)
        )

    adapters = functools.partial(lora.init_adapters, model, rules, mesh, config, key)
    return adapters, frozen


def _held_out(
    workspace: Workspace, rows: loader.Rows | None, config: TrainConfig
) -> evaluation.HeldOut | None:
    if rows is None:
        return None
    return evaluation.HeldOut(
        functools.partial(
            rows.in_order,
            # No more rows at once than the step works on, whose memory is known.
            config.microbatch_rows,
            workspace.mesh,
            workspace.rules,
            config.eval_rows,
        ),
        tuple(rows.summary.languages) or ("",),
    )


def _most_targets(*directories: loader.Rows | None) -> int:
    """Most targets of any packed row, rounded up so that few programs are compiled."""
    most = max(rows.summary.row_targets for rows in directories if rows)
    return -(-most // _TARGET_STEP) * _TARGET_STEP


def _pack(
    workspace: Workspace,
    directory: pathlib.Path,
    split: str,
    config: TrainConfig,
    examples: Callable[[str], Pairs],
) -> None:
    if (directory / packed_files.SUMMARY).exists():
        return
    vocabulary = workspace.vocabulary
    pairs = examples(split)
    first = next(pairs, None)
    if first is None:
        if split == TRAIN:
            raise UserError(f"There is no example to train on for {directory}.")
        return

    def all_pairs() -> Pairs:
        yield first
        yield from pairs

    packing.pack(
        all_pairs(),
        directory,
        length=config.length,
        bos=vocabulary.bos_id,
        eos=vocabulary.eos_id,
        # The loss of a language is then a sum over rows.
        by_language=split == HELD_OUT,
    )


def _counts(summary: packed_files.Packed, result: loop.TrainResult) -> Counts:
    refused = sum(summary.refused.values())
    losses = [line["loss"] for line in result.history if "loss" in line]
    held_out = [
        line["eval_loss"]
        for line in result.history
        if "eval_loss" in line and line["step"] <= result.final_step
    ]
    notes: dict[str, float | int | str] = {
        "packed_rows": summary.rows,
        "fill": summary.fill,
        "cut": summary.cut,
        "steps": result.steps,
    }
    if result.bad_steps:
        notes["skipped_steps"] = result.bad_steps
    if result.final_step != result.steps:
        notes["final_step"] = result.final_step
    if losses:
        notes["loss"] = losses[-1]
    if held_out:
        notes["held_out_loss_before"] = held_out[0]
        notes["held_out_loss"] = held_out[-1]
    return Counts(
        rows_in=summary.examples + refused,
        rows_out=summary.examples,
        dropped=dict(summary.refused),
        notes=notes,
    )
