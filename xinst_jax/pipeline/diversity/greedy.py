"""Greedy choice of a diverse part of a set of vectors.

Both rules compare every vector with every chosen one, so they are for the thousands of
a cluster, not for the millions of a language.
"""

import numpy as np

_LEAST_VOLUME = 1e-6
"""Squared distance from the span of the chosen below which a vector adds nothing:
float32's rounding, and more."""


def k_center(vectors_me: np.ndarray, first: int, count: int) -> np.ndarray:
    """Rows chosen one by one, each the farthest from those chosen before it.

    The largest distance from any vector to its nearest chosen one is at most twice the
    least that is possible (Gonzalez, Theoretical Computer Science 38, 1985; as
    selection of training data: Sener and Savarese, arXiv 1708.00489). That holds for
    the Euclidean distance, which orders unit vectors as the cosine does.

    Example: unit vectors at 0, 10, 90 and 180 degrees, first 0, three of them: 0, then
    the one at 180, then the one at 90 degrees.

    Args:
      vectors_me: unit vectors.
      first: the row chosen first.
      count: how many; all of them if there are fewer.

    Returns:
      Rows (count,), in the order in which they were chosen.
    """
    chosen = [first]
    farness_m = 1 - vectors_me @ vectors_me[first]
    farness_m[first] = -np.inf
    while len(chosen) < min(count, len(vectors_me)):
        row = int(farness_m.argmax())
        chosen.append(row)
        np.minimum(farness_m, 1 - vectors_me @ vectors_me[row], out=farness_m)
        farness_m[row] = -np.inf
    return np.array(chosen)


def determinantal(
    vectors_me: np.ndarray, log_quality_m: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows chosen one by one, each of which raises the log determinant most.

    It is the greedy maximum a posteriori of a determinantal point process with the
    kernel L_ij = q_i q_j cos_ij (Kulesza and Taskar, arXiv 1207.6083), by the updates
    of Chen, Zhang and Zhou, arXiv 1709.05135, algorithm 1: O(M count^2) and no M x M
    matrix. What a row gains, log q_i^2 plus the log of its squared distance from the
    span of those chosen, never rises from one choice to the next.

    Args:
      vectors_me: unit vectors.
      log_quality_m: log q of each.
      count: how many at most.

    Returns:
      Rows in the order in which they were chosen, and the gain of each; fewer than
      `count` where the chosen ones span all the others.
    """
    vectors_me = vectors_me.astype(np.float64)
    volume_m = np.ones(len(vectors_me))
    factors_tm = np.zeros((min(count, *vectors_me.shape), len(vectors_me)))
    chosen: list[int] = []
    gains: list[float] = []
    for turn in range(len(factors_tm)):
        open_m = volume_m > _LEAST_VOLUME
        if not open_m.any():
            break
        log_m = np.log(volume_m, out=np.full(len(volume_m), -np.inf), where=open_m)
        gain_m = 2 * log_quality_m + log_m
        row = int(gain_m.argmax())
        chosen.append(row)
        gains.append(float(gain_m[row]))
        before_t = factors_tm[:turn, row]
        cosine_m = vectors_me @ vectors_me[row]
        factor_m = (cosine_m - before_t @ factors_tm[:turn]) / np.sqrt(volume_m[row])
        factors_tm[turn] = factor_m
        volume_m = volume_m - factor_m**2
        volume_m[row] = 0.0
    return np.array(chosen, np.int64), np.array(gains)
