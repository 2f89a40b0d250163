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


BODY = {
    "fi": "Lumi satoi koko yön, ja aamulla pihalla oli valkoista.",
    "id": "Hujan turun sepanjang malam, dan paginya halaman basah.",
    "th": "ฝนตกทั้งคืนจนถึงเช้า สวนหลังบ้านเปียกไปหมดและมีน้ำขังอยู่หลายแห่ง ต้องรอสองวันกว่าดินจะแห้ง",
    "tr": "Bütün gece kar yağdı, sabah bahçe bembeyazdı.",
    "vi": "Trời mưa suốt đêm, và sáng ra sân ướt sũng.",
    "bn": "সারা রাত বৃষ্টি হয়েছিল, সকালে উঠান ভিজে ছিল।",
    "hi": "रात भर बारिश हुई, और सुबह आँगन भीगा हुआ था।",
    "sw": "Mvua ilinyesha usiku kucha, na asubuhi ua ulikuwa umelowa.",
    "ta": "இரவு முழுவதும் மழை பெய்தது, காலையில் முற்றம் ஈரமாக இருந்தது.",
    "ur": "رات بھر بارش ہوئی، اور صبح صحن بھیگا ہوا تھا۔",
}


@pytest.mark.parametrize(
    ("code", "notice"),
    [
        ("fi", "Palvelumme käyttää vain välttämättömiä evästeitä."),
        ("fi", "Sallitko evästeet? Kyllä, hyväksyn kaikki."),
        ("id", "Kami menggunakan kuki demi kenyamanan pengunjung."),
        ("id", "Dengan menutup pesan ini, Anda menyetujui cookie."),
        ("th", "หน้านี้ใช้คุกกี้เพื่อจดจำการเข้าสู่ระบบของท่าน"),
        ("th", "กรุณาอนุญาตให้เก็บคุกกี้"),
        ("tr", "Bu sayfa, oturumunuzu hatırlamak için çerez kullanır."),
        ("tr", "BU İNTERNET SİTESİ ÇEREZ KULLANIR."),
        ("tr", "Kapat düğmesine basarak çerezleri kabul ediyorsunuz."),
        ("vi", "Ứng dụng này dùng cookie để ghi nhớ lựa chọn."),
        ("bn", "আমাদের সাইট কুকিজ ব্যবহার করে।"),
        ("bn", "কুকি রাখার অনুমতি দিন।"),
        ("hi", "यह साइट लॉगिन याद रखने के लिए कुकीज का प्रयोग करती है।"),
        ("sw", "Tovuti yetu inatumia kuki kukumbuka lugha yako."),
        ("sw", "Ruhusu vidakuzi vyote?"),
        ("ta", "உங்கள் மொழியை நினைவில் வைக்கக் குக்கிகளைப் பயன்படுத்துகிறோம்."),
        ("ur", "اس سائٹ پر زبان یاد رکھنے کے لیے کوکیز استعمال ہوتی ہیں۔"),
        ("ur", "کیا آپ کوکیز کی اجازت دیتے ہیں؟"),
        ("id", "This website uses cookies."),
    ],
)
def test_notices_that_ask_and_that_only_tell_go(code, notice):
    page, language = f"{notice}\n\n{BODY[code]}", BUILT_IN[code]
    assert page_lines.without_frame(page, language) == (BODY[code], {"notice_line": 1})


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("fi", "Eväste on pieni tiedosto, jonka verkkosivusto tallentaa selaimeen."),
        ("fi", "Retkellä meillä oli eväinä keksejä ja omenoita."),
        ("id", "Kuki ini dibuat dari mentega, tepung, dan gula aren."),
        ("id", "Untuk adonan kuki ini, ibu menggunakan mentega."),
        ("th", "คุกกี้เป็นขนมอบชิ้นเล็กที่ทำจากแป้งและเนย"),
        ("tr", "Düğünlerde konuklara çerez ve şerbet ikram edilir."),
        ("tr", "Bu tarifte çerez yerine ceviz kullanıyoruz."),
        ("vi", "Cookie là tệp nhỏ mà trình duyệt lưu trên máy."),
        ("bn", "কুকি হলো ব্রাউজারে রাখা ছোট একটি ফাইল।"),
        ("hi", "कुकी एक छोटी फ़ाइल है जिसे ब्राउज़र रखता है।"),
        ("sw", "Vidakuzi ni faili ndogo katika kivinjari."),
        ("ta", "குக்கீ என்பது உலாவி வைத்திருக்கும் சிறிய கோப்பு."),
        ("ur", "کوکی ایک چھوٹی فائل ہوتی ہے جو براؤزر رکھتا ہے۔"),
    ],
)
def test_what_is_told_of_cookies_stays(code, line):
    text = f"{line}\n{BODY[code]}"
    assert page_lines.without_frame(text, BUILT_IN[code]) == (text, {})


