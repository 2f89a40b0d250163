"""A text that goes on from something before it is told from one that does not."""

import json
import pathlib
import unicodedata

import pytest

from xinst_jax.languages import BUILT_IN
from xinst_jax.pipeline import openings, segment

# Thai does not space its words: other words that begin with a connective or a pronoun.
THAI_ALIKE = {
    "แต่": (
        *("แต่งตั้งกรรมการชุดใหม่", "แต่งงานกันมาสิบปี", "แต่งหนังสือเล่มแรกเมื่ออายุยี่สิบ"),
        *("แต่งบ้านด้วยดอกไม้", "แต่งบทกวี", "แต่ง", "แต่ละบ้านมีสวน", "แต่ก่อนที่นี่เป็นทุ่งนา"),
    ),
    "แล้ว": ("แล้วเสร็จทั้งโครงการในเดือนมีนาคม", "แล้วแต่ผู้ปกครองจะเลือก"),
    "และ": ("และเล็มหญ้าอยู่ริมรั้ว",),
    "ก็": ("ก็อกน้ำในครัวรั่ว", "ก็อปปี้เอกสารสองชุด", "ก็อดซิลลาบุกเมือง"),
    "เช่น": ("เช่นเดียวกับปีก่อน โรงเรียนปิดเดือนเมษายน",),
    "รวมทั้ง": ("รวมทั้งหมดสิบสองคน", "รวมทั้งสิ้นสามวัน"),
    "เขา": ("เขาใหญ่เป็นอุทยานแห่งชาติ", "เขาค้ออากาศเย็น", "เขาควายใช้ทำด้ามมีด"),
    "เธอ": ("เธอร์โมมิเตอร์วัดอุณหภูมิ",),
    "มัน": ("มันฝรั่งต้มสุก", "มันแกวปลูกง่าย", "มันสมองของทีม"),
}
# The word itself, before words that begin as those do.
THAI_ALONE = {
    "แต่": (
        *("แต่งบประมาณไม่พอ", "แต่งานยังไม่เสร็จ", "แต่ง่ายกว่าที่คิด", "แต่งูหนีไปแล้ว"),
        *("แต่งบทั้งหมดถูกตัด", "แต่วันนี้ฝนตก"),
    ),
    "แล้ว": ("แล้วเสือก็หนีไป",),
    "และ": ("และเลือกหัวหน้าห้อง",),
    "ก็": ("ก็ต้องรอ", "ก็บอกแม่", "ก็ออกเดินทาง", "ก็อกหัก", "ก็อดยิ้มไม่ได้"),
    "เช่น": ("เช่นส้มและกล้วย", "เช่นเดียวกัน"),
    "รวมทั้ง": ("รวมทั้งครูด้วย",),
    "เขา": ("เขามองหน้าต่าง", "เขาเขียนจดหมาย", "เขาสกัดกั้น", "เขากลับบ้าน"),
    "เธอ": ("เธอรู้จักครู", "เธอร้องไห้"),
    "มัน": ("มันวิ่งหนี",),
}

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


@pytest.mark.parametrize("word", list(THAI_ALIKE))
def test_a_thai_word_that_begins_with_another_is_not_that_one(word):
    thai = BUILT_IN["th"]
    assert set(THAI_ALIKE) == set(THAI_ALONE) == set(openings._AFRESH["th"])
    for text in THAI_ALIKE[word]:
        assert openings.goes_on(text, thai, True) == ""
    for text in THAI_ALONE[word]:
        assert openings.goes_on(text, thai, True).startswith(word)


@pytest.mark.parametrize("bullet", "-–*•‣◦▪●○·・")
def test_a_bullet_is_passed_over(bullet):
    fi = BUILT_IN["fi"]
    apples = f"{bullet} Omenat kerätään syksyllä.\n{bullet} Marjat kesällä."
    assert openings.goes_on(apples, fi, True) == ""
    assert openings.goes_on(f"{bullet} Mutta omenat puuttuivat.", fi, False) == "mutta"
    assert openings.goes_on(f"{bullet} ja omenat", fi, False) == "ja"


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


