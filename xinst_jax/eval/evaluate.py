"""Answers of the tuned model to questions it has not seen, and what they are worth."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import rich.table

from xinst_jax import distributed, shards
from xinst_jax.data import prompts
from xinst_jax.errors import UserError
from xinst_jax.eval import fidelity, likelihood
from xinst_jax.languages import Language
from xinst_jax.manifest import Counts, StageDirectory

ANSWERS = "answers"
HELD_OUT = "held_out"
FIGURES = "evaluation.json"

ANSWER_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("lang", pa.string()),
        ("instruction", pa.string()),
        ("answer", pa.string()),
        ("logprob", pa.float32()),
        ("n_tokens", pa.int32()),
        ("finish", pa.string()),
        ("in_language", pa.bool_()),
        ("empty", pa.bool_()),
        ("truncated", pa.bool_()),
        ("repetition", pa.float32()),
        ("english", pa.float32()),
    ]
)
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


class Answer(NamedTuple):
    """One generated answer.

    Attributes:
      text: decoded, without the stop token.
      logprob: summed over its tokens, in nats.
      n_tokens: how many tokens it has.
      finish: 'stop' or 'length'.
    """

    text: str
    logprob: float
    n_tokens: int
    finish: str


AnswerAll = Callable[[list[str], list[str]], Sequence[Answer]]
"""(prompts, row ids) -> an answer each, in order; a row's answer depends on its id."""


def run(
    stage: StageDirectory,
    questions: Sequence[Mapping[str, Any]],
    languages: Mapping[str, Language],
    answer: AnswerAll,
    held_out: Mapping[str, Sequence[Mapping[str, Any]]],
    logprobs: Mapping[str, likelihood.ResponseLogprobs],
) -> dict[str, Counts]:
    """Writes `answers/{lang}`, `held_out/{lang}` and `evaluation.json`.

    A language whose answers, or held-out losses, are there already keeps them, so that
    a stopped stage goes on with the next.

    Args:
      stage: the directory to write.
      questions: English questions: 'id' and 'instruction'.
      languages: the languages to answer in, by code.
      answer: the tuned model.
      held_out: by language, seed pairs never trained on: 'id', 'instruction', 'output'.
      logprobs: by model name ('base', 'tuned'), what gives held-out responses their log
        probability after the answer prompt.

    Returns:
      Counts by language; of several processes only process 0 counts, and writes.

    Raises:
      UserError: a question lacks its id or instruction, or two have the same id.
    """
    check_questions(questions)
    answers, losses = stage.path / ANSWERS, stage.path / HELD_OUT
    for code, language in languages.items():
        _answers(answers / code, questions, language, answer)
        _held_out(losses / code, held_out.get(code, ()), language, logprobs)
    if not distributed.is_primary():
        return {}
    figures, counts = {}, {}
    for code, language in languages.items():
        rows = shards.read_rows(answers / code)
        figures[code] = _figures(rows, shards.read_table(losses / code), language)
        counts[code] = Counts(len(questions), len(rows), notes=_notes(figures[code]))
    record = {"models": list(logprobs), "languages": figures}
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    shards.write_bytes(stage.path / FIGURES, text.encode())
    return counts


def check_questions(questions: Sequence[Mapping[str, Any]]) -> None:
    """Refuses questions that cannot be asked, or told apart.

    Raises:
      UserError: a question lacks its id or instruction, or two have the same id.
    """
    if not questions:
        raise UserError(
            "No evaluation question; EvaluateConfig.questions names JSONL files with "
            "the fields id and instruction."
        )
    seen: dict[str, int] = {}
    for number, question in enumerate(questions, 1):
        for field in ("id", "instruction"):
            value = question.get(field)
            if not isinstance(value, str) or not value.strip():
                raise UserError(
                    f"Evaluation question {number}: field {field!r} is {value!r}, "
                    "expected a text that is not empty."
                )
        first = seen.setdefault(question["id"], number)
        if first != number:
            raise UserError(
                f"Evaluation questions {first} and {number} have the same id "
                f"{question['id']!r}; give each its own."
            )


def table(record: Mapping[str, Any]) -> rich.table.Table:
    """The figures of an `evaluation.json` for a terminal, languages down."""
    models = record["models"]
    grid = rich.table.Table(title="Evaluation", title_justify="left")
    grid.add_column("language")
    for heading in ("answers", "in lang.", "empty", "cut off", "repeated", "English"):
        grid.add_column(heading, justify="right")
    for unit in ("nats/token", "bits/char"):
        grid.add_column("\n".join([unit, *models]), justify="right")
    names = ("in_language", "empty", "truncated", "repetition", "english")
    for figures in record["languages"].values():
        shown = figures["fidelity"]
        losses = [figures["likelihood"].get(model) for model in models]
        grid.add_row(
            figures["name"],
            str(shown["answers"]),
            *(f"{shown[name]:.0%}" for name in names),
            *(
                " ".join(f"{loss[unit]:.2f}" if loss else "–" for loss in losses)
                for unit in ("loss_per_token", "bits_per_character")
            ),
        )
    return grid


def _answers(
    directory: pathlib.Path,
    questions: Sequence[Mapping[str, Any]],
    language: Language,
    answer: AnswerAll,
) -> None:
    """Writes the answers in one language, unless they are there."""

    def answered() -> pa.Table:
        asked = [
            prompts.answer(question["instruction"], language.name, seed_style=True)
            for question in questions
        ]
        # The language is part of the id, or every language would draw alike.
        ids = [f"{language.code}/{question['id']}" for question in questions]
        given = answer(asked, ids)
        rows = [
            {
                "id": question["id"],
                "lang": language.code,
                "instruction": question["instruction"],
                "answer": one.text,
                "logprob": one.logprob,
                "n_tokens": one.n_tokens,
                "finish": one.finish,
                **dataclasses.asdict(fidelity.fidelity(one.text, one.finish, language)),
            }
            for question, one in zip(questions, given, strict=True)
        ]
        return pa.Table.from_pylist(rows, schema=ANSWER_SCHEMA)

    _write_once(directory, answered)


def _held_out(
    directory: pathlib.Path,
    pairs: Sequence[Mapping[str, Any]],
    language: Language,
    logprobs: Mapping[str, likelihood.ResponseLogprobs],
) -> None:
    """Writes every model's losses on a language's held-out pairs, unless there."""

    def scored() -> pa.Table:
        asked = [
            prompts.answer(pair["instruction"], language.name, seed_style=True)
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

    _write_once(directory, scored)


def _write_once(directory: pathlib.Path, compute: Callable[[], pa.Table]) -> None:
    """Writes the one shard of a directory, computed by all processes, if missing."""
    path = directory / shards.shard_name(0, 1)
    name = f"{directory.parent.name}/{directory.name}"
    if not distributed.from_primary(name, path.exists):
        table = compute()
        if distributed.is_primary():
            shards.write_table(path, table)


def _figures(
    rows: Sequence[Mapping[str, Any]], losses: pa.Table, language: Language
) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(fidelity.Fidelity)]
    shown = [fidelity.Fidelity(**{name: row[name] for name in names}) for row in rows]
    return {
        "name": language.name,
        "fidelity": dataclasses.asdict(fidelity.summary(shown)),
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
