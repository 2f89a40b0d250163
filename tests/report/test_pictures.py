import warnings

import numpy as np
import pytest

from xinst_jax.report import pictures
from xinst_jax.report.collect import Curve
from xinst_jax.report.counts import Step


def step(title, **rows):
    return Step(title, "corpus", rows, {})


def drawn():
    random = np.random.default_rng(0)
    curve = Curve("base", np.arange(5), np.arange(5.0), np.arange(2), np.ones(2), None)
    return {
        "flow": lambda: pictures.flow(
            [step("Read", fi=10, ur=0), step("Kept", fi=4, ur=0)],
            {"fi": "Finnish", "ur": "Urdu"},
        ),
        "losses": lambda: pictures.losses("rater", [curve, curve]),
        "scores": lambda: pictures.score_histogram(
            random.uniform(size=9), np.arange(9) > 4, "round 1"
        ),
        "reliability": lambda: pictures.reliability(
            {1: [{"n": 3, "predicted": 0.2, "good": 0.1}], 2: []}
        ),
        "lengths": lambda: pictures.lengths(np.array([5]), np.array([7, 9])),
        "clusters": lambda: pictures.cluster_map(
            random.normal(size=(9, 2)), np.arange(9), np.arange(9) % 2 == 0
        ),
        "verbs": lambda: pictures.verb_nouns(
            [("write", 3, [("ข้าว<b>", 2), ("$x", 1)])]
        ),
    }


@pytest.mark.parametrize("name", list(drawn()))
def test_a_picture_repeats_and_warns_of_nothing(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = drawn()[name]()
    assert first == drawn()[name]()
    assert first.startswith("<svg viewBox=")
    assert first.rstrip().endswith("</svg>")


def test_words_in_a_picture_are_escaped_and_not_taken_for_formulas():
    svg = drawn()["verbs"]()
    assert "ข้าว&lt;b&gt;" in svg
    assert "$x" in svg


def test_bands_are_as_thick_as_their_rows():
    tops = pictures._along(np.array([10.0, 4.0]), np.array([0, 0.5, 1.0]))
    np.testing.assert_allclose(tops, [10, 7, 4])


def test_a_step_without_any_row_is_drawn():
    assert "<svg" in pictures.flow([step("Read", fi=0)], {"fi": "Finnish"})


def test_labels_are_moved_apart_downwards():
    moved = pictures._apart(np.array([1.0, 0.95, 0.2]), 0.3)
    np.testing.assert_allclose(moved, [1.0, 0.7, 0.2])
