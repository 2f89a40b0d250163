"""How well a rater tells good pairs from spoilt ones, beside what guessing gives.

A spoilt pair is compared with the pair it was made of, as reward models are (preference
accuracy; Lambert et al., 2024, RewardBench, arXiv 2403.13787): all else is the same
then. The AUC compares it with every good pair, as a quota over candidates does.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import rich.box
import rich.table
import scipy.stats

from xinst_jax.data.prompts import LABELS

WEIGHTS = np.linspace(0, 1, len(LABELS))
"""What each level counts for in a score: bad 0, fair 0.5, good 1."""

_GOOD = LABELS[-1]
_BINS = 10
_CHANCE_Z = 1.645
"""Standard normal quantile above which one value in twenty lies by chance."""


def measure(
    probabilities_nk: np.ndarray, rows: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    """The rater's quality on pairs of known level, ready for JSON.

    The level that is most likely counts as the rater's answer; a pair's score is its
    expected level, 0 to 1.

    Args:
      probabilities_nk: (rows, levels), summing to 1: what the rater gave each level.
      rows: with fields lang, pair, label and corruption; the good row of a (lang, pair)
        is what its spoilt ones are compared with.

    Returns:
      'levels': their names. 'confusion': rows by true and by answered level.
      'reliability': what `reliability` gives. 'all' and
      each of 'languages': rows n, accuracy, chance (the accuracy of always answering
      the commonest level), balanced_accuracy (chance is one in three), macro_f1,
      precision and recall by level,
      auc_good (good against the rest; chance is 0.5) and above_chance (one-sided
      Mann-Whitney test at 5%). Each of 'corruptions': n, label, accuracy, mean_score,
      precision and recall (see `detection`),
      auc_good (good pairs against those spoilt in this way), preferred (how often a
      pair scores above itself spoilt in this way, ties by half; chance is 0.5) and
      above_chance (one-sided sign test at 5%). Each of the languages' 'corruptions':
      n, good (pairs to compare with), precision, recall and auc_good, of that language
      alone. A figure that is not defined is None.
    """
    truth_n = np.array([LABELS.index(row["label"]) for row in rows], np.int64)
    answer_n = probabilities_nk.argmax(axis=1)
    score_n = probabilities_nk @ WEIGHTS
    languages = np.array([row["lang"] for row in rows])
    corruptions = np.array([row["corruption"] for row in rows])
    told = by_corruption(score_n, rows)
    good_n, called_good_n = (n == LABELS.index(_GOOD) for n in (truth_n, answer_n))

    def of_language(lang: str) -> dict[str, Any]:
        here = languages == lang
        figures = _levels(truth_n[here], answer_n[here], score_n[here])
        return figures | {"corruptions": {name: of_both(here, name) for name in told}}

    def of_both(here: np.ndarray, name: str) -> dict[str, Any]:
        spoilt, good = here & (corruptions == name), here & good_n
        both = spoilt | good
        return {
            "n": int(spoilt.sum()),
            "good": int(good.sum()),
            **detection(good_n[both], called_good_n[both]),
            "auc_good": auc(score_n[both], good_n[both]),
        }

    def of_corruption(name: str) -> dict[str, Any]:
        here = corruptions == name
        return {
            "n": int(here.sum()),
            "label": LABELS[truth_n[here][0]],
            "accuracy": float((truth_n == answer_n)[here].mean()),
            "mean_score": float(score_n[here].mean()),
            **detection(good_n[here | good_n], called_good_n[here | good_n]),
            **told[name],
        }

    return {
        "levels": list(LABELS),
        "confusion": confusion(truth_n, answer_n).tolist(),
        "reliability": reliability(probabilities_nk[:, -1], truth_n),
        "all": _levels(truth_n, answer_n, score_n),
        "languages": {
            lang: of_language(lang) for lang in dict.fromkeys(languages.tolist())
        },
        "corruptions": {name: of_corruption(name) for name in told},
    }


def detection(good_n: np.ndarray, called_good_n: np.ndarray) -> dict[str, Any]:
    """Precision and recall of finding what is spoilt: what is not called good.

    Of the pairs not called good, the share that is spoilt; of the spoilt, the share not
    called good. None of nothing.

        detection(np.array([False, False, True]), np.array([False, True, False]))
        # {'precision': 0.5, 'recall': 0.5}

    Args:
      good_n: (rows,) whether each is good, or else spoilt.
      called_good_n: (rows,) whether the rater's answer is good.
    """
    found = int((~good_n & ~called_good_n).sum())
    called, spoilt = int((~called_good_n).sum()), int((~good_n).sum())
    return {
        "precision": found / called if called else None,
        "recall": found / spoilt if spoilt else None,
    }


def by_corruption(
    score_n: np.ndarray, rows: Sequence[Mapping[str, str]]
) -> dict[str, dict[str, Any]]:
    """How well one signal alone tells each corruption: auc_good and preferred.

    Args:
      score_n: (rows,) the signal, higher for better pairs.
      rows: as for `measure`.
    """
    good_n = np.array([row["label"] == _GOOD for row in rows], bool)
    corruptions = np.array([row["corruption"] for row in rows])
    whole_n = _whole(rows, good_n)

    def measured(name: str) -> dict[str, Any]:
        here = corruptions == name
        compared = here | good_n
        area = auc(score_n[compared], good_n[compared])
        return {"auc_good": area, **_preferred(score_n, whole_n, here)}

    return {
        name: measured(name) for name in dict.fromkeys(corruptions[~good_n].tolist())
    }


def _whole(rows: Sequence[Mapping[str, str]], good_n: np.ndarray) -> np.ndarray:
    """For each row the good row of its pair, or -1: (rows,) int64."""
    keys = [(row["lang"], row["pair"]) for row in rows]
    good_of = {keys[row]: row for row in np.flatnonzero(good_n)}
    return np.array([good_of.get(key, -1) for key in keys], np.int64)


def confusion(truth_n: np.ndarray, answer_n: np.ndarray) -> np.ndarray:
    """Rows by true level (first axis) and answered level: (levels, levels) int64."""
    found_kk = np.zeros((len(LABELS), len(LABELS)), np.int64)
    np.add.at(found_kk, (truth_n, answer_n), 1)
    return found_kk


def reliability(good_n: np.ndarray, truth_n: np.ndarray) -> list[dict[str, float]]:
    """How honest the probabilities of being good are, in `_BINS` equal bins.

    Args:
      good_n: (rows,) the probability of being good that each row was given, 0 to 1.
      truth_n: (rows,) the rows' levels, by place in `LABELS`.

    Returns:
      For each bin that has rows: n; predicted, the mean of the probabilities; and good,
      the share of good rows. Both are weighed so that each level counts alike.
    """
    rows_k = np.bincount(truth_n, minlength=len(LABELS))
    weight_n = 1 / rows_k[truth_n]
    bin_n = np.minimum((good_n * _BINS).astype(np.int64), _BINS - 1)
    is_good_n = truth_n == LABELS.index(_GOOD)
    return [
        {
            "n": int((bin_n == place).sum()),
            "predicted": float(np.average(good_n[here], weights=weight_n[here])),
            "good": float(np.average(is_good_n[here], weights=weight_n[here])),
        }
        for place in range(_BINS)
        if (here := bin_n == place).any()
    ]


def macro_f1(found_kk: np.ndarray) -> float | None:
    """Mean over the levels of the harmonic mean of precision and recall.

    A level that is neither true of any row nor answered does not count.

    Args:
      found_kk: rows by true and by answered level.
    """
    both_k = found_kk.sum(axis=0) + found_kk.sum(axis=1)
    present = both_k > 0
    if not present.any():
        return None
    return float((2 * np.diagonal(found_kk)[present] / both_k[present]).mean())


def auc(score_n: np.ndarray, positive_n: np.ndarray) -> float | None:
    """The probability that a positive row scores above a negative one, ties by half.

    It is the Mann-Whitney statistic over the number of pairs, from mean ranks. None
    where either kind is missing.

        auc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]))
        # 0.875
    """
    positives, negatives = int(positive_n.sum()), int((~positive_n).sum())
    if not positives or not negatives:
        return None
    _, place_n, count = np.unique(score_n, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(count) - (count - 1) / 2
    ranks = float(mean_rank[place_n][positive_n].sum())
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)


def preference(whole_n: np.ndarray, spoilt_n: np.ndarray) -> float | None:
    """How often a pair scores above itself spoilt, ties by half; None of no pairs.

        preference(np.array([0.9, 0.5, 0.5]), np.array([0.1, 0.5, 0.7]))   # 0.5

    Args:
      whole_n: (pairs,) scores of the pairs as they are.
      spoilt_n: (pairs,) scores of the same pairs, spoilt.
    """
    if not len(whole_n):
        return None
    return float(((whole_n > spoilt_n) + 0.5 * (whole_n == spoilt_n)).mean())


def table(quality: Mapping[str, Any], title: str) -> rich.table.Table:
    """The figures of `measure` for people to read, chance beside each.

    Args:
      quality: what `measure` returned.
      title: the table's heading.
    """
    shown = rich.table.Table(
        title=title, title_justify="left", box=rich.box.SIMPLE, pad_edge=False
    )
    shown.add_column("held-out pairs")
    for name in _COLUMNS:
        shown.add_column(name, justify="right", no_wrap=True)
    everything = quality["all"]
    _add(shown, "all", everything, everything["chance"])
    shown.add_section()
    for lang, figures in quality["languages"].items():
        _add(shown, lang, figures, figures["chance"])
    shown.add_section()
    for name, figures in quality["corruptions"].items():
        _add(shown, f"{figures['label']}: {name.replace('_', ' ')}", figures, None)
    shown.caption = (
        "chance of AUC and of preferred (a pair above itself spoilt) is 0.500; "
        "accuracy on three levels; - where there are too few pairs"
    )
    return shown


def _levels(
    truth_n: np.ndarray, answer_n: np.ndarray, score_n: np.ndarray
) -> dict[str, Any]:
    found_kk = confusion(truth_n, answer_n)
    rows, per_level_k = len(truth_n), found_kk.sum(axis=1)
    right_k, present_k = np.diagonal(found_kk), per_level_k > 0
    return {
        "n": rows,
        "accuracy": float(right_k.sum() / rows) if rows else None,
        "chance": float(per_level_k.max() / rows) if rows else None,
        "balanced_accuracy": (
            float((right_k[present_k] / per_level_k[present_k]).mean())
            if rows
            else None
        ),
        "macro_f1": macro_f1(found_kk),
        "precision": _shares(right_k, found_kk.sum(axis=0)),
        "recall": _shares(right_k, per_level_k),
        **_against_good(score_n, truth_n == LABELS.index(_GOOD)),
    }


def _shares(right_k: np.ndarray, all_k: np.ndarray) -> dict[str, float | None]:
    """By level, the share that is right; None of nothing."""
    return {
        label: float(right / every) if every else None
        for label, right, every in zip(LABELS, right_k, all_k, strict=True)
    }


def _against_good(score_n: np.ndarray, good_n: np.ndarray) -> dict[str, Any]:
    """AUC of good against the rest, and whether it is above chance.

    Above chance means that a one-sided Mann-Whitney test at 5% would say so (normal
    approximation, without correction for ties).
    """
    area = auc(score_n, good_n)
    if area is None:
        return {"auc_good": None, "above_chance": None}
    positives, negatives = int(good_n.sum()), int((~good_n).sum())
    spread = ((positives + negatives + 1) / (12 * positives * negatives)) ** 0.5
    return {
        "auc_good": float(area),
        "above_chance": bool(area - 0.5 > _CHANCE_Z * spread),
    }


def _preferred(
    score_n: np.ndarray, whole_n: np.ndarray, here: np.ndarray
) -> dict[str, Any]:
    """Preference of pairs over themselves spoilt, and whether it is above chance."""
    spoilt = np.flatnonzero(here & (whole_n >= 0))
    above_n = score_n[whole_n[spoilt]] - score_n[spoilt]
    wins, losses = int((above_n > 0).sum()), int((above_n < 0).sum())
    verdict = None
    if wins + losses:
        test = scipy.stats.binomtest(wins, wins + losses, alternative="greater")
        verdict = bool(test.pvalue < 0.05)
    elif len(spoilt):
        verdict = False
    return {
        "preferred": preference(score_n[whole_n[spoilt]], score_n[spoilt]),
        "above_chance": verdict,
    }


_COLUMNS = (
    *("n", "accuracy", "chance", "macro\nF1"),
    *("AUC\nof good", "preferred", "above\nchance"),
)
_VERDICTS = {
    True: "[green]yes[/green]",
    False: "[bold red]no[/bold red]",
    None: "-",
}


def _add(
    shown: rich.table.Table,
    name: str,
    figures: Mapping[str, Any],
    chance: float | None,
) -> None:
    shown.add_row(
        name,
        f"{figures['n']:,}",
        _figure(figures["accuracy"]),
        _figure(chance),
        _figure(figures.get("macro_f1")),
        _figure(figures["auc_good"]),
        _figure(figures.get("preferred")),
        _VERDICTS[figures["above_chance"]],
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
