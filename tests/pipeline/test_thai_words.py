"""Thai words that were cut in two are told from whole ones by their spelling."""

import numpy as np
import pytest

from tools import thai_edges
from xinst_jax.languages import BUILT_IN
from xinst_jax.pipeline import endings, openings

TH = BUILT_IN["th"]
SENTENCES = (
    "เมื่อวานฝนตกหนักมากจนถนนหน้าบ้านน้ำท่วม",
    "แม่ไปตลาดซื้อผักกับผลไม้มาทำอาหารเย็น",
    "น้องชายของฉันชอบเล่นฟุตบอลทุกวันหลังเลิกเรียน",
    "ร้านกาแฟเล็กๆ ริมแม่น้ำเปิดตั้งแต่เช้าตรู่",
    "ครูเล่านิทานให้เด็กฟังก่อนนอนกลางวัน",
    "ถ้าอากาศดีเราจะปั่นจักรยานไปเที่ยวทะเลกัน",
    "คุณยายปลูกกุหลาบสีชมพูไว้ข้างรั้ว",
    "หมอแนะนำให้ดื่มน้ำวันละแปดแก้วและนอนให้พอ",
    "รถไฟขบวนสุดท้ายออกจากสถานีตอนห้าทุ่ม",
    "แมวสองตัวนอนขดอยู่บนเก้าอี้หน้าโทรทัศน์",
    "เขาอ่านหนังสือเล่มนั้นจบภายในคืนเดียว",
    "ช่างไม้เลื่อยกระดานทำชั้นวางหนังสือใหม่",
)


def inside(sentence):
    """Places between two letters, neither of which is a mark."""
    return [
        place
        for place in range(1, len(sentence))
        if sentence[place - 1].isalpha() and sentence[place].isalpha()
    ]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_whole_sentences_end_and_start(sentence):
    assert endings.is_finished(sentence, TH)
    assert openings.goes_on(sentence, TH, later=False) == ""


def test_a_third_and_more_of_all_cuts_are_seen_from_either_side():
    """Many cuts are between two words, where no letter can tell."""
    cuts = [(s, place) for s in SENTENCES for place in inside(s)]
    broken = [not endings.is_finished(s[:place], TH) for s, place in cuts]
    begun = [bool(openings.goes_on(s[place:], TH, False)) for s, place in cuts]
    assert len(cuts) > 200
    assert np.mean(broken) > 0.33 and np.mean(begun) > 0.33


@pytest.mark.parametrize(
    ("text", "finished"),
    [
        ("สิ่งที่ต้องเตรียมมีหลายอย่าง เช่น", False),
        ("บ้านหลังนี้เป็นของ", False),
        ("ฉันยังไม่รู้ว่าเขาจะมาหรือไม่", True),
        ("เธอเป็นเจ้าของ", True),
        ("อาหารมื้อนี้ราคาถูกกว่า", True),
        ("ของที่ต้องใช้มีเท่าที่จำเป็น", True),
        ("กุญแจอยู่ข้างใน", True),
        ("ที่เขาพูดมานั้นเป็นความจริงหรือ", True),
        ("พรุ่งนี้เป็นวันหยุดไม่ใช่หรือ", True),
        ("เย็นนี้จะกินข้าวหรือ", False),
        ("ไฟไหม้จนเหลือแต่ขี้เถ้า", True),
        ("จะไปเที่ยวทะเลกันถ้า", False),
        ("น้องคนเล็กเป็นเด็กพูดเพราะ", True),
        ("วันนี้โรงเรียนหยุดเพราะ", False),
        ("ชาวประมงต่อเรือกอและ", True),
        ("แม่ซื้อผักและ", False),
    ],
)
def test_a_word_that_needs_a_complement_ends_no_text(text, finished):
    assert endings.is_finished(text, TH) is finished


def test_letters_that_are_never_at_an_edge_are_counted_as_such():
    """Phrases of three words each: only 'าง', 'าว' and 'าม' end one."""
    rng = np.random.default_rng(0)
    words = ["กาง", "ดาว", "นาม"]
    phrases = ["".join(rng.choice(words, size=3)) for _ in range(2000)]
    ends, starts, count = thai_edges.count([" ".join(phrases)])
    assert count == 2000
    no_end, no_start = set(ends.rare()), set(starts.rare())
    assert {"กา", "ดา", "นา", "งก"} <= no_end and {"าง", "งก", "วน"} <= no_start
    assert not no_end & {"ง", "ว", "ม", "าง", "กาง", "ดาว"}
    assert not no_start & {"ก", "ด", "น", "กา", "กาง", "นาม"}
