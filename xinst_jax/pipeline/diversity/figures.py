"""How diverse a set of instructions is, in figures that can be set side by side."""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

FILE = "figures/{lang}.json"
"""Where a language's figures are, under the directory of what was drawn."""

SAMPLES = 5
"""Random samples of equal size that a selection is compared with."""

FIGURES = (
    "rows",
    "cluster_entropy",
    "nearest_distance",
    "vendi_score",
    "distinct_verb_nouns",
    "top_verb_share",
)
"""The figures that are set side by side."""

_PROBES = 2000
"""Most instructions whose nearest neighbour is looked for, evenly drawn."""

_COSINES = 1 << 24
"""Most cosines held at once."""


def measure(
    vectors_ne: np.ndarray,
    cluster_n: np.ndarray,
    clusters: int,
    verb_n: Sequence[str | None],
    weight_n: np.ndarray | None = None,
) -> dict[str, Any]:
    """The figures of a set of instructions; None where a figure is not defined.

    Args:
      vectors_ne: their unit vectors.
      cluster_n: their clusters, of `clusters` of the language.
      clusters: number of clusters.
      verb_n: their root verbs; None where there is none.
      weight_n: how often each is drawn; None draws all alike.

    Returns:
      rows; cluster_entropy, nearest_distance, vendi_score (see the functions);
      top_verb, the commonest root verb, and top_verb_share, its share of all rows.
    """
    weight_n = np.ones(len(vectors_ne)) if weight_n is None else weight_n
    verb, top_share = top_verb(verb_n, weight_n)
    return {
        "rows": len(vectors_ne),
        "cluster_entropy": cluster_entropy(cluster_n, clusters, weight_n),
        "nearest_distance": nearest_distance(vectors_ne),
        "vendi_score": vendi_score(vectors_ne, weight_n),
        "top_verb": verb,
        "top_verb_share": top_share,
    }


def compared(
    vectors_ne: np.ndarray,
    cluster_n: np.ndarray,
    verb_n: Sequence[str | None],
    weight_n: np.ndarray,
    by_weight: bool,
    seed: Sequence[int],
) -> dict[str, Any]:
    """A selection beside random samples of its size and beside no selection.

    Args:
      vectors_ne: unit vectors of all kept instructions of a language.
      cluster_n: their clusters, numbered without a gap.
      verb_n: their root verbs.
      weight_n: 0 for what was not drawn.
      by_weight: whether the weights, and not the rows, are the selection.
      seed: of the random samples.

    Returns:
      'drawn', 'random' (a list, one of each sample) and 'kept' (all of them): the
      figures of `measure`.
    """
    clusters = int(cluster_n.max(initial=-1)) + 1
    drawn = np.flatnonzero(weight_n > 0)

    def of(rows: np.ndarray, weights: np.ndarray | None = None) -> dict[str, Any]:
        verbs = [verb_n[row] for row in rows]
        return measure(vectors_ne[rows], cluster_n[rows], clusters, verbs, weights)

    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(list(seed))))
    everything = np.arange(len(weight_n))
    samples = [
        np.sort(rng.choice(everything, len(drawn), replace=False))
        for _ in range(SAMPLES)
    ]
    return {
        "drawn": of(drawn, weight_n[drawn] if by_weight else None),
        "random": [of(rows) for rows in samples],
        "kept": of(everything),
    }


