"""The rater's figures, held against scikit-learn and against cases known by hand."""

import io

import numpy as np
import pytest
import rich.console
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import calibration, metrics

from xinst_jax.data.prompts import LABELS
from xinst_jax.pipeline import quality


def _rows(labels, langs=None, corruptions=None, pairs=None):
    default = {"bad": "random_instruction", "fair": "cut_response", "good": "none"}
    return [
        {
            "label": label,
            "lang": langs[number] if langs else "fi",
            "corruption": corruptions[number] if corruptions else default[label],
            "pair": str(pairs[number] if pairs else number),
        }
        for number, label in enumerate(labels)
    ]


def _random(seed: int, rows: int = 300):
    rng = np.random.default_rng(seed)
    labels = rng.choice(LABELS, size=rows, p=[0.5, 0.3, 0.2])
    logits_nk = rng.normal(size=(rows, 3))
    logits_nk[np.arange(rows), [LABELS.index(label) for label in labels]] += 1
    odds_nk = np.exp(logits_nk)
    return labels, odds_nk / odds_nk.sum(axis=1, keepdims=True)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 0.25, 0.5, 0.5000001, 1]), st.booleans()),
        min_size=1,
        max_size=40,
    )
)
def test_auc_equals_scikit_learn_also_with_ties(rows):
    score_n = np.array([score for score, _ in rows])
    positive_n = np.array([positive for _, positive in rows])
    found = quality.auc(score_n, positive_n)
    if positive_n.all() or not positive_n.any():
        assert found is None
    else:
        assert found == pytest.approx(metrics.roc_auc_score(positive_n, score_n))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_accuracy_f1_and_confusion_equal_scikit_learn(seed: int):
    labels, probabilities_nk = _random(seed)
    answers = np.array(LABELS)[probabilities_nk.argmax(axis=1)]
    found = quality.measure(probabilities_nk, _rows(labels))
    assert found["all"]["accuracy"] == pytest.approx(np.mean(labels == answers))
    assert found["all"]["macro_f1"] == pytest.approx(
        metrics.f1_score(labels, answers, average="macro")
    )
    assert found["all"]["balanced_accuracy"] == pytest.approx(
        metrics.balanced_accuracy_score(labels, answers)
    )
    for name, score in (
        ("precision", metrics.precision_score),
        ("recall", metrics.recall_score),
    ):
        each = score(labels, answers, labels=LABELS, average=None)
        np.testing.assert_allclose(list(found["all"][name].values()), each)
    np.testing.assert_array_equal(
        found["confusion"], metrics.confusion_matrix(labels, answers, labels=LABELS)
    )
    score_n = probabilities_nk @ [0, 0.5, 1]
    assert found["all"]["auc_good"] == pytest.approx(
        metrics.roc_auc_score(labels == "good", score_n)
    )


def test_each_corruption_of_each_language_equals_scikit_learn():
    labels, probabilities_nk = _random(4, 400)
    rng = np.random.default_rng(4)
    langs = rng.choice(["fi", "sw"], size=400)
    names = {"bad": ["random_instruction", "instruction_echo"]}
    names |= {"fair": ["cut_response"], "good": ["none"]}
    corruptions = np.array([rng.choice(names[label]) for label in labels])
    rows = _rows(labels, list(langs), list(corruptions))
    found = quality.measure(probabilities_nk, rows)
    spoilt_n = labels != "good"
    flagged_n = probabilities_nk.argmax(axis=1) != LABELS.index("good")
    score_n = probabilities_nk @ [0, 0.5, 1]
    for name in ("random_instruction", "instruction_echo", "cut_response"):
        here = (corruptions == name) | ~spoilt_n
        for lang, told in (
            ("fi", found["languages"]["fi"]["corruptions"][name]),
            ("sw", found["languages"]["sw"]["corruptions"][name]),
            (None, found["corruptions"][name]),
        ):
            both = here & (langs == lang) if lang else here
            asked = (spoilt_n[both], flagged_n[both])
            assert told["precision"] == pytest.approx(metrics.precision_score(*asked))
            assert told["recall"] == pytest.approx(metrics.recall_score(*asked))
            assert told["n"] == spoilt_n[both].sum()
            area = metrics.roc_auc_score(~spoilt_n[both], score_n[both])
            assert told["auc_good"] == pytest.approx(area)
    nothing = quality.detection(np.array([True]), np.array([True]))
    assert nothing == {"precision": None, "recall": None}