@pytest.mark.parametrize(
    ("code", "text", "found"),
    [
        ("fi", "Toiseksi kannattaa tarkistaa säätila.", "toiseksi"),
        ("fi", "Ja sitten satoi lunta.", "ja"),
        ("id", "Dan hujan pun turun.", "dan"),
        ("id", "Kedua, periksa cuaca.", "kedua,"),
        ("th", "ซึ่งจะทำให้ประชาชนได้รับประโยชน์", "ซึ่ง"),
        ("th", "และฝนก็ตกหนัก", "และ"),
        ("tr", "Bundan dolayı yol kapandı.", "bundan dolayı"),
        ("tr", "İkinci olarak havaya bakın.", "ikinci olarak"),
        ("vi", "Và trời đổ mưa.", "và"),
        ("vi", "Thứ hai, hãy xem thời tiết.", "thứ hai,"),
        ("bn", "এবং বৃষ্টি নামল।", "এবং"),
        ("bn", "দ্বিতীয়ত আবহাওয়া দেখুন।", "দ্বিতীয়ত"),
        ("hi", "और फिर बारिश हुई।", "और"),
        ("hi", "दूसरी बात यह है कि मौसम देखें।", "दूसरी बात"),
        ("sw", "Na mvua ikanyesha.", "na"),
        ("ta", "மற்றும் மழை பெய்தது.", "மற்றும்"),
        ("ur", "اور بارش ہوئی۔", "اور"),
        ("fi", "3. Avaa ikkuna.", "3."),
        ("tr", "2) Pencereyi açın.", "2)"),
        ("id", "3. Buka jendela.", "3."),
        ("th", "๒. เปิดหน้าต่าง", "๒."),
        ("bn", "২। জানালা খুলুন।", "২।"),
        ("hi", "(3) खिड़की खोलें।", "3)"),
    ],
)
def test_what_follows_on_a_first_sentence_or_item_is_seen(code, text, found):
    seen = openings.goes_on(text, BUILT_IN[code], later=False)
    assert unicodedata.normalize("NFC", seen) == unicodedata.normalize("NFC", found)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("fi", "Toiseksi suurin kaupunki on Espoo."),
        ("fi", "24. joulukuuta on jouluaatto."),
        ("fi", "1. Avaa ikkuna.\n2. Sulje ovi."),
        ("fi", "Jalka on kipeä."),
        ("id", "Kedua negara itu bertetangga."),
        ("id", "1945. Tahun kemerdekaan."),
        ("tr", "2. Dünya Savaşı 1939'da başladı."),
        ("tr", "Vedat eve geldi."),
        ("vi", "Thứ hai, ngày 5 tháng 3, trời mưa."),
        ("hi", "या तो आप आइए या मैं आऊँगा।"),
        ("hi", "औरत बाज़ार गई।"),
        ("ur", "یا تو آپ آئیں یا میں آؤں گا۔"),
        ("sw", "Nairobi ni mji mkuu wa Kenya."),
        ("sw", "2.500 watu walikuja."),
    ],
)
def test_a_first_sentence_that_begins_alike_is_a_start(code, text):
    assert openings.goes_on(text, BUILT_IN[code], later=False) == ""


@pytest.mark.parametrize("code", list(openings.DEPENDENT))
def test_words_that_lean_on_another_begin_no_text(code):
    language = BUILT_IN[code]
    for word in openings.DEPENDENT[code]:
        assert openings.goes_on(f"{word} x", language, False)
        assert openings.goes_on(f"{word} {word} x", language, False) == ""
        assert openings.goes_on(f"{word}x x", language, False) == ""


@pytest.mark.parametrize(
    ("code", "text", "found"),
    [
        ("hi", "के किनारे एक पुराना मंदिर है।", "के"),
        ("hi", "रहा था और बारिश हो रही थी।", "रहा"),
        ("bn", "থেকে বাড়ি ফিরতে রাত হয়ে গেল।", "থেকে"),
        ("ta", "என்று பாட்டி சொன்னாள்.", "என்று"),
        ("ur", "سے گھر لوٹتے ہوئے رات ہو گئی۔", "سے"),
        ("th", "จึงเลื่อนงานออกไป", "จึง"),
        ("hi", "ि", "ि"),
        ("fi", "” Sitten hän lähti.", "”"),
        ("fi", "”Mutta nyt sataa”, hän sanoi.", "mutta"),
        ("fi", "Kylän) koulu alkoi kello yhdeksän.", ")"),
        ("ta", "நீலகிரி] மலையில் மழை பெய்தது.", "]"),
        ("hi", "घर जाओ,” माँ ने कहा। “अभी!”", "”"),
        ("tr", "2. Pencereyi açın.\n3. Kapıyı kapatın.", "2."),
        ("fi", "4. keitä perunat\n5. kuori ne", "4."),
    ],
)
def test_what_leans_on_something_before_it_is_seen(code, text, found):
    seen = openings.goes_on(text, BUILT_IN[code], later=False)
    assert unicodedata.normalize("NFC", seen) == unicodedata.normalize("NFC", found)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("bn", "থেকে থেকে মেঘ ডাকছিল।"),
        ("hi", "सेब लाल हैं।"),
        ("hi", "मैं घर गया।"),
        ("ur", "میں گھر گیا۔"),
        ("ur", "کیا آپ آئیں گے؟"),
        ("ta", "எனது வீடு சிறியது."),
        ("th", "แต่ละบ้านมีสวน"),
        ("th", "ก็อกน้ำในครัวรั่ว"),
        ("fi", "A) Avaa ikkuna. B) Sulje ovi."),
        ("fi", "Hyvä päivä :) Tervetuloa."),
        ("fi", "Helsinki (ruots. Helsingfors) on kaupunki."),
        ("fi", "”Hyvää yötä”, hän sanoi."),
        ("tr", "2. Mehmet tahta çıktı.\n1451'de yine padişah oldu."),
    ],
)
def test_what_only_looks_like_leaning_is_a_start(code, text):
    assert openings.goes_on(text, BUILT_IN[code], later=False) == ""


def test_a_document_is_rather_cut_where_the_next_part_starts_afresh():
    fi = BUILT_IN["fi"]
    first = "Lumi satoi koko pitkän yön ja aamun."
    text = f"{first} Mutta tie oli auki kylään. Kylän koulu alkoi kello yhdeksän. Hyvä."
    parts = segment.cut(text, fi, 10, len(first) + 40, len(first))
    assert parts[0].endswith("kylään.") and parts[1].startswith("Kylän")
