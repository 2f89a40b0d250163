"""What it costs good prose to ask whether it goes on is counted by what is found."""

import pytest

from tests.pipeline.thresholds.finnish import OTHER, TEXT
from tools import openings_table
from xinst_jax.config import CorpusConfig
from xinst_jax.languages import BUILT_IN


@pytest.mark.parametrize(
    ("code", "found", "ground"),
    [
        ("fi", "mutta", "a connective"),
        ("hi", "के", "a leaning word"),
        ("fi", "hän", "a pronoun"),
        ("bn", "২।", "an item of a list"),
        ("th", "เทพม", "letters no word begins with"),
        ("th", "จึง", "a connective"),
        ("fi", "omena", "a small letter, a mark or a bracket"),
        ("th", ")", "a small letter, a mark or a bracket"),
    ],
)
def test_each_start_has_its_ground(code, found, ground):
    assert ground in openings_table.GROUNDS
    assert openings_table.ground(found, BUILT_IN[code]) == ground


def test_only_texts_that_reach_the_question_are_counted():
    config = CorpusConfig(min_chars=20, target_chars=200, max_chars=400)
    texts = [TEXT, f"Mutta {TEXT}", f"2) {OTHER}", f"{OTHER} Ja sitten", "Lumi."]
    counts = openings_table.count(texts, BUILT_IN["fi"], config)
    assert counts == {
        "texts": 3,
        "dropped": 2,
        "a connective": 1,
        "an item of a list": 1,
    }
    shown = openings_table.table({"fi": counts}).splitlines()
    assert shown[2:5] == [
        "| texts | 3 |",
        "| dropped | 66.7% |",
        "| a connective | 33.3% |",
    ]
