"""What others get to see of a run: the model's card, its lineage, and the push."""

import pathlib
import re
from typing import Any

import rich.console
from rich.markup import escape

from xinst_jax import __version__, distributed, manifest, run_file, shards
from xinst_jax.config import RunConfig
from xinst_jax.errors import UserError
from xinst_jax.hf import cards, hub, licences
from xinst_jax.hf.licences import Licence
from xinst_jax.pipeline.runner import Stage
from xinst_jax.pipeline.workspace import Workspace

_DIGEST_CHARS = 16
_OWN_FILES = (manifest.MANIFEST, "rejected/*")
"""Files of a stage's folder that are the pipeline's own, and are not sent."""

_HUB_CACHE = re.compile(r"models--(.+?)--(.+)")


def check_target(run: RunConfig, target: hub.Target) -> None:
    """Raises UserError where what would be pushed were of no use to anybody else."""
    if target.kind != "model" or run.export.weights != "adapter":
        return
    if not hub.is_name(found := adapter_base(run)):
        raise UserError(
            "ExportConfig.weights = 'adapter': the adapter would name its base model "
            f"as {found!r}, which nobody else has. Set ExportConfig.base_name to the "
            "name of the base model on the hub, ORG/NAME, before it is pushed."
        )


def push(
    workspace: Workspace,
    stage: Stage,
    target: hub.Target,
    console: rich.console.Console,
) -> None:
    """Sends a finished stage's folder to the hub, and says where it is."""
    folder = workspace.path(stage.name)
    if target.kind == "model":
        name = target.name.split("/")[1]
        _warn_of_name(_licence(workspace), name, console)
    console.print(
        f"{stage.name}: pushing to the {target.kind} {target.name}", highlight=False
    )
    record = manifest.read(folder)
    assert record is not None
    message = (
        f"{workspace.run.name}: {stage.name} {record['fingerprint'][:_DIGEST_CHARS]}"
    )
    address = hub.push(folder, target, message, left_out=_OWN_FILES)
    console.print(f"  {escape(address)}", highlight=False)


def model_card(workspace: Workspace, prompt: str, adapter: bool = False) -> str:
    """The tuned model's card; warns where its name or licence wants another look.

    Args:
      workspace: with the finished stages 'dataset', 'seed' and 'model'.
      prompt: the prompt of the chat template, with its slots.
      adapter: whether an adapter is exported and no whole model.
    """
    run = workspace.run
    console = rich.console.Console(quiet=not distributed.is_primary())
    record, licence = lineage(workspace), _licence(workspace)
    if licence is None:
        warning = (
            f"{_unlicensed(workspace)} The model card says 'other': set "
            "ExportConfig.license."
        )
        console.print(f"[yellow]{escape(warning)}[/yellow]", highlight=False)
    _warn_of_name(licence, run.name, console)
    return cards.model_card(
        name=run.name,
        languages={code: found.name for code, found in run.language_table.items()},
        licence=licence,
        base_model=record["base_model"],
        adapter=adapter,
        left_out=_left_out(run),
        datasets=[run.export.dataset_name] if run.export.dataset_name else [],
        rows=record["rows"],
        prompt=prompt,
        figures=_figures(record["training"]),
        lineage={
            "run": run.name,
            "xinst_jax": __version__,
            "base model": record["base_model"] or "none",
            "rounds of rating": str(run.rounds),
            **{
                part.replace("_", " "): record[part][:_DIGEST_CHARS]
                for part in ("dataset", "training_run", "weights")
            },
        },
    )


