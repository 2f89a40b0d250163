"""Documents are cut at paragraph and sentence ends, in every script."""

import doctest
import json
import pathlib

import pytest

from xinst_jax.languages import BUILT_IN, Language
from xinst_jax.pipeline import endings, segment

SAMPLE = pathlib.Path(__file__).parents[2] / "data" / "sample" / "corpus"


def good_texts(code):
    rows = map(json.loads, (SAMPLE / f"{code}.jsonl").read_text("utf-8").splitlines())
    return [row["text"] for row in rows if not row["planted"]]


@pytest.mark.parametrize("code", list(BUILT_IN))
def test_segments_are_whole_and_in_the_window(code):
    document = "\n\n".join(good_texts(code))
    parts = segment.cut(document, BUILT_IN[code], 300, 1000, 700)
    assert len(parts) > 8
    assert all(300 <= len(part) <= 1000 for part in parts)
    assert all(endings.is_finished(part, BUILT_IN[code]) for part in parts)
    # Nothing is lost and nothing moved: only white space stands between segments.
    assert "".join("".join(parts).split()) == "".join(document.split())
    mean = sum(map(len, parts)) / len(parts)
    assert 600 < mean < 900


@pytest.mark.parametrize("code", list(BUILT_IN))
def test_one_line_is_cut_in_every_script(code):
    document = " ".join(" ".join(good_texts(code)).split())
    parts = segment.cut(document, BUILT_IN[code], 300, 1000, 700)
    assert all(300 <= len(part) <= 1000 for part in parts)
    marks = tuple(BUILT_IN[code].sentence_ends)
    if code != "th":
        ended = [part.rstrip("\"'”’»)").endswith(marks) for part in parts]
        assert all(ended)


def test_a_document_that_fits_is_left_whole():
    text = "Yksi.\n\nKaksi.\n\nKolme."
    assert segment.cut(text, BUILT_IN["fi"], 3, 30, 5) == [text]


def test_paragraph_ends_are_preferred_to_sentence_ends():
    paragraphs = ["Lumi satoi hiljaa maahan. Tuuli kävi pohjoisesta."] * 6
    parts = segment.cut("\n\n".join(paragraphs), BUILT_IN["fi"], 30, 110, 100)
    assert parts == ["\n\n".join(paragraphs[:2])] * 3


def test_a_heading_stays_with_what_follows_it():
    block = "Otsikko\nTässä on virke, joka on melko pitkä. Ja tässä on toinen."
    parts = segment.cut("\n".join([block] * 4), BUILT_IN["fi"], 30, 100, 70)
    assert parts == [block] * 4


def test_headings_at_the_end_are_left_off_and_a_list_is_not_taken_for_text():
    text = "Järvi on syvä.\n== Katso myös ==\n== Lähteet =="
    assert segment.cut(text, BUILT_IN["fi"], 3, 100, 50) == ["Järvi on syvä."]
    menu = "Etusivu\nUutiset\nHaku"
    assert segment.cut(menu, BUILT_IN["fi"], 3, 100, 50) == [menu]


@pytest.mark.parametrize(
    ("code", "first", "rest"),
    [
        ("fi", "Hän tuli 28. helmikuuta kotiin.", " Lumi satoi."),
        ("fi", "Dr. Aalto sanoi: ”Hyvä.”", " Sitten hän lähti."),
        ("tr", "Sultan III. Selim onu sevdi.", " Sonra gitti."),
        ("vi", "Ông đến TP. Huế hôm qua.", " Trời mưa to."),
        ("id", "Situs www.contoh.co.id dibuka.", " Semua senang."),
        ("hi", "वह घर गया।", "फिर वह सो गया।"),
        ("ur", "وہ گھر گیا۔", "پھر سو گیا۔"),
        ("ta", "எம். ஜி. இராமச்சந்திரன் நடித்தார்.", " மக்கள் மகிழ்ந்தனர்."),
        ("sw", "Alisema nini?", " Hakuna ajuaye."),
    ],
)
def test_sentences_end_where_a_reader_says(code, first, rest):
    # A limit just past the first sentence leaves it alone.
    short = segment.shorten(first + rest, BUILT_IN[code], len(first) + 2)
    assert short == first


