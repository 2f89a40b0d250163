"""Pieces of evaluation sets are found on both sides, with the set and the n-gram."""

import json

import pytest

from xinst_jax.errors import UserError
from xinst_jax.pipeline.corpus import decontamination

ENGLISH = "Who wrote the first book about the northern lights, and in which year?"
FINNISH = "Kuka kirjoitti ensimmäisen kirjan revontulista ja minä vuonna se ilmestyi?"
THAI = "ใครเป็นผู้เขียนหนังสือเล่มแรกเกี่ยวกับแสงเหนือและเขียนขึ้นในปีใด"
HINDI = "उत्तरी ज्योति के बारे में पहली पुस्तक किसने लिखी और किस वर्ष में लिखी?"


@pytest.fixture
def index(tmp_path):
    rows = [
        {"id": "1", "question": ENGLISH, "choices": [FINNISH, "lyhyt"]},
        {"id": "2", "turns": {"th": THAI, "hi": HINDI}},
    ]
    path = tmp_path / "lights.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return decontamination.read([str(path)], ["fi"])


@pytest.mark.parametrize("item", [ENGLISH, FINNISH, THAI, HINDI])
def test_a_piece_of_an_item_is_found_whatever_stands_around_it(index, item):
    spoiled = item.upper().replace(",", " -").replace(" ", "  ")
    flaw = index.find(f"Ennen sitä. {spoiled} Sen jälkeen.")
    assert flaw.reason == "contaminated"
    assert flaw.value.startswith("lights: ")
    gram = flaw.value.removeprefix("lights: ")
    assert gram in set(decontamination.n_grams(item))


@pytest.mark.parametrize("item", [ENGLISH, FINNISH, HINDI])
def test_seven_words_in_a_row_are_not_enough(index, item):
    words = item.split()
    for start in range(len(words) - 7):
        assert index.find(" ".join(words[start : start + 7])) is None
    # Every mark counts: without its vowels Hindi is another text.
    assert index.find(HINDI.replace("ी", "").replace("ि", "")) is None


def test_an_item_too_short_for_an_n_gram_is_found_where_a_text_is_nothing_else(index):
    assert index.names == ("lights",)
    assert index.find(" Lyhyt!").value == "lights: lyhyt"
    assert index.find("Lyhyt sana.") is None
    assert index.find("") is None and index.find("?!") is None


def test_a_set_for_each_language_is_named_by_it(tmp_path):
    for code, text in (("fi", FINNISH), ("hi", HINDI)):
        (tmp_path / f"quiz_{code}.jsonl").write_text(json.dumps({"q": text}))
    index = decontamination.read(
        [f"{tmp_path}/quiz_{{lang}}.jsonl"], ["fi", "hi", "th"]
    )
    assert index.names == ("quiz_fi", "quiz_hi")
    assert index.find(HINDI).value.startswith("quiz_hi: ")


def test_a_set_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nothing matches '.*missing\.jsonl'"):
        decontamination.read([f"{tmp_path}/missing.jsonl"], ["fi"])
    (tmp_path / "bad.jsonl").write_text("{broken")
    with pytest.raises(UserError, match=r"bad\.jsonl:1: not_json"):
        decontamination.read([f"{tmp_path}/bad.jsonl"], ["fi"])
