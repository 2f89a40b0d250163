"""Ratings: a score for every candidate, and which of them are kept.

A score is the expected level, from the probabilities that the rater gives its three
labels in one reading of the pair; nothing is generated and nothing parsed.
"""

import collections
import hashlib
import json
import math
import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import rich.table

from xinst_jax import distributed, shards
from xinst_jax.config import RateConfig
from xinst_jax.data.prompts import LABELS
from xinst_jax.errors import UserError
from xinst_jax.infer import jobs
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.pipeline import quality, rules

BELOW_MIN_SCORE = "below_min_score"
BELOW_QUOTA = "below_quota"
QUALITY = "rater_quality.json"

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("instruction", pa.string()),
        ("p_bad", pa.float32()),
        ("p_fair", pa.float32()),
        ("p_good", pa.float32()),
        ("score", pa.float32()),
        ("kept", pa.bool_()),
        ("reasons", pa.list_(pa.string())),
    ]
)
"""Columns of `ratings/round-k/{lang}`; every candidate has a row, and a score."""

_SCORED = pa.schema(
    [
        *(("p_" + label, pa.float32()) for label in LABELS),
        ("broken", pa.list_(pa.string())),
    ]
)
_SCORES = "scores"

Score = Callable[[list[tuple[str, str, str]]], np.ndarray]
"""Gives (rows, labels) log-probabilities of `LABELS` for (instruction, response,
language code)s."""


def run(
    stage: StageDirectory,
    config: RateConfig,
    languages: Sequence[str],
    candidates: pathlib.Path,
    score: Score,
    held_out: Sequence[Mapping[str, str]] | None = None,
) -> dict[str, Counts]:
    """Writes ratings of every candidate, and how good the rater is; resumes by shards.

    Kept is what passes the rules, has `min_score`, and is among the best `keep_share`
    of the language's candidates. Of rows that break a rule the score is kept too, to
    see whether the rater agrees.

    Args:
      stage: the directory to write.
      config: thresholds and quota.
      languages: language codes.
      candidates: the round's finished candidates directory.
      score: the rater.
      held_out: pairs of known level, as `levels.make_levels` gives them, that the rater
        never saw; None or empty where there are none.

    Returns:
      Counts by language: rows out are those kept, the others count under their first
      reason. Of several processes only process 0 counts.

    Raises:
      UserError: a language has no candidates directory, or the rater gives no numbers.
    """
    _measure(stage.path / QUALITY, score, held_out or ())
    finished = distributed.from_primary(
        "rated", lambda: [one for one in languages if shards.complete(stage.path / one)]
    )
    for language in languages:
        if language not in finished:
            scored = stage.path / _SCORES / language
            _score(scored, config, candidates / language, score, f"rate {language}")
            if distributed.is_primary():
                directory = stage.path / language
                _write(directory, config, candidates / language, scored)
    if not distributed.is_primary():
        return {}
    shutil.rmtree(stage.path / _SCORES, ignore_errors=True)
    measured = json.loads((stage.path / QUALITY).read_bytes())["languages"]
    return {
        language: _counts(stage.path / language, measured.get(language))
        for language in languages
    }


def quality_table(directory: pathlib.Path, number: int) -> rich.table.Table:
    """How good a round's rater is on held-out pairs of known level, as a table.

    Args:
      directory: the round's ratings.
      number: the round, from 1.
    """
    measured = json.loads((directory / QUALITY).read_bytes())
    rows = measured["all"]["n"]
    title = f"Rater of round {number} on {rows:,} held-out pairs of known level"
    return quality.table(measured, title)


def level_probabilities(logprobs_nk: np.ndarray) -> np.ndarray:
    """The labels' probabilities, normalised among themselves.

        level_probabilities(np.log([[0.1, 0.2, 0.1]]))   # [[0.25, 0.5, 0.25]]

    Args:
      logprobs_nk: (rows, labels), natural logarithms.

    Returns:
      (rows, labels) float32; not finite where the logarithms are not.
    """
    logprobs_nk = np.asarray(logprobs_nk, np.float64)
    with np.errstate(invalid="ignore"):
        odds_nk = np.exp(logprobs_nk - logprobs_nk.max(axis=1, keepdims=True))
        probabilities_nk = odds_nk / odds_nk.sum(axis=1, keepdims=True)
    return probabilities_nk.astype(np.float32)


def expected_level(probabilities_nk: np.ndarray) -> np.ndarray:
    """Scores: 0 p(bad) + 0.5 p(fair) + 1 p(good).

        expected_level(np.array([[0.25, 0.5, 0.25]]))   # [0.5]

    Args:
      probabilities_nk: (rows, labels).

    Returns:
      (rows,) float32, 0 to 1.
    """
    return (probabilities_nk @ quality.WEIGHTS).astype(np.float32)


def why_not_kept(
    ids: Sequence[str],
    score_n: np.ndarray,
    broken: Sequence[Sequence[str]],
    min_score: float,
    keep_share: float,
) -> list[list[str]]:
    """Why each candidate of a language is not kept; nothing for those that are.

        why_not_kept(["a", "b", "c", "d"], np.array([0.9, 0.7, 0.4, 0.8]),
                     [[], [], [], ["too_short"]], min_score=0.5, keep_share=0.25)
        # [[], ['below_quota'], ['below_min_score'], ['too_short']]

    Args:
      ids: the candidates' ids; equal scores are ordered by a digest of them.
      score_n: (rows,) scores.
      broken: names of the rules that each candidate breaks.
      min_score: lowest score kept.
      keep_share: share of all the candidates that is kept at most.
    """
    # Rounded first, for 0.1 * 30 is more than 3.
    quota = math.ceil(round(keep_share * len(ids), 6))
    enough_n = score_n >= np.float32(min_score)
    ranked = sorted(
        (row for row in range(len(ids)) if enough_n[row] and not broken[row]),
        key=lambda row: (-score_n[row], hashlib.sha256(ids[row].encode()).digest()),
    )
    left_out = set(ranked[quota:])
    return [
        [
            *broken[row],
            *([] if enough_n[row] else [BELOW_MIN_SCORE]),
            *([BELOW_QUOTA] if row in left_out else []),
        ]
        for row in range(len(ids))
    ]


