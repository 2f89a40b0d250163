"""One task of lm-evaluation-harness, from its data to its figures and its answers.

As `eval.harness`, this module needs the harness to be installed.
"""

import difflib
import functools
import importlib.metadata
import json
import logging
import pathlib
from collections.abc import Iterator
from typing import Any

import lm_eval
from lm_eval.api.group import Group
from lm_eval.api.model import LM
from lm_eval.api.task import Task
from lm_eval.tasks import TaskManager
from lm_eval.utils import handle_non_serializable

from xinst_jax import run_file
from xinst_jax.config import BenchmarkConfig
from xinst_jax.errors import UserError
from xinst_jax.eval.benchmarks import BenchmarkTask

_SPLITS = ("training_split", "validation_split", "test_split")
_OWN_TASKS = pathlib.Path(lm_eval.__file__).parent / "tasks"


def measure(
    lm: LM, task: BenchmarkTask, config: BenchmarkConfig
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Asks a model all that a task asks.

    Args:
      lm: the model.
      task: a task, group or tag of the harness.
      config: how it is measured.

    Returns:
      The figures, with all that decides them (the harness' version, the tasks' own
      versions, prompts and splits, examples shown, rows measured, contexts that lost
      their start, the chat template); and a record of each row and what was answered.

    Raises:
      UserError: there is no such task, or its data cannot be read.
    """
    logging.getLogger("lm_eval").setLevel(logging.WARNING)
    cut = getattr(lm, "truncated", 0)
    template = lm.chat_template(True) if config.chat_template else None
    found = lm_eval.simple_evaluate(
        lm,
        tasks=_loaded(task, config),
        task_manager=_manager(task.set_name, config.task_files),
        num_fewshot=None if config.num_fewshot < 0 else config.num_fewshot,
        limit=config.limit or None,
        apply_chat_template=config.chat_template,
    )
    record = {
        "task": task.name,
        "lm_eval": importlib.metadata.version("lm_eval"),
        "results": found["results"] | found.get("groups", {}),
        "versions": found["versions"],
        "n-shot": found["n-shot"],
        "n-samples": found["n-samples"],
        "truncated": getattr(lm, "truncated", 0) - cut,
        "chat_template": template,
        "configs": found["configs"],
    }
    for one in record["configs"].values():
        # Where the file lies says nothing of the figures.
        (one.get("metadata") or {}).pop("config_source", None)
    return _plain(record), list(_samples(found["samples"]))


def _loaded(task: BenchmarkTask, config: BenchmarkConfig) -> list[Task | Group]:
    """The harness' group or tasks of a name, their data read."""
    manager = _manager(task.set_name, config.task_files)
    if task.name not in manager.all_tasks:
        near = difflib.get_close_matches(task.name, manager.all_tasks, 3, 0.5)
        raise UserError(
            f"BenchmarkConfig.tasks: the harness has no task {task.name!r}"
            + (f"; there is {', '.join(near)}" if near else "")
            + f". Its list: lm_eval ls tasks (version {lm_eval.__version__})."
        )
    wanted: Any = task.name
    if files := task.data_files(config):
        # A group of one takes a task that is known with another place for its data.
        data = {split: str(path) for split, path in files.items()}
        known = manager.task_index[task.name].cfg or {}
        # A split that is named is read, whether or not it is asked for.
        place: dict[str, Any] = {
            field: None for field in _SPLITS if known.get(field) not in files
        }
        place |= {
            "dataset_path": "json",
            "dataset_name": None,
            "dataset_kwargs": {"data_files": data},
        }
        wanted = {"group": "local", "task": [{"task": task.name, **place}]}
    try:
        found = manager.load([wanted])
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{task.name} cannot be loaded: {reason} Expected its data at the Hugging "
            "Face hub or in the hub's cache; for xcopa, xstorycloze, xnli and belebele "
            "BenchmarkConfig.data may name a folder that has it, and for others "
            "BenchmarkConfig.task_files (see docs/benchmarks.md)."
        ) from error
    group = found["groups"].get(task.name)
    return [group] if group else list(found["tasks"].values())


@functools.lru_cache(maxsize=2)
def _manager(set_name: str, task_files: str) -> TaskManager:
    """Knows a set's tasks, or all of the harness': reading those takes a while."""
    folders = [str(_OWN_TASKS / set_name)] if set_name else []
    if task_files:
        folders.append(str(run_file.project_path(task_files)))
    return TaskManager(include_path=folders, include_defaults=not set_name)


def _samples(samples: dict[str, list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    for name, rows in samples.items():
        for row in rows:
            yield _plain({"task": name, **row})


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """A record of the harness as JSON has it."""
    return json.loads(json.dumps(record, default=handle_non_serializable))
