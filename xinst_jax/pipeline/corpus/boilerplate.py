"""Text that is on a page but is no text of it: menus, cookie notices, tables."""

import dataclasses
import functools
import unicodedata
from collections.abc import Mapping

import regex

from xinst_jax.config import PageConfig, TextConfig
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

_ITEM_SEPARATOR = regex.compile(r"\n|[|•·»›]")
_MARKS = regex.compile(r"\p{M}+")
_LETTERS = regex.compile(r"[\p{L}\p{M}]+")

DEFAULT, DEFAULT_TEXT = PageConfig(), TextConfig()

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


def find(
    text: str,
    language: Language,
    page: PageConfig = DEFAULT,
    texts: TextConfig = DEFAULT_TEXT,
) -> Flaw | None:
    """The first reason, if any, for which a cleaned text is no prose of a page."""
    flaw = damaged(text, texts)
    for check in (_cookie_notice, _few_letters, _menu, _repeated_lines):
        flaw = flaw or check(text, language, page)
    return flaw


def damaged(text: str, texts: TextConfig = DEFAULT_TEXT) -> Flaw | None:
    """Too many characters that were lost in an earlier decoding."""
    share = text.count("\ufffd") / max(1, len(text))
    if share <= texts.max_lost_share:
        return None
    return Flaw("damaged", f"{share:.3f} lost", f"<= {texts.max_lost_share}")


def _cookie_notice(text: str, language: Language, page: PageConfig) -> Flaw | None:
    """Cookies named often enough, for its length too, beside words of consent."""
    lower = text.lower()
    named = names_cookies(lower, language)
    if named < max(page.min_cookies, len(text) / page.cookie_chars):
        return None
    if not asks_consent(lower, language):
        return None
    return Flaw(COOKIE_NOTICE, f"{named} mentions", f"< 1 in {page.cookie_chars} chars")


def names_cookies(lower: str, language: Language) -> int:
    """How often a text in lower case names a cookie."""
    return sum(map(lower.count, cookie_words(language)))


def asks_consent(lower: str, language: Language) -> bool:
    """Whether a text in lower case has a word of consent."""
    return any(word in lower for word in _consent_words(language))


@functools.lru_cache
def cookie_words(language: Language) -> tuple[str, ...]:
    """What a cookie is called."""
    return words_of(COOKIE_WORDS, language, language.cookie_words)


@functools.lru_cache
def _consent_words(language: Language) -> tuple[str, ...]:
    return words_of(CONSENT_WORDS, language, language.consent_words)


def words_of(
    built_in: Mapping[str, tuple[str, ...]], language: Language, own: tuple[str, ...]
) -> tuple[str, ...]:
    """A list's words in English and in a language, with the language's own, in NFC."""
    found = (*built_in["en"], *built_in.get(language.code, ()), *own)
    return tuple(unicodedata.normalize("NFC", word) for word in found)


def is_short(line: str, page: PageConfig = DEFAULT) -> bool:
    """Whether a line may be an item of a menu by its length."""
    return fits(line, page.item_chars, page)


def fits(line: str, most: int, page: PageConfig = DEFAULT) -> bool:
    """Whether a line has at most so many characters, marks not counted.

    A mark takes no room of its own, and in Tamil and Thai every third character is one.
    """
    if len(line) <= most:
        return True
    longest = page.marked_times * most
    return len(line) <= longest and len(_MARKS.sub("", line)) <= most


def _menu(text: str, language: Language, page: PageConfig) -> Flaw | None:
    """Most of it short items, a line or a cell each, that are no sentences."""
    items = [
        part
        for part in map(str.strip, _ITEM_SEPARATOR.split(text))
        if part and is_short(part, page) and not ends_sentence(part, language)
    ]
    share = sum(map(len, items)) / max(1, _ink(text))
    if len(items) < page.min_items or share <= page.max_item_share:
        return None
    return Flaw(MENU, f"{min(share, 1):.2f} in items", f"<= {page.max_item_share}")


def ends_sentence(part: str, language: Language) -> bool:
    """Whether a line or a cell ends one, where the language marks the end of any."""
    return endings.marks_sentences(language) and endings.is_finished(part, language)


def _ink(text: str) -> int:
    """Characters of a cleaned text that are no white space."""
    return len(text) - text.count(" ") - text.count("\n")


def _few_letters(text: str, language: Language, page: PageConfig) -> Flaw | None:
    """Tables, codes and numbers."""
    share = sum(map(len, _LETTERS.findall(text))) / max(1, _ink(text))
    if share >= page.min_letter_share:
        return None
    return Flaw("few_letters", f"{share:.2f} letters", f">= {page.min_letter_share}")


def _repeated_lines(text: str, language: Language, page: PageConfig) -> Flaw | None:
    """The same lines over and over (the share of FineWeb-2's `dup_line_frac`)."""
    lines = [line for line in text.split("\n") if line]
    share = 1 - len(set(lines)) / max(1, len(lines))
    if share <= page.max_repeated_share:
        return None
    most = f"<= {page.max_repeated_share}"
    return Flaw("repeated_lines", f"{share:.2f} repeated", most)
