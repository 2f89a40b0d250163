"""Which pairs are drawn from a language's clusters: the rules, by name.

Each works cluster by cluster, so that none compares all pairs of a language with each
other; near-duplicates are gone by then.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from xinst_jax.pipeline.diversity import greedy


@dataclasses.dataclass(frozen=True)
class Pool:
    """What may be drawn from.

    Attributes:
      members: rows of each cluster that may be drawn.
      vectors_ne: unit vectors of all rows of the language.
      score_n: their scores, 0 to 1.
      priority_n: their places in a draw in proportion to score, highest first.
      per_cluster: pairs wanted of a cluster, or on the average of clusters.
      quality: weight of the score against diversity, 0 to below 1, in 'joint'.
    """

    members: Sequence[np.ndarray]
    vectors_ne: np.ndarray
    score_n: np.ndarray
    priority_n: np.ndarray
    per_cluster: int
    quality: float

    def without(self, barred_n: np.ndarray) -> "Pool":
        """The pool without some of its rows."""
        members = [rows_m[~barred_n[rows_m]] for rows_m in self.members]
        return dataclasses.replace(self, members=members)

    def best(self, rows_m: np.ndarray, count: int) -> np.ndarray:
        """The `count` of the rows that come first in the draw."""
        order_m = np.argsort(self.priority_n[rows_m], kind="stable")[::-1]
        return rows_m[order_m[:count]]


Selection = Callable[[Pool], np.ndarray]
"""Gives the drawn rows of a pool."""


def equal(pool: Pool) -> np.ndarray:
    """The same number from every cluster, in proportion to score within it."""
    return _joined([pool.best(rows_m, pool.per_cluster) for rows_m in pool.members])


def proportional(pool: Pool) -> np.ndarray:
    """From every cluster a number in proportion to its size; likewise by score.

    It keeps the spread of what was kept, as a random sample does, without its chance.
    """
    sizes = [len(rows_m) for rows_m in pool.members]
    places_c = apportioned(sizes, pool.per_cluster * len(sizes))
    return _joined(
        [
            pool.best(rows_m, places)
            for rows_m, places in zip(pool.members, places_c, strict=True)
        ]
    )


def k_center(pool: Pool) -> np.ndarray:
    """The same number from every cluster: its best-scored pair, then the farthest."""

    def of(rows_m: np.ndarray) -> np.ndarray:
        first = int(pool.score_n[rows_m].argmax())
        vectors_me = pool.vectors_ne[rows_m]
        return rows_m[greedy.k_center(vectors_me, first, pool.per_cluster)]

    return _joined([of(rows_m) for rows_m in pool.members if len(rows_m)])


def determinantal(pool: Pool) -> np.ndarray:
    """The same number from every cluster: those that span most, whatever their score.

    Where the chosen ones span the rest of a cluster, the draw by score fills it.
    """

    def of(rows_m: np.ndarray) -> np.ndarray:
        even_m = np.zeros(len(rows_m))
        vectors_me = pool.vectors_ne[rows_m]
        chosen, _ = greedy.determinantal(vectors_me, even_m, pool.per_cluster)
        missing = pool.per_cluster - len(chosen)
        return np.concatenate(
            [rows_m[chosen], pool.best(np.delete(rows_m, chosen), missing)]
        )

    return _joined([of(rows_m) for rows_m in pool.members if len(rows_m)])


def joint(pool: Pool) -> np.ndarray:
    """Score and diversity in one objective, over all clusters of the language.

    The greedy maximum of log det(L) over the rows of all clusters, where L_ij =
    q_i q_j cos_ij within a cluster and 0 between two, and log q = quality / (2 (1 -
    quality)) * score (Chen et al., arXiv 1709.05135, section 4.2). Gains never rise
    within a cluster, so that the highest gains of all clusters' own sequences are it.
    A cluster of good and various pairs gives many, one of poor or like pairs few.
    """
    strength = pool.quality / (2 * (1 - pool.quality))
    total = pool.per_cluster * len(pool.members)
    rows, gains = [], []
    for rows_m in pool.members:
        if len(rows_m):
            log_quality_m = strength * pool.score_n[rows_m]
            vectors_me = pool.vectors_ne[rows_m]
            chosen, gain = greedy.determinantal(vectors_me, log_quality_m, total)
            rows.append(rows_m[chosen])
            gains.append(gain)
    order = np.argsort(-_joined(gains, np.float64), kind="stable")[:total]
    found = _joined(rows)[order]
    left = np.setdiff1d(_joined(pool.members), found)
    return np.concatenate([found, pool.best(left, total - len(found))])


def everything(pool: Pool) -> np.ndarray:
    """All of them: training draws by weight, and nothing is left out beforehand."""
    return _joined(pool.members)


SELECTIONS: Mapping[str, Selection] = {
    "equal": equal,
    "proportional": proportional,
    "k_center": k_center,
    "determinantal": determinantal,
    "joint": joint,
    "weights": everything,
}
"""By the names that `DiversifyConfig.selection` takes."""


def apportioned(sizes: Sequence[int], places: int) -> list[int]:
    """Places by size, by the method of largest remainders; none gets more than it has.

    >>> apportioned([50, 30, 20], 7)
    [4, 2, 1]
    >>> apportioned([2, 1], 9)
    [2, 1]
    """
    total = sum(sizes)
    places = min(places, total)
    if not total:
        return [0] * len(sizes)
    whole = [places * size // total for size in sizes]
    rest = [places * size % total for size in sizes]
    order = sorted(range(len(sizes)), key=lambda one: (-rest[one], one))
    for one in order[: places - sum(whole)]:
        whole[one] += 1
    return whole


def _joined(parts: Sequence[np.ndarray], kind: type = np.int64) -> np.ndarray:
    return np.concatenate([np.zeros(0, kind), *parts]).astype(kind)
