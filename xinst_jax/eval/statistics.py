"""How sure a figure is: intervals, a test, and what length alone explains."""

import math
from collections.abc import Callable, Sequence

import numpy as np

_LENGTH_PENALTY = 1.0
_STEPS = 50
_CHUNK = 1000


def bootstrap_interval(
    values_n: np.ndarray,
    groups_n: Sequence[str],
    resamples: int,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of a mean, by resampling groups with replacement.

    What shares a group (the same question in several languages) is drawn together, as
    it is not independent; with a group for each value this is the plain bootstrap. A
    value is a difference or a verdict within a pair, so that the bootstrap is paired.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.

    Args:
      values_n: float values, NaN where there is none.
      groups_n: each value's group.
      resamples: how many.
      seed: of the draws.
      level: the interval's.

    Returns:
      Its ends; (nan, nan) where there is no value.
    """
    there = ~np.isnan(values_n)
    if not there.any():
        return math.nan, math.nan
    names, codes_n = np.unique(np.asarray(groups_n)[there], return_inverse=True)
    sums_g = np.bincount(codes_n, weights=values_n[there], minlength=len(names))
    counts_g = np.bincount(codes_n, minlength=len(names)).astype(float)
    draw = np.random.default_rng(seed)
    means = []
    for start in range(0, resamples, _CHUNK):
        rows = min(_CHUNK, resamples - start)
        drawn = draw.integers(0, len(names), (rows, len(names)))
        means.append(sums_g[drawn].sum(axis=1) / counts_g[drawn].sum(axis=1))
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def sign_test(wins: int, losses: int) -> float:
    """Two-sided exact p-value that wins and losses are equally likely; ties left out.

    >>> sign_test(5, 0)
    0.0625
    """
    n, fewer = wins + losses, min(wins, losses)
    if not n:
        return 1.0
    tail = sum(math.comb(n, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / 2**n)


def length_controlled(scores_n: np.ndarray, gaps_n: np.ndarray) -> float:
    """The win rate that a logistic model predicts for answers of equal length.

    logit P(win) = a + b tanh(gap / sd(gap)), fitted to the scores by maximum
    likelihood with a Gaussian penalty of 1/2 b**2; the figure is P(win) at gap 0.
    After the model of Dubois et al., Length-Controlled AlpacaEval (arXiv 2404.04475),
    without its term for an instruction's difficulty, which takes many models to fit.

    Args:
      scores_n: 1 for a win, 0.5 a tie, 0 a loss.
      gaps_n: length of our answer less that of the opponent's, any unit.

    Returns:
      A share in [0, 1]; NaN where there is no score. Where the gaps do not vary, or
      all are won or all lost, that is the plain win rate.
    """
    if not len(scores_n):
        return math.nan
    mean, spread = float(scores_n.mean()), float(gaps_n.std())
    if spread == 0 or mean in (0.0, 1.0):
        return mean
    features_n2 = np.stack([np.ones(len(gaps_n)), np.tanh(gaps_n / spread)], axis=1)
    penalty_2 = np.array([0.0, _LENGTH_PENALTY])
    weights_2 = np.array([math.log(mean / (1 - mean)), 0.0])

    def loss(at_2: np.ndarray) -> float:
        logits_n = features_n2 @ at_2
        fit = np.logaddexp(0, logits_n) - scores_n * logits_n
        return float(fit.sum() + 0.5 * (penalty_2 * at_2**2).sum())

    return _sigmoid(_newton(loss, features_n2, scores_n, penalty_2, weights_2)[0])


def _newton(
    loss: Callable[[np.ndarray], float],
    features_n2: np.ndarray,
    scores_n: np.ndarray,
    penalty_2: np.ndarray,
    weights_2: np.ndarray,
) -> np.ndarray:
    """The minimum of a convex logistic loss, by Newton steps halved until they help."""
    for _ in range(_STEPS):
        p_n = 1 / (1 + np.exp(-(features_n2 @ weights_2)))
        gradient_2 = features_n2.T @ (p_n - scores_n) + penalty_2 * weights_2
        curvature_22 = (features_n2.T * (p_n * (1 - p_n))) @ features_n2
        curvature_22 += np.diag(penalty_2 + 1e-9)
        step_2, here = np.linalg.solve(curvature_22, gradient_2), loss(weights_2)
        while loss(weights_2 - step_2) > here and np.abs(step_2).max() > 1e-12:
            step_2 = step_2 / 2
        weights_2 = weights_2 - step_2
        if np.abs(step_2).max() < 1e-10:
            break
    return weights_2


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))
