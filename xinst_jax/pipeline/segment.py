"""Documents cut into texts as long as a response, at paragraph and sentence ends."""

import dataclasses
import functools
import itertools
import math

import regex

from xinst_jax.config import SegmentConfig, TextConfig
from xinst_jax.languages import Language
from xinst_jax.pipeline import endings, openings

_CLOSING = r"""(?:["'\p{Pe}\p{Pf}]|\[\d+\])*"""
_LETTER = regex.compile(r"\p{L}")
_WORD_BEFORE = regex.compile(r"[\p{L}\p{M}\p{N}.]+$")
_ROMAN = regex.compile(r"[IVXLC]+")
_LINE_BREAK = regex.compile(r"\n+")
DEFAULT, DEFAULT_TEXT = SegmentConfig(), TextConfig()
_WORD_CHARS = 40
_MAX_TRIES = 2_000_000
_UNITS_A_SEGMENT = 32


@dataclasses.dataclass(frozen=True)
class _Unit:
    """The smallest part that is never cut: a sentence, or a phrase of unmarked ones.

    Attributes:
      start: where it starts in the document, in characters.
      end: where it ends, without the white space after it.
      cost: what a cut after it costs.
    """

    start: int
    end: int
    cost: float


def cut(
    text: str,
    language: Language,
    min_chars: int,
    max_chars: int,
    target_chars: int,
    costs: SegmentConfig = DEFAULT,
    texts: TextConfig = DEFAULT_TEXT,
) -> list[str]:
    """A cleaned document as texts of at most `max_chars`, as near the target as may be.

    A document that fits is left whole. A longer one is cut where the sum, over its
    segments, of the squared relative distance from `target_chars` and of the cost of
    the cut is least; a cut before what goes on from the text before it ('But') costs
    more, and segments under `min_chars`, and cuts behind a heading or a list
    item, are taken only where there is no other way. A sentence longer than `max_chars`
    stays whole, for the caller to refuse. Headings that nothing follows are left off.

    With `min_chars=10, target_chars=30, max_chars=45`

        Lumi satoi. Tuuli kävi.\\n\\nAurinko laski jo aikaisin. Sitten tuli yö.

    gives 'Lumi satoi. Tuuli kävi.' and 'Aurinko laski jo aikaisin. Sitten tuli yö.'
    """
    if len(text) <= max_chars:
        return [_without_trailing_headings(text, language, texts)]
    units = _bounded(_units(text, language, costs, texts), len(text), max_chars)
    spans = _best_spans(units, min_chars, max_chars, target_chars, costs.short_cost)
    parts = (text[slice(*span)] for span in spans)
    return [_without_trailing_headings(part, language, texts) for part in parts]


def _bounded(units: list[_Unit], length: int, max_chars: int) -> list[_Unit]:
    """The units, or where they are too many and too short to try them all, longer ones.

    The number of tries grows with the square of how many units a character has.
    """
    if len(units) ** 2 * max_chars <= _MAX_TRIES * length:
        return units
    joined = units[:1]
    for unit in units[1:]:
        first = joined[-1]
        if unit.end - first.start <= max_chars // _UNITS_A_SEGMENT:
            joined[-1] = dataclasses.replace(unit, start=first.start)
        else:
            joined.append(unit)
    return joined


def _best_spans(
    units: list[_Unit],
    min_chars: int,
    max_chars: int,
    target_chars: int,
    short_cost: float,
) -> list[tuple[int, int]]:
    """Start and end of the segments whose cost is least, by dynamic programming."""
    starts = [unit.start for unit in units]
    # Of the first n units: the least cost, and the first unit of the last segment.
    costs, firsts = [0.0], [0]
    for stop, unit in enumerate(units, 1):
        least, at = math.inf, stop - 1
        for start in range(stop - 1, -1, -1):
            length = unit.end - starts[start]
            if length > max_chars and start < stop - 1:
                break
            distance = length / target_chars - 1
            cost = costs[start] + distance * distance
            if length < min_chars:
                cost += short_cost
            if cost <= least:
                least, at = cost, start
        costs.append(least + (unit.cost if stop < len(units) else 0.0))
        firsts.append(at)
    spans = []
    stop = len(units)
    while stop:
        spans.append((starts[firsts[stop]], units[stop - 1].end))
        stop = firsts[stop]
    return spans[::-1]


def shorten(
    text: str,
    language: Language,
    max_chars: int,
    texts: TextConfig = DEFAULT_TEXT,
) -> str | None:
    """The longest start of a text within `max_chars` that ends a sentence, if any.

    >>> from xinst_jax.languages import BUILT_IN
    >>> shorten("Lumi satoi. Tuuli kävi.", BUILT_IN["fi"], 15)
    'Lumi satoi.'
    """
    if len(text) <= max_chars:
        return text
    units = _units(text[: max_chars + 1], language, DEFAULT, texts)
    last = units[-1].end if units else 0
    if last > max_chars or not text[last].isspace():
        # It goes on behind the cut.
        units = units[:-1]
    for unit in reversed(units):
        part = text[: unit.end]
        if endings.is_finished(part, language):
            return _without_trailing_headings(part, language, texts)
    return None


