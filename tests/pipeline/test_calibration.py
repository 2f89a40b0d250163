"""Calibration, held against scikit-learn's regression and cases known by hand."""

import numpy as np
import pytest
from sklearn import linear_model, metrics

from xinst_jax.data.prompts import LABELS
from xinst_jax.pipeline import calibration
from xinst_jax.pipeline.calibration import Calibration
from xinst_jax.pipeline.quality import WEIGHTS


def _drawn(rows: int, slope: float, gain: float, seed: int = 0):
    """Log-probabilities, PMI and levels drawn from a calibration that is known."""
    rng = np.random.default_rng(seed)
    logprobs_nk = np.log(rng.dirichlet(np.full(3, 0.7), size=rows))
    pmi_n = rng.normal(0.3, 0.1, size=rows)
    truth = Calibration(slope, gain, (0.4, -0.2, 0.0), 0.3, 0.1)
    odds_nk = truth(logprobs_nk, pmi_n)
    level_n = (rng.random((rows, 1)) > odds_nk.cumsum(axis=1)).sum(axis=1)
    return logprobs_nk, pmi_n, np.array(LABELS)[level_n], odds_nk


def test_what_changes_nothing_normalises_the_labels_among_themselves():
    logprobs_nk = np.log([[0.1, 0.2, 0.1], [1e-30, 1e-30, 1e-28]])
    found_nk = Calibration()(logprobs_nk, None)
    np.testing.assert_allclose(found_nk[0], [0.25, 0.5, 0.25])
    np.testing.assert_allclose(found_nk[1], [1 / 102, 1 / 102, 100 / 102])
    np.testing.assert_array_equal(found_nk, Calibration()(logprobs_nk, np.ones(2)))


def test_the_numbers_that_levels_were_drawn_with_are_found_again():
    logprobs_nk, pmi_n, labels, _ = _drawn(20_000, slope=0.6, gain=2.0)
    found = calibration.fit(logprobs_nk, pmi_n, labels.tolist())
    assert found.slope == pytest.approx(0.6, abs=0.03)
    assert found.gain == pytest.approx(2.0, abs=0.1)
    assert found.pmi_mean == pytest.approx(0.3, abs=0.01)


def test_two_levels_without_pmi_equal_scikit_learns_balanced_regression():
    """With bad against good alone it is an ordinary logistic regression."""
    logprobs_nk, _, labels, _ = _drawn(5_000, slope=0.5, gain=0.0)
    here = labels != "fair"
    logprobs_nk, labels = logprobs_nk[here].copy(), labels[here]
    logprobs_nk[:, 1] = -1e3
    found = calibration.fit(logprobs_nk, None, labels.tolist())
    odds_n = (logprobs_nk[:, 2] - logprobs_nk[:, 0])[:, None]
    other = linear_model.LogisticRegression(class_weight="balanced", C=1e6)
    other.fit(odds_n, labels)
    assert found.slope == pytest.approx(other.coef_[0, 0], rel=5e-3)
    assert -found.offsets[0] == pytest.approx(other.intercept_[0], abs=5e-3)


def test_probabilities_become_honest():
    """Of the pairs called good with 70%, 70% are good, which was not so before."""
    logprobs_nk, pmi_n, labels, truth_nk = _drawn(20_000, slope=0.4, gain=1.0)
    pairs = [str(row) for row in range(len(labels))]
    found_nk = calibration.cross_fitted(logprobs_nk, pmi_n, labels.tolist(), pairs)
    weights = {label: 1 / np.mean(labels == label) for label in LABELS}
    balanced_nk = truth_nk * [weights[label] for label in LABELS]
    balanced_nk /= balanced_nk.sum(axis=1, keepdims=True)
    assert np.abs(found_nk - balanced_nk).mean() < 0.01
    before_nk = Calibration()(logprobs_nk, None)
    good = labels == "good"
    assert metrics.brier_score_loss(good, found_nk[:, 2]) < metrics.brier_score_loss(
        good, before_nk[:, 2]
    )


def test_a_handful_of_pairs_moves_little_and_none_moves_nothing():
    logprobs_nk, pmi_n, labels, _ = _drawn(6, slope=0.1, gain=5.0)
    few = calibration.fit(logprobs_nk, pmi_n, labels.tolist())
    many = calibration.fit(*_drawn(3_000, slope=0.1, gain=5.0)[:3])
    assert abs(few.gain) < many.gain / 2
    none = calibration.fit(np.zeros((0, 3)), np.zeros(0), [])
    assert none == Calibration()


def test_levels_weigh_alike_however_many_rows_each_has():
    """Without a signal all three levels are as likely, whatever the held-out mix."""
    labels = ["bad"] * 80 + ["fair"] * 15 + ["good"] * 5
    found = calibration.fit(np.zeros((100, 3)), None, labels)
    np.testing.assert_allclose(found(np.zeros((1, 3)), None), 1 / 3, atol=1e-3)


def test_a_pair_is_measured_by_a_fit_that_did_not_see_it():
    """Turning a pair's level over changes what others get, and nothing of its own."""
    logprobs_nk, pmi_n, labels, _ = _drawn(60, slope=0.5, gain=1.0)
    pairs = [str(row // 3) for row in range(60)]
    turned = labels.copy()
    turned[:3] = [LABELS[(LABELS.index(label) + 1) % 3] for label in labels[:3]]
    before_nk, after_nk = (
        calibration.cross_fitted(logprobs_nk, pmi_n, each.tolist(), pairs)
        for each in (labels, turned)
    )
    np.testing.assert_array_equal(before_nk[:3], after_nk[:3])
    assert np.abs(before_nk[3:] - after_nk[3:]).max() > 1e-4
    assert (before_nk @ WEIGHTS).max() <= 1
