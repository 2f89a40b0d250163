"""A text that goes on from something before it is told from one that does not."""

import json
import pathlib

import pytest

from xinst_jax.languages import BUILT_IN
from xinst_jax.pipeline import openings, segment

SAMPLE = pathlib.Path(__file__).parents[2] / "data" / "sample"


@pytest.mark.parametrize("code", list(BUILT_IN))
def test_whole_texts_start_afresh(code):
    for folder, field in (("corpus", "text"), ("seed", "output")):
        lines = (SAMPLE / folder / f"{code}.jsonl").read_text("utf-8").splitlines()
        for row in map(json.loads, lines):
            if not row.get("planted"):
                assert openings.goes_on(row[field], BUILT_IN[code], False) == ""


@pytest.mark.parametrize("code", list(BUILT_IN))
def test_connectives_and_pronouns_are_seen_as_whole_words(code):
    language = BUILT_IN[code]
    for word in openings.CONNECTIVES[code]:
        assert openings.goes_on(f'"{word.capitalize()} x', language, False)
    for word in openings.REFERENCES[code]:
        assert openings.goes_on(f"{word.capitalize()} x", language, True)
    if language.spaced:
        joined = openings.CONNECTIVES[code][0].capitalize() + "xyz on."
        assert openings.goes_on(joined, language, True) == ""


@pytest.mark.parametrize(
    "text", ["ja sitten satoi.", ", joka satoi.", "... ja niin", ") Sitten", "…Lumi"]
)
def test_a_start_in_the_middle_of_a_sentence_is_seen(text):
    assert openings.goes_on(text, BUILT_IN["fi"], False)


@pytest.mark.parametrize(
    "text", ["iPhone soi.", "(Lumi satoi.)", "# Talvi", "7 päivää."]
)
def test_odd_starts_are_starts(text):
    assert openings.goes_on(text, BUILT_IN["fi"], True) == ""


def test_a_document_is_rather_cut_where_the_next_part_starts_afresh():
    fi = BUILT_IN["fi"]
    first = "Lumi satoi koko pitkän yön ja aamun."
    text = f"{first} Mutta tie oli auki kylään. Kylän koulu alkoi kello yhdeksän. Hyvä."
    parts = segment.cut(text, fi, 10, len(first) + 40, len(first))
    assert parts[0].endswith("kylään.") and parts[1].startswith("Kylän")
