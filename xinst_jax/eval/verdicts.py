"""From what a judge says of two answers, in both orders, to one verdict.

A judge prefers the answer that it sees first, or second, more often than chance has it.
So every pair is shown twice, in both orders, and a rule with a name says what two
readings come to.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import regex

WIN, TIE, LOSS, UNJUDGED = "win", "tie", "loss", "unjudged"
LETTERS: tuple[str, ...] = ("A", "B", "C")
"""Verdicts of the three-way prompt: the first answer, the second, neither."""

_SCORE_1 = regex.compile(r"<score1>(.*?)</score1>", regex.DOTALL | regex.IGNORECASE)
_SCORE_2 = regex.compile(r"<score2>(.*?)</score2>", regex.DOTALL | regex.IGNORECASE)
_INTEGER = regex.compile(r"[+-]?\d+", regex.ASCII)
_LETTER = regex.compile(r"\[\[(.*?)\]\]", regex.DOTALL)
_HIGHEST = 10


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a judge said of two answers as they were shown.

    Attributes:
      first: what the answer shown first is worth to it; None where it cannot be read.
      second: likewise of the one shown second.
      winner: 'first', 'second', 'tie', or '' where it cannot be read.
      reason: why it cannot be read; '' where it can.
    """

    first: float | None = None
    second: float | None = None
    winner: str = ""
    reason: str = ""


def read_scores(text: str) -> Reading:
    """Reads the paper's form: an integer from 0 to 10 for each answer, in tags.

    Whatever stands around the tags is passed over. What is not exactly one such score
    for each answer is not guessed at.

    >>> read_scores("Both are fine. <score1>7</score1> <score2> 5 </score2>")
    Reading(first=7.0, second=5.0, winner='first', reason='')
    >>> read_scores("<score1>11</score1><score2>5</score2>").reason
    'out_of_range'

    Reasons: 'empty', 'no_score' (a tag is missing), 'ambiguous' (different scores for
    one answer), 'not_an_integer', 'out_of_range'.
    """
    if not text.strip():
        return Reading(reason="empty")
    values = []
    for pattern in (_SCORE_1, _SCORE_2):
        found = {match.strip() for match in pattern.findall(text)}
        if not found:
            return Reading(reason="no_score")
        if len(found) > 1:
            return Reading(reason="ambiguous")
        (value,) = found
        if not _INTEGER.fullmatch(value):
            return Reading(reason="not_an_integer")
        if not 0 <= int(value) <= _HIGHEST:
            return Reading(reason="out_of_range")
        values.append(float(value))
    return _reading(*values)


def read_letter(text: str) -> Reading:
    """Reads a three-way verdict: [[A]], [[B]] or, for neither, [[C]].

    >>> read_letter("The second is in the wrong language: [[A]].").winner
    'first'

    Reasons: 'empty', 'no_verdict', 'ambiguous' (different verdicts), 'out_of_range'
    (another letter).
    """
    if not text.strip():
        return Reading(reason="empty")
    found = {match.strip().upper() for match in _LETTER.findall(text)}
    if not found:
        return Reading(reason="no_verdict")
    if len(found) > 1:
        return Reading(reason="ambiguous")
    (letter,) = found
    worth = {"A": (1.0, 0.0), "B": (0.0, 1.0), "C": (0.5, 0.5)}.get(letter)
    return _reading(*worth) if worth else Reading(reason="out_of_range")


def read_logprobs(logprobs: Sequence[float]) -> Reading:
    """Reads a local judge: log-probabilities of the labels `LETTERS`.

    An answer is worth the probability of its label and half that of neither, given
    that one of the three is said; the winner is the likeliest label.

    >>> read_logprobs([math.log(0.2), math.log(0.1), math.log(0.1)])
    Reading(first=0.625, second=0.375, winner='first', reason='')

    Args:
      logprobs: natural logarithms, one a label.
    """
    highest = max(logprobs)
    weights = [math.exp(value - highest) for value in logprobs]
    first, second, neither = (weight / sum(weights) for weight in weights)
    likeliest = max(first, second, neither)
    winner = "tie" if likeliest == neither or first == second else ""
    return Reading(
        round(first + neither / 2, 6),
        round(second + neither / 2, 6),
        winner or ("first" if likeliest == first else "second"),
    )


def outcome(rule: str, forward: Reading, backward: Reading) -> str:
    """What two readings of a pair come to: 'win', 'tie', 'loss' or 'unjudged'.

    Where one order cannot be read the pair is unjudged, whatever the other says.

    Args:
      rule: a name in `RULES`.
      forward: our answer was shown first.
      backward: our answer was shown second.
    """
    if forward.reason or backward.reason:
        return UNJUDGED
    return RULES[rule](forward, backward)


def _agree(forward: Reading, backward: Reading) -> str:
    """FastChat's: a win needs both orders; any disagreement is a tie."""
    sides = _sides(forward, backward)
    return sides[0] if sides[0] == sides[1] else TIE


def _lenient(forward: Reading, backward: Reading) -> str:
    """PLUG's: one order won and the other not lost is a win."""
    sides = set(_sides(forward, backward)) - {TIE}
    return sides.pop() if len(sides) == 1 else TIE


def _sum(forward: Reading, backward: Reading) -> str:
    """The higher sum over both orders."""
    assert forward.first is not None and forward.second is not None
    assert backward.first is not None and backward.second is not None
    ahead = (forward.first - forward.second) + (backward.second - backward.first)
    if abs(ahead) < 1e-9:
        return TIE
    return WIN if ahead > 0 else LOSS


RULES: Mapping[str, Callable[[Reading, Reading], str]] = {
    "agree": _agree,
    "lenient": _lenient,
    "sum": _sum,
}


def side(reading: Reading, ours: str) -> str:
    """A reading as seen from our answer, which was shown 'first' or 'second'.

    >>> side(Reading(3.0, 4.0, "second"), ours="first")
    'loss'
    """
    if reading.reason:
        return UNJUDGED
    if reading.winner == "tie":
        return TIE
    return WIN if reading.winner == ours else LOSS


def _sides(forward: Reading, backward: Reading) -> tuple[str, str]:
    return side(forward, "first"), side(backward, "second")


def _reading(first: float, second: float) -> Reading:
    if first == second:
        return Reading(first, second, "tie")
    return Reading(first, second, "first" if first > second else "second")