def is_heading(line: str, language: Language, texts: TextConfig = DEFAULT_TEXT) -> bool:
    """Whether a line is short and without the end of a sentence in it."""
    short = len(line) <= texts.heading_chars
    return short and set(line).isdisjoint(language.sentence_ends)


def _units(
    text: str,
    language: Language,
    costs: SegmentConfig = DEFAULT,
    texts: TextConfig = DEFAULT_TEXT,
) -> list[_Unit]:
    units = []
    start = 0
    for line_break in [*_LINE_BREAK.finditer(text), None]:
        end = line_break.start() if line_break else len(text)
        stops = _sentence_stops(text[start:end], language, texts)
        inner = [(start + stop, start + after) for stop, after in stops]
        behind = line_break.end() if line_break else end
        base = costs.paragraph_cost if behind - end > 1 else costs.line_cost
        first = start
        for stop, after in inner:
            units.append(_Unit(first, stop, costs.sentence_cost))
            first = after
        if first < end:
            finished = endings.is_finished(text[first:end], language)
            open_end = not finished or is_heading(text[first:end], language, texts)
            units.append(_Unit(first, end, base + costs.unfinished_cost * open_end))
        elif units:
            units[-1] = dataclasses.replace(units[-1], cost=base)
        start = behind
    more = costs.goes_on_cost
    pairs = itertools.pairwise(units)
    return [_priced(text, language, more, texts, *pair) for pair in pairs] + units[-1:]


def _priced(
    text: str,
    language: Language,
    more: float,
    texts: TextConfig,
    unit: _Unit,
    following: _Unit,
) -> _Unit:
    """A unit whose cut costs more if what follows cannot be read by itself."""
    part = text[following.start : following.end]
    if not openings.goes_on(part, language, True, texts):
        return unit
    return dataclasses.replace(unit, cost=unit.cost + more)


def _sentence_stops(
    line: str, language: Language, texts: TextConfig
) -> list[tuple[int, int]]:
    """Where sentences end in a line, and where the next ones start."""
    return [
        (match.end("sentence"), match.end())
        for match in _stop_pattern(language).finditer(line)
        if _ends_sentence(line, match, texts)
    ]


@functools.lru_cache
def _stop_pattern(language: Language) -> regex.Pattern:
    """Matches the marks that may end a sentence, and the space behind them.

    A mark of the script's own ends one even without a space behind it; where sentences
    have no marks, a space between two letters of the script ends a phrase.
    """
    common = "".join(c for c in language.sentence_ends if c in ".!?…")
    own = "".join(c for c in language.sentence_ends if c not in ".!?…")
    ways = []
    if common:
        ways.append(rf"(?P<sentence>(?P<mark>[{common}]+){_CLOSING})\s+")
    if own:
        ways.append(rf"(?P<sentence>[{own}]+{_CLOSING})(?![{own}])\s*")
    if not endings.marks_sentences(language):
        letters = "".join(rf"\p{{Script={name}}}" for name in language.scripts)
        ways.append(rf"(?<=[{letters}])(?P<sentence>)\s+(?=[{letters}--\p{{Lm}}])")
    return regex.compile("|".join(ways), regex.V1)


def _ends_sentence(line: str, match: regex.Match, texts: TextConfig) -> bool:
    """Whether a mark ends a sentence rather than an abbreviation or an ordinal."""
    following = line[match.end() : match.end() + 1]
    if match.groupdict().get("mark") is None:
        return True
    if following.islower():
        return False
    if match["mark"] != "." or match["sentence"] != ".":
        return True
    word = _WORD_BEFORE.search(
        line[max(0, match.start() - _WORD_CHARS) : match.start()]
    )
    if word is None:
        return True
    letters = _LETTER.findall(word[0])
    most = texts.abbreviation_letters if word[0][0].isupper() else 1
    short = len(letters) <= most
    return not (
        short or "." in word[0] or _ROMAN.fullmatch(word[0]) or word[0].isdigit()
    )


def _without_trailing_headings(text: str, language: Language, texts: TextConfig) -> str:
    """The text without the headings at its end, where a finished text is left."""
    if not endings.marks_sentences(language):
        return text
    lines = text.split("\n")
    while lines and is_heading(lines[-1], language, texts):
        lines.pop()
    shorter = "\n".join(lines).rstrip()
    return shorter if endings.is_finished(shorter, language) else text