def test_thai_is_cut_between_phrases_only():
    text = "ตลาดเปิดทุกวัน ราคาไม่แพง เปิด 9 โมงเช้า คนเยอะมาก ๆ ทุกเสาร์"
    ends = ("ตลาดเปิดทุกวัน", "ราคาไม่แพง", "โมงเช้า", "มาก ๆ", "ทุกเสาร์")
    for target in range(8, 40):
        parts = segment.cut(text, BUILT_IN["th"], 5, 40, target)
        assert " ".join(parts) == text
        assert all(part.endswith(ends) for part in parts)
        assert not any(part.startswith("ๆ") for part in parts)


def test_a_sentence_longer_than_the_window_is_left_to_the_caller():
    long = "Sana " + "sana " * 100 + "loppu."
    parts = segment.cut(
        f"Alku tuli ensin. {long} Loppu tuli sitten.", BUILT_IN["fi"], 5, 80, 40
    )
    assert max(map(len, parts)) > 80 and parts[0] == "Alku tuli ensin."


def test_shorten_keeps_whole_sentences():
    text = "Lumi satoi. Tuuli kävi. Aurinko laski."
    for limit in range(len(text) + 2):
        short = segment.shorten(text, BUILT_IN["fi"], limit)
        if limit < 11:
            assert short is None
        else:
            assert len(short) <= limit and short in (
                "Lumi satoi.",
                "Lumi satoi. Tuuli kävi.",
                text,
            )
    assert segment.shorten(text, BUILT_IN["fi"], 23) == "Lumi satoi. Tuuli kävi."


@pytest.mark.parametrize(
    ("code", "text", "finished"),
    [
        ("fi", "Se loppui.", True),
        ("fi", 'Hän sanoi: "Loppu."', True),
        ("fi", "Näin kirjoitti Aalto.[12]", True),
        ("fi", "Se loppui! 😀 ##", True),
        ("fi", "Silmien on annettava tottua pime", False),
        ("fi", "Katso seuraavat:", False),
        ("fi", "Lue lisää [...]", False),
        ("fi", "Uutinen jatkuu (…)", False),
        ("fi", "***", False),
        ("hi", "वह घर गया।", True),
        ("hi", "वह घर गया", False),
        ("ur", "وہ گھر گیا۔", True),
        ("ur", "کیا وہ گیا؟", True),
        ("bn", "সে বাড়ি গেল।”", True),
        ("ta", "அவன் வந்தான்.", True),
        ("th", "แล้วเสิร์ฟขณะร้อน", True),
        ("th", "จึงผอมโซและต้องย้ายถิ่นไปหา", False),
        ("th", "ชาวบ้านปลูกข้าวและ", False),
        ("th", "เขาเดินไปที่เ", False),
    ],
)  # fmt: skip
def test_cut_texts_are_told_from_finished_ones(code, text, finished):
    assert endings.is_finished(text, BUILT_IN[code]) is finished


def test_a_language_without_spaces_but_with_marks_is_judged_by_them():
    chinese = Language("zh", "Chinese", ("Han",), spaced=False, sentence_ends="。！？")
    assert endings.is_finished("他回家了。", chinese)
    assert not endings.is_finished("他回家了", chinese)
    assert segment.shorten("他回家了。他睡了。", chinese, 6) == "他回家了。"
    parts = segment.cut("他回家了。他睡了。" * 4, chinese, 4, 12, 9)
    assert all(part.endswith("。") for part in parts)


def test_docstring_examples_hold():
    assert doctest.testmod(segment).failed == 0
    assert doctest.testmod(endings).failed == 0
