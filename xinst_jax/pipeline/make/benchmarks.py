"""Stages in which finished models are measured on public benchmarks."""

import json
from typing import TYPE_CHECKING

import rich.console

from xinst_jax import distributed, languages, shards
from xinst_jax.eval import benchmark_table, benchmarks
from xinst_jax.eval.benchmarks import BenchmarkTask
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.pipeline.runner import Made
from xinst_jax.pipeline.workspace import Workspace

if TYPE_CHECKING:
    from xinst_jax.eval.chat_format import ChatFormat
    from xinst_jax.eval.harness import HarnessModel

STAGES = {"base": "base", "tuned": "model"}
"""The training stage of each model that is measured."""


def directory_name(model: str, task: BenchmarkTask) -> str:
    """The stage that measures a model on a task."""
    return f"benchmark/{model}/{task.name}"


def benchmark(
    workspace: Workspace, stage: StageDirectory, model: str, task: BenchmarkTask
) -> Made:
    """A model's figures on one task, and each of its answers."""
    from xinst_jax.eval import harness_task

    lm = _harness_model(workspace, model)
    known = {**languages.BUILT_IN, **workspace.run.language_table}
    lm.output_lang = known[task.language].name if task.language else ""
    record, samples = harness_task.measure(lm, task, workspace.run.benchmark)
    if distributed.is_primary():
        lines = (json.dumps(row, ensure_ascii=False) for row in samples)
        shards.write_bytes(
            stage.path / benchmarks.SAMPLES, ("\n".join(lines) + "\n").encode()
        )
        text = json.dumps({"model": model, **record}, indent=1, ensure_ascii=False)
        shards.write_bytes(stage.path / benchmarks.RESULTS, f"{text}\n".encode())
    notes: dict[str, float | int | str] = {"truncated": record["truncated"]}
    if found := benchmark_table.headline(record, task.name):
        notes[found[0]] = round(found[1], 6)
    return Made({"all": Counts(len(samples), len(samples), notes=notes)})


def print_tables(workspace: Workspace, console: rich.console.Console) -> None:
    """Prints what the run's benchmarks found."""
    config, table = workspace.run.benchmark, workspace.run.language_table
    records = {}
    for model in config.models:
        for task in benchmarks.tasks(config, table):
            path = workspace.path(directory_name(model, task))
            if record := benchmarks.read(path):
                records[model, task.name] = record
    if config.sets:
        console.print(benchmark_table.set_table(config, table, records))
    if config.tasks:
        console.print(benchmark_table.task_table(config, records))


_LOADED: dict[tuple[Workspace, str], "HarnessModel"] = {}
"""The model that was measured last, kept from one of its tasks to the next."""


def _harness_model(workspace: Workspace, model: str) -> "HarnessModel":
    """The model as the harness asks it."""
    if (workspace, model) not in _LOADED:
        # The devices need not hold two.
        _LOADED.clear()
        _LOADED[workspace, model] = _load(workspace, model)
    return _LOADED[workspace, model]


def _load(workspace: Workspace, model: str) -> "HarnessModel":
    from xinst_jax.eval import harness
    from xinst_jax.pipeline import training

    run = workspace.run
    chat = _chat_format(workspace, model) if run.benchmark.chat_template else None
    weights = harness.Weights(
        training.trained_params(workspace, STAGES[model]),
        workspace.model,
        workspace.rules,
        workspace.mesh,
    )
    return harness.HarnessModel(
        weights,
        workspace.vocabulary,
        run.answer.batch_rows,
        run.sft.length,
        workspace.seed("benchmark"),
        chat,
    )


def _chat_format(workspace: Workspace, model: str) -> "ChatFormat":
    """How a model is spoken to: as it was tuned, or as its folder says."""
    from xinst_jax.eval import chat_format

    folder = workspace.path("tokenizer")
    if model == "tuned":
        return chat_format.of_answers(
            folder, workspace.model.max_length, workspace.run.prompts
        )
    return chat_format.of_folder(folder)
