"""Unicode repair: one form for each text, with every letter and mark that it has."""

import unicodedata

import ftfy
import regex

_SURROGATES = regex.compile(r"[\ud800-\udfff]")
_LINE_BREAKS = regex.compile(r"\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
# Odd spaces only: a search that stops at every plain one takes ten times as long.
_SPACES = regex.compile(r"[^\S\n]{2,}|[^\S\n ]")
# Control characters, and invisible ones that carry no meaning in any of the scripts:
# soft hyphen, zero width space, byte order mark, object replacement. The joiners
# U+200C and U+200D and the direction marks do carry meaning.
_INVISIBLE = regex.compile(r"[\p{Cc}\u00ad\u200b\ufeff\ufffc--\n]", regex.V1)
_SPACED_BREAK = regex.compile(r" \n ?|\n ")
_BLANK_LINES = regex.compile(r"\n{3,}")
_ENTITY = regex.compile(r"&(?:[a-zA-Z]{2,8}|#\d{2,6}|#x[0-9a-fA-F]{2,5});")
# A lead byte of UTF-8 beside a continuation byte, as Latin-1 or Windows-1252 has them.
_MOJIBAKE = regex.compile(
    "[\u00c2-\u00f4][\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192"
    "\u02c6\u02dc\u2013-\u2022\u2026\u2030\u2039\u203a\u20ac\u2122]"
)
_MIN_MOJIBAKE = 3


def clean(text: str) -> str:
    """A text in NFC, without control characters, with plain spaces and line breaks.

    Marks, ZWJ and ZWNJ stay. Text decoded by the wrong encoding is put right where
    three or more places show it (a Vietnamese text that speaks of the letter 'Â' is
    not such a text), and HTML entities are spelled out. At most one blank line stands
    between paragraphs.

    >>> clean("pÃ¤ivÃ¤Ã¤\\x00\\r\\n\\r\\n\\r\\n  Tom &amp;\\u00a0Jerry ")
    'päivää\\n\\nTom & Jerry'
    """
    if _SURROGATES.search(text):
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text = unicodedata.normalize("NFC", _repair(text))
    text = _LINE_BREAKS.sub("\n", text)
    text = _INVISIBLE.sub("", text.replace("\t", " "))
    text = _SPACED_BREAK.sub("\n", _SPACES.sub(" ", text))
    return _BLANK_LINES.sub("\n\n", text).strip()


def one_line(text: str) -> str:
    """A cleaned text as one line, for an instruction.

    >>> one_line("Name  a lake\\n\\nin Finland. ")
    'Name a lake in Finland.'
    """
    return " ".join(clean(text).split())


def _repair(text: str) -> str:
    """Puts right wrong encodings and entities, where there is good reason to.

    ftfy takes milliseconds a text and sees mojibake in a single capital letter with a
    circumflex, so it is asked only when there are several signs of it.
    """
    signs = _MOJIBAKE.findall(text)
    encoding = len(signs) >= _MIN_MOJIBAKE
    if not encoding and not ("&" in text and _ENTITY.search(text)):
        return text
    config = ftfy.TextFixerConfig(
        normalization="NFC",
        fix_encoding=encoding,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        explain=False,
    )
    return ftfy.fix_text(text, config)
