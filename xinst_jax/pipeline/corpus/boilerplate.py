"""Text that is on a page but is no text of it: menus, cookie notices, tables."""

import dataclasses

import regex

from xinst_jax.languages import Language
from xinst_jax.pipeline import endings

COOKIE_WORDS: dict[str, tuple[str, ...]] = {
    "en": ("cookie",),
    "fi": ("eväste",),
    "id": ("kuki",),
    "th": ("คุกกี้", "คุ้กกี้", "คุกกี"),
    "tr": ("çerez", "tanımlama bilgi"),
    "vi": (),
    "bn": ("কুকি",),
    "hi": ("कुकी", "कूकी"),
    "sw": ("vidakuzi", "kidakuzi", "kuki"),
    "ta": ("குக்கீ", "குக்கி", "நினைவிகள"),
    "ur": ("کوکی",),
}
"""What notices call a cookie in each language; the English word is looked for too."""

CONSENT_WORDS: dict[str, tuple[str, ...]] = {
    "en": ("privacy policy", "cookie policy", "accept", "consent", "settings"),
    "fi": ("tietosuoja", "hyväksy", "suostumu", "asetuks", "salli", "hylkää"),
    "id": ("kebijakan", "etuju", "terima", "menerima", "pengaturan", "izin", "tolak"),
    "th": ("ความเป็นส่วนตัว", "ยอมรับ", "ยินยอม", "การตั้งค่า", "อนุญาต", "ปฏิเสธ"),
    "tr": ("gizlilik", "kabul et", "kabul ed", "onay", "ayarlar", "izin ver", "reddet"),
    "vi": ("quyền riêng tư", "đồng ý", "chấp nhận", "cài đặt", "cho phép", "từ chối"),
    "bn": ("গোপনীয়তা", "গ্রহণ", "সম্মতি", "সেটিংস", "সম্মত", "অনুমতি", "প্রত্যাখ্যান"),
    "hi": ("गोपनीयता", "स्वीकार", "सहमत", "सेटिंग", "अनुमति", "मंजूर", "मंज़ूर"),
    "sw": ("faragha", "kubali", "idhini", "mipangilio", "ruhusu", "ridhi", "kataa"),
    "ta": ("தனியுரிமை", "ஏற்", "ஒப்புதல்", "அமைப்பு", "அனுமதி", "சம்மத", "நிராகரி"),
    "ur": (
        "پرائیویسی",
        "رازداری",
        "قبول",
        "متفق",
        "اتفاق",
        "ترتیبات",
        "اجازت",
        "رضامند",
    ),
}
"""Words of consent beside which a cookie is a browser's: C4's policy phrases (Raffel et
al. 2020, section 2.2; `_POLICY_SUBSTRINGS` in TFDS' c4_utils) as notices put them in
each language, stems of what is inflected, with the labels of the buttons."""

_COOKIE_CHARS = 200
_ITEM_SEPARATOR = regex.compile(r"\n|[|•·»›]")
_ITEM_CHARS = 40
_MARKS = regex.compile(r"\p{M}+")
_MIN_ITEMS = 5
_MAX_ITEM_SHARE = 0.5
_LETTERS = regex.compile(r"[\p{L}\p{M}]+")
_MIN_LETTER_SHARE = 0.6
_MAX_REPEATED_SHARE = 0.3
_MAX_LOST_SHARE = 0.002


MENU, COOKIE_NOTICE = "menu", "cookie_notice"
"""Reasons of texts that a page's frame is made of."""


@dataclasses.dataclass(frozen=True)
class Flaw:
    """Why a text is refused.

    Attributes:
      reason: one word, countable.
      value: what was measured.
      threshold: what would have been accepted.
    """

    reason: str
    value: str
    threshold: str


def find(text: str, language: Language) -> Flaw | None:
    """The first reason, if any, for which a cleaned text is no prose of a page."""
    flaw = damaged(text)
    for check in (_cookie_notice, _few_letters, _menu, _repeated_lines):
        flaw = flaw or check(text, language)
    return flaw


def damaged(text: str) -> Flaw | None:
    """Too many characters that were lost in an earlier decoding."""
    share = text.count("\ufffd") / max(1, len(text))
    if share <= _MAX_LOST_SHARE:
        return None
    return Flaw("damaged", f"{share:.3f} lost", f"<= {_MAX_LOST_SHARE}")


def _cookie_notice(text: str, language: Language) -> Flaw | None:
    """Cookies named twice or more, every 200 characters, beside words of consent."""
    lower = text.lower()
    named = sum(
        lower.count(word)
        for word in (*COOKIE_WORDS["en"], *COOKIE_WORDS.get(language.code, ()))
    )
    if named < max(2, len(text) / _COOKIE_CHARS):
        return None
    words = (*CONSENT_WORDS["en"], *CONSENT_WORDS.get(language.code, ()))
    if not any(word in lower for word in words):
        return None
    return Flaw(COOKIE_NOTICE, f"{named} mentions", f"< 1 in {_COOKIE_CHARS} chars")


def is_short(line: str) -> bool:
    """Whether a line may be an item of a menu: 40 characters, marks not counted.

    A mark takes no room of its own, and in Tamil and Thai every third character is one.
    """
    if len(line) <= _ITEM_CHARS:
        return True
    return len(line) <= 4 * _ITEM_CHARS and len(_MARKS.sub("", line)) <= _ITEM_CHARS


def _menu(text: str, language: Language) -> Flaw | None:
    """Most of it short items, a line or a cell each, that are no sentences."""
    items = [
        part
        for part in map(str.strip, _ITEM_SEPARATOR.split(text))
        if part and is_short(part) and not _ends_sentence(part, language)
    ]
    share = sum(map(len, items)) / max(1, _ink(text))
    if len(items) < _MIN_ITEMS or share <= _MAX_ITEM_SHARE:
        return None
    return Flaw(MENU, f"{min(share, 1):.2f} in items", f"<= {_MAX_ITEM_SHARE}")


def _ends_sentence(part: str, language: Language) -> bool:
    return endings.marks_sentences(language) and endings.is_finished(part, language)


def _ink(text: str) -> int:
    """Characters of a cleaned text that are no white space."""
    return len(text) - text.count(" ") - text.count("\n")


def _few_letters(text: str, language: Language) -> Flaw | None:
    """Tables, codes and numbers."""
    share = sum(map(len, _LETTERS.findall(text))) / max(1, _ink(text))
    if share >= _MIN_LETTER_SHARE:
        return None
    return Flaw("few_letters", f"{share:.2f} letters", f">= {_MIN_LETTER_SHARE}")


def _repeated_lines(text: str, language: Language) -> Flaw | None:
    """The same lines over and over (the share of FineWeb-2's `dup_line_frac`)."""
    lines = [line for line in text.split("\n") if line]
    share = 1 - len(set(lines)) / max(1, len(lines))
    if share <= _MAX_REPEATED_SHARE:
        return None
    return Flaw("repeated_lines", f"{share:.2f} repeated", f"<= {_MAX_REPEATED_SHARE}")
