"""Is the true instruction found among others: mean reciprocal rank, no judge needed.

A held-out response is set before 100 instructions, its own and 99 of other held-out
pairs of its language. The better a model knows what a text answers, the nearer to the
top it ranks the true one. Voorhees, TREC-8 Question Answering Track Report (1999) has
the measure.
"""

import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import rich.table

from xinst_jax.config import PromptConfig
from xinst_jax.data import prompts
from xinst_jax.errors import UserError
from xinst_jax.eval.likelihood import ResponseLogprobs
from xinst_jax.infer import jobs
from xinst_jax.languages import Language

CANDIDATES = 100
"""Instructions that a response is set before, the true one included."""

SCORES = ("generator", "generator_pmi", "tuned_pmi")
"""By which instructions x are ranked for a response y:

generator: log p(x | y) of the model that writes instructions.
generator_pmi: log p(x | y) - log p(x), so that no instruction gains by being common.
tuned_pmi: log p(y | x) - log p(y) of the model that answers.
"""

_SHARD_PAIRS = 10
_RESAMPLES = 2000

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("lang", pa.string()),
        ("score", pa.string()),
        ("candidates", pa.int32()),
        ("reciprocal_rank", pa.float64()),
        ("true_score", pa.float64()),
        ("n_tokens", pa.int32()),
    ]
)


@dataclasses.dataclass(frozen=True)
class Models:
    """What gives texts their log-probabilities after prompts.

    Attributes:
      generator: instructions after `prompts.reverse`.
      tuned: responses after `prompts.answer`.
    """

    generator: ResponseLogprobs
    tuned: ResponseLogprobs


@dataclasses.dataclass(frozen=True)
class Retrieval:
    """How well one score finds the true instruction in one language.

    Attributes:
      pairs: responses that were set before instructions.
      candidates: instructions that each was set before, the true one included.
      mrr: mean reciprocal rank of the true one.
      low: lower end of its 95% bootstrap interval over the pairs.
      high: upper end.
      chance: what a random order of so many candidates gives on average.
      gain_per_token: mean of the true instruction's score by token of what is scored,
        in nats; for the two PMI scores, how much the other half of the pair tells.
    """

    pairs: int
    candidates: int
    mrr: float
    low: float
    high: float
    chance: float
    gain_per_token: float


def run(
    directory: pathlib.Path,
    pairs: Sequence[Mapping[str, Any]],
    language: Language,
    most: int,
    seed: int,
    models: Callable[[], Models],
    wording: PromptConfig = prompts.PAPER,
) -> None:
    """Ranks the instructions for a language's held-out responses, a row a score.

    Shards that are there are kept: a stopped job loses at most ten pairs.

    Args:
      directory: where the rows go.
      pairs: held-out pairs: 'id', 'instruction', 'output'.
      language: their language.
      most: most pairs whose instruction is looked for; the candidates are of all.
      seed: from which the pairs and the candidates are drawn.
      models: gives the models; not called where nothing is missing.
      wording: the prompts.
    """
    usable = distinct(pairs)
    asked = sorted(usable, key=lambda pair: _draw(seed, pair["id"]))[:most]
    parts = [
        asked[start : start + _SHARD_PAIRS]
        for start in range(0, max(1, len(asked)), _SHARD_PAIRS)
    ]

    def shard(index: int) -> pa.Table:
        drawn = [candidates(pair, usable, seed) for pair in parts[index]]
        rows = _rows(parts[index], drawn, language, models, wording) if drawn else []
        return pa.Table.from_pylist(rows, schema=SCHEMA)

    jobs.run_shards(directory, len(parts), shard, label=f"retrieval {language.code}")


