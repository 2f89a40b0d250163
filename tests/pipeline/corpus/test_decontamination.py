"""Pieces of evaluation sets are found on both sides, with the set and the n-gram."""

import gzip
import json
import unicodedata

import pytest
import regex

from xinst_jax.errors import UserError
from xinst_jax.pipeline.corpus import decontamination

ENGLISH = "Who wrote the first book about the northern lights, and in which year?"
FINNISH = "Kuka kirjoitti ensimmäisen kirjan revontulista ja minä vuonna se ilmestyi?"
THAI = "ใครเป็นผู้เขียนหนังสือเล่มแรกเกี่ยวกับแสงเหนือและเขียนขึ้นในปีใด"
HINDI = "उत्तरी ज्योति के बारे में पहली पुस्तक किसने लिखी और किस वर्ष में लिखी?"


def n_grams(item):
    """Each 8 words of an item, or 25 letters of Thai; a shorter one as a whole."""
    normal = item.casefold()
    units = "".join(
        c if c.isalnum() or regex.match(r"\p{M}", c) else " " for c in normal
    )
    if "THAI" in unicodedata.name(item[0]):
        letters = units.replace(" ", "")
        return {letters[i : i + 25] for i in range(max(1, len(letters) - 24))}
    words = units.split()
    return {" ".join(words[i : i + 8]) for i in range(max(1, len(words) - 7))}


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
    assert gram in n_grams(item)


@pytest.mark.parametrize("item", [ENGLISH, FINNISH, HINDI])
def test_seven_words_in_a_row_are_not_enough(index, item):
    words = item.split()
    for start in range(len(words) - 7):
        assert index.find(" ".join(words[start : start + 7])) is None
    # Every mark counts: without its vowels Hindi is another text.
    assert index.find(HINDI.replace("ी", "").replace("ि", "")) is None


def test_an_item_too_short_for_an_n_gram_is_found_where_a_text_is_nothing_else(index):
    assert [one.name for one in index.coverage] == ["lights"]
    assert index.find(" Lyhyt!").value == "lights: lyhyt"
    assert index.find("Lyhyt sana.") is None
    assert index.find("") is None and index.find("?!") is None


# Of 5 to 7 words, as most premises of XCOPA are; Thai of 16 to 24 letters.
_PREMISES = {
    "fi": ("Mies unohti sateenvarjonsa kotiin eilen aamulla.", "Sitten satoi. {}"),
    "sw": ("Mwanamke aliweka funguo zake mezani.", "Asubuhi: {} Kisha akaondoka."),
    "hi": ("लड़की ने अपनी किताब मेज पर रखी।", "उसने कहा कि {} फिर वह चली गई।"),
    "th": ("เขาลืมร่มไว้ที่บ้าน", "เมื่อวานนี้ฝนตกหนัก {} จึงเปียกฝน"),
}


@pytest.fixture
def premises(tmp_path):
    rows = [{"premise": item, "label": 1} for item, _ in _PREMISES.values()]
    rows += [
        {"premise": "Hän meni kotiin pian."},
        {"premise": "1990 1991 1992 1993 1994"},
    ]
    path = tmp_path / "copa.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return decontamination.read([str(path)], ["fi"])


@pytest.mark.parametrize("code", list(_PREMISES))
def test_a_short_item_is_found_as_a_whole_inside_a_text(premises, code):
    item, frame = _PREMISES[code]
    (whole,) = n_grams(item)
    flaw = premises.find(frame.format(item.upper()))
    assert (flaw.reason, flaw.value) == ("contaminated", f"copa: {whole}")
    assert premises.find(frame.format("")) is None
    # A part of it, or of a word more, is not the item.
    assert premises.find(frame.format(item[:-4])) is None
    if code != "th":
        first, _, rest = item.partition(" ")
        assert premises.find(frame.format(f"{first} ja {rest}")) is None
        assert premises.find(frame.format(f"x{item}")) is None


def test_a_thai_item_ends_where_its_last_letter_does(premises):
    item, frame = _PREMISES["th"]
    assert premises.find(frame.replace(" ", "").format(item)) is not None
    assert premises.find(frame.format(f"{item}\N{THAI CHARACTER MAI EK}")) is None


