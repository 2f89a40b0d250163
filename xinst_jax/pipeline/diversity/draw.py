"""The draw from a language's clusters: near-duplicates go, the rest by a named rule."""

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xinst_jax.config import DiversifyConfig
from xinst_jax.pipeline.diversity import verb_cap
from xinst_jax.pipeline.diversity.selection import SELECTIONS, Pool

_LOWEST_SCORE = 1e-6

BY_WEIGHT = "weights"
"""The selection that leaves nothing out."""


@dataclasses.dataclass(frozen=True)
class Drawn:
    """What became of each pair of a language.

    Attributes:
      duplicate_n: whether a better-scored pair of its cluster asks the same.
      over_n: whether it gave way because its root verb was drawn too often.
      selected_n: whether it is drawn.
      weight_n: float32 weight in training; see `even_weights`.
    """

    duplicate_n: np.ndarray
    over_n: np.ndarray
    selected_n: np.ndarray
    weight_n: np.ndarray


def draw(
    pairs: Sequence[Mapping[str, Any]],
    vectors_ne: np.ndarray,
    cluster_n: np.ndarray,
    verb_n: Sequence[str | None],
    config: DiversifyConfig,
    seed: str,
) -> Drawn:
    """Draws from the clusters of a language.

    Args:
      pairs: rows with `id` and `score`.
      vectors_ne: the unit vectors of their instructions.
      cluster_n: the cluster of each, numbered without a gap.
      verb_n: the root verb of each; None where there is none.
      config: how.
      seed: any text; the draw depends on it and on ids, not on the pairs' order.
    """
    score_n = np.array([pair["score"] for pair in pairs], np.float64)
    priority_n = np.array(
        [priority(seed, pair["id"], pair["score"]) for pair in pairs], np.float64
    )
    duplicate_n = np.zeros(len(pairs), bool)
    members = members_of(cluster_n)
    for members_m in members:
        duplicate_n[members_m] = near_duplicates(
            vectors_ne[members_m], score_n[members_m], config.near_duplicate_cosine
        )
    pool = Pool(
        members, vectors_ne, score_n, priority_n, config.per_cluster, config.quality
    ).without(duplicate_n)
    select = SELECTIONS[config.selection]
    if config.selection == BY_WEIGHT:
        weight_n = even_weights(cluster_n, ~duplicate_n, score_n)
        weight_n = verb_cap.capped_weights(weight_n, verb_n, config.verb_share)
        return Drawn(duplicate_n, np.zeros(len(pairs), bool), ~duplicate_n, weight_n)
    selected_n, over_n = verb_cap.draw(pool, select, verb_n, config.verb_share)
    return Drawn(duplicate_n, over_n, selected_n, even_weights(cluster_n, selected_n))


def near_duplicates(
    vectors_me: np.ndarray, score_m: np.ndarray, threshold: float
) -> np.ndarray:
    """Which vectors lie too near to a better-scored one that stays.

    Example: three vectors in a row with cosines 0.96 between neighbours and 0.85
    between the outer two, threshold 0.95. If the middle one scores best, both others
    go; if it scores worst, it alone goes.

    Args:
      vectors_me: unit vectors of a cluster.
      score_m: their scores; of equal scores the first stays.
      threshold: cosine from which two are the same.
    """
    order_m = np.argsort(-score_m, kind="stable")
    ordered_me = vectors_me[order_m]
    goes_m = np.zeros(len(score_m), bool)
    for place in range(len(order_m)):
        if not goes_m[place]:
            worse_me = ordered_me[place + 1 :]
            goes_m[place + 1 :] |= worse_me @ ordered_me[place] >= threshold
    duplicate_m = np.zeros(len(score_m), bool)
    duplicate_m[order_m] = goes_m
    return duplicate_m


def priority(seed: str, name: str, score: float) -> float:
    """A pair's place in the draw: the highest of a cluster are drawn.

    The log score plus Gumbel noise that only seed and id decide, so that the highest k
    are k draws without replacement, each in proportion to score (Kool et al., arXiv
    1903.06059, section 2.3).
    """
    digest = hashlib.sha256(f"{seed}/{name}".encode("utf-8", "replace")).digest()
    uniform = ((int.from_bytes(digest[:8], "big") >> 12) + 0.5) / 2**52
    return math.log(max(score, _LOWEST_SCORE)) - math.log(-math.log(uniform))


def even_weights(
    cluster_n: np.ndarray, selected_n: np.ndarray, score_n: np.ndarray | None = None
) -> np.ndarray:
    """Weights by which every cluster counts the same and the mean is 1.

    Example: clusters 0 0 0 1, all selected, give 2/3 2/3 2/3 2; with scores 1 1 2 1
    they give 1/2 1/2 1 2. What is not selected weighs 0.

    Args:
      cluster_n: clusters.
      selected_n: whether each row is drawn.
      score_n: scores by which a cluster's weight is divided among its rows; None
        divides it evenly.
    """
    value_n = np.ones(len(cluster_n)) if score_n is None else score_n
    value_n = selected_n * np.maximum(value_n, _LOWEST_SCORE)
    value_c = np.bincount(cluster_n, weights=value_n)
    share_n = value_n / np.where(value_c > 0, value_c, 1)[cluster_n]
    total = selected_n.sum() / max(1, np.count_nonzero(value_c))
    return (share_n * total).astype(np.float32)


def members_of(cluster_n: np.ndarray) -> list[np.ndarray]:
    """The rows of each cluster, ascending."""
    order_n = np.argsort(cluster_n, kind="stable")
    ends_c = np.cumsum(np.bincount(cluster_n))
    return np.split(order_n, ends_c[:-1]) if len(cluster_n) else []