def lineage(workspace: Workspace) -> dict[str, Any]:
    """What the tuned model was made from, ready for JSON.

    Returns:
      run, xinst_jax, base_model (ORG/NAME, a folder's name, or empty), base_adapter (a
      folder's name, or empty), rounds; dataset and training_run (the two stages'
      fingerprints, which stand for all that they were made from), weights (digest of
      the parameters); rows (pairs trained on, by language), training (its figures),
      packages (versions).
    """
    run = workspace.run
    model, dataset = (
        _finished(workspace.path(stage)) for stage in ("model", "dataset")
    )
    return {
        "run": run.name,
        "xinst_jax": __version__,
        "base_model": base_name(workspace),
        "base_adapter": pathlib.PurePath(run.base_adapter).name,
        "rounds": run.rounds,
        "dataset": dataset["fingerprint"],
        "training_run": model["fingerprint"],
        "weights": model["content"],
        "rows": {code: _rows(workspace, code) for code in run.languages},
        "training": model["counts"]["all"]["notes"],
        "packages": model["packages"],
    }


def base_name(workspace: Workspace) -> str:
    """What the base model is called; empty for a model that was trained from scratch.

    The name is the configured one, else the one by which the hub's cache keeps the
    folder, else the folder's own.
    """
    run = workspace.run
    if not run.base_model:
        return ""
    return _hub_name(run) or run_file.project_path(run.base_model).name


def adapter_base(run: RunConfig) -> str:
    """How an adapter finds the base model: by its name on the hub, else by its path.

    The name is the configured one, or the one by which the hub's cache keeps it.
    """
    return _hub_name(run) or str(run_file.project_path(run.base_model))


def _hub_name(run: RunConfig) -> str:
    """The base model's name as configured or as in the hub's cache; else empty."""
    if run.export.base_name:
        return run.export.base_name
    for part in run_file.project_path(run.base_model).absolute().parts:
        match = _HUB_CACHE.fullmatch(part)
        if match:
            return f"{match[1]}/{match[2]}"
    return ""


def _left_out(run: RunConfig) -> str:
    """What the import left out of the base model, in words; empty where nothing."""
    if not run.base_model:
        return ""
    # Imported late: it imports JAX.
    from xinst_jax.hf import importable

    found = importable.left_out(run_file.project_path(run.base_model))
    return str(found) if found else ""


def _licence(workspace: Workspace) -> Licence | None:
    run = workspace.run
    given = Licence(run.export.license) if run.export.license else None
    if not run.base_model:
        return given
    return licences.of_base(run_file.project_path(run.base_model)) or given


def _unlicensed(workspace: Workspace) -> str:
    """Why the model has no licence that a card could name, and whose count for it."""
    run = workspace.run
    if run.base_model:
        return f"{run.base_model} says nothing of its licence."
    found: set[str] = set()
    for stage in ("corpus", "seed"):
        for code in run.languages:
            directory = workspace.path(stage) / code
            if directory.is_dir():
                texts = shards.read_table(directory, ["license"])
                found |= set(texts["license"].unique().to_pylist())
    named = ", ".join(sorted(filter(None, found))) or "none that they name"
    return (
        "A model that was trained from scratch has no licence by itself. Licences of "
        f"its texts and seed pairs: {named}."
    )


def _warn_of_name(
    licence: Licence | None, name: str, console: rich.console.Console
) -> None:
    warning = licences.name_warning(licence.title, name) if licence else None
    if warning:
        console.print(f"[yellow]{escape(warning)}[/yellow]", highlight=False)


def _finished(directory: pathlib.Path) -> dict[str, Any]:
    record = manifest.read(directory)
    assert record is not None
    return record


def _rows(workspace: Workspace, code: str) -> int:
    """Pairs that the fine-tuning saw: the dataset's, and the seed's for training."""
    drawn = shards.read_table(workspace.path("dataset") / code, ["id"])
    splits = shards.read_table(workspace.path("seed") / code, ["split"])["split"]
    return drawn.num_rows + splits.to_pylist().count("train")


def _figures(notes: dict[str, Any]) -> dict[str, str]:
    """What the training measured, in words."""
    if "held_out_loss" not in notes:
        return {"training loss": f"{notes['loss']:.3f}"}
    return {
        "held-out loss before tuning": f"{notes['held_out_loss_before']:.3f}",
        "held-out loss": f"{notes['held_out_loss']:.3f}",
    }
