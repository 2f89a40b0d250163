"""Judged pairs as figures: who won, how sure that is, how far to trust the judge."""

import collections
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xinst_jax.eval import statistics, verdicts

_WORTH = {verdicts.WIN: 1.0, verdicts.TIE: 0.5, verdicts.LOSS: 0.0}


@dataclasses.dataclass(frozen=True)
class WinRate:
    """Figures of many judged pairs. Shares are in [0, 1], NaN where of nothing.

    Attributes:
      pairs: how many there are.
      wins: won by our answer, by the run's rule.
      ties: won by neither.
      losses: won by the opponent's.
      unjudged: of which a reading failed; in no share but the bounds.
      rate: (wins + ties / 2) / judged.
      low: lower end of its 95% bootstrap interval.
      high: upper end.
      lower_bound: the rate if every unjudged pair had been lost.
      upper_bound: the rate if every one had been won.
      p_value: of the sign test.
      length_controlled: the rate predicted for answers of equal length.
      flips: share of judged pairs of which the orders name opposite winners.
      disagreements: share of judged pairs of which the orders differ at all.
      first_preferred: share, of readings with a winner, that prefer the answer shown
        first; 0.5 is a judge without such a preference.
      length_gap: mean characters of our answers less those of the opponent's.
      longer_preferred: share, of pairs with a winner and of different lengths, that
        the longer answer won.
      reasons: readings that failed, by reason.
    """

    pairs: int
    wins: int
    ties: int
    losses: int
    unjudged: int
    rate: float
    low: float
    high: float
    lower_bound: float
    upper_bound: float
    p_value: float
    length_controlled: float
    flips: float
    disagreements: float
    first_preferred: float
    length_gap: float
    longer_preferred: float
    reasons: dict[str, int]


def win_rate(rows: Sequence[Mapping[str, Any]], resamples: int) -> WinRate:
    """The figures of rows of `judge.SCHEMA`.

    A question's pairs in several languages are resampled together.

    Args:
      rows: the judged pairs.
      resamples: of the bootstrap.
    """
    counts = collections.Counter(row["outcome"] for row in rows)
    scores_n = np.array([_WORTH.get(row["outcome"], math.nan) for row in rows], float)
    gaps_n = np.array([len(r["answer"]) - len(r["opposing"]) for r in rows], float)
    there_n = ~np.isnan(scores_n)
    judged = int(there_n.sum())
    groups = [f"{row['question_set']}/{row['id']}" for row in rows]
    low, high = statistics.bootstrap_interval(scores_n, groups, resamples)
    sides = [
        (row["forward"], row["backward"])
        for row in rows
        if row["outcome"] != verdicts.UNJUDGED
    ]
    decided_n = there_n & (scores_n != 0.5) & (gaps_n != 0)
    total = float(np.nansum(scores_n))
    return WinRate(
        pairs=len(rows),
        wins=counts[verdicts.WIN],
        ties=counts[verdicts.TIE],
        losses=counts[verdicts.LOSS],
        unjudged=counts[verdicts.UNJUDGED],
        rate=_share(total, judged),
        low=low,
        high=high,
        lower_bound=_share(total, len(rows)),
        upper_bound=_share(total + len(rows) - judged, len(rows)),
        p_value=statistics.sign_test(counts[verdicts.WIN], counts[verdicts.LOSS]),
        length_controlled=statistics.length_controlled(
            scores_n[there_n], gaps_n[there_n]
        ),
        flips=_share(
            sum(set(both) == {verdicts.WIN, verdicts.LOSS} for both in sides), judged
        ),
        disagreements=_share(sum(there != back for there, back in sides), judged),
        first_preferred=_first_preferred(rows),
        length_gap=float(gaps_n.mean()) if len(rows) else math.nan,
        longer_preferred=_share(
            float(((gaps_n > 0) == (scores_n == 1.0))[decided_n].sum()),
            int(decided_n.sum()),
        ),
        reasons=_reasons(rows),
    )


def _first_preferred(rows: Sequence[Mapping[str, Any]]) -> float:
    """Of all readings with a winner, those of pairs with one failed order too."""
    first = [row["forward"] == verdicts.WIN for row in rows if _decided(row["forward"])]
    first += [
        row["backward"] == verdicts.LOSS for row in rows if _decided(row["backward"])
    ]
    return _share(sum(first), len(first))


def _decided(side: str) -> bool:
    return side in (verdicts.WIN, verdicts.LOSS)


def _reasons(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    found = collections.Counter(
        row[field] for row in rows for field in ("forward_reason", "backward_reason")
    )
    del found[""]
    return dict(sorted(found.items()))


def _share(part: float, whole: int) -> float:
    return part / whole if whole else math.nan
