"""Words before a number that say what it is: a telephone's, or a version's."""

import unicodedata

import regex

PHONE: dict[str, tuple[str, ...]] = {
    "en": ("tel", "(?:tele|cell)?phones?", "mobile", "cell", "whats ?app", "fax"),
    "fi": ("puh", "(?:matka)?puhelin(?:numero)?(?:ni|mme)?", "gsm", "faksi(?:n|lla)?"),
    "id": ("telp", "telf", "telepon(?:nya)?", "hp", "ponsel", "faks(?:imile)?"),
    "th": (
        "(?<!เม|ปิ|ล็ก)โทร(?:ศัพท์|สาร)?(?:เคลื่อนที่|มือถือ)?(?:ได้ที่|ติดต่อ|ที่)?",
        "แฟ็?ก[ซส]์",
        "มือถือ",
    ),
    "tr": ("telefon(?:u|um|umuz|unuz|lar|ları|la|dan)?", "gsm", "cep", "faks(?:ı)?"),
    "vi": ("điện thoại", "s?đt(?:dđ)?", "di động", "hotline", "đường dây nóng"),
    "bn": ("(?:টেলি)?ফোন(?:ে|ঃ)?", "মোবাইল(?:ে|ঃ)?", "ফ্যাক্স(?:ঃ)?"),
    "hi": ("(?:टेली)?(?:फ़ोन|फोन)", "मोबाइल", "मो", "दूरभाष", "फैक्स"),
    "sw": ("simu(?: ya mkononi)?", "rununu", "nukushi"),
    "ta": ("தொலைபேசி", "மொபைல்", "கைபேசி", "அலைபேசி", "செல்பேசி", "தொலைநகல்"),
    "ur": ("(?:ٹیلی ?)?فون", "موبائل", "فیکس"),
}
"""Patterns of what a telephone or its number is called, with the endings that it has
before a number."""

VERSION: dict[str, tuple[str, ...]] = {
    "en": ("versions?", "ver", "v", "release", "firmware", "build"),
    "fi": ("versio(?:n|on|ta|ssa|sta|lla|lle|ksi)?",),
    "id": ("versi(?:nya)?",),
    "th": ("เวอร์ชั่?น(?:ที่)?", "รุ่น(?:ที่)?"),
    "tr": ("sürüm(?:ü|ün|üne|ünü|ünde|ünden|e|de|den|ler|leri)?", "sürümü"),
    "vi": ("phiên bản", "bản"),
    "bn": ("সংস্করণ(?:ে|ের|টি)?", "ভার্সন(?:ে|ের)?"),
    "hi": ("संस्करण(?:ों)?", "वर्[शज]़?न"),
    "sw": ("toleo", "matoleo"),
    "ta": ("பதிப்பு", "பதிப்பில்", "பதிப்பின்", "பதிப்பை"),
    "ur": ("ورژن", "نسخ(?:ہ|ے)"),
}
"""Patterns of what a version is called, likewise."""

_NUMBER = (
    *("no", "nr", "number", "nro", "numero", "nomor", "numara(?:sı|m|mız)?"),
    *("số", "หมายเลข", "เบอร์", "নম্বর", "নাম্বার", "নং", "नंबर", "नम्बर", "नं", "क्रमांक"),
    *("namba", "la", "எண்", "نمبر"),
)
# Thai has no spaces between words: any letter may stand before one of its words.
_SPACED_BEFORE = r"(?<![\p{L}\p{M}\p{N}])"
# Not the end of a line: what stands there is said of another number.
_GAP = r"[ \u00a0\t.:：ঃ()–-]{0,4}"


def _before_number(words: dict[str, tuple[str, ...]]) -> regex.Pattern:
    """What matches up to a number if one of the words says what it is."""
    thai = "|".join(words["th"])
    others = "|".join(
        each for code, own in words.items() if code != "th" for each in own
    )
    joined = f"(?:{_SPACED_BEFORE}(?:{others})|(?:{thai}))"
    number = "|".join(_NUMBER)
    pattern = rf"{joined}(?:[ .]{{0,2}}(?:{number})(?![\p{{L}}\p{{M}}]))?{_GAP}$"
    return regex.compile(unicodedata.normalize("NFC", pattern), regex.IGNORECASE)


_PHONE, _VERSION = _before_number(PHONE), _before_number(VERSION)


def is_phones(before: str) -> bool:
    """Whether what stands before a number says that it is a telephone's.

    >>> is_phones("Puh. "), is_phones("Bakrie Telecom ("), is_phones("telah ")
    (True, False, False)
    """
    return _PHONE.search(before) is not None


def is_versions(before: str) -> bool:
    """Whether it says that it is a version's.

    >>> is_versions("dalam versi "), is_versions("di peladen ")
    (True, False)
    """
    return _VERSION.search(before) is not None
