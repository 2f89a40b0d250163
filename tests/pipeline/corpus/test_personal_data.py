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
        # Behind numbers that are none: it is no part of those.
        ("1999 0812 xyz 2005 040 1234567.", "1999 0812 xyz 2005 <PHONE>."),
        ("1999 0812 ja 2005 4111 1111 1111 1111.", "1999 0812 ja 2005 <CARD>."),
        # Behind a word for a phone, without '+' or 0.
        ("Puhelinnumeroni: 555 1234", "Puhelinnumeroni: <PHONE>"),
        ("Faksi (421-2) 53 41 26 65", "Faksi <PHONE>"),
        ("Teleponnya 7654-3210 ya", "Teleponnya <PHONE> ya"),
        ("No. HP: 812 3456 7890", "No. HP: <PHONE>"),
        ("Telefonumuz: 555 123 45 67", "Telefonumuz: <PHONE>"),
        ("Telefon numarası: 212 555 7788", "Telefon numarası: <PHONE>"),
        ("SĐT: 912 345 678 nhé", "SĐT: <PHONE> nhé"),
        ("Điện thoại số 3943 7072", "Điện thoại số <PHONE>"),
        ("Fax: 555 123 456", "Fax: <PHONE>"),
        ("ติดต่อเบอร์โทรศัพท์ 2624-1111 ครับ", "ติดต่อเบอร์โทรศัพท์ <PHONE> ครับ"),
        ("โทรสารหมายเลข ๒๖๒๔ ๑๑๑๑", "โทรสารหมายเลข <PHONE>"),
        ("ফোন নম্বর: ৫৫৫ ৭৭৮৮", "ফোন নম্বর: <PHONE>"),
        ("मोबाइल नंबर ९८१२३ ४५६७८ है", "मोबाइल नंबर <PHONE> है"),
        ("Simu ya mkononi: 712 345 6789", "Simu ya mkononi: <PHONE>"),
        ("தொலைபேசி எண்: 2345 6789", "தொலைபேசி எண்: <PHONE>"),
        ("موبائل نمبر: ۳۰۰ ۱۲۳۴ ۵۶۷", "موبائل نمبر: <PHONE>"),
        # A word for a version that says nothing of the number.
        ("Versi baru ada di peladen 8.8.8.8.", "Versi baru ada di peladen <IP>."),
        ("Sürüm notları: 8.8.4.4", "Sürüm notları: <IP>"),
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
        # Words that only begin or end like one for a phone.
        "Jumlahnya telah 1.250.000 orang.",
        "Setelah 1250000 tahun, telah 12345678 langkah.",
        "Hotel 1.200.000, hotel 1234567.",
        "Kulut kasvoivat puhtaasti 1 000 000 euroa, puhtaasti 1234567.",
        "PHP 5.000.000 dan PHP 5000000.",
        "Smart Telecom 1234567 dan Chastelein 1234567.",
        "Simulizi 1234567 na simulizi 7654321.",
        "มีเสาโทรเลขที่ 259/12-13 และโทรเลข 1234567 ฉบับ โทรทัศน์ 1234567 เครื่อง",
        "ไอโฟน 1234567 เครื่อง รถไฟเมโทร 1234567 คน",
        "আইফোন ১২৩৪৫৬৭ টি",
        "[phone] 21 22 23 24 25",
        # Sums, dates, years and times behind one.
        "Harga hp 3.500.000, harga hp 350.000.000, telepon 12 500 000 unit.",
        "Telefon 01.02.2024, puh. 2024-02-01.",
        "Smart Telecom (2006-2010), Bakrie Telecom (2003-2016, telepon 1941-1944.",
        "Cornelis Chastelein (1657–1714) membeli tanah.",
        "Perusahaan Intel.\n1981-1982: prosesor baru.",
        "Băng tần GSM 850/1900 MHz và GSM 850/900/1800.",
        # Times, decimals, references and binary digits that begin with 0.
        "เวลา 08.30-16.30 น. และเวลา ๐๗.๕๕-๐๘.๒๐ น.",
        "Ra mắt ngày 04/09/ 2013, tỷ giá 0.5418 (2006), chỉ số (0.800-1.000).",
        "Nomor 0287/0/1976 dan kode 01110101.",
        # Licences; not every two colons are an address.
        "Lisenssi: CC0:: ja B::A.",
        # Versions.
        "Rilis versi 2.0.1.3, versinya 2.0.1.4.",
        "Version 2.0.1.3, v2.0.1.3, v. 2.0.1.3, ver. 2.0.1.3, version no. 2.0.1.3.",
        "Versio 2.0.1.3 korvasi version 2.0.1.2, versiossa 2.0.1.1 oli vika.",
        "เวอร์ชัน 2.0.1.3 และเวอร์ชั่น ๒.๐.๑.๓",
        "Phiên bản 2.0.1.3, phiên bản số 2.0.1.4.",
        "Sürüm 2.0.1.3, sürümü: 2.0.1.4.",
        "संस्करण 2.0.1.3, संस्करण २.०.१.३",
        "সংস্করণ 2.0.1.3, সংস্করণ ২.০.১.৩",
        "Toleo 2.0.1.3, toleo la 2.0.1.4.",
        "பதிப்பு 2.0.1.3, பதிப்பு எண் 2.0.1.4",
        "ورژن 2.0.1.3 اور ورژن ۲.۰.۱.۳",
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
