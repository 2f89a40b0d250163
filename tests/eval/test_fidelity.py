import unicodedata

import pytest
import regex

from xinst_jax.eval import fidelity as fidelity_lib
from xinst_jax.eval.fidelity import (
    english_share,
    fidelity,
    repetition,
    sentence_share,
    summary,
)
from xinst_jax.languages import BUILT_IN, Language

WRITTEN = {
    "fi": "Ruisleipä on monen suomalaisen arkea. Juureen leivottu leipä säilyy "
    "pitkään, ja sen hapan maku sopii hyvin voin ja juuston kanssa.",
    "id": "Rendang dimasak perlahan selama beberapa jam sampai santannya mengering. "
    "Bumbunya meresap ke dalam daging, sehingga masakan ini tahan lama.",
    "th": "ข้าวเหนียวมะม่วงเป็นของหวานที่คนไทยนิยมกินในหน้าร้อน "
    "กะทิข้นหวานเค็มราดบนข้าวเหนียวร้อนแล้วกินคู่กับมะม่วงสุก",
    "tr": "Türk kahvesi cezvede ağır ateşte pişirilir. Köpüğü fincanlara "
    "paylaştırılır, yanında bir bardak su ve küçük bir lokum ikram edilir.",
    "vi": "Phở là món ăn quen thuộc của người Hà Nội vào buổi sáng. Nước dùng được "
    "ninh từ xương bò trong nhiều giờ cùng với quế, hồi và gừng nướng.",
    "bn": "বর্ষাকালে ইলিশ মাছ বাঙালির সবচেয়ে প্রিয় খাবার। সরষে বাটা দিয়ে রান্না করা "
    "ইলিশ গরম ভাতের সঙ্গে খেতে খুব ভালো লাগে।",
    "hi": "मसाला चाय बनाने के लिए पहले पानी में अदरक और इलायची उबालें। फिर दूध और "
    "चायपत्ती डालकर धीमी आँच पर कुछ मिनट पकाएँ।",
    "sw": "Ugali ni chakula kikuu cha watu wengi wa Afrika Mashariki. Hupikwa kwa unga "
    "wa mahindi na maji, kisha huliwa pamoja na mboga au samaki.",
    "ta": "இட்லி தென்னிந்தியாவில் காலை உணவாகப் பரவலாக உண்ணப்படுகிறது. அரிசியும் உளுந்தும் "
    "ஊறவைத்து அரைத்த மாவை ஆவியில் வேகவைத்து தயாரிக்கிறார்கள்.",
    "ur": "بریانی بنانے کے لیے چاول کو پہلے آدھے گھنٹے تک بھگو دیں۔ پھر گوشت کو دہی "
    "اور مسالوں کے ساتھ پکا کر چاول کی تہہ لگائیں اور دم پر رکھ دیں۔",
}
ENGLISH = (
    "Rye bread is part of everyday life for many people in the north. It keeps for a "
    "long time, and its sour taste goes well with butter and with cheese."
)
CODES = list(BUILT_IN)


@pytest.mark.parametrize("code", CODES)
def test_a_natural_answer_is_in_its_language_and_has_no_fault(code):
    figures = fidelity(WRITTEN[code], "stop", BUILT_IN[code])
    assert figures.in_language
    assert not figures.empty
    assert not figures.truncated
    assert figures.repetition < 0.05
    assert figures.english == 0


@pytest.mark.parametrize("code", CODES)
def test_an_english_answer_is_not_in_the_language_and_shows_english(code):
    figures = fidelity(ENGLISH, "stop", BUILT_IN[code])
    assert not figures.in_language
    assert figures.english > 0.1


@pytest.mark.parametrize("code", CODES)
def test_an_answer_in_another_of_the_ten_languages_is_not_in_the_language(code):
    other = CODES[(CODES.index(code) + 1) % len(CODES)]
    assert not fidelity(WRITTEN[other], "stop", BUILT_IN[code]).in_language


@pytest.mark.parametrize("code", CODES)
def test_an_answer_said_over_again_is_repetitive_in_proportion(code):
    text, language = WRITTEN[code], BUILT_IN[code]
    assert repetition(" ".join([text] * 2), language) == pytest.approx(0.5, abs=0.12)
    assert repetition(" ".join([text] * 10), language) == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize("code", CODES)
def test_one_word_or_one_letter_in_a_loop_is_repetitive(code):
    language = BUILT_IN[code]
    assert repetition(" ".join([WRITTEN[code].split()[0]] * 30), language) > 0.8
    assert repetition(WRITTEN[code][0] * 200, language) > 0.9


@pytest.mark.parametrize("code", CODES)
def test_one_english_sentence_amid_the_language_is_counted(code):
    mixed = WRITTEN[code] + " This is what they were told about the other people."
    assert 0.05 < english_share(mixed, BUILT_IN[code]) < 0.6


@pytest.mark.parametrize("code", CODES)
def test_sentences_in_another_language_take_their_share_of_the_letters(code):
    language = BUILT_IN[code]
    assert sentence_share(WRITTEN[code], language) == 1
    assert sentence_share(ENGLISH, language) == 0
    mixed = f"{WRITTEN[code]}\n{ENGLISH}"
    own = sum(map(len, regex.findall(r"[\p{L}\p{M}]+", WRITTEN[code])))
    other = sum(map(len, regex.findall(r"[\p{L}\p{M}]+", ENGLISH)))
    expected = own / (own + other)
    assert sentence_share(mixed, language) == pytest.approx(expected, abs=0.15)


def test_a_word_or_a_sign_at_the_end_goes_with_its_sentence():
    finnish = BUILT_IN["fi"]
    assert sentence_share(WRITTEN["fi"] + " OK. 😀 [1]", finnish) == 1


def test_english_is_not_left_over_in_english():
    english = Language("en", "English")
    assert english_share(ENGLISH, english) == 0


@pytest.mark.parametrize("text", ["", " \n ", "…", "۔ ।", "?!"])
def test_an_answer_without_letters_is_empty_and_in_no_language(text):
    figures = fidelity(text, "stop", BUILT_IN["hi"])
    assert figures.empty
    assert not figures.in_language
    assert figures.repetition == figures.english == 0


def test_only_the_token_limit_truncates():
    assert fidelity("Hei", "length", BUILT_IN["fi"]).truncated
    assert not fidelity("Hei", "stop", BUILT_IN["fi"]).truncated


@pytest.mark.parametrize("code", CODES)
def test_a_decomposed_answer_measures_as_its_composed_form(code):
    composed = unicodedata.normalize("NFC", WRITTEN[code])
    decomposed = unicodedata.normalize("NFD", composed)
    language = BUILT_IN[code]
    assert fidelity(decomposed, "stop", language) == fidelity(
        composed, "stop", language
    )


def test_empty_answers_count_against_the_language_but_not_in_repetition():
    make = fidelity_lib.Fidelity
    figures = summary(
        [
            make(True, 1.0, False, True, 0.5, 0.25),
            make(False, 0.1, False, False, 0.1, 0.75),
            make(False, 0.0, True, False, 0.0, 0.0),
            make(True, 0.7, False, False, 0.3, 0.5),
        ]
    )
    assert figures.answers == 4
    assert figures.in_language == 0.5
    assert figures.empty == figures.truncated == 0.25
    assert figures.repetition == pytest.approx(0.3)
    assert figures.sentences == pytest.approx(0.6)
    assert figures.english == pytest.approx(0.5)
    assert summary([]).in_language == 0
