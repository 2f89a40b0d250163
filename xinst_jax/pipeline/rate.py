"""Ratings: a score for every candidate, and which of them are kept.

A score is the expected level, from the probabilities that the rater gives its three
labels in one reading of the pair and from how much the instruction helps to predict the
response, weighed as held-out pairs of known level ask (`calibration`). Nothing is
generated and nothing parsed.
"""

import collections
import dataclasses
import hashlib
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import rich.table
import scipy.special

from xinst_jax import distributed, shards
from xinst_jax.config import PromptConfig, RateConfig
from xinst_jax.data import prompts
from xinst_jax.data.prompts import LABELS
from xinst_jax.infer import jobs
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.pipeline import calibration, quality, rules
from xinst_jax.pipeline.calibration import Calibration
from xinst_jax.pipeline.signals import Signals

BELOW_MIN_SCORE = "below_min_score"
BELOW_QUOTA = "below_quota"
QUALITY = "rater_quality.json"
CALIBRATION = "calibration.json"

CHANGES_NO_SCORE = (
    # Which of the scored are kept.
    "config/rate/keep_share",
    "config/rate/keep_share_of",
    "config/rate/min_score",
    "config/rate/min_score_of",
    # How pairs are batched.
    "config/prompt_buckets",
    "config/rate/batch_rows",
    # Which rounds, and which rows.
    "config/limit",
    "config/round",
    "config/settled_change",
    # What the rater learnt from: its own digest is in the key.
    "config/rate/examples_per_pair",
    "config/seed",
    # These are read row by row, and the rows are in the key.
    "inputs/*candidates/*",
    "inputs/ratings/*",
)
"""Patterns of the settings and inputs that may change and the scores stay."""

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("instruction", pa.string()),
        ("p_bad", pa.float32()),
        ("p_fair", pa.float32()),
        ("p_good", pa.float32()),
        ("entropy", pa.float32()),
        ("pmi", pa.float32()),
        ("score", pa.float32()),
        ("kept", pa.bool_()),
        ("reasons", pa.list_(pa.string())),
    ]
)
"""Columns of `ratings/round-k/{lang}`; every candidate has a row, and a score.

The probabilities and their entropy (nats) are calibrated; `pmi`, nats per token of the
response, is null where it was not asked for.
"""

_SCORED = pa.schema(
    [
        *(("logprob_" + label, pa.float32()) for label in LABELS),
        ("pmi", pa.float32()),
        ("broken", pa.list_(pa.string())),
    ]
)
_SCORES = "scores"


def run(
    stage: StageDirectory,
    config: RateConfig,
    languages: Sequence[str],
    candidates: pathlib.Path,
    signals: Signals,
    held_out: Sequence[Mapping[str, str]] | None = None,
    wording: PromptConfig = prompts.PAPER,
) -> dict[str, Counts]:
    """Writes ratings of every candidate, and how good the rater is; resumes by shards.

    Kept is what passes the rules, has `min_score`, and is among the best `keep_share`
    of the language's candidates, each as that language has it. Of rows that break a
    rule the score is kept too, to see whether the rater agrees.

    The models' own numbers stay in `scores/{lang}`: to keep another share of the
    candidates, no pair is read again.

    Args:
      stage: the directory to write.
      config: thresholds and quota.
      languages: language codes.
      candidates: the round's finished candidates directory.
      signals: the rater, and what else a pair is scored by.
      held_out: pairs of known level, as `levels.make_levels` gives them, that the rater
        never saw, to measure and calibrate it by; None or empty where there are none,
        and the rater's probabilities then count as they are.
      wording: the prompts that the rater is asked with.

    Returns:
      Counts by language: rows out are those kept, the others count under their first
      reason. Of several processes only process 0 counts.

    Raises:
      UserError: a language has no candidates directory, or a model gives no numbers.
    """
    _measure(stage.path, signals, held_out or ())
    finished = distributed.from_primary(
        "rated", lambda: [one for one in languages if shards.complete(stage.path / one)]
    )
    for language in languages:
        if language not in finished:
            scored = stage.path / _SCORES / language
            _score(stage, config, candidates, language, signals, wording)
            if distributed.is_primary():
                calibrated = _calibration(stage.path / CALIBRATION)
                directory = stage.path / language
                own = config.of_language(language)
                _write(directory, own, candidates / language, scored, calibrated)
    if not distributed.is_primary():
        return {}
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
    directory: pathlib.Path, signals: Signals, held_out: Sequence[Mapping[str, str]]
) -> None:
    """Writes how good the scores are and how they are calibrated, unless it is there.

    The quality is that of pairs whose own levels the calibration did not see.
    """
    path = directory / QUALITY
    if distributed.from_primary("measured", path.exists):
        return
    pairs = [(row["instruction"], row["output"], row["lang"]) for row in held_out]
    logprobs_nk, pmi_n = signals.read(pairs, "the held-out pairs")
    if not distributed.is_primary():
        return
    labels = [row["label"] for row in held_out]
    names = [f"{row['lang']}/{row['pair']}" for row in held_out]
    found_nk = calibration.cross_fitted(logprobs_nk, pmi_n, labels, names)
    measured = quality.measure(found_nk, held_out)
    alone = {"rater": Calibration()(logprobs_nk, None) @ quality.WEIGHTS}
    if pmi_n is not None:
        alone["pmi"] = pmi_n
    measured["signals"] = {
        name: quality.by_corruption(score_n, held_out)
        for name, score_n in alone.items()
    }
    fitted = calibration.fit(logprobs_nk, pmi_n, labels)
    _write_json(directory / CALIBRATION, dataclasses.asdict(fitted))
    _write_json(path, measured)


