"""The values of FineWeb-2's filters for the ten languages, as they were published.

Source: huggingface/fineweb-2 at revision d0defb2 (October 2025; earlier ones have other
values), `configs/{language}_{script}.yml`, and what `fineweb-2-pipeline.py` sets for
all languages (Penedo et al., FineWeb2, 2025), which stands in `FineWeb2Config`, or at
datatrove's defaults (which are Gopher's: Rae et al. 2021, table A1 and section A.1.1).
Its `language_score` is a threshold of another identifier, GlotLID, and not used here.
"""

import dataclasses
import functools
import math
import unicodedata
from collections.abc import Mapping
from typing import TypeVar

from xinst_jax.config import FineWeb2Config
from xinst_jax.languages import Language

DEFAULT = FineWeb2Config()

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Values:
    """What FineWeb-2 accepts in a language.

    Attributes:
      word_chars: least and greatest mean length of a word, in characters
        (`min_avg_word_length`, `max_avg_word_length`).
      alphabetic: least share of words with a letter (`max_non_alpha_words_ratio`).
      line_ends: share of lines that must be exceeded by those that end in a mark that
        ends sentences (`line_punct_thr`).
      line_breaks: most line breaks a word (`new_line_ratio`).
      repeated_lines: greatest share of lines that repeat another (`dup_line_frac`).
      top: greatest share of characters in the commonest word n-gram, by n
        (`top_n_grams`).
      repeated: greatest share of characters in repeated word n-grams, by n
        (`dup_n_grams`).
      stop_words: words of which a text holds some (`stopwords`).
      repeated_line_chars: of all languages, as `FineWeb2Config` has it, like the next:
        share of characters from which lines that came before are too much.
      bullet_lines: greatest share of lines that begin with a bullet.
      ellipsis_lines: greatest share of lines that end in an ellipsis.
      symbols: most '#' or ellipses a word.
    """

    word_chars: tuple[float, float]
    alphabetic: float
    line_ends: float
    line_breaks: float
    repeated_lines: float
    top: Mapping[int, float]
    repeated: Mapping[int, float]
    stop_words: frozenset[str]
    repeated_line_chars: float = DEFAULT.max_repeated_line_chars
    bullet_lines: float = DEFAULT.max_bullet_lines
    ellipsis_lines: float = DEFAULT.max_ellipsis_lines
    symbols: float = DEFAULT.max_symbols_per_word


def _top(*shares: float) -> dict[int, float]:
    return dict(zip((2, 3, 4), shares, strict=True))


def _repeated(*shares: float) -> dict[int, float]:
    return dict(zip((5, 6, 7, 8, 9, 10), shares, strict=True))


def _words(text: str) -> frozenset[str]:
    return frozenset(unicodedata.normalize("NFC", text).split())