def distinct(pairs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The pairs whose instruction no earlier pair has: a true one has no double."""
    first: dict[str, Mapping[str, Any]] = {}
    for pair in pairs:
        first.setdefault(pair["instruction"].strip(), pair)
    return list(first.values())


def candidates(
    pair: Mapping[str, Any], pairs: Sequence[Mapping[str, Any]], seed: int
) -> list[str]:
    """The pair's instruction, then 99 of the others', drawn by the pair's id.

    Args:
      pair: one of `pairs`.
      pairs: pairs of different instructions; where there are fewer than 100, all are
        candidates.
      seed: the run's.
    """
    others = [one for one in pairs if one["id"] != pair["id"]]
    others.sort(key=lambda one: _draw(seed, f"{pair['id']}/{one['id']}"))
    return [pair["instruction"], *(x["instruction"] for x in others[: CANDIDATES - 1])]


def reciprocal_rank(scores_c: np.ndarray) -> float:
    """The reciprocal rank of the first of c candidates, the highest score first.

    Of equal scores every order counts alike, so that a model that tells nothing apart
    is at chance.

    Example: scores (2, 3, 1) give 1/2; (2, 2, 1) give (1 + 1/2) / 2 = 3/4.

    Args:
      scores_c: finite scores, the true candidate's first.
    """
    above = int((scores_c > scores_c[0]).sum())
    tied = int((scores_c == scores_c[0]).sum())
    return float(np.mean(1 / np.arange(above + 1, above + tied + 1)))


def chance(count: int) -> float:
    """The mean reciprocal rank of a random order: the sum of 1/r for r to n, over n.

    Example: 0.0519 among 100, 0.75 among 2.
    """
    return float(np.sum(1 / np.arange(1, count + 1)) / count)


def interval(values_n: np.ndarray, seed: int) -> tuple[float, float]:
    """The 95% percentile bootstrap interval of the mean of n values.

    Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    rng = np.random.default_rng(seed)
    draws_rn = rng.integers(0, len(values_n), (_RESAMPLES, len(values_n)))
    low, high = np.quantile(values_n[draws_rn].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def figures(rows: Sequence[Mapping[str, Any]], seed: int) -> dict[str, dict[str, Any]]:
    """A language's figures by score, ready for JSON; none where no pair was ranked.

    Args:
      rows: what `run` wrote.
      seed: of the bootstrap.
    """
    found = {}
    for score in SCORES:
        own = [row for row in rows if row["score"] == score]
        if not own:
            continue
        ranks_n = np.array([row["reciprocal_rank"] for row in own])
        count = own[0]["candidates"]
        low, high = interval(ranks_n, seed)
        gains_n = np.array([row["true_score"] / row["n_tokens"] for row in own])
        found[score] = dataclasses.asdict(
            Retrieval(
                pairs=len(own),
                candidates=count,
                mrr=float(ranks_n.mean()),
                low=low,
                high=high,
                chance=chance(count),
                gain_per_token=float(gains_n.mean()),
            )
        )
    return found


def table(by_language: Mapping[str, Mapping[str, Any]]) -> rich.table.Table:
    """The `retrieval` figures of an `evaluation.json` for a terminal, languages down.

    Args:
      by_language: its `languages`.
    """
    grid = rich.table.Table(
        title="Mean reciprocal rank of the true instruction", title_justify="left"
    )
    grid.add_column("language")
    for heading in ("pairs", "among", "chance", *SCORES):
        grid.add_column(heading.replace("_", " "), justify="right")
    few = []
    for language in by_language.values():
        found = language.get("retrieval")
        if not found:
            grid.add_row(language["name"], "0", *["–"] * (2 + len(SCORES)))
            continue
        first = found[SCORES[0]]
        if first["candidates"] < CANDIDATES:
            few.append(language["name"])
        grid.add_row(
            language["name"],
            str(first["pairs"]),
            str(first["candidates"]),
            f"{first['chance']:.3f}",
            *(
                f"{one['mrr']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
                for one in (found[score] for score in SCORES)
            ),
        )
    if few:
        grid.caption = (
            f"Fewer than {CANDIDATES} held-out instructions in {', '.join(few)}: all "
            "there are were ranked, and chance is higher."
        )
    return grid


def _rows(
    pairs: Sequence[Mapping[str, Any]],
    drawn: Sequence[Sequence[str]],
    language: Language,
    models: Callable[[], Models],
    wording: PromptConfig,
) -> list[dict[str, Any]]:
    """How each pair's instruction ranks among those drawn for it, by each score."""
    reversals: list[tuple[str, str]] = []
    answers: list[tuple[str, str]] = []
    for pair, instructions in zip(pairs, drawn, strict=True):
        response = pair["output"]
        for text in (response, ""):
            asked = prompts.reverse(text, wording)
            reversals += [(asked, one) for one in instructions]
        # The last one asks for nothing but the language.
        answers += [
            (prompts.answer(one, language.name, True, wording), response)
            for one in (*instructions, "")
        ]
    as_float = functools.partial(np.asarray, dtype=np.float64)
    both = models()
    written, written_tokens = both.generator(*map(list, zip(*reversals, strict=True)))
    answered, answered_tokens = both.tuned(*map(list, zip(*answers, strict=True)))
    rows: list[dict[str, Any]] = []
    at, after = 0, 0
    for pair, instructions in zip(pairs, drawn, strict=True):
        count = len(instructions)
        given_c, prior_c = np.split(as_float(written[at : at + 2 * count]), 2)
        likely_c = as_float(answered[after : after + count + 1])
        scored = {
            "generator": (given_c, written_tokens[at]),
            "generator_pmi": (given_c - prior_c, written_tokens[at]),
            "tuned_pmi": (likely_c[:-1] - likely_c[-1], answered_tokens[after]),
        }
        at, after = at + 2 * count, after + count + 1
        for score, (scores_c, tokens) in scored.items():
            _check_finite(scores_c, score, pair["id"], language)
            rows.append(
                {
                    "id": pair["id"],
                    "lang": language.code,
                    "score": score,
                    "candidates": count,
                    "reciprocal_rank": reciprocal_rank(scores_c),
                    "true_score": float(scores_c[0]),
                    "n_tokens": int(tokens),
                }
            )
    return rows


def _check_finite(
    scores_c: np.ndarray, score: str, pair: str, language: Language
) -> None:
    if not np.isfinite(scores_c).all():
        raise UserError(
            f"Held-out pair {pair} of {language.name} has a {score} score that is no "
            "finite number. The model's weights are damaged or its training diverged: "
            "see its metrics.jsonl."
        )


def _draw(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()