def _measure(
    path: pathlib.Path, score: Score, held_out: Sequence[Mapping[str, str]]
) -> None:
    """Writes the rater's quality beside the ratings, unless it is there."""
    if distributed.from_primary("measured", path.exists):
        return
    pairs = [(row["instruction"], row["output"], row["lang"]) for row in held_out]
    probabilities_nk = _probabilities(score, pairs, "the held-out pairs")
    if distributed.is_primary():
        measured = quality.measure(probabilities_nk.astype(np.float64), held_out)
        text = json.dumps(measured, indent=1, ensure_ascii=False)
        shards.write_bytes(path, f"{text}\n".encode())


def _score(
    directory: pathlib.Path,
    config: RateConfig,
    candidates: pathlib.Path,
    score: Score,
    label: str,
) -> None:
    """Writes each candidate's probabilities and broken rules, shard by shard."""
    table = shards.read_table(candidates, ["instruction", "output", "lang"])

    def compute(index: int) -> pa.Table:
        part = table.slice(index * config.shard_rows, config.shard_rows)
        columns = (part[name].to_pylist() for name in part.column_names)
        pairs = list(zip(*columns, strict=True))
        probabilities_nk = _probabilities(score, pairs, str(candidates))
        broken = [
            list(rules.check(instruction, response, config))
            for instruction, response, _ in pairs
        ]
        return pa.table([*probabilities_nk.T, broken], schema=_SCORED)

    count = max(1, -(-table.num_rows // config.shard_rows))
    jobs.run_shards(directory, count, compute, label)


def _probabilities(
    score: Score, pairs: list[tuple[str, str, str]], place: str
) -> np.ndarray:
    """(rows, labels) float32; no rows where there are no pairs."""
    if not pairs:
        return np.zeros((0, len(LABELS)), np.float32)
    logprobs_nk = score(pairs)
    if logprobs_nk.shape != (len(pairs), len(LABELS)):
        raise ValueError(f"a score of {len(pairs)} rows is {logprobs_nk.shape}")
    probabilities_nk = level_probabilities(logprobs_nk)
    if not np.isfinite(probabilities_nk).all():
        row = int(np.flatnonzero(~np.isfinite(probabilities_nk).all(axis=1))[0])
        raise UserError(
            f"The rater gives {logprobs_nk[row].tolist()} as log-probabilities of "
            f"{', '.join(LABELS)} for a pair of {place}, where numbers are expected: "
            f"its training went wrong. The instruction is {pairs[row][0]!r}. Look at "
            "the rater's loss and train it again, with a lower learning rate."
        )
    return probabilities_nk


def _write(
    directory: pathlib.Path,
    config: RateConfig,
    candidates: pathlib.Path,
    scored: pathlib.Path,
) -> None:
    """Joins candidates and scores, decides which are kept, and writes the shards."""
    table = shards.read_table(candidates, ["id", "instruction"])
    scores = shards.read_table(scored)
    probabilities_nk = np.stack(
        [scores["p_" + label].to_numpy() for label in LABELS], 1
    )
    score_n = expected_level(probabilities_nk)
    ids, broken = table["id"].to_pylist(), scores["broken"].to_pylist()
    reasons = why_not_kept(ids, score_n, broken, config.min_score, config.keep_share)
    kept = [not names for names in reasons]
    columns = [ids, table["instruction"], *probabilities_nk.T, score_n, kept, reasons]
    whole = pa.table(columns, schema=SCHEMA).combine_chunks()
    count = max(1, -(-len(ids) // config.shard_rows))
    for index in range(count):
        part = whole.slice(index * config.shard_rows, config.shard_rows)
        shards.write_table(directory / shards.shard_name(index, count), part)


def _counts(directory: pathlib.Path, figures: Mapping | None) -> Counts:
    """Counts of a language from its finished ratings."""
    table = shards.read_table(directory, ["score", "kept", "reasons"])
    kept_n = table["kept"].to_numpy()
    score_n = table["score"].to_numpy().astype(np.float64)
    counts = Counts(rows_in=len(kept_n), rows_out=int(kept_n.sum()))
    first = collections.Counter(
        reasons[0] for reasons in table["reasons"].to_pylist() if reasons
    )
    for reason in (*rules.REASONS, BELOW_MIN_SCORE, BELOW_QUOTA):
        if first[reason]:
            counts.drop(reason, first[reason])
    if len(score_n):
        counts.notes["mean_score"] = round(float(score_n.mean()), 4)
    if kept_n.any():
        counts.notes["mean_score_kept"] = round(float(score_n[kept_n].mean()), 4)
        counts.notes["lowest_score_kept"] = round(float(score_n[kept_n].min()), 4)
    if figures and figures["auc_good"] is not None:
        counts.notes["rater_held_out"] = figures["n"]
        counts.notes["rater_accuracy"] = round(figures["accuracy"], 4)
        counts.notes["rater_chance"] = round(figures["chance"], 4)
        counts.notes["rater_auc_good"] = round(figures["auc_good"], 4)
    return counts
