"""Whether a text can be read from its start, or goes on from something before it."""

import functools
import unicodedata

import regex

from xinst_jax.config import TextConfig
from xinst_jax.languages import Language
from xinst_jax.pipeline import thai_edges

DEFAULT = TextConfig()

CONNECTIVES: dict[str, tuple[str, ...]] = {
    "en": ("but", "and", "so", "however", "therefore", "thus", "moreover", "hence"),
    "fi": (
        *("mutta", "siksi", "lisäksi", "kuitenkin", "toisaalta", "silti", "siten"),
        *("näin ollen", "sen jälkeen", "tästä syystä", "tämän vuoksi", "sen sijaan"),
        *("ja", "tai", "vaan", "joten", "eli", "toiseksi", "kolmanneksi"),
    ),
    "id": (
        *("tetapi", "tapi", "namun", "oleh karena itu", "karena itu", "selain itu"),
        *("sebaliknya", "akibatnya", "meskipun demikian", "dengan demikian", "lalu"),
        *("dan", "atau", "serta", "sehingga", "kedua,", "ketiga,"),
    ),
    "th": (
        *("แต่", "ดังนั้น", "นอกจากนี้", "นอกจากนั้น", "อย่างไรก็ตาม", "เพราะฉะนั้น"),
        *("จากนั้น", "ทั้งนี้", "ด้วยเหตุนี้", "ในทางกลับกัน"),
        *("และ", "หรือ", "ซึ่ง", "อีกทั้ง", "ประการที่สอง", "ประการที่สาม"),
        *("แล้ว", "จึง", "ก็", "ได้แก่", "เช่น", "รวมทั้ง", "รวมถึง", "ตลอดจน", "พร้อมทั้ง"),
    ),
    "tr": (
        *("ama", "fakat", "ancak", "bu nedenle", "bu yüzden", "ayrıca", "bununla"),
        *("dolayısıyla", "öte yandan", "oysa", "böylece", "üstelik"),
        *("ve", "veya", "çünkü", "zira", "bundan dolayı", "buna rağmen"),
        *("ikinci olarak", "üçüncü olarak", "ikincisi", "üçüncüsü"),
    ),
    "vi": (
        *("nhưng", "tuy nhiên", "vì vậy", "do đó", "ngoài ra", "hơn nữa", "mặt khác"),
        *("bởi vậy", "vì thế", "sau đó"),
        *("và", "hoặc", "bên cạnh đó", "trong khi đó", "thứ hai,", "thứ ba,"),
    ),
    "bn": (
        *("কিন্তু", "তবে", "তাই", "এছাড়া", "এছাড়াও", "অতএব", "অন্যদিকে", "তারপর"),
        *("ফলে", "এ কারণে"),
        *("এবং", "আর", "অথবা", "কিংবা", "সুতরাং", "দ্বিতীয়ত", "তৃতীয়ত"),
    ),
    "hi": (
        *("लेकिन", "परंतु", "किंतु", "मगर", "इसलिए", "इसके अलावा", "हालांकि"),
        *("दूसरी ओर", "इसके बाद", "फलस्वरूप"),
        *("और", "या", "तथा", "एवं", "अतः", "फिर भी", "दूसरी बात", "तीसरी बात"),
        *("दूसरे,", "तीसरे,", "दूसरा,", "तीसरा,"),
    ),
    "sw": (
        *("lakini", "hata hivyo", "kwa hiyo", "hivyo", "aidha", "zaidi ya hayo"),
        *("kwa upande mwingine", "baada ya hapo", "badala yake"),
        *("na", "au", "pia", "kisha", "vilevile", "pili,", "tatu,"),
    ),
    "ta": (
        *("ஆனால்", "எனவே", "ஆகவே", "மேலும்", "இருப்பினும்", "ஆயினும்", "அதனால்"),
        *("இதனால்", "மறுபுறம்", "அதன் பிறகு"),
        *("மற்றும்", "அல்லது", "எனினும்", "இரண்டாவதாக", "மூன்றாவதாக"),
    ),
    "ur": (
        *("لیکن", "مگر", "تاہم", "اس لیے", "اس لئے", "اس کے علاوہ", "چنانچہ", "لہٰذا"),
        *("دوسری طرف", "اس کے بعد"),
        *("اور", "یا", "نیز", "پھر بھی", "دوسری بات", "تیسری بات"),
        *("دوسرے،", "تیسرے،", "دوسرا،", "تیسرا،"),
    ),
}
"""Words that join a sentence to the one before it, or say that it is not the first."""

