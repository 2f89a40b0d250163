"""Gopher's and FineWeb's rules of quality and repetition, with FineWeb-2's values.

Rae et al. 2021 (Gopher), section A.1.1; Penedo et al. 2024 (FineWeb) and 2025
(FineWeb2). Words are runs of letters, marks, digits and joiners; FineWeb-2 cuts them
with other tools for each language, so values near a threshold may fall to either side.
"""

import collections
import itertools

import regex

from xinst_jax.config import DuplicatesConfig, FineWeb2Config
from xinst_jax.languages import Language
from xinst_jax.pipeline import endings
from xinst_jax.pipeline.corpus import fineweb2
from xinst_jax.pipeline.corpus.boilerplate import Flaw
from xinst_jax.pipeline.corpus.fineweb2 import Values

_WORD = regex.compile(r"[\p{L}\p{M}\p{N}\u200c\u200d]+")
_LETTER = regex.compile(r"\p{L}")
_BULLETS = ("•", "‣", "▪", "●", "◦", "*", "-")
_ELLIPSES = ("...", "…")
DEFAULT = FineWeb2Config()


def find(
    text: str, language: Language, config: FineWeb2Config = DEFAULT
) -> Flaw | None:
    """The first of FineWeb-2's rules that a cleaned document breaks, if any.

    What is counted in words is not asked of a language without spaces between them:
    for Thai only lines and stop words are looked at. Lengths of texts are no rule
    here; the share of the commonest n-gram counts only where it comes twice, and stop
    words are looked for in long documents alone: of clean texts of response length, one
    in ten has fewer than two of those of Tamil or Bengali, which were counted in whole
    pages.

    Args:
      text: a whole document, cleaned, as FineWeb-2's values are for.
      language: one of the ten; of others nothing is known, and only what is configured
        is asked.
      config: the language's own thresholds.
    """
    values = fineweb2.of(language, config)
    if values is None:
        return None
    lines = [line for line in text.split("\n") if line]
    flaw = _lines(lines, language, values)
    if flaw is not None or not lines:
        return flaw
    if not language.spaced:
        found = sum(map(text.count, values.stop_words))
        return _stop_words(text, found, values, config)
    words = words_of(text)
    flaw = _words(text, words, values, config)
    return flaw or _repetition(text, words, values)


def words_of(text: str) -> list[str]:
    """The words of a text in a language with spaces: letters with all their marks.

    >>> words_of("हिन्दी की भाषा, 2 बार")
    ['हिन्दी', 'की', 'भाषा', '2', 'बार']
    """
    return _WORD.findall(text)


def repeated_share(
    text: str,
    language: Language,
    gram_words: int = DuplicatesConfig.score_gram_words,
) -> float:
    """Share of a text's characters in word n-grams that came before, 0 to 1.

    Where words are not spaced, of its lines that came before.
    """
    if language.spaced:
        return _repeated_chars(words_of(text), gram_words) / max(1, len(text))
    return _repeated_line_chars([line for line in text.split("\n") if line])


def _lines(lines: list[str], language: Language, values: Values) -> Flaw | None:
    count = max(1, len(lines))
    repeated = 1 - len(set(lines)) / count
    if repeated > values.repeated_lines:
        return _too_many("repeated_lines", repeated, values.repeated_lines)
    repeated = _repeated_line_chars(lines)
    if repeated >= values.repeated_line_chars:
        most = values.repeated_line_chars
        return _too_many("repeated_line_chars", repeated, most)
    bullets = sum(line.startswith(_BULLETS) for line in lines) / count
    if bullets > values.bullet_lines:
        return _too_many("bullet_lines", bullets, values.bullet_lines)
    cut = sum(line.endswith(_ELLIPSES) for line in lines) / count
    if cut > values.ellipsis_lines:
        return _too_many("ellipsis_lines", cut, values.ellipsis_lines)
    # Of a single line `endings` asks more than this rule does.
    if endings.marks_sentences(language) and len(lines) > 1:
        ended = sum(endings.is_finished(line, language) for line in lines) / count
        if ended <= values.line_ends:
            return Flaw("line_ends", f"{ended:.3f}", f"> {values.line_ends}")
    return None


def _words(
    text: str, words: list[str], values: Values, config: FineWeb2Config
) -> Flaw | None:
    count = max(1, len(words))
    mean = sum(map(len, words)) / count
    low, high = values.word_chars
    if not low <= mean <= high:
        return Flaw("word_length", f"{mean:.1f} chars", f"{low} to {high}")
    alphabetic = sum(map(bool, map(_LETTER.search, words))) / count
    if alphabetic < values.alphabetic:
        return Flaw("few_words", f"{alphabetic:.3f}", f">= {values.alphabetic}")
    breaks = text.count("\n") / count
    if breaks > values.line_breaks:
        return _too_many("line_breaks", breaks, values.line_breaks)
    symbols = max(text.count("#"), sum(map(text.count, _ELLIPSES))) / count
    if symbols > values.symbols:
        return _too_many("symbols", symbols, values.symbols)
    found = sum(word in values.stop_words for word in words)
    return _stop_words(text, found, values, config)


def _stop_words(
    text: str, found: int, values: Values, config: FineWeb2Config
) -> Flaw | None:
    if found >= config.min_stop_words or len(text) < config.stop_words_from_chars:
        return None
    if not values.stop_words:
        return None
    return Flaw("stop_words", str(found), f">= {config.min_stop_words}")


def _repetition(text: str, words: list[str], values: Values) -> Flaw | None:
    for n, most in values.top.items():
        grams = collections.Counter(map(" ".join, _n_grams(words, n)))
        if not grams:
            continue
        # Of equally common ones the first, as Counter gives it.
        gram, times = grams.most_common(1)[0]
        share = len(gram) * times / len(text)
        if times > 1 and share > most:
            return Flaw(f"top_{n}_gram", f"{share:.3f}: {gram}", f"<= {most}")
    for n, most in values.repeated.items():
        share = _repeated_chars(words, n) / len(text)
        if share > most:
            return _too_many(f"repeated_{n}_grams", share, most)
    return None


def _n_grams(words: list[str], n: int) -> "zip[tuple[str, ...]]":
    return zip(*(itertools.islice(words, i, None) for i in range(n)), strict=False)


def _repeated_chars(words: list[str], n: int) -> int:
    """Characters of the n-grams that came before, none counted twice."""
    seen: set[tuple[str, ...]] = set()
    chars = at = 0
    grams = list(_n_grams(words, n))
    while at < len(grams):
        gram = grams[at]
        if gram in seen:
            chars += sum(map(len, gram)) + n - 1
            at += n
        else:
            seen.add(gram)
            at += 1
    return chars


def _repeated_line_chars(lines: list[str]) -> float:
    once = sum(map(len, set(lines)))
    return 1 - once / max(1, sum(map(len, lines)))


def _too_many(reason: str, found: float, most: float) -> Flaw:
    return Flaw(reason, f"{found:.3f}", f"<= {most}")
