"""Pairs of which it is known which answer is better: how far to trust the judge."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from xinst_jax.eval import verdicts
from xinst_jax.eval.judge import Pair

KINDS = ("wrong_language", "cut", "off_topic")
SET = "planted"
"""What stands for a question set in the rows of planted pairs."""


@dataclasses.dataclass(frozen=True)
class Preference:
    """What a judge made of the planted pairs of one kind.

    Attributes:
      pairs: how many there are.
      preferred: share of the judged ones in which it preferred the right answer.
      tied: share in which it preferred neither.
      unjudged: pairs of which a reading failed.
    """

    pairs: int
    preferred: float
    tied: float
    unjudged: int


def pairs(
    written: Mapping[str, Sequence[Mapping[str, Any]]], each: int
) -> dict[str, list[Pair]]:
    """Planted pairs of each kind, by language.

    The right answer is the response that a person wrote. Against it stand:
    'wrong_language', a response in the next of the languages, to the same instruction
    where that language has it, and to another where it has not; 'cut', its own first
    half; 'off_topic', the response to the next instruction in its language. A kind
    that a language has not enough pairs for is left out.

    Args:
      written: pairs that people wrote, by language: 'id', 'instruction', 'output'.
      each: most pairs of a kind and language.
    """
    found: dict[str, list[Pair]] = {}
    for code, rows in written.items():
        found[code] = []
        for number, row in enumerate(rows[:each]):
            against = {
                "wrong_language": _elsewhere(written, code, number, row["instruction"]),
                "cut": row["output"][: len(row["output"]) // 2].rstrip(),
                "off_topic": _next(rows, number, row),
            }
            found[code] += [
                Pair(
                    kind=kind,
                    question_set=SET,
                    id=f"{row['id']}/{kind}",
                    lang=code,
                    opponent=kind,
                    instruction=row["instruction"],
                    answer=row["output"],
                    opposing=against[kind],
                )
                for kind in KINDS
                if against[kind]
            ]
    return found


def preferences(rows: Sequence[Mapping[str, Any]]) -> dict[str, Preference]:
    """By kind, what a judge made of planted pairs, given as rows of `judge.SCHEMA`."""
    found = {}
    for kind in KINDS:
        outcomes = [row["outcome"] for row in rows if row["kind"] == kind]
        if not outcomes:
            continue
        unjudged = outcomes.count(verdicts.UNJUDGED)
        judged = len(outcomes) - unjudged
        found[kind] = Preference(
            pairs=len(outcomes),
            preferred=outcomes.count(verdicts.WIN) / judged if judged else math.nan,
            tied=outcomes.count(verdicts.TIE) / judged if judged else math.nan,
            unjudged=unjudged,
        )
    return found


def _elsewhere(
    written: Mapping[str, Sequence[Mapping[str, Any]]],
    code: str,
    number: int,
    instruction: str,
) -> str:
    """A response in the next language that has any; '' where none has."""
    codes = [other for other in written if other == code or written[other]]
    other = codes[(codes.index(code) + 1) % len(codes)]
    if other == code:
        return ""
    rows = written[other]
    same = [row for row in rows if row["instruction"] == instruction]
    return (same or [rows[number % len(rows)]])[0]["output"]


def _next(
    rows: Sequence[Mapping[str, Any]], number: int, row: Mapping[str, Any]
) -> str:
    """The response to the next other instruction; '' where there is none."""
    after = [*rows[number + 1 :], *rows[:number]]
    others = (other for other in after if other["instruction"] != row["instruction"])
    return next((other["output"] for other in others), "")
