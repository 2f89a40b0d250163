import itertools

import numpy as np
import pytest

from xinst_jax.config import judging
from xinst_jax.eval import judge_prompts, verdicts
from xinst_jax.eval.verdicts import Reading, outcome, read_letter, read_scores

FIRST, SECOND, TIE = (
    Reading(7.0, 5.0, "first"),
    Reading(4.0, 9.0, "second"),
    Reading(6.0, 6.0, "tie"),
)


@pytest.mark.parametrize(
    ("text", "scores"),
    [
        ("<score1>7</score1>\n<score2>10</score2>", (7, 10)),
        ("Well: <score1> 0 </score1>, and then <SCORE2>3</SCORE2>. Done.", (0, 3)),
        ("<score1>7</score1><score2>3</score2> So <score1>7</score1>.", (7, 3)),
        ("<score1>\n8\n</score1><score2>8</score2>", (8, 8)),
    ],
)
def test_scores_are_read_wherever_they_stand(text, scores):
    reading = read_scores(text)
    assert (reading.first, reading.second) == scores
    expected = {-1: "second", 0: "tie", 1: "first"}[int(np.sign(scores[0] - scores[1]))]
    assert (reading.winner, reading.reason) == (expected, "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("7 8", "no_score"),
        ("<score1>7</score1>", "no_score"),
        ("<score1>7</score1><score2>8", "no_score"),
        ("<score1>7</score1><score1>8</score1><score2>1</score2>", "ambiguous"),
        ("<score1>7.5</score1><score2>8</score2>", "not_an_integer"),
        ("<score1>7/10</score1><score2>8/10</score2>", "not_an_integer"),
        ("<score1>৭</score1><score2>8</score2>", "not_an_integer"),
        ("<score1>11</score1><score2>8</score2>", "out_of_range"),
        ("<score1>5</score1><score2>-1</score2>", "out_of_range"),
    ],
)
def test_what_is_not_one_score_for_each_is_not_guessed_at(text, reason):
    assert read_scores(text) == Reading(reason=reason)


@pytest.mark.parametrize(
    ("text", "winner", "reason"),
    [
        ("[[A]]", "first", ""),
        ("The second one. [[b]]", "second", ""),
        ("[[ C ]] because both fail", "tie", ""),
        ("[[A]] ... on reflection [[B]]", "", "ambiguous"),
        ("[[D]]", "", "out_of_range"),
        ("A", "", "no_verdict"),
        ("", "", "empty"),
    ],
)
def test_three_way_verdicts(text, winner, reason):
    reading = read_letter(text)
    assert (reading.winner, reading.reason) == (winner, reason)


def test_labels_are_read_by_their_probabilities_given_one_of_them():
    p = np.random.default_rng(0).dirichlet([1, 1, 1, 7], 50)[:, :3]
    for row in p:
        reading = verdicts.read_logprobs(np.log(row).tolist())
        a, _, c = row / row.sum()
        assert reading.first == pytest.approx(a + c / 2, abs=1e-5)
        assert reading.first + reading.second == pytest.approx(1, abs=1e-5)
        assert reading.winner == ("first", "second", "tie")[int(row.argmax())]
    far = verdicts.read_logprobs([-4000.0, -4001.0, -4010.0])
    assert far.winner == "first" and 0.7 < far.first < 0.74
    assert verdicts.read_logprobs([-1.0, -1.0, -9.0]).winner == "tie"


# What each rule says of (our answer shown first, our answer shown second).
EXPECTED = {
    "agree": {
        (FIRST, SECOND): "win",
        (SECOND, FIRST): "loss",
    },
    "lenient": {
        (FIRST, SECOND): "win",
        (FIRST, TIE): "win",
        (TIE, SECOND): "win",
        (SECOND, FIRST): "loss",
        (SECOND, TIE): "loss",
        (TIE, FIRST): "loss",
    },
    "sum": {
        (FIRST, SECOND): "win",  # 2 + 5
        (FIRST, TIE): "win",
        (TIE, SECOND): "win",
        (SECOND, SECOND): "tie",  # -5 + 5
        (FIRST, FIRST): "tie",  # 2 - 2
        (SECOND, FIRST): "loss",
        (SECOND, TIE): "loss",
        (TIE, FIRST): "loss",
    },
}


@pytest.mark.parametrize("rule", list(verdicts.RULES))
def test_each_rule_says_what_its_table_has_and_else_a_tie(rule):
    for both in itertools.product((FIRST, SECOND, TIE), repeat=2):
        assert outcome(rule, *both) == EXPECTED[rule].get(both, "tie"), both


@pytest.mark.parametrize("rule", list(verdicts.RULES))
def test_who_is_called_ours_turns_every_outcome_round(rule):
    turned = {"win": "loss", "loss": "win", "tie": "tie", "unjudged": "unjudged"}
    failed = Reading(reason="empty")
    for there, back in itertools.product((FIRST, SECOND, TIE, failed), repeat=2):
        # Seen from the other answer, the order with it in front is the second one.
        assert outcome(rule, back, there) == turned[outcome(rule, there, back)]


@pytest.mark.parametrize("rule", list(verdicts.RULES))
def test_a_pair_with_an_order_that_failed_is_unjudged(rule):
    failed = Reading(reason="no_score")
    assert outcome(rule, FIRST, failed) == outcome(rule, failed, SECOND) == "unjudged"


def test_the_names_that_can_be_configured_are_those_that_there_are():
    assert set(judging.RULES) == set(verdicts.RULES)
    assert set(judging.PROMPTS) == set(judge_prompts.PROMPTS)
