"""Lines of a page that are none of its text: menus, notices, captions, 'read more'."""

import collections
import functools
import unicodedata
from collections.abc import Iterable, Mapping

import regex

from xinst_jax.config import PageConfig
from xinst_jax.languages import Language
from xinst_jax.pipeline.corpus import boilerplate, frame_words, page_menus

READ_MORE: dict[str, tuple[str, ...]] = {
    "en": ("read more", "continue reading", "see also", "click here", "share this"),
    "fi": ("lue lisää", "lue myös", "jatka lukemista", "katso myös", "jaa artikkeli"),
    "id": ("baca juga", "baca selengkapnya", "selengkapnya", "lihat juga", "bagikan"),
    "th": ("อ่านต่อ", "อ่านเพิ่มเติม", "อ่านข่าวต่อ", "ดูเพิ่มเติม", "แชร์"),
    "tr": ("devamını oku", "devamı için", "ayrıca bakınız", "ilgili haber", "paylaş"),
    "vi": ("xem thêm", "đọc thêm", "đọc tiếp", "xem tiếp", "chia sẻ"),
    "bn": ("আরও পড়ুন", "আরো পড়ুন", "বিস্তারিত পড়ুন", "আরও দেখুন", "শেয়ার করুন"),
    "hi": ("और पढ़ें", "आगे पढ़ें", "यह भी पढ़ें", "ये भी पढ़ें", "शेयर करें"),
    "sw": ("soma zaidi", "soma pia", "endelea kusoma", "tazama pia", "shiriki"),
    "ta": ("மேலும் படிக்க", "மேலும் வாசிக்க", "இதையும் படிக்க", "தொடர்ந்து படிக்க", "பகிர"),
    "ur": ("مزید پڑھیں", "یہ بھی پڑھیں", "مزید جانیے", "پڑھنا جاری رکھیں", "شیئر کریں"),
}
"""What links at the end of an article say, in lower case."""

CAPTION: dict[str, tuple[str, ...]] = {
    "en": ("photo", "image", "picture", "source", "credit", "figure", "getty images"),
    "fi": ("kuva", "kuvat", "kuvaaja", "lähde", "valokuva"),
    "id": ("foto", "gambar", "sumber", "ilustrasi"),
    "th": ("ภาพ", "ภาพประกอบ", "ที่มา", "ขอบคุณภาพ", "เครดิต"),
    "tr": ("fotoğraf", "foto", "görsel", "kaynak"),
    "vi": ("ảnh", "hình", "nguồn", "ảnh minh họa"),
    "bn": ("ছবি", "সূত্র", "ফাইল ছবি", "চিত্র"),
    "hi": ("फोटो", "चित्र", "तस्वीर", "स्रोत", "साभार"),
    "sw": ("picha", "chanzo"),
    "ta": ("படம்", "புகைப்படம்", "ஆதாரம்", "நன்றி"),
    "ur": ("تصویر", "فوٹو", "ماخذ", "بشکریہ"),
}
"""What captions and credits begin with, before a colon, in lower case."""

NOTICE_LINE, READ_MORE_LINE = "notice_line", "read_more_line"
CAPTION_LINE, MENU_LINE = "caption_line", "menu_line"

_JOINT = r"(?:\s*[/,&+]\s*|[\s-]+)"


def without_frame(
    text: str, language: Language, page: PageConfig = boilerplate.DEFAULT
) -> tuple[str, Mapping[str, int]]:
    """A cleaned document without the lines that a page's frame is made of.

    Dropped are short lines that ask for consent to cookies or tell that the site uses
    them, that begin with what links say ('Read more: ...', 'Related articles: ...'),
    that are captions ('Photo: ...'), and menus: lines of four items or more between
    bars or dots; at the start or the end of the page lines of three, addresses, and
    what `page_menus` takes for a menu.

    >>> from xinst_jax.languages import BUILT_IN
    >>> without_frame("Lumi satoi. Tuuli kävi.\\nLue lisää »", BUILT_IN["fi"])
    ('Lumi satoi. Tuuli kävi.', {'read_more_line': 1})

    Args:
      text: cleaned.
      language: the language it should be in.
      page: how long such lines are, and how many items make a menu.

    Returns:
      The text that is left, and how many lines were dropped, by kind.
    """
    lines = text.split("\n")
    kinds = [_kind(line, language, page) for line in lines]
    for find in (page_menus.head, page_menus.tail):
        taken = list(map(bool, kinds))
        for number in find(lines, taken, language, page):
            kinds[number] = MENU_LINE
    dropped = collections.Counter(kind for kind in kinds if kind)
    if not dropped:
        return text, {}
    kept = [line for line, kind in zip(lines, kinds, strict=True) if not kind]
    left = regex.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()
    return left, dict(sorted(dropped.items()))