def side_by_side(statistics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Three rows to show: of what was drawn, by chance, and without selection.

    Args:
      statistics: a language's figures in the dataset's statistics.json.

    Returns:
      which ('drawn', 'at random': the mean of the samples, 'no selection'), rows,
      cluster_entropy, nearest_distance, vendi_score, distinct_verb_nouns,
      top_verb_share; a figure that is not defined is None.
    """
    measured, pairs = statistics["diversity"], "distinct_verb_nouns"
    samples = [
        {**one, pairs: count}
        for one, count in zip(
            measured["random"], statistics[f"random_{pairs}"], strict=True
        )
    ]
    return [
        {"which": "drawn", **measured["drawn"], pairs: statistics[pairs]},
        {"which": "at random", **{name: _mean(samples, name) for name in FIGURES}},
        {
            "which": "no selection",
            **measured["kept"],
            pairs: statistics[f"kept_{pairs}"],
        },
    ]


def _mean(samples: Sequence[Mapping[str, Any]], name: str) -> float | None:
    values = [sample[name] for sample in samples]
    return None if None in values or not values else float(np.mean(values))


def cluster_entropy(
    cluster_n: np.ndarray, clusters: int, weight_n: np.ndarray
) -> float | None:
    """Shannon entropy of the clusters' shares, over its maximum log(clusters).

    1 where every cluster has the same, 0 where one has all. None with fewer than two
    clusters, or no rows.
    """
    if clusters < 2 or not len(cluster_n):
        return None
    share_c = np.bincount(cluster_n, weights=weight_n, minlength=clusters)
    share_c = share_c[share_c > 0] / weight_n.sum()
    return float(-(share_c * np.log(share_c)).sum() / np.log(clusters))


def nearest_distance(vectors_ne: np.ndarray) -> float | None:
    """Mean cosine distance of an instruction to the nearest other one.

    Of more than 2,000 the nearest neighbours, among all, of 2,000 evenly drawn ones.
    A set of more rows has nearer neighbours: compare sets of equal size. None with
    fewer than two.
    """
    count = len(vectors_ne)
    if count < 2:
        return None
    probes = np.unique(np.linspace(0, count - 1, min(count, _PROBES)).astype(np.int64))
    nearest, step = [], max(1, _COSINES // count)
    for start in range(0, len(probes), step):
        rows = probes[start : start + step]
        cosines_pn = vectors_ne[rows] @ vectors_ne.T
        cosines_pn[np.arange(len(rows)), rows] = -np.inf
        nearest.append(cosines_pn.max(axis=1))
    return float(np.mean(1 - np.concatenate(nearest).clip(-1, 1), dtype=np.float64))


def vendi_score(vectors_ne: np.ndarray, weight_n: np.ndarray) -> float | None:
    """The Vendi score with the cosine: how many unlike instructions it amounts to.

    The exponential of the entropy of the eigenvalues of K / N, with K the cosines
    (Friedman and Dieng, arXiv 2210.02410, definition 3.1; by weights, definition 3.2).
    K / N and the E x E matrix of second moments have the same eigenvalues but for
    zeros, so that it is exact for any number of rows; at most E. None without rows.
    """
    if not len(vectors_ne):
        return None
    moments_ee = np.zeros((vectors_ne.shape[1],) * 2)
    for start in range(0, len(vectors_ne), 1 << 16):
        part_ne = vectors_ne[start : start + (1 << 16)].astype(np.float64)
        part_n1 = weight_n[start : start + (1 << 16), None]
        moments_ee += part_ne.T @ (part_ne * part_n1)
    value_e = np.linalg.eigvalsh(moments_ee / weight_n.sum())
    value_e = value_e[value_e > 1e-12]
    value_e /= value_e.sum()
    return float(np.exp(-(value_e * np.log(value_e)).sum()))


def top_verb(
    verb_n: Sequence[str | None], weight_n: np.ndarray
) -> tuple[str | None, float | None]:
    """The commonest root verb and its share of all rows; of equals the first by name.

    >>> top_verb(["write", "tell", "write", None], np.ones(4))
    ('write', 0.5)
    """
    of_verb = verb_weights(verb_n, weight_n)
    if not of_verb:
        return None, None
    verb = min(of_verb, key=lambda name: (-of_verb[name], name))
    return verb, float(of_verb[verb] / weight_n.sum())


def verb_weights(
    verb_n: Sequence[str | None], weight_n: np.ndarray
) -> dict[str, float]:
    """The sum of the weights of each root verb."""
    of_verb: dict[str, float] = collections.defaultdict(float)
    for verb, weight in zip(verb_n, weight_n, strict=True):
        if verb is not None:
            of_verb[verb] += float(weight)
    return dict(of_verb)
