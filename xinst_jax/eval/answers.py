"""Answers to evaluation questions, each stored with the settings that it came by."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from xinst_jax import distributed, shards
from xinst_jax.config import PromptConfig
from xinst_jax.data import prompts
from xinst_jax.eval import fidelity
from xinst_jax.eval.endpoint import Endpoint, Request
from xinst_jax.eval.questions import QuestionSet
from xinst_jax.languages import Language

SCHEMA = pa.schema(
    [
        ("question_set", pa.string()),
        ("id", pa.string()),
        ("lang", pa.string()),
        ("instruction", pa.string()),
        ("model", pa.string()),
        ("sample", pa.int32()),
        ("answer", pa.string()),
        ("logprob", pa.float32()),
        ("n_tokens", pa.int32()),
        ("finish", pa.string()),
        ("settings", pa.string()),
        ("in_language", pa.bool_()),
        ("sentences", pa.float32()),
        ("empty", pa.bool_()),
        ("truncated", pa.bool_()),
        ("repetition", pa.float32()),
        ("english", pa.float32()),
    ]
)


class Question(NamedTuple):
    """One question as a model is asked it.

    Attributes:
      row_id: names the question, its language and the sample: what an answer's random
        numbers come from.
      instruction: the question.
      language: the language to answer in.
      native: whether the question is in it.
      sample: which of the question's answers this is, from 1.
    """

    row_id: str
    instruction: str
    language: Language
    native: bool
    sample: int


class Answer(NamedTuple):
    """One generated answer.

    Attributes:
      text: decoded, without the stop token.
      logprob: summed over its tokens, in nats; None where it is not known.
      n_tokens: how many tokens it has; -1 where that is not known.
      finish: 'stop' or 'length'.
    """

    text: str
    logprob: float | None
    n_tokens: int
    finish: str


AnswerAll = Callable[[Sequence[Question]], Sequence[Answer]]
"""An answer to each question, in order; it depends on the question alone."""


@dataclasses.dataclass(frozen=True)
class Answerer:
    """A model that is asked.

    Attributes:
      settings: how its answers are made, ready for JSON; stored with each.
      load: readies it for the questions that it will be asked, or refuses one; called
        once, where there is anything to ask.
      remote: whether process 0 alone asks it, over the network.
    """

    settings: Mapping[str, Any]
    load: Callable[[Sequence[Question]], AnswerAll]
    remote: bool = False


def write(
    directory: pathlib.Path,
    name: str,
    answerer: Answerer,
    sets: Sequence[QuestionSet],
    languages: Mapping[str, Language],
    samples: int,
) -> None:
    """Writes `{lang}/` with a model's answers, but for languages that have theirs.

    Args:
      directory: where the languages' folders go.
      name: the model's.
      answerer: what is asked.
      sets: the question sets; all of a language's questions are asked together.
      languages: by code.
      samples: answers to each question.
    """
    loaded: list[AnswerAll] = []

    def load() -> AnswerAll:
        if not loaded:
            every = [
                question
                for code, language in languages.items()
                for _, _, question in asked(sets, code, language, samples)
            ]
            loaded.append(answerer.load(every))
        return loaded[0]

    for code, language in languages.items():

        def answered(code: str = code, language: Language = language) -> pa.Table:
            return _table(name, answerer, load(), sets, code, language, samples)

        write_once(directory / code, answered, answerer.remote)


def prompt(question: Question, wording: PromptConfig = prompts.PAPER) -> str:
    """What a local model is asked: the prompt at inference."""
    name = question.language.name
    return prompts.answer(question.instruction, name, seed_style=True, wording=wording)


def endpoint_request(question: Question) -> Request:
    """What an endpoint is asked: the user prompt of the paper's ChatGPT baseline.

    Source: ZNLP/X-Instruction, `utils/chatgpt_generation.py`; without its system
    prompt, which is the judge's and asks for a review.
    """
    language = question.language.name
    source = language if question.native else "English"
    text = (
        f"Given an instruction in {source}, please generate a response in {language}."
        f"\n\nInstruction: {question.instruction}\n\n### Response:"
    )
    return Request((("user", text),), question.sample)


def from_endpoint(endpoint: Endpoint) -> AnswerAll:
    """An endpoint as a model that is asked."""

    def answer(questions: Sequence[Question]) -> list[Answer]:
        said = endpoint.complete([endpoint_request(question) for question in questions])
        return [
            Answer(
                one.text.strip(),
                None,
                one.completion_tokens,
                "length" if one.finish == "length" else "stop",
            )
            for one in said
        ]

    return answer


def asked(
    sets: Sequence[QuestionSet], code: str, language: Language, samples: int
) -> list[tuple[QuestionSet, Mapping[str, Any], Question]]:
    """Every question of a language as it is asked, samples of one question together."""
    return [
        (
            of,
            question,
            Question(
                # The language is part of it, or every language would draw alike.
                f"{of.name}/{code}/{question['id']}/{sample}",
                question["instruction"],
                language,
                of.native,
                sample,
            ),
        )
        for of in sets
        for question in of.questions.get(code, ())
        for sample in range(1, samples + 1)
    ]


def write_once(
    directory: pathlib.Path, compute: Callable[[], pa.Table], remote: bool = False
) -> None:
    """Writes the one shard of a directory, computed by all processes, if missing.

    Args:
      directory: made if missing.
      compute: gives the shard.
      remote: compute it on process 0 alone.
    """
    path = directory / shards.shard_name(0, 1)
    name = f"{directory.parent.name}/{directory.name}"
    if distributed.from_primary(name, path.exists):
        return
    if remote and not distributed.is_primary():
        return
    table = compute()
    if distributed.is_primary():
        shards.write_table(path, table)


def _table(
    name: str,
    answerer: Answerer,
    answer: AnswerAll,
    sets: Sequence[QuestionSet],
    code: str,
    language: Language,
    samples: int,
) -> pa.Table:
    settings = json.dumps(answerer.settings, sort_keys=True, ensure_ascii=False)
    every = asked(sets, code, language, samples)
    given = answer([question for _, _, question in every]) if every else ()
    rows = [
        {
            "question_set": of.name,
            "id": row["id"],
            "lang": code,
            "instruction": row["instruction"],
            "model": name,
            "sample": question.sample,
            "answer": one.text,
            "logprob": one.logprob,
            "n_tokens": one.n_tokens,
            "finish": one.finish,
            "settings": settings,
            **dataclasses.asdict(fidelity.fidelity(one.text, one.finish, language)),
        }
        for (of, row, question), one in zip(every, given, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)
