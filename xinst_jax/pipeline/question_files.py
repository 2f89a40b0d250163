"""The evaluation questions of a run: which files, which sets, checked and digested."""

import functools
import pathlib
from collections.abc import Mapping
from typing import Any

from xinst_jax.config import RunConfig
from xinst_jax.data import raw_rows, sources
from xinst_jax.errors import UserError
from xinst_jax.eval import questions as questions_lib
from xinst_jax.eval.questions import QuestionSet
from xinst_jax.pipeline import raw_files

_LANGUAGE = "{lang}"


@functools.cache
def digests(run: RunConfig) -> Mapping[str, str]:
    """Digests of the files of every question set; see `sets`."""
    sets(run)
    found: dict[str, str] = {}
    for name, pattern in _patterns(run).items():
        native = _LANGUAGE in pattern
        for code in run.languages if native else ("en",):
            for number, item in enumerate(
                sorted(sources.digests(pattern, code).items())
            ):
                path, digest = item
                place = f"{name}/{code}/{number}/{pathlib.PurePath(path).name}"
                found[place] = digest
    return found


@functools.cache
def sets(run: RunConfig) -> list[QuestionSet]:
    """The question sets, as many questions of each as the run asks.

    Raises:
      UserError: a file is missing, a row cannot be read, lacks its id or instruction,
        or has the id of another.
    """
    found = []
    for name, pattern in _patterns(run).items():
        native = _LANGUAGE in pattern
        if native:
            questions = _native(run, pattern)
        else:
            english = _read(run, pattern, "en")
            questions = dict.fromkeys(run.languages, english)
        found.append(QuestionSet(name, native, questions))
    return found


def _native(run: RunConfig, pattern: str) -> dict[str, list[dict[str, Any]]]:
    """Questions in the languages; one may have none, but not all of them."""
    asked = [code for code in run.languages if sources.exists(pattern, code)]
    if not asked:
        raise UserError(
            f"EvaluateConfig.questions: nothing matches {pattern!r} for any of "
            f"{', '.join(run.languages)}."
        )
    return {code: _read(run, pattern, code) for code in asked}


def _read(run: RunConfig, pattern: str, code: str) -> list[dict[str, Any]]:
    sources.preflight(pattern, code, [["id", "instruction"]])
    found = []
    for row in sources.read(pattern, code):
        if isinstance(row, raw_rows.Rejected):
            raise UserError(
                f"{row.place}: {row.reason} (found {row.value}; expected "
                f"{row.threshold}). Repair the questions in EvaluateConfig.questions."
            )
        found.append(row.fields)
    questions_lib.check(pattern.replace(_LANGUAGE, code), found)
    return found[: run.evaluate.max_questions or None]


def _patterns(run: RunConfig) -> dict[str, str]:
    """The configured patterns by the name of their set.

    A set is called what its file is, without what follows the first dot; where that
    is the language alone, what the folder is.
    """
    found: dict[str, str] = {}
    for part in run.evaluate.questions.split(","):
        if not part.strip():
            continue
        path = pathlib.PurePath(part.strip())
        name = path.name.split(".")[0].replace(_LANGUAGE, "").strip("-_*")
        name = name or path.parent.name.replace(_LANGUAGE, "") or "questions"
        if name in found:
            raise UserError(
                f"EvaluateConfig.questions has two sets called {name!r}: a set is "
                "called what its file is, or the folder of a file called for its "
                "language. Rename one."
            )
        found[name] = raw_files.located(part.strip())
    if not found:
        raise UserError(
            "EvaluateConfig.questions is empty; expected JSONL files with the fields "
            "id and instruction."
        )
    return found
