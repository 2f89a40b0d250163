"""Benchmark sets by language: which set measures which, and with what data.

The prompts, the choices and the metrics of every task are lm-evaluation-harness' own;
what is here is which of its tasks measure a language, and where their rows come from.
"""

import dataclasses
import functools
import importlib.metadata
import importlib.util
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from xinst_jax import run_file, shards
from xinst_jax.config import BenchmarkConfig
from xinst_jax.errors import UserError
from xinst_jax.languages import Language

RESULTS = "results.json"
SAMPLES = "samples.jsonl"

_REQUIREMENTS = "requirements-harness.txt"


@dataclasses.dataclass(frozen=True)
class BenchmarkSet:
    """A benchmark with a task for each of several languages.

    Attributes:
      name: as `BenchmarkConfig.sets` names it.
      title: what people call it.
      measures: what it asks.
      chance: accuracy of guessing.
      split: the split whose rows are measured.
      fields: fields of a row.
      tasks: the harness' task of each language, by language code.
    """

    name: str
    title: str
    measures: str
    chance: float
    split: str
    fields: tuple[str, ...]
    tasks: Mapping[str, str]


def _named(pattern: str, codes: str) -> dict[str, str]:
    return {code: pattern.format(code) for code in codes.split()}


_FLORES = {
    "fi": "fin_Latn",
    "id": "ind_Latn",
    "th": "tha_Thai",
    "tr": "tur_Latn",
    "vi": "vie_Latn",
    "bn": "ben_Beng",
    "hi": "hin_Deva",
    "sw": "swh_Latn",
    "ta": "tam_Taml",
    "ur": "urd_Arab",
}

COVERAGE: Mapping[str, BenchmarkSet] = {
    one.name: one
    for one in (
        BenchmarkSet(
            "xcopa",
            "XCOPA",
            "the likelier cause or effect of two",
            1 / 2,
            "test",
            ("premise", "choice1", "choice2", "question", "label"),
            _named("xcopa_{}", "id th tr vi sw ta"),
        ),
        BenchmarkSet(
            "xstorycloze",
            "XStoryCloze",
            "the right ending of a story of two",
            1 / 2,
            "eval",
            (
                *(f"input_sentence_{number}" for number in (1, 2, 3, 4)),
                *("sentence_quiz1", "sentence_quiz2", "answer_right_ending"),
            ),
            _named("xstorycloze_{}", "id hi sw"),
        ),
        BenchmarkSet(
            "xnli",
            "XNLI",
            "whether a sentence follows from another, contradicts it, or neither",
            1 / 3,
            "validation",
            ("premise", "hypothesis", "label"),
            _named("xnli_{}", "th tr vi hi sw ur"),
        ),
        BenchmarkSet(
            "belebele",
            "Belebele",
            "a question on a passage, of four answers",
            1 / 4,
            "test",
            (
                *("flores_passage", "question", "correct_answer_num"),
                *(f"mc_answer{number}" for number in (1, 2, 3, 4)),
            ),
            {code: f"belebele_{flores}" for code, flores in _FLORES.items()},
        ),
    )
}
"""The four sets, as the harness' version that is pinned has them."""


@dataclasses.dataclass(frozen=True)
class BenchmarkTask:
    """One task of the harness as a run measures it.

    Attributes:
      name: the harness' name of it.
      set_name: the set it belongs to; empty for any other task of the harness.
      language: its language, likewise.
    """

    name: str
    set_name: str = ""
    language: str = ""

    def data_files(self, config: BenchmarkConfig) -> dict[str, pathlib.Path]:
        """Local files of its data by split; none where the harness finds its own.

        Raises:
          UserError: `BenchmarkConfig.data` lacks the split that is measured, or a row
            of it lacks a field.
        """
        if not self.set_name or not config.data:
            return {}
        of_set = COVERAGE[self.set_name]
        folder = run_file.project_path(config.data) / of_set.name / self.language
        needed = folder / f"{of_set.split}.jsonl"
        if not needed.is_file():
            raise UserError(
                f"{self.name}: {needed} does not exist. Expected a row a line with the "
                f"fields {', '.join(of_set.fields)}. Put it there (see "
                "docs/benchmarks.md), or set BenchmarkConfig.data = '' to read it from "
                "the Hugging Face hub."
            )
        _check_rows(needed, of_set.fields)
        return {path.stem: path for path in sorted(folder.glob("*.jsonl"))}


def tasks(
    config: BenchmarkConfig, languages: Mapping[str, Language]
) -> list[BenchmarkTask]:
    """The tasks that a run measures: its sets', language by language, then the others.

    A set's task that is named by itself is the set's all the same.

    Args:
      config: what is measured.
      languages: the run's languages, by code.
    """
    found = [
        BenchmarkTask(one.tasks[code], one.name, code)
        for code in languages
        for one in (COVERAGE[name] for name in config.sets)
        if code in one.tasks
    ]
    known = {task.name for task in found}
    return found + [_named_task(name) for name in config.tasks if name not in known]


def _named_task(name: str) -> BenchmarkTask:
    for one in COVERAGE.values():
        for code, task in one.tasks.items():
            if task == name:
                return BenchmarkTask(name, one.name, code)
    return BenchmarkTask(name)


def check_installed() -> None:
    """Raises UserError where lm-evaluation-harness is not installed."""
    if importlib.util.find_spec("lm_eval") is None:
        raise UserError(
            "Benchmarks need lm-evaluation-harness, which is not installed. Install it "
            f"with: pip install -r {_REQUIREMENTS}"
        )


@functools.cache
def digests(config: BenchmarkConfig, task: BenchmarkTask) -> Mapping[str, str]:
    """What a task is measured with: the harness' version, digests of local files.

    Raises:
      UserError: the harness is not installed, or a file is missing or cannot be used.
    """
    check_installed()
    found = {"lm_eval": importlib.metadata.version("lm_eval")}
    for path in task.data_files(config).values():
        found[f"{task.name}/{path.name}"] = shards.file_digest(path)
    if config.task_files:
        folder = run_file.project_path(config.task_files)
        if not folder.is_dir():
            raise UserError(
                f"BenchmarkConfig.task_files = {config.task_files!r} is no folder; "
                "expected one with task files in the harness' format."
            )
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        for path in files:
            if "__pycache__" not in path.parts:
                name = f"task_files/{path.relative_to(folder).as_posix()}"
                found[name] = shards.file_digest(path)
    return found


def read(directory: pathlib.Path) -> dict[str, Any] | None:
    """The record of a finished task's directory; None where there is none."""
    path = directory / RESULTS
    return json.loads(path.read_bytes()) if path.is_file() else None


def unmeasured(
    config: BenchmarkConfig, languages: Mapping[str, Language]
) -> list[Language]:
    """The languages that none of the sets has a task for."""
    sets = [COVERAGE[name] for name in config.sets]
    return [
        language
        for code, language in languages.items()
        if not any(code in one.tasks for one in sets)
    ]


def _check_rows(path: pathlib.Path, fields: Sequence[str]) -> None:
    """Refuses a file whose rows the harness would stumble over."""
    rows = 0
    # By bytes: a string in JSON may hold what Python, too, takes for the end of a line.
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}, line {number} is not JSON: {error}.") from error
        missing = [
            name for name in fields if not isinstance(row, dict) or name not in row
        ]
        if missing:
            raise UserError(
                f"{path}, line {number} lacks {', '.join(missing)}; expected the "
                f"fields {', '.join(fields)}, as docs/benchmarks.md has them."
            )
        rows += 1
    if not rows:
        raise UserError(f"{path} has no row.")