def _calibration(path: pathlib.Path) -> Calibration:
    record = json.loads(path.read_bytes())
    return Calibration(**record | {"offsets": tuple(record["offsets"])})


def _write_json(path: pathlib.Path, record: Mapping[str, Any]) -> None:
    text = json.dumps(record, indent=1, ensure_ascii=False)
    shards.write_bytes(path, f"{text}\n".encode())


def _score(
    stage: StageDirectory,
    config: RateConfig,
    candidates: pathlib.Path,
    language: str,
    signals: Signals,
    wording: PromptConfig = prompts.PAPER,
) -> None:
    """Writes each candidate's signals and broken rules, shard by shard."""
    directory = candidates / language
    table = shards.read_table(directory, ["instruction", "output", "lang"])

    def compute(index: int) -> jobs.Part:
        part = table.slice(index * config.shard_rows, config.shard_rows)
        columns = (part[name].to_pylist() for name in part.column_names)
        pairs = list(zip(*columns, strict=True))
        before = signals.reading.tokens
        logprobs_nk, pmi_n = signals.read(pairs, str(directory))
        broken = [
            list(rules.check(instruction, response, config, wording))
            for instruction, response, _ in pairs
        ]
        pmi = pa.nulls(len(pairs), pa.float32()) if pmi_n is None else pmi_n
        scored = pa.table([*logprobs_nk.T, pmi, broken], schema=_SCORED)
        return jobs.Part(scored, tokens=signals.reading.tokens - before)

    jobs.run_shards(
        stage.path / _SCORES / language,
        max(1, -(-table.num_rows // config.shard_rows)),
        compute,
        label=f"rate {language}",
        key=_key(stage, table),
    )


def _key(stage: StageDirectory, table: pa.Table) -> dict[str, Any]:
    """What a language's signals and broken rules are made from."""
    rows = hashlib.sha256()
    for column in table.columns:
        rows.update(json.dumps(column.to_pylist()).encode())
    return {**stage.key(CHANGES_NO_SCORE), "rows": rows.hexdigest()}


def _write(
    directory: pathlib.Path,
    config: RateConfig,
    candidates: pathlib.Path,
    scored: pathlib.Path,
    calibrated: Calibration,
) -> None:
    """Joins candidates and scores, decides which are kept, and writes the shards."""
    table = shards.read_table(candidates, ["id", "instruction"])
    scores = shards.read_table(scored)
    logprobs_nk = np.stack(
        [scores["logprob_" + label].to_numpy() for label in LABELS], 1
    )
    pmi = scores["pmi"]
    found_nk = calibrated(logprobs_nk, None if pmi.null_count else pmi.to_numpy())
    entropy_n = scipy.special.entr(found_nk).sum(axis=1)
    score_n = expected_level(found_nk)
    ids, broken = table["id"].to_pylist(), scores["broken"].to_pylist()
    reasons = why_not_kept(ids, score_n, broken, config.min_score, config.keep_share)
    kept = [not names for names in reasons]
    figures = [*found_nk.astype(np.float32).T, entropy_n.astype(np.float32), pmi]
    columns = [ids, table["instruction"], *figures, score_n, kept, reasons]
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