def test_chance_is_the_commonest_level():
    labels = ["bad"] * 5 + ["fair"] * 3 + ["good"] * 2
    found = quality.measure(np.tile([1.0, 0, 0], (10, 1)), _rows(labels))["all"]
    assert found["n"] == 10
    assert found["accuracy"] == found["chance"] == 0.5
    assert found["balanced_accuracy"] == pytest.approx(1 / 3)
    assert found["auc_good"] == 0.5
    assert found["above_chance"] is False


def test_a_coin_is_not_above_chance_and_a_rater_is():
    labels, probabilities_nk = _random(5)
    assert quality.measure(probabilities_nk, _rows(labels))["all"]["above_chance"]
    shuffled_nk = np.random.default_rng(0).permutation(probabilities_nk)
    guess = quality.measure(shuffled_nk, _rows(labels))["all"]
    assert not guess["above_chance"]
    assert abs(guess["auc_good"] - 0.5) < 0.1


def test_guessing_is_called_above_chance_one_time_in_twenty():
    rng = np.random.default_rng(7)
    rows = _rows(["bad", "fair", "good"] * 30)
    verdicts = [
        quality.measure(rng.dirichlet(np.ones(3), size=90), rows)["all"]["above_chance"]
        for _ in range(600)
    ]
    assert 0.02 < np.mean(verdicts) < 0.09


def test_below_chance_is_not_above():
    labels = ["good"] * 20 + ["bad"] * 20
    wrong_nk = np.array([[1.0, 0, 0]] * 20 + [[0, 0, 1.0]] * 20)
    found = quality.measure(wrong_nk, _rows(labels))["all"]
    assert (found["auc_good"], found["above_chance"]) == (0, False)


def test_each_corruption_and_language_is_measured_by_itself():
    labels = ["good"] * 20 + ["bad"] * 20 + ["fair"] * 20
    corruptions = ["none"] * 20 + ["echo"] * 20 + ["generic"] * 20
    langs = ["fi", "sw"] * 30
    # Echoes are found, generic instructions are all taken for good.
    probabilities_nk = np.array([[0, 0.1, 0.9]] * 20 + [[0.8, 0.1, 0.1]] * 20)
    probabilities_nk = np.vstack([probabilities_nk, [[0, 0.1, 0.9]] * 20])
    pairs = [*range(20)] * 3
    rows = _rows(labels, langs, corruptions, pairs)
    found = quality.measure(probabilities_nk, rows)
    assert list(found["corruptions"]) == ["echo", "generic"]
    echo, generic = found["corruptions"].values()
    assert (echo["n"], echo["label"], echo["accuracy"]) == (20, "bad", 1.0)
    assert (echo["auc_good"], echo["above_chance"]) == (1.0, True)
    assert (generic["accuracy"], generic["above_chance"]) == (0.0, False)
    assert generic["auc_good"] == 0.5
    assert generic["mean_score"] == pytest.approx(0.95)
    assert {lang: each["n"] for lang, each in found["languages"].items()} == {
        "fi": 30,
        "sw": 30,
    }