VALUES: dict[str, Values] = {
    "fi": Values(
        word_chars=(3, 14),
        alphabetic=0.755,
        line_ends=0.114,
        line_breaks=0.161,
        repeated_lines=0.293,
        top=_top(0.253, 0.202, 0.179),
        repeated=_repeated(0.153, 0.143, 0.133, 0.122, 0.112, 0.101),
        stop_words=_words(
            "ja on oli hän vuonna myös joka se ei sen ovat sekä mutta että tai vuoden "
            "kanssa hänen s. jälkeen the"
        ),
    ),
    "id": Values(
        word_chars=(3, 12),
        alphabetic=0.805,
        line_ends=0.111,
        line_breaks=0.157,
        repeated_lines=0.241,
        top=_top(0.194, 0.166, 0.145),
        repeated=_repeated(0.166, 0.155, 0.144, 0.133, 0.122, 0.111),
        stop_words=_words("dan yang di pada dari ini dengan adalah untuk dalam"),
    ),
    "th": Values(
        word_chars=(2, 10),
        alphabetic=0.9,
        line_ends=0.0,
        line_breaks=0.153,
        repeated_lines=0.349,
        top=_top(0.221, 0.197, 0.162),
        repeated=_repeated(0.185, 0.168, 0.152, 0.137, 0.124, 0.111),
        stop_words=_words("ใน ที่ และ ของ เป็น มี การ ได้"),
    ),
    # Of the repeated n-grams only the first and the last value are known to us in the
    # revision whose other values stand here.
    "tr": Values(
        word_chars=(3, 21),
        alphabetic=0.773,
        line_ends=0.091,
        line_breaks=0.222,
        repeated_lines=0.272,
        top=_top(0.214, 0.168, 0.147),
        repeated={5: 0.154, 10: 0.103},
        stop_words=_words(
            "ve bir olarak bu ile için olan da de tarafından yılında sonra en daha ilk "
            "the"
        ),
    ),
    "vi": Values(
        word_chars=(3, 11),
        alphabetic=0.803,
        line_ends=0.333,
        line_breaks=0.103,
        repeated_lines=0.293,
        top=_top(0.223, 0.197, 0.171),
        repeated=_repeated(0.178, 0.163, 0.15, 0.136, 0.124, 0.111),
        stop_words=_words("là và của một được trong năm các có loài này đã người"),
    ),
    "bn": Values(
        word_chars=(3, 24),
        alphabetic=0.8,
        line_ends=0.125,
        line_breaks=0.171,
        repeated_lines=0.203,
        top=_top(0.177, 0.158, 0.147),
        repeated=_repeated(0.118, 0.108, 0.099, 0.09, 0.082, 0.073),
        stop_words=_words("এবং ও হয় করে একটি তিনি করা থেকে"),
    ),
    "hi": Values(
        word_chars=(2, 21),
        alphabetic=0.837,
        line_ends=0.091,
        line_breaks=0.316,
        repeated_lines=0.206,
        top=_top(0.208, 0.198, 0.161),
        repeated=_repeated(0.135, 0.125, 0.116, 0.108, 0.099, 0.09),
        stop_words=_words("के में है की और से का को एक हैं पर"),
    ),
    "sw": Values(
        word_chars=(3, 9),
        alphabetic=0.802,
        line_ends=0.143,
        line_breaks=0.167,
        repeated_lines=0.302,
        top=_top(0.396, 0.282, 0.231),
        repeated=_repeated(0.193, 0.17, 0.155, 0.14, 0.126, 0.113),
        stop_words=_words("ya na wa katika kwa ni la za mwaka"),
    ),
    "ta": Values(
        word_chars=(4, 37),
        alphabetic=0.779,
        line_ends=0.125,
        line_breaks=0.195,
        repeated_lines=0.276,
        top=_top(0.23, 0.212, 0.19),
        repeated=_repeated(0.149, 0.14, 0.132, 0.123, 0.114, 0.104),
        stop_words=_words(
            "மற்றும் ஒரு இந்த ஆம் இது என்ற இவர் உள்ள ஆகும் ஆண்டு அல்லது என்பது முதல் "
            "உள்ளது என்று இந்திய மக்கள் ஊராட்சி இல் இருந்து மேலும் பல"
        ),
    ),
    "ur": Values(
        word_chars=(2, 31),
        alphabetic=0.839,
        line_ends=0.1,
        line_breaks=0.222,
        repeated_lines=0.204,
        top=_top(0.139, 0.123, 0.107),
        repeated=_repeated(0.125, 0.115, 0.107, 0.098, 0.089, 0.081),
        stop_words=_words("کے میں ، کی اور ہے سے کا نے اس پر کو ایک"),
    ),
}
"""By language code. Of a language that is not here only what is configured is asked."""

_NOTHING_ASKED = Values(
    word_chars=(0, math.inf),
    alphabetic=0,
    line_ends=-1,
    line_breaks=math.inf,
    repeated_lines=1,
    top={},
    repeated={},
    stop_words=frozenset(),
    repeated_line_chars=math.inf,
    bullet_lines=math.inf,
    ellipsis_lines=math.inf,
    symbols=math.inf,
)


@functools.lru_cache
def of(language: Language, config: FineWeb2Config) -> Values | None:
    """What is accepted in a language: as published, but for what is configured.

    Args:
      language: its own stop words are added to those published.
      config: of the language; what is None, or the default that all languages share,
        stays as published, and where nothing is published is not asked.

    Returns:
      None where nothing is published and nothing configured.
    """
    published = VALUES.get(language.code)
    if published is None:
        if not config.changed() and not language.stop_words:
            return None
        published = _NOTHING_ASKED
    low, high = published.word_chars
    own = {name: _own(config, f"max_top_{name}_gram") for name in (2, 3, 4)}
    grams = {n: _own(config, f"max_repeated_{n}_grams") for n in range(5, 11)}
    return Values(
        word_chars=(_or(config.min_word_chars, low), _or(config.max_word_chars, high)),
        alphabetic=_or(config.min_alphabetic, published.alphabetic),
        line_ends=_or(config.min_line_ends, published.line_ends),
        line_breaks=_or(config.max_line_breaks, published.line_breaks),
        repeated_lines=_or(config.max_repeated_lines, published.repeated_lines),
        top=_with(published.top, own),
        repeated=_with(published.repeated, grams),
        stop_words=published.stop_words | _words(" ".join(language.stop_words)),
        repeated_line_chars=_set(
            config, "max_repeated_line_chars", published.repeated_line_chars
        ),
        bullet_lines=_set(config, "max_bullet_lines", published.bullet_lines),
        ellipsis_lines=_set(config, "max_ellipsis_lines", published.ellipsis_lines),
        symbols=_set(config, "max_symbols_per_word", published.symbols),
    )


def _set(config: FineWeb2Config, name: str, published: float) -> float:
    """A threshold of all languages where it is not the default."""
    return config.changed().get(name, published)


def _own(config: FineWeb2Config, name: str) -> float | None:
    return getattr(config, name)


def _or(own: _T | None, published: _T) -> _T:
    return published if own is None else own


def _with(
    published: Mapping[int, float], own: Mapping[int, float | None]
) -> dict[int, float]:
    given = {n: share for n, share in own.items() if share is not None}
    return dict(sorted({**published, **given}.items()))
