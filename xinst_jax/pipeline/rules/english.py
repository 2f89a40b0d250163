"""Whether an instruction is English, though it be three words and a name."""

import pycld2
import regex

from xinst_jax.config import RulesConfig

_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")
_LETTER = regex.compile(r"\p{L}")
_LATIN = regex.compile(r"\p{Latin}")
_CONTROL = regex.compile(r"[\p{Cc}\p{Cs}]")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ENGLISH_WORDS = _words("""
    about and any are best between can choose classify compare compose could create
    define describe design did discuss do does during each every explain find five for
    from generate give had has have help how identify into is its key list main make
    most name not of or outline plan please prepare produce prove provide recommend
    rewrite should show steps suggest summarize tell than that the their them then
    there these they this three through translate using was ways were what when where
    which who whose why will with would write you your
""")
"""Words that mark a short text as English and are no common words of the ten languages:
so without *a*, *an*, *he*, *in*, *me*, *on*, *to*."""

DEFAULT = RulesConfig()


def is_english(text: str, config: RulesConfig = DEFAULT) -> bool:
    """Whether a text of a few words or more is English.

    Language identification does not know what to say of three words with a name among
    them, and names a language on the strength of names ("classify these cities: Košice,
    ..."). So a text in Latin script is English when some of its words (by default a
    tenth) are common English ones, or when pycld2 says so.

        is_english("What is HiFi?")             # True
        is_english("Mikä on paras tapa?")       # False
    """
    letters = len(_LETTER.findall(text))
    if not letters or len(_LATIN.findall(text)) < config.min_latin_share * letters:
        return False
    words = [word.casefold() for word in _WORD.findall(text)]
    share = sum(word in ENGLISH_WORDS for word in words) / len(words)
    if share >= config.min_english_share:
        return True
    _, _, details = pycld2.detect(_CONTROL.sub(" ", text))
    return details[0][1] == "en"