DEPENDENT: dict[str, tuple[str, ...]] = {
    "bn": (
        *("থেকে", "হইতে", "জন্য", "দ্বারা", "সাথে", "সহিত", "পর্যন্ত", "মতো", "দিয়ে"),
        *("নি", "তো", "টি", "আছে", "নেই", "ছিল", "ছিলেন", "পারে", "পারেন", "করে"),
        *("করা", "করার", "করতে", "করেছে", "করেছেন", "করেছিল", "করেন", "হয়ে", "হইয়া"),
        *("হয়েছে", "হয়েছিল", "হতে", "হবে", "হইল", "হইবে", "গেছে", "গেছেন", "উচিত"),
        *("হচ্ছে", "রয়েছে", "করিতে", "করিয়া", "করিল", "করল", "লাগল", "লাগিল"),
    ),
    "hi": (
        *("का", "की", "के", "को", "से", "में", "ने", "पर", "तक", "भी", "ही", "कि"),
        *("द्वारा", "सहित", "बारे", "लिए", "लिये", "वाला", "वाली", "वाले", "चाहिए"),
        *("है", "हैं", "हूँ", "था", "थी", "थे", "थीं", "गया", "गयी", "गई", "गए", "गये"),
        *("रहा", "रही", "रहे", "सकता", "सकती", "सकते", "किया", "किए", "दिया", "लिया"),
        *("हुआ", "हुई", "हुए", "होता", "होती", "होते", "होगा", "होगी", "होंगे"),
        *("करता", "करती", "करते", "जाता", "जाती", "जाते"),
    ),
    "ta": (
        *("என்று", "என", "என்ற", "என்னும்", "எனும்", "என்பது", "என்பதை", "என்பதால்"),
        *("பற்றி", "குறித்து", "மூலம்", "இருந்து", "வரை", "விட", "காட்டிலும்", "போல"),
        *("போன்ற", "ஆகிய", "ஆகியவை", "கூட", "உள்ள", "உள்ளது", "உள்ளன", "ஆகும்"),
        *("கொண்ட", "கொண்டே", "இருக்கும்", "இருந்தது", "வேண்டும்", "முடியும்"),
    ),
    "ur": (
        *("کا", "کی", "کے", "کو", "سے", "نے", "تک", "بھی", "ہی", "کہ", "لیے", "لئے"),
        *("ذریعے", "بارے", "مطابق", "والا", "والی", "والے", "چاہیے", "چاہئے"),
        *("ہے", "ہیں", "ہوں", "تھا", "تھی", "تھے", "تھیں", "گیا", "گئی", "گئے", "گا"),
        *("گی", "گے", "رہا", "رہی", "رہے", "سکتا", "سکتی", "سکتے", "دیا", "کیے"),
        *("ہوئی", "ہوئے", "ہوتا", "ہوتی", "ہوتے", "کرتا", "کرتی", "کرتے"),
        *("جاتا", "جاتی", "جاتے"),
    ),
}
"""Postpositions, particles, auxiliaries and light verbs: they lean on a word before
them, so that no sentence of these languages, which have no small letters, begins with
one. (Twice in a row they make an adverb that may: Bengali 'থেকে থেকে', now and then.)
"""

