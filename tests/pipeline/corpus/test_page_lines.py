"""The lines of a page's frame go, in every language; its text and its lists stay."""

import json
import pathlib

import pytest
import regex

from xinst_jax.languages import BUILT_IN
from xinst_jax.pipeline.corpus import boilerplate, page_lines

SAMPLE = pathlib.Path(__file__).parents[3] / "data" / "sample"


def prose(code):
    lines = (SAMPLE / "corpus" / f"{code}.jsonl").read_text("utf-8").splitlines()
    return next(r["text"] for r in map(json.loads, lines) if not r["planted"])


@pytest.mark.parametrize("code", list(BUILT_IN))
def test_frame_lines_around_prose_go_and_are_counted(code):
    text = prose(code)
    more, caption = page_lines.READ_MORE[code][0], page_lines.CAPTION[code][0]
    consent = boilerplate.CONSENT_WORDS[code][0]
    page = "\n".join(
        [
            f"Cookie – {consent}",
            "A | B | C | D | E",
            text,
            f"{caption.capitalize()}: A. B.",
            f"{more.capitalize()} »",
            f"[{more}: {text[:30]}]",
        ]
    )
    found, counts = page_lines.without_frame(page, BUILT_IN[code])
    assert found == text
    assert counts == {
        "caption_line": 1,
        "menu_line": 1,
        "notice_line": 1,
        "read_more_line": 2,
    }


@pytest.mark.parametrize("code", list(BUILT_IN))
def test_the_sample_and_its_seed_have_no_frame(code):
    rows = [
        *(SAMPLE / "corpus" / f"{code}.jsonl").read_text("utf-8").splitlines(),
        *(SAMPLE / "seed" / f"{code}.jsonl").read_text("utf-8").splitlines(),
    ]
    for row in map(json.loads, rows):
        if row.get("planted") not in ("menu", "cookie_notice"):
            text = row.get("text") or row["output"]
            assert page_lines.without_frame(text, BUILT_IN[code]) == (text, {})


def test_menus_at_both_ends_go_and_lists_stay():
    fi = BUILT_IN["fi"]
    menu = "Etusivu\nUutiset\nPalvelut\nYhteystiedot"
    body = "Lumi satoi koko yön.\nTarvitset:\n- jauhoja\n- vettä\n1. Sekoita\n2. Paista"
    body += "\nSitten syödään."
    page = f"{menu}\n\n{body}\n\n{menu}\nHaku"
    assert page_lines.without_frame(page, fi) == (body, {"menu_line": 9})
    announced = "Tarvitset seuraavat aineet:\njauhoja\nvettä\nsuolaa\nhiivaa"
    assert page_lines.without_frame(announced, fi) == (announced, {})


def test_marks_do_not_make_a_menus_lines_long():
    ta, hi = BUILT_IN["ta"], BUILT_IN["hi"]
    items = {
        "ta": "பொழுதுபோக்குச் செய்திகள் விளையாட்டு நிகழ்ச்சிகள்",
        "hi": "अंतर्राष्ट्रीय ख़बरें तथा प्रौद्योगिकी समीक्षाएँ",
    }
    for language in (ta, hi):
        item, text = items[language.code], prose(language.code)
        assert len(item) > 40 >= len("".join(regex.findall(r"\P{M}", item)))
        page = "\n".join([*[item] * 4, "", text])
        found, counts = page_lines.without_frame(page, language)
        assert (found, counts) == (text, {"menu_line": 4})
        plain = "\n".join(["a" * 41] * 4)
        assert page_lines.without_frame(f"{plain}\n\n{text}", language)[1] == {}
