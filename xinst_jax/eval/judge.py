"""Pairs of answers put to a judge, always in both orders."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from xinst_jax.errors import UserError
from xinst_jax.eval import verdicts
from xinst_jax.eval.endpoint import Endpoint, Request
from xinst_jax.eval.judge_prompts import PROMPTS, Comparison
from xinst_jax.languages import Language

ANSWERS = "answers"
"""Kind of the pairs that are compared; the others are planted."""

SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("question_set", pa.string()),
        ("id", pa.string()),
        ("lang", pa.string()),
        ("opponent", pa.string()),
        ("instruction", pa.string()),
        ("answer", pa.string()),
        ("opposing", pa.string()),
        ("sample", pa.int32()),
        ("opposing_sample", pa.int32()),
        ("outcome", pa.string()),
        ("forward", pa.string()),
        ("forward_score", pa.float32()),
        ("forward_opposing_score", pa.float32()),
        ("forward_reason", pa.string()),
        ("forward_said", pa.string()),
        ("backward", pa.string()),
        ("backward_score", pa.float32()),
        ("backward_opposing_score", pa.float32()),
        ("backward_reason", pa.string()),
        ("backward_said", pa.string()),
    ]
)
"""A judged pair: forward is the order with our answer first; scores are ours and the
opponent's; what was said is the raw completion."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two answers to one question.

    Attributes:
      kind: 'answers', or the kind of a planted pair.
      question_set: name of the set that the question is from.
      id: the question's.
      lang: code of the language that the answers should be in.
      opponent: name of the model that gave `opposing`.
      instruction: the question.
      answer: our answer; of a planted pair the better one.
      opposing: the opponent's.
      sample: which of our samples it is, from 1; 0 where there are none.
      opposing_sample: likewise of the opponent's.
    """

    kind: str
    question_set: str
    id: str
    lang: str
    opponent: str
    instruction: str
    answer: str
    opposing: str
    sample: int = 0
    opposing_sample: int = 0


class Said(NamedTuple):
    """What a judge said of one comparison.

    Attributes:
      reading: as it is read.
      text: as it was said; of a local judge, its label probabilities.
    """

    reading: verdicts.Reading
    text: str


Judge = Callable[[Sequence[Comparison]], Sequence[Said]]
"""What it says of each comparison, in order."""


def comparisons(
    pairs: Sequence[Pair], languages: Mapping[str, Language]
) -> list[Comparison]:
    """Both orders of every pair: 2i shows our answer first, 2i + 1 the opponent's."""
    shown = []
    for pair in pairs:
        name = languages[pair.lang].name
        shown += [
            Comparison(pair.instruction, pair.answer, pair.opposing, name),
            Comparison(pair.instruction, pair.opposing, pair.answer, name),
        ]
    return shown


def judged(
    pairs: Sequence[Pair],
    languages: Mapping[str, Language],
    judge: Judge,
    rule: str,
) -> list[dict[str, Any]]:
    """Rows of `SCHEMA`, one a pair, in order.

    Args:
      pairs: what is compared.
      languages: by code.
      judge: asked once, with all comparisons.
      rule: a name in `verdicts.RULES`.
    """
    said = judge(comparisons(pairs, languages))
    rows = []
    for pair, forward, backward in zip(pairs, said[::2], said[1::2], strict=True):
        there, back = forward.reading, backward.reading
        rows.append(
            dataclasses.asdict(pair)
            | {
                "outcome": verdicts.outcome(rule, there, back),
                "forward": verdicts.side(there, "first"),
                "forward_score": there.first,
                "forward_opposing_score": there.second,
                "forward_reason": there.reason,
                "forward_said": forward.text,
                "backward": verdicts.side(back, "second"),
                "backward_score": back.second,
                "backward_opposing_score": back.first,
                "backward_reason": back.reason,
                "backward_said": backward.text,
            }
        )
    return rows


def requests(prompt: str, shown: Sequence[Comparison]) -> list[Request]:
    """What an endpoint is asked about comparisons.

    Args:
      prompt: a name in `judge_prompts.PROMPTS`.
      shown: the comparisons.
    """
    return [Request(PROMPTS[prompt].messages(comparison)) for comparison in shown]


def endpoint_judge(endpoint: Endpoint, prompt: str) -> Judge:
    """An endpoint as judge; its completions are read by the prompt's rule.

    Args:
      endpoint: where to ask.
      prompt: a name in `judge_prompts.PROMPTS`.
    """

    def judge(shown: Sequence[Comparison]) -> list[Said]:
        completions = endpoint.complete(requests(prompt, shown))
        return [Said(PROMPTS[prompt].read(c.text), c.text) for c in completions]

    return judge


def local_judge(
    label_logprobs: Callable[[list[str]], np.ndarray],
    fits: Callable[[str], bool],
    prompt: str = "verdict",
) -> Judge:
    """A local model as judge: read by its labels' probabilities, never by parsing.

    Answers that do not fit its context are both cut at their ends to the same number
    of characters, the most that fit; a question too long for any is unjudged, with the
    reason 'too_long'.

    Args:
      label_logprobs: from prompts to log-probabilities of `verdicts.LETTERS` after
        each, (prompts, 3).
      fits: whether the model can read a prompt.
      prompt: a name in `judge_prompts.PROMPTS` with a label.
    """
    asked = PROMPTS[prompt]

    def fitted(comparison: Comparison) -> str | None:
        whole = asked.text(comparison)
        if fits(whole):
            return whole
        least, most = -1, max(len(comparison.first), len(comparison.second))
        while least < most - 1:
            middle = (least + most) // 2
            if fits(asked.text(_cut(comparison, middle))):
                least = middle
            else:
                most = middle
        return None if least < 0 else asked.text(_cut(comparison, least))

    def judge(shown: Sequence[Comparison]) -> list[Said]:
        texts = [fitted(comparison) for comparison in shown]
        readable = [text for text in texts if text is not None]
        scores = iter(label_logprobs(readable) if readable else ())
        found = []
        for comparison, text in zip(shown, texts, strict=True):
            if text is None:
                found.append(Said(verdicts.Reading(reason="too_long"), ""))
                continue
            logprobs = [float(value) for value in next(scores)]
            if not np.isfinite(logprobs).all():
                raise UserError(
                    f"The local judge gives its labels the log-probabilities "
                    f"{logprobs}; expected finite numbers. Its weights are damaged."
                )
            said = ", ".join(
                f"ln p({letter}) = {value:.3f}"
                for letter, value in zip(verdicts.LETTERS, logprobs, strict=True)
            )
            if text != asked.text(comparison):
                said += "; both answers cut to fit its context"
            found.append(Said(verdicts.read_logprobs(logprobs), said))
        return found

    return judge


def chosen(samples: Sequence[Mapping[str, Any]], how: str) -> Mapping[str, Any]:
    """Which of a question's answers is judged; among equals the first.

    Args:
      samples: rows with 'answer' and 'sample'.
      how: 'first', 'shortest' or 'longest', in characters.
    """
    if how == "first":
        return min(samples, key=lambda row: row["sample"])
    sign = 1 if how == "shortest" else -1
    return min(samples, key=lambda row: (sign * len(row["answer"]), row["sample"]))


def _cut(comparison: Comparison, chars: int) -> Comparison:
    return comparison._replace(
        first=comparison.first[:chars], second=comparison.second[:chars]
    )