_SUPERLATIVE = r"\s+(?:\p{L}+in|paras|parhaiten|eniten|vähiten|viimei\p{L}+)(?!\p{L})"
_AFRESH: dict[str, dict[str, str]] = {
    # 'The second largest', 'Monday, the 5th', 'either ... or'.
    "fi": {"toiseksi": _SUPERLATIVE, "kolmanneksi": _SUPERLATIVE},
    "vi": {"thứ hai,": r"\s+ngày", "thứ ba,": r"\s+ngày"},
    "hi": {"या": r"\s+तो(?![\p{L}\p{M}])"},
    "ur": {"یا": r"\s+تو(?![\p{L}\p{M}])"},
    # Words that begin with one: 'appoint', 'marry' (but not 'budget', 'work'), 'each';
    # 'completed', 'it depends on'; 'nibble'; 'tap', 'Godzilla', 'copy'; 'just as with';
    # 'in total'; mountains, horns; 'thermo-'; 'potato', 'yam', 'brain'.
    "th": {
        "แต่": (
            "ง(?:[กคจฉชตถทธนปผฝพฟภยรลศษสหเแโใไ]|งาน|บ้าน|บท(?![ะ-ฺ็-๎])|ดนตรี|องค์|วรรณ"
            r"|(?!\p{Thai}))|ละ|เดิม|ก่อน|แรก|ปางก่อน|ไหนแต่ไร"
        ),
        "แล้ว": "เสร็จ|แต่",
        "และ": "เล็ม|เลียม",
        "ก็": "อก(?!หัก)|อด(?:ซิล|ฟาเธอร์|เวิร์ด)|อต|อป|อบปี้|อบลิน|อซซิป",
        "เช่น": "เดียวกับ",
        "รวมทั้ง": "หมด|สิ้น",
        "เขา": (
            "ใหญ่|ค้อ|ย้อย|หลัก(?!ฐาน)|หลวง|เขียว|วัง|วงกต|สก(?![ัป])|สามยอด|สูงชัน|หินปูน"
            "|ชะ|ดิน|พระวิหาร|พระสุเมรุ|คิชฌกูฏ|กวาง|ควาย|วัว|สัตว์"
        ),
        "เธอ": "ร์",
        "มัน": ("ฝรั่ง|สำปะหลัง|เทศ|แกว|เสา|มือเสือ|ขี้หนู|ม่วง|หวาน|บด|ทอด|หมู|สมอง|ส์|ดาเลย์"),
    },
}
"""What, behind one of these words, makes it one that a text can start with."""

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

# Where a full stop makes an ordinal of a number, and whether a list is yet known by a
# large letter behind it: in Turkish names have ordinals too ('2. Dünya Savaşı').
_DOTTED_ORDINALS = {"fi": True, "tr": False}

_BULLETS = "•‣◦⁃▪▫●○■□◆◇►▸▶➢➤✓✔·∙・※"
_OPENING = regex.compile(rf"""[\s"'\p{{Ps}}\p{{Pi}}*#_>–—{_BULLETS}-]*""")
# Finnish opens a quotation by the mark that closes it.
_OPENING_AS_CLOSING = regex.compile(r"\p{Pf}[\p{L}\p{N}]")
_LIST_ITEM = regex.compile(r"(\p{Nd}{1,2})([.)।۔])\s+(?=(\p{Lu})?)")
_START_CHARS = 40
_BRACKET = regex.compile(r"[()\[\]{}“”]")
# 'a)', '12)', 'iv.)' and ':-)' close nothing.
_BEFORE_LONE_BRACKET = regex.compile(
    r"(?:(?:^|[\s;,])(?:\X|\p{N}{1,3}|[ivxIVX]{1,4})\.?|[:;=8]-?)\s?$"
)
_CLOSED_BY = {")": "(", "]": "[", "}": "{", "”": "“"}
_THAI_PHRASE = regex.compile(r"[\p{Thai}--[\p{Nd}ฯๆ฿]]+(?![\p{Thai}.])", regex.V1)
_LEADING_ELLIPSIS = regex.compile(r"\s*(?:\.{2,}|…)")


