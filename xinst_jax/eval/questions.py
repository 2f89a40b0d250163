"""Evaluation questions: sets of them, in English or in the languages themselves."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from xinst_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class QuestionSet:
    """Questions that are reported together.

    Attributes:
      name: the set's, in tables and files.
      native: whether the questions are in the language of the answer; else they are in
        English, the same for all languages.
      questions: by language code: 'id' and 'instruction'; a language may have none.
    """

    name: str
    native: bool
    questions: Mapping[str, Sequence[Mapping[str, Any]]]


def check(place: str, questions: Sequence[Mapping[str, Any]]) -> None:
    """Refuses questions that cannot be asked, or told apart.

    Args:
      place: where they are from, for the message.
      questions: what was read there.

    Raises:
      UserError: a question lacks its id or instruction, or two have the same id.
    """
    if not questions:
        raise UserError(
            f"No evaluation question in {place}; EvaluateConfig.questions names JSONL "
            "files with the fields id and instruction."
        )
    seen: dict[str, int] = {}
    for number, question in enumerate(questions, 1):
        for field in ("id", "instruction"):
            value = question.get(field)
            if not isinstance(value, str) or not value.strip():
                raise UserError(
                    f"{place}, question {number}: field {field!r} is {value!r}, "
                    "expected a text that is not empty."
                )
        first = seen.setdefault(question["id"], number)
        if first != number:
            raise UserError(
                f"{place}: questions {first} and {number} have the same id "
                f"{question['id']!r}; give each its own."
            )
