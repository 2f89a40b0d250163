"""From two signals to one score: what the rater says, and what the pair itself says.

The rater's log-probabilities are trained to be right on average, not to be honest about
how sure they are; and a rater that was trained on labels alone is weakest where
instruction and response have to be held against each other. How much the instruction
helps a language model to predict the response, their pointwise mutual information
(PMI), says just that, and owes nothing to the labels. Both go into a multinomial
logistic regression over the levels, fitted on held-out pairs of known level:

    logits_k = slope * log p_k + level_k * gain * z(PMI) + offset_k

with level_k = 0, 1/2, 1 for bad, fair, good, and z(PMI) the PMI in standard deviations.
With the PMI left out and no offsets, it is temperature scaling (Guo et al., 2017,
arXiv 1706.04599), temperature 1 / slope. The related ratio of a response's losses with
and without its instruction is Li et al.'s instruction-following difficulty (2024,
arXiv 2308.12032).
"""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np
import scipy.optimize
import scipy.special

from xinst_jax.data.prompts import LABELS
from xinst_jax.pipeline.quality import WEIGHTS

FOLDS = 5
"""Parts of the held-out pairs; each is measured with what the others gave."""


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The regression's numbers; the default changes nothing.

    Attributes:
      slope: of the rater's log-probabilities; 1 / temperature.
      gain: of the PMI, per standard deviation.
      offsets: one for each level, the last one 0.
      pmi_mean: nats per token of the response.
      pmi_spread: standard deviation, nats per token.
    """

    slope: float = 1.0
    gain: float = 0.0
    offsets: tuple[float, ...] = (0.0,) * len(LABELS)
    pmi_mean: float = 0.0
    pmi_spread: float = 1.0

    def __call__(self, logprobs_nk: np.ndarray, pmi_n: np.ndarray | None) -> np.ndarray:
        """The levels' probabilities, from both signals.

            Calibration()(np.log([[0.1, 0.2, 0.1]]), None)   # [[0.25, 0.5, 0.25]]

        Args:
          logprobs_nk: (rows, levels), the rater's natural logarithms, over the whole
            vocabulary or among themselves.
          pmi_n: (rows,) nats per token; None where it was not asked for.

        Returns:
          (rows, levels) float64, each row summing to 1.
        """
        return scipy.special.softmax(self._logits(logprobs_nk, pmi_n), axis=1)

    def _logits(self, logprobs_nk: np.ndarray, pmi_n: np.ndarray | None) -> np.ndarray:
        logits_nk = self.slope * _among_themselves(logprobs_nk) + self.offsets
        if pmi_n is not None:
            z_n = (pmi_n - self.pmi_mean) / self.pmi_spread
            logits_nk = logits_nk + self.gain * z_n[:, None] * WEIGHTS
        return logits_nk


def fit(
    logprobs_nk: np.ndarray, pmi_n: np.ndarray | None, labels: Sequence[str]
) -> Calibration:
    """The calibration that makes held-out levels likeliest, each level weighing alike.

    Each number has a normal prior of unit width around what changes nothing, so that
    a handful of pairs moves it little.

    Args:
      logprobs_nk: (rows, levels), the rater's natural logarithms.
      pmi_n: (rows,) nats per token, or None.
      labels: the levels of the rows, of `LABELS`.

    Returns:
      The calibration; the one that changes nothing where there are no rows.
    """
    truth_n = np.array([LABELS.index(label) for label in labels], np.int64)
    if not len(truth_n):
        return Calibration()
    rows_k = np.bincount(truth_n, minlength=len(LABELS))
    weight_n = len(truth_n) / np.count_nonzero(rows_k) / rows_k[truth_n]
    own_nk = _among_themselves(logprobs_nk)
    mean, spread = 0.0, 1.0
    if pmi_n is not None:
        mean, spread = float(pmi_n.mean()), float(pmi_n.std()) or 1.0
    z_n = np.zeros(len(truth_n)) if pmi_n is None else (pmi_n - mean) / spread
    hit_nk = np.eye(len(LABELS))[truth_n]
    start = np.array([1.0, 0.0, *[0.0] * (len(LABELS) - 1)])

    def loss(numbers: np.ndarray) -> tuple[float, np.ndarray]:
        slope, gain, *offsets = numbers
        logits_nk = slope * own_nk + gain * z_n[:, None] * WEIGHTS + [*offsets, 0.0]
        logs_nk = scipy.special.log_softmax(logits_nk, axis=1)
        away_nk = (np.exp(logs_nk) - hit_nk) * weight_n[:, None]
        gradient = [(away_nk * own_nk).sum(), (away_nk @ WEIGHTS) @ z_n]
        gradient += away_nk.sum(axis=0)[:-1].tolist()
        moved = numbers - start
        value = -(weight_n * logs_nk[np.arange(len(truth_n)), truth_n]).sum()
        return float(value + moved @ moved / 2), np.array(gradient) + moved

    found = scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B")
    slope, gain, *offsets = (float(number) for number in found.x)
    return Calibration(slope, gain, (*offsets, 0.0), mean, spread)


def cross_fitted(
    logprobs_nk: np.ndarray,
    pmi_n: np.ndarray | None,
    labels: Sequence[str],
    pairs: Sequence[str],
) -> np.ndarray:
    """Calibrated probabilities of held-out rows, none from a fit that saw its pair.

    Args:
      logprobs_nk: (rows, levels), the rater's natural logarithms.
      pmi_n: (rows,) nats per token, or None.
      labels: the levels of the rows.
      pairs: the pair that each row was made of; its rows are in one fold, by a digest.

    Returns:
      (rows, levels) float64.
    """
    fold_n = np.array(
        [hashlib.sha256(pair.encode()).digest()[0] % FOLDS for pair in pairs], np.int64
    )
    found_nk = np.zeros(logprobs_nk.shape)
    for fold in np.unique(fold_n):
        here, there = fold_n == fold, fold_n != fold
        calibration = fit(
            logprobs_nk[there],
            None if pmi_n is None else pmi_n[there],
            [label for label, seen in zip(labels, there, strict=True) if seen],
        )
        found_nk[here] = calibration(
            logprobs_nk[here], None if pmi_n is None else pmi_n[here]
        )
    return found_nk


def _among_themselves(logprobs_nk: np.ndarray) -> np.ndarray:
    """The labels' log-probabilities, normalised among themselves, float64."""
    return scipy.special.log_softmax(np.asarray(logprobs_nk, np.float64), axis=1)