def goes_on(
    text: str, language: Language, later: bool, texts: TextConfig = DEFAULT
) -> str:
    """What shows that a text goes on from something before it; '' if nothing does.

    It starts with a small letter (in scripts that have large ones), with a mark that
    closes or parts, or in Thai with letters that no word begins with; its first line
    soon closes a bracket that it did not open; it starts with a connective ('And',
    'Therefore', 'Secondly'), or with a word that leans on one before it; or as an item
    of a numbered list other than the first. A later part of a document may not start
    with a pronoun either.

    >>> from xinst_jax.languages import BUILT_IN
    >>> goes_on("Mutta sitten satoi lunta.", BUILT_IN["fi"], later=False)
    'mutta'
    >>> goes_on("Hän tuli kotiin.", BUILT_IN["fi"], later=False)
    ''

    Args:
      text: cleaned, or the start of it.
      language: the language it is in.
      later: whether it was cut from a document behind another part.
      texts: how much of it is looked at for a bracket.
    """
    if _LEADING_ELLIPSIS.match(text):
        return "..."
    start = _OPENING.match(text)
    assert start is not None
    body = text[start.end() : start.end() + _START_CHARS]
    if not body:
        return ""
    first = body[0]
    if language.spaced and _OPENING_AS_CLOSING.match(body):
        body = body[1:]
        first = body[0]
    if regex.match(r"[\p{Pe}\p{Pf}\p{Po}\p{M}]", first) and first not in "¿¡@&%§†‡":
        return first
    # 'iPhone' and 'eBay' are written so.
    if first.islower() and not body[1:2].isupper():
        return body.split()[0]
    item = _LIST_ITEM.match(body)
    if item and int(item[1]) > 1 and not _is_ordinal(item, language, text):
        return item[0].rstrip()
    if "Thai" in language.scripts and _starts_inside_a_word(body):
        return body[: thai_edges.LETTERS]
    unopened = _unopened(text, texts.unopened_chars)
    if unopened:
        return unopened
    # Turkish 'İ' would fold to two characters.
    folded = unicodedata.normalize("NFC", body).replace("İ", "i").casefold()
    found = _pattern(language, later).match(folded)
    return found[0] if found else ""


def _is_ordinal(item: regex.Match, language: Language, text: str) -> bool:
    """Whether a number with a full stop may be an ordinal: '24. joulukuuta'.

    It is a list's where a later line begins with the number after it.
    """
    if language.code not in _DOTTED_ORDINALS or item[2] != ".":
        return False
    if f"\n{int(item[1]) + 1}. " in text:
        return False
    return not (item[3] and _DOTTED_ORDINALS[language.code])


def _starts_inside_a_word(body: str) -> bool:
    """Whether a Thai text starts with letters that no word begins with."""
    phrase = _THAI_PHRASE.match(body)
    if phrase is None:
        return False
    letters = f"{phrase[0]} "
    return any(
        letters[:n] in thai_edges.NO_START for n in range(1, thai_edges.LETTERS + 1)
    )


def _unopened(text: str, chars: int) -> str:
    """A bracket that the first characters close and did not open, or ''.

    A closing quotation mark counts where the text opens others by another mark.
    """
    line = text[:chars].partition("\n")[0]
    opened: list[str] = []
    for match in _BRACKET.finditer(line):
        mark = match[0]
        if mark not in _CLOSED_BY:
            opened.append(mark)
        elif _CLOSED_BY[mark] in opened:
            opened.remove(_CLOSED_BY[mark])
        elif (
            mark != "”" or ("“" in text and '"' not in line)
        ) and not _BEFORE_LONE_BRACKET.search(line[: match.start()]):
            return mark
    return ""


@functools.lru_cache
def _pattern(language: Language, later: bool) -> regex.Pattern:
    words = [*CONNECTIVES.get(language.code, ()), *language.connectives]
    if later:
        words += [*REFERENCES.get(language.code, ()), *language.pronouns]
    dependent = DEPENDENT.get(language.code, ())
    if not words:
        return regex.compile(r"(?!)")
    # The longest first, and each a whole word where words are spaced.
    words = sorted(words, key=len, reverse=True)
    afresh = _AFRESH.get(language.code, {})
    patterns = [
        regex.escape(unicodedata.normalize("NFC", word).casefold())
        + (f"(?!{afresh[word]})" if word in afresh else "")
        for word in words
    ]
    end = r"(?![\p{L}\p{M}\p{N}])" if language.spaced else ""
    pattern = rf"(?:{'|'.join(patterns)}){end}"
    if dependent:
        leaning = "|".join(unicodedata.normalize("NFC", word) for word in dependent)
        pattern += (
            rf"|(?P<word>{leaning})(?![\p{{L}}\p{{M}}\p{{N}}])(?![\s-]+(?P=word))"
        )
    return regex.compile(pattern)
