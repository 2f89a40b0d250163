import math

import numpy as np
import pytest
import scipy.stats
from sklearn.linear_model import LogisticRegression

from xinst_jax.eval.statistics import (
    bootstrap_interval,
    length_controlled,
    sign_test,
)
from xinst_jax.eval.win_rate import win_rate


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (9, 3), (3, 9), (40, 41)])
def test_the_sign_test_is_scipys_binomial_test(wins, losses):
    expected = (
        scipy.stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    )
    assert sign_test(wins, losses) == pytest.approx(expected)


def test_the_interval_of_questions_of_their_own_is_scipys_percentile_bootstrap():
    values = np.random.default_rng(1).choice([0.0, 0.5, 1.0], 80, p=[0.3, 0.2, 0.5])
    low, high = bootstrap_interval(values, [str(i) for i in range(80)], 5000)
    expected = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=5000, method="percentile", rng=2
    ).confidence_interval
    assert low == pytest.approx(expected.low, abs=0.02)
    assert high == pytest.approx(expected.high, abs=0.02)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    draw = np.random.default_rng(3)
    hits = 0
    for trial in range(200):
        values = (draw.random(60) < 0.6).astype(float)
        low, high = bootstrap_interval(values, [str(i) for i in range(60)], 200, trial)
        hits += low <= 0.6 <= high
    assert 0.89 < hits / 200 < 0.99


def test_one_question_in_ten_languages_is_no_ten_questions():
    values = np.repeat(np.random.default_rng(4).integers(0, 2, 30), 10).astype(float)
    alone = bootstrap_interval(values, [str(i) for i in range(300)], 4000)
    together = bootstrap_interval(values, [str(i // 10) for i in range(300)], 4000)
    ratio = (together[1] - together[0]) / (alone[1] - alone[0])
    assert ratio == pytest.approx(math.sqrt(10), rel=0.1)


def test_values_that_are_missing_are_left_out_of_the_interval():
    values = np.array([1.0, math.nan, 1.0, math.nan])
    assert bootstrap_interval(values, list("abcd"), 100) == (1.0, 1.0)
    assert math.isnan(bootstrap_interval(values[1:2], ["a"], 100)[0])


def _won(gaps, ability, slope, draw):
    scaled = np.tanh(gaps / gaps.std())
    return (draw.random(len(gaps)) < 1 / (1 + np.exp(-ability - slope * scaled))) * 1.0


def test_the_length_controlled_rate_is_scikit_learns_at_no_gap():
    draw = np.random.default_rng(5)
    gaps = draw.normal(200, 300, 150).round()
    scores = _won(gaps, 0.3, 1.5, draw)
    scores[::7] = 0.5
    scaled = np.tanh(gaps / gaps.std())[:, None]
    model = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(
        np.concatenate([scaled, scaled]),
        np.repeat([1, 0], len(gaps)),
        sample_weight=np.concatenate([scores, 1 - scores]),
    )
    expected = model.predict_proba([[0.0]])[0, 1]
    assert length_controlled(scores, gaps) == pytest.approx(expected, abs=1e-5)


def test_a_judge_that_looks_at_length_alone_is_seen_through():
    draw = np.random.default_rng(6)
    gaps = draw.normal(300, 400, 4000)
    scores = _won(gaps, 0.0, 3.0, draw)
    assert scores.mean() > 0.65
    assert length_controlled(scores, gaps) == pytest.approx(0.5, abs=0.04)


def test_lengths_that_explain_nothing_leave_the_rate_alone():
    assert length_controlled(np.array([1.0, 0.0, 1.0, 1.0]), np.zeros(4)) == 0.75
    assert length_controlled(np.ones(5), np.arange(5.0)) == 1.0
    separated = length_controlled(np.array([0.0, 0.0, 1.0, 1.0]), np.arange(4.0) - 1.5)
    assert separated == pytest.approx(0.5, abs=0.02)
    assert math.isnan(length_controlled(np.zeros(0), np.zeros(0)))


def row(number, forward, backward, outcome, answer="aaaa", opposing="bb", reason=""):
    return {
        "question_set": "s",
        "id": f"q{number}",
        "outcome": outcome,
        "forward": forward,
        "backward": backward,
        "answer": answer,
        "opposing": opposing,
        "forward_reason": "",
        "backward_reason": reason,
    }


def test_the_figures_are_counted_from_the_rows():
    found = win_rate(
        [
            row(1, "win", "win", "win"),
            row(2, "win", "win", "win", opposing="bbbbbb"),
            row(3, "win", "loss", "tie"),
            row(4, "tie", "loss", "tie"),
            row(5, "loss", "loss", "loss"),
            row(6, "win", "unjudged", "unjudged", reason="out_of_range"),
        ],
        resamples=500,
    )
    assert (found.pairs, found.wins, found.ties, found.losses) == (6, 2, 2, 1)
    assert found.unjudged == 1 and found.reasons == {"out_of_range": 1}
    assert found.rate == pytest.approx(3 / 5)
    assert found.lower_bound == pytest.approx(3 / 6)
    assert found.upper_bound == pytest.approx(4 / 6)
    assert found.flips == pytest.approx(1 / 5)
    assert found.disagreements == pytest.approx(2 / 5)
    # Readings with a winner: forward 5 of which 4 ours; backward 5, of which 3 theirs.
    assert found.first_preferred == pytest.approx((4 + 3) / 10)
    assert found.length_gap == pytest.approx((2 * 5 - 2) / 6)
    assert found.longer_preferred == pytest.approx(1 / 3)
    assert found.p_value == 1.0
    assert 0 <= found.low <= found.rate <= found.high <= 1


def test_nothing_judged_is_no_figure_and_no_error():
    found = win_rate([row(1, "unjudged", "unjudged", "unjudged")], 10)
    assert math.isnan(found.rate) and math.isnan(found.low)
    assert (found.lower_bound, found.upper_bound) == (0.0, 1.0)