def _kind(line: str, language: Language, page: PageConfig) -> str:
    """What a line is if it is no text; '' for one that may be."""
    # Turkish 'İ' would become two characters.
    lower = line.replace("İ", "i").lower()
    if not lower or len(lower) > page.notice_chars:
        return ""
    if boilerplate.names_cookies(lower, language) and (
        boilerplate.asks_consent(lower, language)
        or _tells_of_use(lower, language, page.cookie_gap_chars)
    ):
        return NOTICE_LINE
    if len(lower) <= page.link_chars and _is_link(lower, language):
        return READ_MORE_LINE
    if len(lower) <= page.caption_chars and _is_caption(lower, language):
        return CAPTION_LINE
    items = page_menus.items(line, language, page)
    return MENU_LINE if items >= page.line_items else ""


def _tells_of_use(lower: str, language: Language, gap: int) -> bool:
    """Whether a site says of itself that it uses cookies."""
    return any(
        own.search(lower) and use.search(lower)
        for own, use in _statements(language, gap)
    )


@functools.lru_cache
def _statements(
    language: Language, gap: int
) -> tuple[tuple[regex.Pattern, regex.Pattern], ...]:
    """In English and in the language: 'this site', and 'uses cookies'."""
    found = []
    for code in dict.fromkeys(("en", language.code)):
        own, use = frame_words.OWN.get(code), frame_words.USE.get(code)
        if own and use:
            cookie = boilerplate.cookie_words(language)
            parts = [_any(use), _any(map(regex.escape, cookie))]
            if code in frame_words.VERB_LAST:
                parts.reverse()
            between = f".{{0,{gap}}}"
            found.append((regex.compile(_any(own)), regex.compile(between.join(parts))))
    return tuple(found)


def _any(patterns: Iterable[str]) -> str:
    joined = "|".join(patterns)
    return unicodedata.normalize("NFC", f"(?:{joined})")


def _is_link(lower: str, language: Language) -> bool:
    """Nothing but a link's words, or these before a colon and a title."""
    return _links(language).fullmatch(lower) is not None


@functools.lru_cache
def _links(language: Language) -> regex.Pattern:
    words = boilerplate.words_of(READ_MORE, language, language.link_words)
    phrases = _any((*map(regex.escape, words), _related(language)))
    around = r"[\s\[(…«»›→>.]*"
    return regex.compile(rf"{around}(?:{phrases})(?:{around}|\s*[:：>»›→].*)")


def _is_caption(lower: str, language: Language) -> bool:
    head, colon, rest = lower.replace("：", ":").partition(":")
    if colon and rest.strip():
        head = head.strip("([ ")
        words = boilerplate.words_of(CAPTION, language, language.caption_words)
        return head in words or bool(_credits(language).fullmatch(head))
    return False


@functools.lru_cache
def _credits(language: Language) -> regex.Pattern:
    """Words of a credit, one of which is for a picture."""
    ways = []
    for picture, credit, joint in _words_of(
        language, frame_words.PICTURE, frame_words.CREDIT
    ):
        both = _any((picture, credit))
        ways.append(f"(?:{credit}{joint})*{picture}(?:{joint}{both})*")
    return regex.compile(_any(ways))


def _related(language: Language) -> str:
    """'Related articles': words of both kinds, in either order."""
    ways = []
    for which, piece, joint in _words_of(
        language, frame_words.RELATED, frame_words.PIECE
    ):
        both = _any((which, piece))
        for one, other in ((which, piece), (piece, which)):
            ways.append(f"{one}(?:{joint}{one})*{joint}{other}(?:{joint}{both})*")
    return _any(ways)


def _words_of(
    language: Language, *kinds: Mapping[str, tuple[str, ...]]
) -> list[tuple[str, ...]]:
    """Patterns of the words of each kind, and of what joins two; English, then own."""
    found = [(*(_any(kind["en"]) for kind in kinds), _JOINT)]
    if language.code != "en" and language.code in kinds[0]:
        joint = _JOINT if language.spaced else r"\s*/?\s*"
        found.append((*(_any(kind[language.code]) for kind in kinds), joint))
    return found
