"""A judged comparison of answers: what is compared, its rows and its figures."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from xinst_jax import distributed, shards
from xinst_jax.config.judging import JudgeConfig
from xinst_jax.errors import UserError
from xinst_jax.eval import answers as answers_lib
from xinst_jax.eval import judge as judge_lib
from xinst_jax.eval import page, planted, summaries
from xinst_jax.eval.judge import Judge, Pair
from xinst_jax.eval.win_rate import win_rate
from xinst_jax.languages import Language
from xinst_jax.manifest import Counts, StageDirectory

PAIRS = "pairs"
FIGURES = "win_rates.json"
PAGE = "eval.html"

Rows = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]
"""Rows of `answers.SCHEMA` by model and by language."""


def pairs(rows: Rows, ours: str, code: str, sample: str) -> list[Pair]:
    """What is compared in one language: our answer and each opponent's.

    Args:
      rows: the answers.
      ours: name of our model in them; all others are its opponents.
      code: the language.
      sample: which of a question's answers is taken: 'first', 'shortest', 'longest'.

    Raises:
      UserError: an opponent was asked other questions.
    """
    mine = _chosen(rows[ours][code], sample)
    found = []
    for opponent in (name for name in rows if name != ours):
        theirs = _chosen(rows[opponent][code], sample)
        if differing := sorted(set(mine) ^ set(theirs)):
            raise UserError(
                f"{ours} and {opponent} were not asked the same questions in {code}: "
                f"{len(differing)} differ, as {'/'.join(differing[0])}. Compare runs "
                "with the same EvaluateConfig.questions and max_questions."
            )
        for place, answer in mine.items():
            against = theirs[place]
            if answer["instruction"] != against["instruction"]:
                raise UserError(
                    f"Question {'/'.join(place)} in {code} is not the same for {ours} "
                    f"({answer['instruction']!r}) and {opponent} "
                    f"({against['instruction']!r})."
                )
            found.append(
                Pair(
                    judge_lib.ANSWERS,
                    *place,
                    code,
                    opponent,
                    answer["instruction"],
                    answer["answer"],
                    against["answer"],
                    answer["sample"],
                    against["sample"],
                )
            )
    return found


def all_pairs(
    config: JudgeConfig,
    rows: Rows,
    ours: str,
    languages: Mapping[str, Language],
    written: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, list[Pair]]:
    """Everything that is put to the judge, by language: answers, then planted pairs.

    Args:
      config: the judge's.
      rows: the answers, by model and language.
      ours: name of our model among them.
      languages: by code.
      written: pairs that people wrote, by language, to plant.
    """
    right = planted.pairs(written, config.planted_pairs)
    return {
        code: [*pairs(rows, ours, code, config.sample), *right.get(code, ())]
        for code in languages
    }


def run(
    stage: StageDirectory,
    config: JudgeConfig,
    rows: Rows,
    ours: str,
    languages: Mapping[str, Language],
    put: Mapping[str, Sequence[Pair]],
    judge: Judge,
    *,
    judge_name: str,
    title: str,
    remote: bool,
) -> dict[str, Counts]:
    """Writes `pairs/{lang}`, `win_rates.json` and `eval.html`.

    Args:
      stage: the directory to write; languages that are judged keep their judgments.
      config: the judge's.
      rows: the answers, by model and language.
      ours: name of our model among them.
      languages: by code.
      put: what is put to the judge, of `all_pairs`.
      judge: says which is better.
      judge_name: what the judge is called.
      title: heading of the page.
      remote: whether process 0 alone asks the judge.

    Returns:
      Counts by language; of several processes only process 0 counts, and writes.
    """
    directory = stage.path / PAIRS
    for code in languages:

        def judged(code: str = code) -> pa.Table:
            found = judge_lib.judged(put[code], languages, judge, config.rule)
            return pa.Table.from_pylist(found, schema=judge_lib.SCHEMA)

        answers_lib.write_once(directory / code, judged, remote)
    if not distributed.is_primary():
        return {}
    verdicts = {code: shards.read_rows(directory / code) for code in languages}
    record = {
        "judge": judge_name,
        "prompt": config.prompt,
        "rule": config.rule,
        "sample": config.sample,
        "samples": max(
            (row["sample"] for part in rows[ours].values() for row in part), default=0
        ),
        "ours": ours,
        "opponents": [name for name in rows if name != ours],
        **figures(rows, verdicts, languages, config.bootstrap),
    }
    text = json.dumps(_without_nan(record), indent=1, ensure_ascii=False) + "\n"
    shards.write_bytes(stage.path / FIGURES, text.encode())
    compared = [
        row
        for code in languages
        for row in verdicts[code]
        if row["kind"] == judge_lib.ANSWERS
    ]
    page.write(stage.path / PAGE, title, json.loads(text), compared, languages)
    return {
        code: Counts(len(put[code]), len(part), notes=_notes(part))
        for code, part in verdicts.items()
    }


def figures(
    rows: Rows,
    verdicts: Mapping[str, Sequence[Mapping[str, Any]]],
    languages: Mapping[str, Language],
    resamples: int,
) -> dict[str, Any]:
    """Fidelity, win rates and planted pairs, as `win_rates.json` has them.

    Args:
      rows: the answers, by model and language.
      verdicts: rows of `judge.SCHEMA` by language.
      languages: by code.
      resamples: of the bootstrap.
    """
    sets = summaries.by_set(rows, languages, resamples)
    every = [row for part in verdicts.values() for row in part]
    for name, of_set in sets.items():
        for code, of_language in of_set["languages"].items():
            of_language["win_rates"] = _win_rates(verdicts[code], name, resamples)
        of_set["all"] = _win_rates(every, name, resamples)
    return {
        "sets": sets,
        "planted": {
            "languages": {code: _preferences(part) for code, part in verdicts.items()},
            "all": _preferences(every),
        },
    }


def _win_rates(
    rows: Sequence[Mapping[str, Any]], name: str, resamples: int
) -> dict[str, Any]:
    of_set = [
        row
        for row in rows
        if row["kind"] == judge_lib.ANSWERS and row["question_set"] == name
    ]
    opponents = dict.fromkeys(row["opponent"] for row in of_set)
    return {
        opponent: dataclasses.asdict(
            win_rate([row for row in of_set if row["opponent"] == opponent], resamples)
        )
        for opponent in opponents
    }


def _preferences(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found = planted.preferences(rows)
    return {kind: dataclasses.asdict(preference) for kind, preference in found.items()}


def _chosen(
    rows: Sequence[Mapping[str, Any]], sample: str
) -> dict[tuple[str, str], Mapping[str, Any]]:
    """A question's one answer that is judged, by its set and id."""
    samples: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        samples.setdefault((row["question_set"], row["id"]), []).append(row)
    return {place: judge_lib.chosen(part, sample) for place, part in samples.items()}


def _notes(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | int | str]:
    outcomes = [row["outcome"] for row in rows if row["kind"] == judge_lib.ANSWERS]
    return {name: outcomes.count(name) for name in ("win", "tie", "loss", "unjudged")}


def _without_nan(record: Any) -> Any:
    """JSON has no NaN: a figure of nothing is null."""
    if isinstance(record, float) and math.isnan(record):
        return None
    if isinstance(record, dict):
        return {key: _without_nan(value) for key, value in record.items()}
    if isinstance(record, list):
        return [_without_nan(value) for value in record]
    return record