@pytest.mark.parametrize(
    ("code", "line", "kind"),
    [
        ("fi", "Teksti ja kuvat: Aino Aho", "caption_line"),
        ("fi", "Arkistokuva: Aino Aho", "caption_line"),
        ("fi", "Muita uutisia: Kylän koulu avattiin", "read_more_line"),
        ("id", "Sumber gambar: Dok. Desa", "caption_line"),
        ("id", "Berita lainnya: Sekolah desa dibuka", "read_more_line"),
        ("th", "ขอบคุณภาพจาก : เทศบาลตำบล", "caption_line"),
        ("th", "บทความที่น่าสนใจ: เปิดโรงเรียนใหม่", "read_more_line"),
        ("tr", "Görsel kaynağı: Ayşe Ak", "caption_line"),
        ("tr", "Benzer yazılar: Köy okulu açıldı", "read_more_line"),
        ("vi", "Nguồn ảnh: Lan Anh", "caption_line"),
        ("vi", "Tin liên quan: Khai giảng trường làng", "read_more_line"),
        ("bn", "ছবির সূত্র: রিনা দাস", "caption_line"),
        ("bn", "সংশ্লিষ্ট সংবাদ: গ্রামের স্কুল খুলল", "read_more_line"),
        ("hi", "तस्वीर साभार: रीना दास", "caption_line"),
        ("hi", "अन्य समाचार: गाँव का स्कूल खुला", "read_more_line"),
        ("sw", "Picha kwa hisani ya: Asha Ali", "caption_line"),
        ("sw", "Makala zinazofanana: Shule ya kijiji yafunguliwa", "read_more_line"),
        ("ta", "படங்கள் உதவி: ராணி", "caption_line"),
        ("ta", "பிற செய்திகள்: பள்ளி திறப்பு", "read_more_line"),
        ("ur", "تصویر بشکریہ: رینا داس", "caption_line"),
        ("ur", "دیگر خبریں: گاؤں کا اسکول کھلا", "read_more_line"),
    ],
)
def test_credits_and_links_are_known_by_what_they_are_put_together_from(
    code, line, kind
):
    page = f"{BODY[code]}\n{line}"
    assert page_lines.without_frame(page, BUILT_IN[code]) == (BODY[code], {kind: 1})


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("fi", "Kuvaus: vanha puutalo järven rannalla."),
        ("fi", "Lisätietoja: koulu on auki arkisin."),
        ("id", "Gambaran umum: desa itu terletak di lembah."),
        ("th", "ภาพรวม: ปีนี้ฝนตกน้อยกว่าปีก่อน"),
        ("th", "สุขภาพ: ควรดื่มน้ำให้มาก"),
        ("tr", "Diğer konuşmacılar: Ayşe Ak ve Ali Er."),
        ("tr", "Fotoğrafçılık: ışıkla çizme sanatı."),
        ("vi", "Tình hình: trời mưa cả tuần."),
        ("bn", "মানচিত্র: গ্রামটি নদীর ধারে।"),
        ("hi", "चरित्र: राजा दयालु था।"),
        ("sw", "Habari: leo ni siku ya soko."),
        ("ta", "கதாபாத்திரங்கள்: அரசன், அரசி."),
        ("ur", "خبر: گاؤں میں بارش ہوئی۔"),
    ],
)
def test_other_words_before_a_colon_stay(code, line):
    text = f"{line}\n{BODY[code]}"
    assert page_lines.without_frame(text, BUILT_IN[code]) == (text, {})


@pytest.mark.parametrize("code", list(BUILT_IN))
def test_few_links_at_an_end_go_and_in_the_middle_stay(code):
    language, body = BUILT_IN[code], BODY[code]
    links = ["Etusivu | Uutiset | Haku", "www.esimerkki.fi/etusivu"]
    page = "\n".join([links[0], "", body, "", *links])
    assert page_lines.without_frame(page, language) == (body, {"menu_line": 3})
    middle = "\n".join([body, *links, body])
    assert page_lines.without_frame(middle, language) == (middle, {})


def test_a_menu_may_have_some_longer_lines():
    th, long = BUILT_IN["th"], "ศูนย์ช่วยเหลือผู้สูงอายุและผู้พิการประจำเทศบาลเมืองใหม่"
    menu = ["หน้าแรก", "ข่าวสาร", long, "ติดต่อเรา", "ร้านค้า"]
    page = "\n".join([*menu, "", BODY["th"]])
    assert len(regex.findall(r"\P{M}", long)) > 40
    assert page_lines.without_frame(page, th) == (BODY["th"], {"menu_line": 5})
    only_long = "\n".join([*[long] * 5, "", BODY["th"]])
    assert page_lines.without_frame(only_long, th) == (only_long, {})
