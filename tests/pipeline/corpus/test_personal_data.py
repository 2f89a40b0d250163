"""Personal data is masked in every script's digits; what looks like it stays."""

import pytest

from xinst_jax.pipeline.corpus.personal_data import mask


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Kirjoita aino.k@esimerkki.fi!", "Kirjoita <EMAIL>!"),
        ("संपर्क: राम@उदाहरण.भारत पर", "संपर्क: <EMAIL> पर"),
        ("Puh. 040 123 4567, kotiin.", "Puh. <PHONE>, kotiin."),
        ("Numero on +358 (0)40 123 4567.", "Numero on <PHONE>."),
        ("Telp: (021) 555-7788 ya", "Telp: <PHONE> ya"),
        ("โทร ๐๘๑-๒๓๔-๕๖๗๘ ครับ", "โทร <PHONE> ครับ"),
        ("फ़ोन: ०१२३ ४५६७ ८९० पर", "फ़ोन: <PHONE> पर"),
        ("ফোন ০১৭১১-১২৩৪৫৬ নম্বরে", "ফোন <PHONE> নম্বরে"),
        ("فون ۰۳۰۰-۱۲۳۴۵۶۷ پر", "فون <PHONE> پر"),
        ("Palvelin 8.8.8.8 vastasi.", "Palvelin <IP> vastasi."),
        ("Palvelin ८.८.८.८ vastasi.", "Palvelin <IP> vastasi."),
        ("Osoite 2001:4860:4860::8888 vastasi.", "Osoite <IP> vastasi."),
        ("Kortti 4111 1111 1111 1111 kävi.", "Kortti <CARD> kävi."),
        ("कार्ड ४१११ ११११ ११११ ११११ था।", "कार्ड <CARD> था।"),
        ("Tili FI21 1234 5600 0007 85 on.", "Tili <IBAN> on."),
        # Right behind another number.
        ("Vuonna 2019 0912 345 6789.", "Vuonna 2019 <PHONE>."),
        ("Klo 12.5. 0400 123456 auki.", "Klo 12.5. <PHONE> auki."),
        ("ปี ๒๕๖๒ ๐๙๑๒ ๓๔๕ ๖๗๘๙", "ปี ๒๕๖๒ <PHONE>"),
        ("Vuonna 2019 4111 1111 1111 1111.", "Vuonna 2019 <CARD>."),
        ("वर्ष २०१९ ४१११ ११११ ११११ ११११।", "वर्ष २०१९ <CARD>।"),
        ("Tili DE89370400440532013000 on.", "Tili <IBAN> on."),
    ],
)
def test_it_is_masked(text, masked):
    assert mask(text)[0] == masked


@pytest.mark.parametrize(
    "text",
    [
        # Check digits that are wrong; networks that nobody owns.
        "Kortti 4111 1111 1111 1112 kävi.",
        "Tili FI21 1234 5600 0007 86 on.",
        "Palvelin 192.168.0.1 ja 127.0.0.1 vastasi.",
        "Versio 300.1.2.3 tuli.",
        # Dates, times, years, sums, books.
        "Päivä 01.02.2024 ja 2024-02-01, kello 12:30:45.",
        "Vuosina 1939–1945 ja 1941-1944.",
        "Hinta oli 1 234 567,50 euroa, väkiluku 5 500 000.",
        "Euroja 5 012 345 678 ja 12 045 678 901.",
        "Luvut 1900 4111 1111 1111 1111 1112.",
        "ISBN 0-306-40615-2 ja ISBN 978-0-306-40615-7.",
        "Pii on 3.14159265358979.",
        "ปี ๒๕๖๗ และ ๐๑/๐๒/๒๕๖๗",
        "Twitter: @aino ja a @ b.",
    ],
)
def test_what_only_looks_like_it_stays(text):
    assert mask(text) == (text, {})


def test_it_is_counted_by_kind():
    text = "a@b.fi, c@d.fi, 8.8.4.4 ja +358 40 1234567."
    assert mask(text)[1] == {"email": 2, "ip": 1, "phone": 1}


def test_long_runs_take_no_longer_than_their_length():
    for text in ("1 " * 50_000, "a" * 100_000 + "@", "1.1." * 30_000, ":" * 99_999):
        assert mask(text)[0] is not None
