import numpy as np

from xinst_jax.data.prompts import LABELS
from xinst_jax.pipeline import quality
from xinst_jax.report import rater

NAMES = {"fi": "Finnish", "ur": "Urdu"}
ROWS = [
    {"lang": lang, "pair": str(pair), "label": label, "corruption": corruption}
    for lang in NAMES
    for label, corruption in zip(
        LABELS, ("wrong_language", "cut_response", "none"), strict=True
    )
    for pair in range(4)
]
PERFECT = np.eye(3)[[LABELS.index(row["label"]) for row in ROWS]]


def measured(*probabilities):
    return {
        number: quality.measure(part, ROWS)
        | {
            "signals": {
                "rater": quality.by_corruption(part[:, 2], ROWS),
                "pmi": quality.by_corruption(np.zeros(len(ROWS)), ROWS),
            }
        }
        for number, part in enumerate(probabilities, 1)
    }


def test_a_perfect_rater_and_one_that_guesses_are_told_apart():
    guessing = np.full((len(ROWS), 3), 1 / 3)
    language, defect, both, signal = rater.tables(measured(guessing, PERFECT), NAMES)
    assert [row[0] for row in language.rows] == ["All", "Finnish", "Urdu"]
    for row in language.rows[1:]:
        guessed = ["0.333", "0.167", "–", "0.000", "0.500"]
        assert row[1:] == ["12", "0.333", *guessed, *["1.000"] * 5]
    assert both.headings == ["Language", "wrong language", "cut response"]
    assert both.rows[0] == ["Finnish", *["1.00 / 1.00 / 1.00 (4)"] * 2]
    assert defect.rows[0][:3] == ["wrong language", "bad", "8"]
    # All are called bad: of good and spoilt pairs alike, half are spoilt.
    assert defect.rows[0][5:10] == ["0.500", "1.000", "0.500", "0.500", "no"]
    assert defect.rows[0][12:17] == ["1.000", "1.000", "1.000", "1.000", "yes"]
    assert signal.headings[1:3] == ["rater's labels", "mutual information"]
    assert signal.rows[0] == ["wrong language", "1.000", "0.500", "1.000"]


def test_every_row_fills_its_headings_and_every_group_its_columns():
    rounds = measured(PERFECT, PERFECT, PERFECT)
    for table in [*rater.tables(rounds, NAMES), *rater.confusions(rounds)]:
        assert {len(row) for row in table.rows} == {len(table.headings)}
        if table.groups:
            assert sum(span for _, span in table.groups) == len(table.headings)


def test_precision_and_recall_are_those_of_the_counts():
    answers = PERFECT.copy()
    answers[:2] = np.eye(3)[2]  # two bad pairs called good
    (table,) = rater.confusions(measured(answers))
    assert table.rows[0] == ["is bad", "6", "0", "2", "0.750"]
    assert table.rows[3] == ["precision", "1.000", "1.000", "0.800", ""]


def test_a_level_that_is_never_called_has_no_precision():
    (table,) = rater.confusions(measured(np.tile([1.0, 0, 0], (len(ROWS), 1))))
    assert table.rows[3] == ["precision", "0.333", "–", "–", ""]


def test_without_a_measured_round_there_is_no_table():
    assert rater.tables({}, NAMES) == []
    assert rater.confusions({}) == []