def test_a_pair_is_compared_with_itself_spoilt():
    """Between pairs the scores overlap; each is above its own spoilt one by little."""
    rng = np.random.default_rng(0)
    good_n = rng.uniform(0.2, 0.8, size=200)
    spoilt_n = good_n - 0.01
    score_n = np.r_[good_n, rng.permutation(spoilt_n), spoilt_n]
    probabilities_nk = np.stack([1 - score_n, np.zeros(600), score_n], axis=1)
    labels = ["good"] * 200 + ["bad"] * 200 + ["fair"] * 200
    corruptions = ["none"] * 200 + ["mixed"] * 200 + ["own"] * 200
    rows = _rows(labels, None, corruptions, [*range(200)] * 3)
    found = quality.measure(probabilities_nk, rows)["corruptions"]
    assert found["own"]["preferred"] == 1
    assert found["own"]["above_chance"] is True
    assert found["own"]["auc_good"] == pytest.approx(found["mixed"]["auc_good"])
    assert 0.4 < found["mixed"]["preferred"] < 0.6
    assert found["mixed"]["above_chance"] is False


def test_reliability_equals_scikit_learns_calibration_curve():
    """Where the levels are as many, so that weights change nothing."""
    rng = np.random.default_rng(3)
    labels = ["bad"] * 400 + ["fair"] * 400 + ["good"] * 400
    found_nk = rng.dirichlet(np.ones(3), size=1200)
    rows = quality.measure(found_nk, _rows(labels))["reliability"]
    good_n = np.array(labels) == "good"
    share, predicted = calibration.calibration_curve(good_n, found_nk[:, 2], n_bins=10)
    np.testing.assert_allclose([row["good"] for row in rows], share)
    np.testing.assert_allclose([row["predicted"] for row in rows], predicted)
    assert sum(row["n"] for row in rows) == 1200


def test_reliability_weighs_the_levels_alike():
    truth_n = np.array([0] * 80 + [1] * 15 + [2] * 5)
    (row,) = quality.reliability(np.full(100, 1 / 3), truth_n)
    assert row["good"] == pytest.approx(1 / 3)


def test_ties_count_by_half_and_decide_nothing():
    assert quality.preference(np.array([0.9, 0.5, 0.5]), np.array([0.1, 0.5, 0.7])) == (
        0.5
    )
    assert quality.preference(np.zeros(0), np.zeros(0)) is None
    labels = ["good"] * 9 + ["bad"] * 9
    rows = _rows(labels, None, ["none"] * 9 + ["way"] * 9, [*range(9)] * 2)
    flat = quality.measure(np.full((18, 3), 1 / 3), rows)["corruptions"]["way"]
    assert (flat["preferred"], flat["above_chance"]) == (0.5, False)


def _printed(table) -> str:
    out = io.StringIO()
    rich.console.Console(file=out, width=120).print(table)
    return out.getvalue()


def test_the_table_shows_chance_and_says_when_the_rater_is_no_better():
    labels, probabilities_nk = _random(5)
    rows = _rows(labels, ["fi" if number % 2 else "sw" for number in range(300)])
    text = _printed(quality.table(quality.measure(probabilities_nk, rows), "Rater"))
    for part in ("Rater", "chance", "all", "fi", "sw", "bad: random instruction"):
        assert part in text
    assert " no " not in text
    rng = np.random.default_rng(3)
    guess = quality.measure(rng.permutation(probabilities_nk), rows)
    assert " no " in _printed(quality.table(guess, "Rater"))


def test_no_word_of_the_table_is_cut_off_in_a_narrow_terminal():
    labels, probabilities_nk = _random(5)
    measured = quality.measure(probabilities_nk, _rows(labels))
    out = io.StringIO()
    shown = quality.table(measured, "Rater")
    rich.console.Console(file=out, width=80).print(shown)
    assert "…" not in out.getvalue()


def test_no_held_out_pairs_are_said_to_be_too_few():
    found = quality.measure(np.zeros((0, 3)), [])
    assert found["all"]["n"] == 0
    assert found["all"]["accuracy"] is None
    assert "too few pairs" in _printed(quality.table(found, "Rater"))
    one = quality.measure(np.array([[0, 0, 1.0]]), _rows(["good"]))
    assert one["all"]["accuracy"] == 1
    assert one["all"]["above_chance"] is None
