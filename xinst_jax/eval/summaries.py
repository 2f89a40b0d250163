"""Answers as figures: by question set, language and model, with intervals."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xinst_jax.eval import fidelity, statistics
from xinst_jax.languages import Language

FIGURES = tuple(
    field.name
    for field in dataclasses.fields(fidelity.FidelitySummary)
    if field.name != "answers"
)
_OF_SPOKEN = ("sentences", "repetition", "english")


def by_set(
    rows: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]],
    languages: Mapping[str, Language],
    resamples: int,
) -> dict[str, Any]:
    """Figures of every question set, ready for JSON.

    Args:
      rows: answers by model and by language code, rows of `answers.SCHEMA`.
      languages: by code.
      resamples: of the bootstrap, over questions.

    Returns:
      By set: 'languages', by code: 'name', and under 'answers' by model the fields of
      `FidelitySummary` and 'intervals', the 95% interval of each.
    """
    names = dict.fromkeys(
        row["question_set"]
        for of in rows.values()
        for part in of.values()
        for row in part
    )
    return {
        name: {"languages": _languages(name, rows, languages, resamples)}
        for name in names
    }


def _languages(
    name: str,
    rows: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]],
    languages: Mapping[str, Language],
    resamples: int,
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for code, language in languages.items():
        answers = {}
        for model, of_model in rows.items():
            part = [
                row for row in of_model.get(code, ()) if row["question_set"] == name
            ]
            if part:
                answers[model] = figures(part, resamples)
        if answers:
            found[code] = {"name": language.name, "answers": answers}
    return found


def means(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The fields of `FidelitySummary` of some answers."""
    names = [field.name for field in dataclasses.fields(fidelity.Fidelity)]
    shown = [fidelity.Fidelity(**{name: row[name] for name in names}) for row in rows]
    return dataclasses.asdict(fidelity.summary(shown))


def figures(rows: Sequence[Mapping[str, Any]], resamples: int) -> dict[str, Any]:
    """Fidelity of some answers, and the interval of each figure."""
    record = means(rows)
    groups = [row["id"] for row in rows]
    record["intervals"] = {}
    for name in FIGURES:
        left_out = name in _OF_SPOKEN
        values_n = np.array(
            [
                math.nan if left_out and row["empty"] else float(row[name])
                for row in rows
            ]
        )
        low, high = statistics.bootstrap_interval(values_n, groups, resamples)
        if not math.isnan(low):
            record["intervals"][name] = [low, high]
    return record
