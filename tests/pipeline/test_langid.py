"""Texts are accepted in their own language and in no other."""

import json
import pathlib

import pytest

from xinst_jax.languages import BUILT_IN, Language
from xinst_jax.pipeline import langid

SAMPLE = pathlib.Path(__file__).parents[2] / "data" / "sample"
RELATIVES = {
    "id": "Kerajaan Malaysia telah mengumumkan bahawa semua pelajar boleh memohon "
    "bantuan kewangan bagi tahun hadapan kerana kos sara hidup semakin meningkat.",
    "hi": "महाराष्ट्रातील शेतकऱ्यांनी यावर्षी चांगला पाऊस झाल्यामुळे आनंद व्यक्त केला "
    "आहे आणि त्यांच्या मुलांना शाळेत पाठवले आहे.",
    "ur": "رئیس جمهور ایران دیروز در تهران با وزیران خود دربارهٔ اقتصاد کشور و "
    "قیمت نفت گفتگو کرد و گفت که وضعیت بهتر می‌شود.",
    "fi": "Eesti keel on läänemeresoome lõunarühma kuuluv keel, mida räägitakse "
    "peamiselt Eestis ja mille kõnelejaid on umbes miljon.",
    "tr": "Azərbaycan xalqı öz dilini və mədəniyyətini çox sevir, bu gün də gənclər "
    "qədim mahnıları öyrənir və onları toylarda oxuyurlar.",
    "th": "ປະເທດລາວເປັນປະເທດທີ່ຕັ້ງຢູ່ໃນພາກພື້ນອາຊີຕາເວັນອອກສຽງໃຕ້ ແລະ ມີປະຊາກອນ ປະມານເຈັດລ້ານຄົນ.",
}


def responses(code):
    path = SAMPLE / "seed" / f"{code}.jsonl"
    rows = map(json.loads, path.read_text("utf-8").splitlines())
    return [row["output"] for row in rows]


@pytest.mark.parametrize("code", list(BUILT_IN))
def test_a_language_is_accepted_as_itself_only(code):
    for text in responses(code):
        for other, language in BUILT_IN.items():
            verdict = langid.identify(text, language, 0.8)
            assert (verdict.reason == "") == (other == code), verdict
            assert 0 <= verdict.share <= 1


@pytest.mark.parametrize("code", list(RELATIVES))
def test_a_close_relative_is_refused(code):
    assert langid.identify(RELATIVES[code], BUILT_IN[code], 0.8).reason


def test_english_is_known():
    text = "Write a short story about a lake in winter, and who lives beside it."
    assert langid.identify(text, langid.ENGLISH, 0.8).reason == ""
    assert langid.identify(responses("sw")[0], langid.ENGLISH, 0.8).reason


def test_a_mixed_text_is_refused():
    english = "This paragraph is written in English, and it is as long as the other. "
    for code in ("fi", "id", "sw", "vi"):
        finnish = responses(code)[0][:400]
        verdict = langid.identify(f"{finnish}\n{english * 6}", BUILT_IN[code], 0.8)
        assert verdict.reason == "wrong_language" and verdict.share < 0.8


def test_another_script_is_named():
    verdict = langid.identify(responses("hi")[0], BUILT_IN["fi"], 0.8)
    assert verdict.reason == "wrong_script" and verdict.share < 0.1


def test_what_the_identifiers_cannot_read_does_not_stop_them():
    text = responses("fi")[0]
    dirty = "\x00\x1b" + text.replace(" ", " \x07\ufdd0", 3) + "\ud800"
    assert langid.identify(dirty, BUILT_IN["fi"], 0.8).reason == ""
    assert langid.identify("12 34", BUILT_IN["fi"], 0.8).reason == "wrong_script"


def test_a_language_that_no_identifier_knows_is_judged_by_its_script():
    tifinagh = Language("zgh", "Tamazight", ("Tifinagh",), sentence_ends=".")
    assert langid.identify("ⴰⵣⵓⵍ ⴼⵍⵍⴰⵡⵏ.", tifinagh, 0.8).reason == ""
    assert langid.identify("Hei vaan.", tifinagh, 0.8).reason == "wrong_script"


def test_paragraphs_in_another_language_or_script_go_and_short_ones_stay():
    fi, hi = BUILT_IN["fi"], BUILT_IN["hi"]
    finnish = (
        "Talvella lumi peitti koko kylän, ja hiljaisuus laskeutui pihoille ja teille. "
        "Lapset laskivat mäkeä iltaan asti."
    )
    english = (
        "The village was quiet in the winter, and the children went sledding down the "
        "hill until the evening came."
    )
    hindi = "सर्दियों में पूरा गाँव बर्फ से ढक गया और बच्चे शाम तक पहाड़ी पर खेलते रहे।"
    mixed = f"{finnish}\n\n{english}\n\nHuom!\n\n{hindi}\n\n{finnish}"
    left = langid.right_paragraphs(mixed, fi, 0.8)
    assert left == f"{finnish}\n\nHuom!\n\n{finnish}"
    assert langid.right_paragraphs(mixed, hi, 0.8) == f"Huom!\n\n{hindi}"
    # Nothing would be left, and the text shows why it is dropped.
    alone = f"{english}\n\n{english}"
    assert langid.right_paragraphs(alone, hi, 0.8) == alone
