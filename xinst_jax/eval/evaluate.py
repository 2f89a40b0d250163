"""Answers of the tuned model to questions it has not seen, and what they are worth."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from xinst_jax import distributed, shards
from xinst_jax.config import PromptConfig
from xinst_jax.data import prompts
from xinst_jax.eval import answers as answers_lib
from xinst_jax.eval import likelihood, summaries
from xinst_jax.eval.answers import Answerer
from xinst_jax.eval.questions import QuestionSet
from xinst_jax.languages import Language
from xinst_jax.manifest import Counts, StageDirectory

ANSWERS = "answers"
OPPONENTS = "opponents"
HELD_OUT = "held_out"
FIGURES = "evaluation.json"
TUNED = "tuned"
"""What the run's own tuned model is called beside its opponents."""

HELD_OUT_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("lang", pa.string()),
        ("model", pa.string()),
        ("logprob", pa.float32()),
        ("n_tokens", pa.int32()),
        ("n_chars", pa.int32()),
    ]
)


def run(
    stage: StageDirectory,
    sets: Sequence[QuestionSet],
    languages: Mapping[str, Language],
    tuned: Answerer,
    opponents: Mapping[str, Answerer],
    held_out: Mapping[str, Sequence[Mapping[str, Any]]],
    logprobs: Mapping[str, likelihood.ResponseLogprobs],
    *,
    samples: int,
    resamples: int,
    wording: PromptConfig = prompts.PAPER,
) -> dict[str, Counts]:
    """Writes `answers/`, `opponents/{name}/`, `held_out/` and `evaluation.json`.

    A language whose answers, or held-out losses, are there already keeps them, so that
    a stopped stage goes on with the next.

    Args:
      stage: the directory to write.
      sets: the question sets.
      languages: the languages to answer in, by code.
      tuned: the tuned model.
      opponents: what its answers are compared with, by name.
      held_out: by language, seed pairs never trained on: 'id', 'instruction', 'output'.
      logprobs: by model name ('base', 'tuned'), what gives held-out responses their log
        probability after the answer prompt.
      samples: answers to each question.
      resamples: of the bootstrap behind the intervals.
      wording: the prompts that held-out responses are scored after.

    Returns:
      Counts by language; of several processes only process 0 counts, and writes.
    """
    answers, losses = stage.path / ANSWERS, stage.path / HELD_OUT
    answers_lib.write(answers, TUNED, tuned, sets, languages, samples)
    for name, opponent in opponents.items():
        directory = stage.path / OPPONENTS / name
        answers_lib.write(directory, name, opponent, sets, languages, samples)
    for code, language in languages.items():
        pairs = held_out.get(code, ())
        _held_out(losses / code, pairs, language, logprobs, wording)
    if not distributed.is_primary():
        return {}
    rows = read_answers(stage.path, languages)
    figures, counts = {}, {}
    for code, language in languages.items():
        mine = rows[TUNED][code]
        figures[code] = _figures(mine, shards.read_table(losses / code), language)
        asked = sum(len(of.questions.get(code, ())) for of in sets) * samples
        counts[code] = Counts(asked, len(mine), notes=_notes(figures[code]))
    record = {
        "models": list(logprobs),
        "samples": samples,
        "settings": {
            TUNED: dict(tuned.settings),
            **{name: dict(opponent.settings) for name, opponent in opponents.items()},
        },
        "languages": figures,
        "sets": summaries.by_set(rows, languages, resamples),
    }
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    shards.write_bytes(stage.path / FIGURES, text.encode())
    return counts


def read_answers(
    directory: pathlib.Path, languages: Mapping[str, Language]
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The rows of `answers.SCHEMA` under an evaluation, by model and by language."""
    found = {TUNED: directory / ANSWERS}
    opponents = directory / OPPONENTS
    for path in sorted(opponents.iterdir()) if opponents.exists() else ():
        found[path.name] = path
    return {
        name: {code: shards.read_rows(path / code) for code in languages}
        for name, path in found.items()
    }


def _held_out(
    directory: pathlib.Path,
    pairs: Sequence[Mapping[str, Any]],
    language: Language,
    logprobs: Mapping[str, likelihood.ResponseLogprobs],
    wording: PromptConfig,
) -> None:
    """Writes every model's losses on a language's held-out pairs, unless there."""

    def scored() -> pa.Table:
        asked = [
            prompts.answer(pair["instruction"], language.name, True, wording)
            for pair in pairs
        ]
        responses = [pair["output"] for pair in pairs]
        rows: list[dict[str, Any]] = []
        for model, score in logprobs.items():
            sums, tokens = score(asked, responses) if pairs else ((), ())
            rows += [
                {
                    "id": pair["id"],
                    "lang": language.code,
                    "model": model,
                    "logprob": float(logprob),
                    "n_tokens": int(count),
                    "n_chars": len(pair["output"]),
                }
                for pair, logprob, count in zip(pairs, sums, tokens, strict=True)
            ]
        return pa.Table.from_pylist(rows, schema=HELD_OUT_SCHEMA)

    answers_lib.write_once(directory, scored)


def _figures(
    rows: Sequence[Mapping[str, Any]], losses: pa.Table, language: Language
) -> dict[str, Any]:
    return {
        "name": language.name,
        "fidelity": summaries.means(rows),
        "likelihood": {
            model: dataclasses.asdict(_likelihood(losses, model))
            for model in dict.fromkeys(losses["model"].to_pylist())
        },
    }


def _likelihood(losses: pa.Table, model: str) -> likelihood.Likelihood:
    of_model = np.array(losses["model"].to_pylist()) == model
    columns = ("logprob", "n_tokens", "n_chars")
    return likelihood.likelihood(
        *(losses[name].to_numpy()[of_model] for name in columns)
    )


def _notes(figures: Mapping[str, Any]) -> dict[str, float | int | str]:
    """The figures that the stage table shows."""
    notes: dict[str, float | int | str] = {
        name: round(figures["fidelity"][name], 4)
        for name in ("in_language", "truncated", "repetition")
    }
    for model, loss in figures["likelihood"].items():
        notes[f"{model}_loss_per_token"] = round(loss["loss_per_token"], 4)
    return notes
