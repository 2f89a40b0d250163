"""Menus at a page's ends go; facts, verse and lists under headings stay."""

import pytest

from xinst_jax.languages import BUILT_IN
from xinst_jax.pipeline.corpus import page_lines

BODY = {
    "fi": "Mylly rakennettiin joen rannalle, ja sen ratas pyöri yötä päivää. Jauhot "
    "vietiin kirkonkylään hevosella, ja talvella matka kesti päivän.",
    "id": "Penggilingan itu dibangun di tepi sungai, dan rodanya berputar siang malam. "
    "Tepungnya dibawa ke kota dengan kuda.",
    "th": "โรงสีหลังนี้สร้างขึ้นริมแม่น้ำ กังหันหมุนทั้งวันทั้งคืน ชาวบ้านขนแป้งไปขายในเมืองด้วยเกวียน "
    "พอถึงหน้าหนาวต้องใช้เวลาเดินทางหนึ่งวันเต็ม แต่ทุกคนก็ยังไปเพราะตลาดให้ราคาดีกว่า",
    "tr": "Değirmen ırmağın kıyısına kuruldu, çarkı gece gündüz döndü. Un, kasabaya "
    "atla götürülürdü; kışın yol bir gün sürerdi.",
    "vi": "Cối xay được dựng bên sông, bánh xe quay suốt ngày đêm. Bột được chở ra chợ "
    "bằng ngựa, mùa đông phải đi mất một ngày.",
    "bn": "কলটি নদীর ধারে তৈরি হয়েছিল, তার চাকা দিনরাত ঘুরত। আটা ঘোড়ায় করে শহরে নেওয়া হতো।",
    "hi": "चक्की नदी के किनारे बनी थी, उसका पहिया दिन-रात घूमता था। आटा घोड़े पर शहर ले "
    "जाया जाता था, और जाड़े में एक दिन लगता था।",
    "sw": "Kinu kilijengwa kando ya mto, na gurudumu lake lilizunguka mchana na usiku. "
    "Unga ulipelekwa mjini kwa farasi.",
    "ta": "ஆலை ஆற்றங்கரையில் கட்டப்பட்டது, அதன் சக்கரம் இரவும் பகலும் சுழன்றது. மாவு குதிரையில் "
    "நகரத்துக்குக் கொண்டு செல்லப்பட்டது.",
    "ur": "چکی دریا کے کنارے بنی تھی، اس کا پہیہ دن رات گھومتا تھا۔ "
    "آٹا گھوڑے پر شہر لے جایا جاتا تھا۔",
}
MENU = {
    "fi": "Etusivu\nUutiset\nPalvelut\nTietoa meistä\nOta yhteyttä",
    "id": "Beranda\nBerita\nLayanan\nTentang kami\nHubungi kami",
    "th": "หน้าแรก\nข่าวสาร\nบริการ\nเกี่ยวกับเรา\nติดต่อเรา",
    "tr": "Ana sayfa\nHaberler\nHizmetler\nHakkımızda\nİletişim",
    "vi": "Trang chủ\nTin tức\nDịch vụ\nGiới thiệu\nLiên hệ",
    "bn": "প্রচ্ছদ\nখবর\nসেবা\nআমাদের কথা\nযোগাযোগ",
    "hi": "मुखपृष्ठ\nसमाचार\nसेवाएँ\nहमारे बारे में\nसंपर्क करें",
    "sw": "Mwanzo\nHabari\nHuduma\nKuhusu sisi\nWasiliana nasi",
    "ta": "முகப்பு\nசெய்திகள்\nசேவைகள்\nஎங்களைப் பற்றி\nதொடர்புக்கு",
    "ur": "صفحۂ اول\nخبریں\nخدمات\nہمارے بارے میں\nرابطہ کریں",
}
FACTS = {
    "fi": "Mestaruus: 1961, 1964\nPronssi: 1970\nPelaajat\nMaalit – 212",
    "id": "Juara liga: 1998, 2003\nPiala raja: 2005\nPelatih\nGol – 212",
    "th": "ต้นสะเดา\nชื่อวิทยาศาสตร์ : Azadirachta indica\nวงศ์ : Meliaceae\nชื่ออื่น : ควินิน",
    "tr": "Şampiyonluk: 1961, 1964\nKupa: 1970\nOyuncular\nGol – 212",
    "vi": "Vô địch: 1998, 2003\nCúp quốc gia: 2005\nHuấn luyện viên\nBàn thắng – 212",
    "bn": "চ্যাম্পিয়ন: ১৯৬১, ১৯৬৪\nকাপ: ১৯৭০\nখেলোয়াড়\nগোল – ২১২",
    "hi": "विजेता: १९६१, १९६४\nकप: १९७०\nखिलाड़ी\nगोल – २१२",
    "sw": "Ubingwa: 1961, 1964\nKombe: 1970\nWachezaji\nMabao – 212",
    "ta": "சாம்பியன்: 1961, 1964\nகோப்பை: 1970\nவீரர்கள்\nகோல்கள் – 212",
    "ur": "فاتح: ۱۹۶۱، ۱۹۶۴\nکپ: ۱۹۷۰\nکھلاڑی\nگول – ۲۱۲",
}


