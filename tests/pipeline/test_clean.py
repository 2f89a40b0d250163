"""Cleaning repairs what is broken and changes nothing that is not."""

import doctest
import json
import pathlib
import unicodedata

import pytest

from xinst_jax.pipeline import clean as clean_module
from xinst_jax.pipeline.clean import clean, one_line

SAMPLE = pathlib.Path(__file__).parents[2] / "data" / "sample" / "corpus"
SENTENCES = [
    "Hyvää päivää, äiti ja työttömyys.",
    "Tiếng Việt rất đẹp và phong phú.",
    "İstanbul'da güneşli bir gün, çok şükür.",
    "हिन्दी में क्‍ष और ज़रूरी बातें।",
    "ภาษาไทยมีวรรณยุกต์ที่สำคัญ",
    "می‌خواہم کہ پاکستان میں امن ہو۔",
    "தமிழ் மொழி மிகவும் பழமையானது.",
    "বাংলা ভাষায় যুক্তাক্ষর আছে।",
]


def test_good_text_is_left_as_it_is():
    texts = [
        json.loads(line)["text"]
        for path in sorted(SAMPLE.glob("*.jsonl"))
        for line in path.read_text("utf-8").splitlines()
    ]
    assert len(texts) > 200
    assert all(clean(text) == text for text in texts)


@pytest.mark.parametrize("text", SENTENCES)
def test_marks_and_joiners_survive_in_every_normal_form(text):
    for form in ("NFC", "NFD"):
        assert clean(unicodedata.normalize(form, text)) == unicodedata.normalize(
            "NFC", text
        )


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_text_decoded_by_the_wrong_encoding_is_put_right(encoding):
    repaired = 0
    for text in SENTENCES:
        try:
            broken = text.encode("utf-8").decode(encoding)
        except UnicodeDecodeError:
            # Bytes that Windows-1252 has no character for cannot be misread by it.
            continue
        assert clean(broken) == unicodedata.normalize("NFC", text)
        repaired += 1
    assert repaired >= 3


def test_a_text_about_a_letter_is_no_mojibake():
    text = "Â là ký tự thứ ba của bảng chữ cái."
    assert clean(text) == text


def test_control_characters_and_odd_spaces_go():
    assert clean("a\x00b\x1b[1m\x07c\u200bd\ufeff") == "ab[1mcd"
    assert clean("\u00a0a\t\tb\u3000c \u2028d") == "a b c\nd"
    assert clean("a \r\n\r\n \n\n b\rc") == "a\n\nb\nc"


def test_surrogates_never_reach_the_disk():
    assert clean(json.loads('"\\ud83d\\ude00 ok"')) == "😀 ok"
    clean("half \ud83d").encode("utf-8")


def test_an_instruction_is_one_line():
    assert one_line(" Write\n\na  list\tof &amp; ") == "Write a list of &"


def test_docstring_examples_hold():
    assert doctest.testmod(clean_module).failed == 0