def test_what_is_too_short_or_no_sentence_is_found_alone_and_all_is_counted(premises):
    for item in ("Hän meni kotiin pian.", "1990 1991 1992 1993 1994"):
        assert premises.find(item) is not None
        assert premises.find(f"Mutta: {item} Sitten.") is None
    (coverage,) = premises.coverage
    assert coverage == decontamination.Coverage("copa", 0, inside=4, alone=2)


_THAI_FRAME = "โปรดอ่านข้อความต่อไปนี้อย่างละเอียดแล้วตอบคำถาม {} ให้ครบถ้วนที่สุดเท่าที่จะทำได้"
_ENGLISH_FRAME = (
    "You are an assistant that answers questions with great care and with much detail. "
    "Please read the following question of a reader: {} Answer it with two sentences."
)


@pytest.mark.parametrize("frame", [_THAI_FRAME, _ENGLISH_FRAME])
@pytest.mark.parametrize("item", [ENGLISH, FINNISH, THAI, HINDI])
@pytest.mark.parametrize("space", ["", " "])
def test_an_item_is_found_inside_text_of_another_script(index, frame, item, space):
    if frame == _ENGLISH_FRAME and item != THAI:
        space = " "
    text = (frame * 3).replace(" {} ", f"{space}{item}{space}", 1)
    gram = index.find(text).value.removeprefix("lights: ")
    assert gram in n_grams(item)
    assert index.find(frame.format("")) is None
    assert index.find(text.replace(item, item[: len(item) // 3])) is None


@pytest.mark.parametrize("code", list(_PREMISES))
def test_a_short_item_is_found_inside_text_of_another_script(premises, code):
    item, _ = _PREMISES[code]
    for frame in (_THAI_FRAME, _ENGLISH_FRAME):
        (whole,) = n_grams(item)
        assert premises.find(frame.format(item)).value == f"copa: {whole}"
        assert premises.find(frame.format(item[:-4])) is None


def test_letters_of_an_item_are_not_looked_for_in_words():
    mixed = f"{THAI} Iisalmen asemalla"
    index = decontamination.index([("quiz", [mixed])])
    assert index.find(f"มี {mixed}") is not None
    # Its Finnish part has as many letters as an n-gram but is two words.
    long = decontamination.index(
        [("quiz", [f"{THAI}{THAI} lentokonesuihkuturbiini ja"])]
    )
    assert long.find("Sen nimi on lentokonesuihkuturbiini ja ไทย on Thaimaa.") is None


def test_sets_of_one_name_are_told_apart_by_their_folders(tmp_path):
    texts = {
        "xnli/test.jsonl": FINNISH,
        "xcopa/test.jsonl": HINDI,
        "mc/one.json": ENGLISH,
        "mc/one.jsonl": THAI,
        "mc/two.jsonl.gz": "",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        content = json.dumps({"q": text}).encode()
        content = gzip.compress(content) if name.endswith("gz") else content
        (tmp_path / name).write_bytes(content)
    paths = [str(tmp_path / name) for name in texts]
    index = decontamination.read([*paths, paths[0]], ["fi"])
    names = ["xnli/test", "xcopa/test", "one.json", "one.jsonl", "two"]
    assert [one.name for one in index.coverage] == names
    for name, text in list(zip(names, texts.values(), strict=True))[:-1]:
        assert index.find(text).value.startswith(f"{name}: ")


def test_a_set_for_each_language_is_named_by_it(tmp_path):
    for code, text in (("fi", FINNISH), ("hi", HINDI)):
        (tmp_path / f"quiz_{code}.jsonl").write_text(json.dumps({"q": text}))
    index = decontamination.read(
        [f"{tmp_path}/quiz_{{lang}}.jsonl"], ["fi", "hi", "th"]
    )
    assert [one.name for one in index.coverage] == ["quiz_fi", "quiz_hi"]
    assert index.find(HINDI).value.startswith("quiz_hi: ")


def test_a_set_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nothing matches '.*missing\.jsonl'"):
        decontamination.read([f"{tmp_path}/missing.jsonl"], ["fi"])
    (tmp_path / "bad.jsonl").write_text("{broken")
    with pytest.raises(UserError, match=r"bad\.jsonl:1: not_json"):
        decontamination.read([f"{tmp_path}/bad.jsonl"], ["fi"])
