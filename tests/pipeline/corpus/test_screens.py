"""What a user's list or model is against is dropped, and named."""

import sys

import pytest

from xinst_jax.errors import UserError
from xinst_jax.languages import BUILT_IN
from xinst_jax.pipeline.corpus import screens


def words(tmp_path, content, code="fi"):
    (tmp_path / f"{code}.txt").write_text(content, "utf-8")
    return screens.words(f"{tmp_path}/{{lang}}.txt", BUILT_IN[code])


def test_whole_words_and_phrases_are_found_and_parts_are_not(tmp_path):
    found = words(tmp_path, "# a comment\npaha\nerittäin  Huono\n")
    assert found.find("Se oli PAHA.").value == "paha"
    assert found.find("Erittäin huono sää.").value == "erittäin huono"
    assert found.find("Pahastua voi, ja huono on erittäin yleistä.") is None


def test_in_thai_they_are_found_anywhere_and_hindi_marks_count(tmp_path):
    assert words(tmp_path, "ไม่ดี", "th").find("วันนี้อากาศไม่ดีเลย").value == "ไม่ดี"
    hindi = words(tmp_path, "बुरी", "hi")
    assert hindi.find("यह बुरी बात है।") and hindi.find("यह बुर बात है।") is None


def test_a_language_without_a_list_goes_without_and_an_empty_one_is_an_error(tmp_path):
    assert screens.words(f"{tmp_path}/{{lang}}.txt", BUILT_IN["fi"]) is None
    with pytest.raises(UserError, match="holds no word"):
        words(tmp_path, "# nothing\n")


def test_a_models_verdict_is_kept_to_its_threshold(tmp_path, monkeypatch):
    source = "def score(text, code):\n    return 0.9 if 'paha' in text else 0.5\n"
    (tmp_path / "own_model_of_a_test.py").write_text(source + "nothing = None\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    model = screens.Model("own_model_of_a_test:score", "fi", 0.5)
    assert model.find("hyvä") is None
    assert model.find("paha").value == "0.900 by own_model_of_a_test:score"
    with pytest.raises(UserError, match="cannot be imported"):
        screens.check_model("own_model_of_a_test:missing")
    with pytest.raises(UserError, match="cannot be imported"):
        screens.check_model("no_such_module:score")
