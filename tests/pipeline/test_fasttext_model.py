"""A fastText model that the user has says what language a text is in.

`ten_languages.ftz` is one: fastText 0.9.2 (`train_supervised`, dim 16, character 2- to
4-grams in 2,000 buckets, softmax, rate 0.1, 100 epochs, words from 60 times on;
then quantized) trained on the sample's corpus in pieces of 120 characters, its labels
as GlotLID's: 'fin_Latn'.
"""

import dataclasses
import json
import pathlib
import sys

import pytest

from xinst_jax.config import CorpusConfig
from xinst_jax.errors import UserError
from xinst_jax.languages import BUILT_IN, Language
from xinst_jax.pipeline import fasttext_model, langid
from xinst_jax.pipeline.corpus.documents import Document, Text
from xinst_jax.pipeline.corpus.prepare import prepare

SAMPLE = pathlib.Path(__file__).parents[2] / "data" / "sample"
MODEL = str(pathlib.Path(__file__).with_name("ten_languages.ftz"))


def _responses(code: str) -> list[str]:
    lines = (SAMPLE / "seed" / f"{code}.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["output"] for line in lines]


@pytest.mark.parametrize("code", list(BUILT_IN))
def test_the_model_decides_for_texts_it_was_not_trained_on(code):
    for text in _responses(code):
        for other, language in BUILT_IN.items():
            verdict = langid.identify(text, language, 0.5, MODEL)
            assert (verdict.reason == "") == (other == code), verdict
            assert 0 <= verdict.share <= 1
            if verdict.reason != "wrong_script":
                assert verdict.found.endswith("(ten_languages.ftz)")


def test_the_models_labels_are_iso_639_1_or_3_with_or_without_a_script():
    text, fi = _responses("fi")[0], BUILT_IN["fi"]
    assert langid.identify(text, fi, 0.5, MODEL).share > 0.9
    own = Language("fin", "Finnish")
    assert langid.identify(text, own, 0.5, MODEL).share > 0.9
    unnamed = dataclasses.replace(fi, iso639_3="")
    assert langid.identify(text, unnamed, 0.5, MODEL).share == 0


def test_what_the_model_cannot_read_does_not_stop_it():
    dirty = "\x00\x1b" + _responses("fi")[0].replace(" ", "\n\x07\ufdd0", 3) + "\ud800"
    assert langid.identify(dirty, BUILT_IN["fi"], 0.5, MODEL).reason == ""


def test_a_corpus_is_prepared_by_the_models_word():
    config = CorpusConfig(language_model=MODEL)
    for text in _responses("fi"):
        (found,) = prepare(Document("d", text, "", ""), config, BUILT_IN["fi"]).texts
        if isinstance(found, Text):
            named = fasttext_model.probabilities(MODEL, found.text)
            assert found.lid_prob == named["fin"] >= 0.8
    swahili = Document("d", _responses("sw")[0], "", "")
    (dropped,) = prepare(swahili, config, BUILT_IN["fi"]).texts
    assert dropped.reason == "wrong_language"
    assert dropped.value.startswith("swh ")


def test_a_language_the_model_does_not_know_is_told_before_work(tmp_path):
    zgh = Language("zgh", "Tamazight", ("Tifinagh",))
    fasttext_model.check(MODEL, BUILT_IN.values())
    with pytest.raises(UserError, match=r"does not know 'zgh'.*iso639_3"):
        fasttext_model.check(MODEL, [zgh])
    other = tmp_path / "model.bin"
    with pytest.raises(UserError, match="is not a file"):
        fasttext_model.check(str(other), [zgh])
    other.write_bytes(b"no model at all")
    with pytest.raises(UserError, match="cannot be loaded"):
        fasttext_model.check(str(other), [zgh])


def test_without_the_package_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "fasttext", None)
    model = tmp_path / "model.ftz"
    model.write_bytes(pathlib.Path(MODEL).read_bytes())
    with pytest.raises(UserError, match=r"requirements-sources\.txt"):
        fasttext_model.check(str(model), [BUILT_IN["fi"]])