def cut(page: str, code: str) -> tuple[str, dict[str, int]]:
    found, counts = page_lines.without_frame(page, BUILT_IN[code])
    return found, dict(counts)


@pytest.mark.parametrize("code", list(BODY))
def test_a_menu_goes_and_facts_stay_at_either_end(code):
    body, menu, facts = BODY[code], MENU[code], FACTS[code]
    assert cut(f"{menu}\n\n{body}", code) == (body, {"menu_line": 5})
    assert cut(f"{body}\n\n{menu}", code) == (body, {"menu_line": 5})
    for page in (f"{facts}\n\n{body}", f"{body}\n\n{facts}"):
        assert cut(page, code) == (page, {})


@pytest.mark.parametrize("heading", ["== Kylät ==", "=== Kylät ===", "## Kylät"])
def test_what_stands_under_a_heading_is_a_list(heading):
    page = f"{BODY['fi']}\n\n{heading}\nAhola\nKoivula\nMäntylä\nRantala"
    assert cut(page, "fi") == (page, {})
    assert cut(page.replace(heading, "Kylät"), "fi")[1] == {"menu_line": 5}
    links = "Etusivu | Uutiset | Haku"
    assert cut(f"{page}\n{links}", "fi") == (page, {"menu_line": 1})


def test_headings_alone_are_no_menu_and_tags_are_one():
    headings = "== Alku ==\n== Keskus ==\n== Joki ==\n== Loppu =="
    page = f"{BODY['fi']}\n{headings}"
    assert cut(page, "fi") == (page, {})
    tags = "#mylly\n#joki2021\n#vilja\n#talvi"
    assert cut(f"{BODY['fi']}\n{tags}", "fi") == (BODY["fi"], {"menu_line": 4})


@pytest.mark.parametrize(
    ("code", "verse"),
    [
        (
            "hi",
            "नदी किनारे बैठा बगुला\nपानी में देखे अपनी छाया\nधूप से चमका रेत का टीला\n"
            "बादल आया छम छम गाया",
        ),
        ("vi", "Con cò của mẹ bay xa\nCánh đồng trong nắng\nMùa lúa đã về\nTôi đi"),
        (
            "id",
            "Angin di tepi danau\nMalam yang dingin dan sunyi\nDaun jatuh\nAku",
        ),
        (
            "ur",
            "دریا کے پار اک گاؤں\nبارش میں بھیگی چھاؤں\nپیپل کی ٹھنڈی ہوا\nبچے اور ناؤ",
        ),
    ],
)
def test_verse_before_and_behind_prose_stays(code, verse):
    for page in (f"{verse}\n\n{BODY[code]}", f"{BODY[code]}\n\n{verse}"):
        assert cut(page, code) == (page, {})


def test_a_few_lines_that_say_something_do_not_save_a_menu():
    menu = f"{MENU['vi']}\nTin 24 giờ\nĐường dây nóng: 113\nGiỏ hàng\nTuyển dụng"
    page = f"{menu}\n\n{BODY['vi']}"
    assert cut(page, "vi") == (BODY["vi"], {"menu_line": 9})


@pytest.mark.parametrize(
    ("code", "menu"),
    [
        ("sw", "Mwanzo\nHabari za kitaifa\nHabari za dunia\nSera ya faragha\nMichezo"),
        ("hi", "मुखपृष्ठ\nदेश की खबरें\nखेल की खबरें\nहमारे बारे में\nसंपर्क"),
        ("ur", "صفحۂ اول\nملک کی خبریں\nکھیل کی خبریں\nہمارے بارے میں\nرابطہ"),
        ("id", "Beranda\nSyarat dan ketentuan\nSeni dan budaya\nPendidikan\nKontak"),
    ],
)
def test_short_names_with_a_stop_word_are_items_of_a_menu(code, menu):
    assert cut(f"{menu}\n\n{BODY[code]}", code) == (BODY[code], {"menu_line": 5})


def test_a_page_that_is_nearly_all_short_lines_is_left_to_the_filter_of_texts():
    names = "\n".join(f"บ้าน{name}" for name in ("นา", "ดอน", "โคก", "ท่า", "หนอง") * 9)
    page = f"{BODY['th'][:90]}\n{names}"
    assert cut(page, "th") == (page, {})
    assert cut(f"{BODY['th']}\n{names[:60]}", "th")[0] == BODY["th"]
