"""Losses of models tuned on several sets with the same seeds: means and differences."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import scipy.stats

_LOSS = "loss_per_token"


def summary(
    losses: Mapping[str, Any],
    base: str,
    sets: Sequence[str],
    seeds: Sequence[int],
    differences: Sequence[tuple[str, str]],
) -> dict[str, Any]:
    """Means over seeds by set and language, and of differences taken seed by seed.

    Args:
      losses: of `base` by language, of a set by seed and language, in nats a token
        under 'loss_per_token'.
      base: what stands for the model before tuning.
      sets: the sets, in the order of the table.
      seeds: the seeds of every set.
      differences: pairs of sets, the first less the second; a pair with a set that is
        not among `sets` is left out.

    Returns:
      'base', 'sets' and 'differences', each by language; of the latter two each entry
      has 'by_seed', 'mean' and 'half_width', that of the 95% interval.
    """
    columns = list(losses[base])

    def of(name: str, column: str) -> list[float]:
        return [losses[name][seed][column][_LOSS] for seed in seeds]

    def less(one: str, other: str, column: str) -> list[float]:
        pairs = zip(of(one, column), of(other, column), strict=True)
        return [a - b for a, b in pairs]

    return {
        "base": {column: losses[base][column][_LOSS] for column in columns},
        "sets": {
            name: {column: _entry(of(name, column)) for column in columns}
            for name in sets
        },
        "differences": {
            f"{one} - {other}": {
                column: _entry(less(one, other, column)) for column in columns
            }
            for one, other in differences
            if one in sets and other in sets
        },
    }


def half_width(values: Sequence[float], level: float = 0.95) -> float | None:
    """Half of Student's t interval of a mean; None of fewer than two values.

    Example: 1, 2, 3 have the mean 2 and the interval 2 +- 4.303 * 1 / sqrt(3) = 2.484.
    """
    n = len(values)
    if n < 2:
        return None
    t = float(scipy.stats.t.ppf((1 + level) / 2, n - 1))
    return t * statistics.stdev(values) / math.sqrt(n)


def _entry(values: Sequence[float]) -> dict[str, Any]:
    return {
        "by_seed": list(values),
        "mean": statistics.fmean(values),
        "half_width": half_width(values),
    }


def tables(record: Mapping[str, Any]) -> str:
    """Markdown: losses by set and language, then differences, and what they can say.

    Args:
      record: what `summary` gives, and 'seeds'.
    """
    columns, seeds = list(record["base"]), record["seeds"]
    before = ["before tuning", *(f"{loss:.4f}" for loss in record["base"].values())]
    after = [
        [name.replace("_", " "), *(_with_width(entry) for entry in by.values())]
        for name, by in record["sets"].items()
    ]
    means = table(["nats a token", *columns], [before, *after])
    rows = [
        [
            name.replace("_", " "),
            column,
            *(f"{value:+.4f}" for value in entry["by_seed"]),
            f"{entry['mean']:+.4f}",
            _interval(entry),
        ]
        for name, by in record["differences"].items()
        for column, entry in by.items()
    ]
    names = [f"seed {seed}" for seed in seeds]
    paired = table(["difference", "of", *names, "mean", "95% interval"], rows)
    return "\n\n".join([means, paired, _caution(record)])


def _caution(record: Mapping[str, Any]) -> str:
    """What the intervals can and cannot show."""
    n = len(record["seeds"])
    if n < 2:
        return "One seed: nothing is known of how far another would be from it."
    t = float(scipy.stats.t.ppf(0.975, n - 1))
    entries = [by["all"] for by in record["differences"].values()]
    apart = sum(abs(entry["mean"]) > entry["half_width"] for entry in entries)
    return (
        "A difference below 0: the first has the lower loss. Student's t intervals "
        f"over {n} seeds, {t:.2f} standard errors to either side: with few seeds they "
        "are wide. They hold what the draw and the order of training change; the base "
        "model and the held-out pairs are the same. One with 0 in it shows no "
        "difference, and does not show that there is none. "
        f"Of the {len(entries)} differences over all tokens "
        f"{apart} {'has an interval' if apart == 1 else 'have intervals'} without 0; "
        "no correction is made for how many are looked at."
    )


def _with_width(entry: Mapping[str, Any]) -> str:
    width = entry["half_width"]
    return f"{entry['mean']:.4f}" + ("" if width is None else f" ± {width:.4f}")


def _interval(entry: Mapping[str, Any]) -> str:
    mean, width = entry["mean"], entry["half_width"]
    return "-" if width is None else f"{mean - width:+.4f} to {mean + width:+.4f}"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown; the first column to the left, the others to the right."""
    lines = [list(headings), ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
