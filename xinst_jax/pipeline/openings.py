"""Whether a text can be read from its start, or goes on from something before it."""

import functools

import regex

from xinst_jax.languages import Language

CONNECTIVES: dict[str, tuple[str, ...]] = {
    "en": ("but", "and", "so", "however", "therefore", "thus", "moreover", "hence"),
    "fi": (
        *("mutta", "siksi", "lisäksi", "kuitenkin", "toisaalta", "silti", "siten"),
        *("näin ollen", "sen jälkeen", "tästä syystä", "tämän vuoksi", "sen sijaan"),
    ),
    "id": (
        *("tetapi", "tapi", "namun", "oleh karena itu", "karena itu", "selain itu"),
        *("sebaliknya", "akibatnya", "meskipun demikian", "dengan demikian", "lalu"),
    ),
    "th": (
        *("แต่", "ดังนั้น", "นอกจากนี้", "นอกจากนั้น", "อย่างไรก็ตาม", "เพราะฉะนั้น"),
        *("จากนั้น", "ทั้งนี้", "ด้วยเหตุนี้", "ในทางกลับกัน"),
    ),
    "tr": (
        *("ama", "fakat", "ancak", "bu nedenle", "bu yüzden", "ayrıca", "bununla"),
        *("dolayısıyla", "öte yandan", "oysa", "böylece", "üstelik"),
    ),
    "vi": (
        *("nhưng", "tuy nhiên", "vì vậy", "do đó", "ngoài ra", "hơn nữa", "mặt khác"),
        *("bởi vậy", "vì thế", "sau đó"),
    ),
    "bn": (
        *("কিন্তু", "তবে", "তাই", "এছাড়া", "এছাড়াও", "অতএব", "অন্যদিকে", "তারপর"),
        *("ফলে", "এ কারণে"),
    ),
    "hi": (
        *("लेकिन", "परंतु", "किंतु", "मगर", "इसलिए", "इसके अलावा", "हालांकि"),
        *("दूसरी ओर", "इसके बाद", "फलस्वरूप"),
    ),
    "sw": (
        *("lakini", "hata hivyo", "kwa hiyo", "hivyo", "aidha", "zaidi ya hayo"),
        *("kwa upande mwingine", "baada ya hapo", "badala yake"),
    ),
    "ta": (
        *("ஆனால்", "எனவே", "ஆகவே", "மேலும்", "இருப்பினும்", "ஆயினும்", "அதனால்"),
        *("இதனால்", "மறுபுறம்", "அதன் பிறகு"),
    ),
    "ur": (
        *("لیکن", "مگر", "تاہم", "اس لیے", "اس لئے", "اس کے علاوہ", "چنانچہ", "لہٰذا"),
        *("دوسری طرف", "اس کے بعد"),
    ),
}
"""Words that join a sentence to the one before it."""

REFERENCES: dict[str, tuple[str, ...]] = {
    "en": ("he", "she", "it", "they", "this", "these", "those", "such"),
    "fi": ("hän", "he", "ne", "tämä", "nämä", "se", "tällainen"),
    "id": ("dia", "ia", "mereka", "ini", "itu", "hal ini", "hal itu", "beliau"),
    "th": ("เขา", "เธอ", "พวกเขา", "สิ่งนี้", "มัน"),
    "tr": ("bu", "bunlar", "onlar", "bunun", "onun"),
    "vi": ("ông ấy", "bà ấy", "anh ấy", "cô ấy", "họ", "nó", "điều này", "điều đó"),
    "bn": ("তিনি", "সে", "তারা", "এটি", "এটা", "সেটি"),
    "hi": ("वह", "वे", "यह", "ये", "उन्होंने", "उसने", "इसने"),
    "sw": ("yeye", "wao", "hii", "hiyo", "hayo", "huyo"),
    "ta": ("அவர்", "அவள்", "அவன்", "அவர்கள்", "இது", "அது", "இவை"),
    "ur": ("وہ", "یہ", "انہوں نے", "اس نے", "ان کا"),
}
"""Pronouns that stand for what was named before, at the start of a later part."""

_OPENING = regex.compile(r"""[\s"'\p{Ps}\p{Pi}*#_>–—-]*""")
_LEADING_ELLIPSIS = regex.compile(r"\s*(?:\.{2,}|…)")


def goes_on(text: str, language: Language, later: bool) -> str:
    """What shows that a text goes on from something before it; '' if nothing does.

    It starts with a small letter (in scripts that have large ones), or with a mark that
    closes or parts; or with a connective ('But', 'Therefore'). A later part of a
    document may not start with a pronoun either.

    >>> from xinst_jax.languages import BUILT_IN
    >>> goes_on("Mutta sitten satoi lunta.", BUILT_IN["fi"], later=False)
    'mutta'
    >>> goes_on("Hän tuli kotiin.", BUILT_IN["fi"], later=False)
    ''

    Args:
      text: cleaned, or the start of it.
      language: the language it is in.
      later: whether it was cut from a document behind another part.
    """
    if _LEADING_ELLIPSIS.match(text):
        return "..."
    start = _OPENING.match(text)
    assert start is not None
    body = text[start.end() : start.end() + 40]
    if not body:
        return ""
    first = body[0]
    if regex.match(r"[\p{Pe}\p{Pf}\p{Po}]", first) and first not in "¿¡@&%§†‡":
        return first
    # 'iPhone' and 'eBay' are written so.
    if first.islower() and not body[1:2].isupper():
        return body.split()[0]
    found = _pattern(language, later).match(body.casefold())
    return found[0] if found else ""


@functools.lru_cache
def _pattern(language: Language, later: bool) -> regex.Pattern:
    words = list(CONNECTIVES.get(language.code, ()))
    if later:
        words += REFERENCES.get(language.code, ())
    if not words:
        return regex.compile(r"(?!)")
    # The longest first, and each a whole word where words are spaced.
    words = sorted((word.casefold() for word in words), key=len, reverse=True)
    end = r"(?![\p{L}\p{M}\p{N}])" if language.spaced else ""
    return regex.compile(rf"(?:{'|'.join(map(regex.escape, words))}){end}")
