"""Pairs whose instruction is another pair's: put among a run's pairs and rated."""

import collections
import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tools.noise.tables import share_words
from tools.tuning.paired import table
from xinst_jax import config, shards
from xinst_jax.errors import UserError
from xinst_jax.pipeline import calibration, kept, rate, rules, signals
from xinst_jax.pipeline.workspace import Workspace

HELD_OUT, KEPT = "held-out seed pairs", "kept candidates"
KEEP = "kept"


@dataclasses.dataclass(frozen=True)
class Pair:
    """An instruction beside a response.

    Attributes:
      pool: `HELD_OUT` or `KEPT`.
      lang: language code.
      instruction: its own, or another pair's.
      output: the response.
      mismatched: whether the instruction is another pair's.
    """

    pool: str
    lang: str
    instruction: str
    output: str
    mismatched: bool = False


@dataclasses.dataclass(frozen=True)
class Bar:
    """What a pair of a language must pass.

    Attributes:
      min_score: the run's lowest score.
      quota_score: the lowest score that the run kept in this language: where its quota
        cut. A language of which nothing was kept has an infinite one.
    """

    min_score: float
    quota_score: float


def pools(workspace: Workspace, last: str, limit: int | None) -> list[Pair]:
    """The pairs of a finished run whose instructions are taken for right.

    Args:
      workspace: the run, which is only read.
      last: name of the last round.
      limit: at most so many of each language and pool, spread over them.
    """
    run = workspace.run
    good = kept.read(
        workspace.path(f"candidates/{last}"),
        workspace.path(f"ratings/{last}"),
        run.languages,
    )
    found = []
    for code in run.languages:
        seed = shards.read_rows(workspace.path("seed") / code)
        of_pool = {
            HELD_OUT: [row for row in seed if row["split"] == "held_out"],
            KEPT: list(good[code].values()),
        }
        for pool, rows in of_pool.items():
            if limit is not None and len(rows) > limit:
                places = np.linspace(0, len(rows) - 1, limit).astype(int)
                rows = [rows[place] for place in places]
            found += [
                Pair(pool, code, row["instruction"], row["output"]) for row in rows
            ]
    return found


def mismatch(pairs: Sequence[Pair], share: float, seed: int) -> list[Pair]:
    """The pairs, a share of each language's pool with another's instruction.

    The instruction is that of a pair of the same pool and language that is drawn at
    random, and another text than the pair's own; a pair for which there is none stays.

        a, b = Pair(KEPT, "fi", "Say A.", "A."), Pair(KEPT, "fi", "Say B.", "B.")
        mismatch([a, b], share=0.5, seed=0)   # 'Say B.' beside 'A.', or the reverse

    Args:
      pairs: with their own instructions.
      share: 0 to 1.
      seed: of the draw.
    """
    found = list(pairs)
    members = collections.defaultdict(list)
    for place, pair in enumerate(pairs):
        members[pair.pool, pair.lang].append(place)
    for number, places in enumerate(members.values()):
        rng = np.random.default_rng([seed, number])
        count = round(share * len(places))
        for place in rng.choice(places, count, replace=False).tolist():
            own = pairs[place].instruction
            others = [pairs[n].instruction for n in places]
            others = [text for text in others if text != own]
            if others:
                text = others[int(rng.integers(len(others)))]
                found[place] = dataclasses.replace(
                    pairs[place], instruction=text, mismatched=True
                )
    return found


def bars(workspace: Workspace, last: str) -> dict[str, Bar]:
    """By language what the run asked of a pair in its last round."""
    found = {}
    for code in workspace.run.languages:
        path = workspace.path(f"ratings/{last}") / code
        rows = shards.read_rows(path, ["score", "kept"])
        lowest = min((row["score"] for row in rows if row["kept"]), default=np.inf)
        found[code] = Bar(workspace.run.rate.min_score, float(lowest))
    return found


def scores(
    ratings: pathlib.Path, given: signals.Signals, pairs: Sequence[Pair]
) -> np.ndarray:
    """Scores of pairs as the stage `rate` gives them: (rows,) float32, 0 to 1.

    Args:
      ratings: the round's finished ratings, which have the calibration.
      given: what the round rates by.
      pairs: any number of them.

    Raises:
      UserError: the calibration is missing, or a model gives no numbers.
    """
    path = ratings / rate.CALIBRATION
    if not path.exists():
        raise UserError(f"{path} is missing: the round's 'rate' is not finished.")
    record = json.loads(path.read_bytes())
    calibrated = calibration.Calibration(
        **record | {"offsets": tuple(record["offsets"])}
    )
    asked = [(pair.instruction, pair.output, pair.lang) for pair in pairs]
    logprobs_nk, pmi_n = given.read(asked, "the planted pairs")
    return rate.expected_level(calibrated(logprobs_nk, pmi_n))


def verdicts(
    pairs: Sequence[Pair],
    score_n: np.ndarray,
    bar: Mapping[str, Bar],
    settings: config.RateConfig,
) -> list[str]:
    """For each pair `KEEP`, or the first reason for which it is dropped."""
    found = []
    for pair, score in zip(pairs, score_n, strict=True):
        broken = rules.check(pair.instruction, pair.output, settings)
        asked = bar[pair.lang]
        if broken:
            found.append(broken[0])
        elif score < np.float32(asked.min_score):
            found.append(rate.BELOW_MIN_SCORE)
        elif score < np.float32(asked.quota_score):
            found.append(rate.BELOW_QUOTA)
        else:
            found.append(KEEP)
    return found


def tables(pairs: Sequence[Pair], found: Sequence[str]) -> str:
    """Markdown: of each pool and language what was dropped, with intervals, and why."""
    groups: dict[tuple[str, str, bool], collections.Counter[str]] = {}
    for pair, verdict in zip(pairs, found, strict=True):
        for lang in (pair.lang, "all"):
            key = (pair.pool, lang, pair.mismatched)
            groups.setdefault(key, collections.Counter())[verdict] += 1
    return "\n\n".join(
        _pool_table(pool, groups) for pool in dict.fromkeys(p.pool for p in pairs)
    )


def _pool_table(
    pool: str, groups: Mapping[tuple[str, str, bool], collections.Counter[str]]
) -> str:
    codes = dict.fromkeys(lang for of, lang, _ in groups if of == pool)
    rows = [
        [f"{lang}, {words}", *_cells(groups[pool, lang, mismatched])]
        for lang in sorted(codes, key=lambda lang: lang == "all")
        for words, mismatched in (("mismatched", True), ("left alone", False))
        if (pool, lang, mismatched) in groups
    ]
    return table([pool, "pairs", "dropped", "% (95%)", "kept", "dropped as"], rows)


def _cells(verdicts: collections.Counter[str]) -> Iterable[str]:
    every, stayed = verdicts.total(), verdicts[KEEP]
    reasons = [(name, n) for name, n in verdicts.most_common() if name != KEEP]
    return [
        f"{every:,}",
        f"{every - stayed:,}",
        share_words(every - stayed, every),
        f"{stayed:,}",
        ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in reasons) or "none",
    ]
