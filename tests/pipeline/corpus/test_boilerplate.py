"""What is no prose of a page is told from prose, in every language."""

import json
import pathlib

import pytest

from xinst_jax.languages import BUILT_IN, Language
from xinst_jax.pipeline.corpus import boilerplate

SAMPLE = pathlib.Path(__file__).parents[3] / "data" / "sample"


def rows(code, folder="corpus"):
    path = SAMPLE / folder / f"{code}.jsonl"
    return list(map(json.loads, path.read_text("utf-8").splitlines()))


def reason(text, code):
    flaw = boilerplate.find(text, BUILT_IN[code])
    return flaw.reason if flaw else ""


@pytest.mark.parametrize("code", list(BUILT_IN))
def test_planted_menus_and_notices_are_found_and_nothing_else(code):
    for row in rows(code):
        planted = row["planted"] or ""
        expected = planted if planted in ("menu", "cookie_notice") else ""
        assert reason(row["text"], code) == expected, row["id"]


@pytest.mark.parametrize("code", list(BUILT_IN))
def test_lists_and_letters_are_prose(code):
    assert all(reason(row["output"], code) == "" for row in rows(code, "seed"))


def test_a_text_about_biscuits_is_no_notice():
    text = (
        "Kue kering atau cookie dibuat dari tepung. Cookie cokelat disukai anak-anak."
    )
    assert reason(text, "id") == ""


def test_a_long_text_that_names_cookies_once_or_twice_is_no_notice():
    text = (
        "Evästeet ovat tiedostoja, ja asetukset kertovat niistä. " + "Lumi satoi. " * 90
    )
    text += "Evästeet voi poistaa."
    assert reason(text.replace("Lumi", "Vesi"), "fi") == ""


def test_the_rules_hold_for_a_language_without_phrases():
    language = Language("et", "Estonian")
    menu = "Avaleht\nUudised\nTeenused\nKontakt\nOtsing\nLogi sisse"
    assert boilerplate.find(menu, language).reason == "menu"
    notice = "We use cookies. Accept all cookies or open the cookie settings."
    assert boilerplate.find(notice, language).reason == "cookie_notice"


def test_tables_repeated_lines_and_lost_characters_are_found():
    table = "\n".join(f"12.{n} 3 456 789,00 € (+{n} %) = x" for n in range(30))
    assert reason(table, "fi") == "few_letters"
    chorus = "\n".join(["Tule tänne, pieni lintu, laula mulle laulujas."] * 3)
    assert reason(chorus + "\nSe oli laulu, jonka hän muisti aina.", "fi") == (
        "repeated_lines"
    )
    lost = "P\ufffdiv\ufffd\ufffd ja y\ufffd, ty\ufffd ja lepo, kes\ufffd ja talvi."
    assert reason(lost, "fi") == "damaged"
