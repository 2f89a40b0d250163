"""Menus that open and close a page, told from verse and from lists of facts."""

import functools
from collections.abc import Sequence

import regex

from xinst_jax.config import FineWeb2Config, PageConfig
from xinst_jax.languages import Language
from xinst_jax.pipeline.corpus import boilerplate, fineweb2, quality_filters

_SEPARATOR = regex.compile(r"\s*[|•·»›]\s*")
_ADDRESS = regex.compile(r"(?:https?://|www\.)\S+")
_LIST_ITEM = regex.compile(r"(?:[-–*•·‣▪●◦]|\p{N}{1,3}[.)])\s*\S")
# As wikis and Markdown have them.
_HEADING = regex.compile(r"(={1,6}).*[^=\s].*\1|#{1,6}\s.+")
_HASHTAG = regex.compile(r"#\S+")
# A digit; a comma or semicolon; brackets; a colon or a dash that something follows.
_FACT = regex.compile(r"\p{Nd}|[,;،؛、]|\(\S|[:：]\s*[^\s/]|\s[–—-]\s*\S")


def items(line: str, language: Language, page: PageConfig) -> int:
    """How many short items a line is, between bars or dots; 0 if it is anything else.

    An address is as much as a line of items.
    """
    if _ADDRESS.fullmatch(line):
        return page.end_line_items
    found = [item for item in _SEPARATOR.split(line) if item]
    short = all(
        boilerplate.is_short(item, page)
        and not boilerplate.ends_sentence(item, language)
        for item in found
    )
    return len(found) if short else 0


def head(
    lines: Sequence[str], taken: Sequence[bool], language: Language, page: PageConfig
) -> list[int]:
    """Numbers of the lines of a menu that opens the page.

    Lines of three items and addresses before any other line are one, however few; so
    are four items or more in a row, in lines or between bars, that are short, no
    sentences and no list. Lines that say something are none: of facts, which have
    digits, commas, or something behind a colon or a dash, or of verse, which has the
    language's stop words in lines of four words or more. A few of them may stand in a
    menu (`max_telling_share`).

    Args:
      lines: of a cleaned document.
      taken: which of them are known to be none of its text.
      language: the language it should be in.
      page: how long items are, and how many make a menu.
    """
    sure, found = _run(range(len(lines)), lines, taken, language, page)
    return found or sure


def tail(
    lines: Sequence[str], taken: Sequence[bool], language: Language, page: PageConfig
) -> list[int]:
    """Numbers of the lines of a menu that closes the page, as `head` says.

    What a heading or a colon announces is a list, whatever its lines are like.
    """
    numbers = range(len(lines) - 1, -1, -1)
    sure, found = _run(numbers, lines, taken, language, page)
    best = found or sure
    earlier = range(min(best, default=0) - 1, -1, -1)
    before = next((lines[number] for number in earlier if lines[number]), "")
    if before.endswith((":", "：")):
        return []
    return sure if _HEADING.fullmatch(before) else best


def _run(
    numbers: range,
    lines: Sequence[str],
    taken: Sequence[bool],
    language: Language,
    page: PageConfig,
) -> tuple[list[int], list[int]]:
    """Of the first lines, in this order: those sure to be frame, and those of a menu.

    Without items enough, or where too many say something, the second are none.
    """
    found: list[int] = []
    sure = count = short = telling = 0
    for number in numbers:
        line = lines[number]
        if not line or taken[number]:
            continue
        several = items(line, language, page)
        if several < page.end_line_items and not _may_be_item(line, language, page):
            break
        found.append(number)
        if several >= page.end_line_items and sure == len(found) - 1:
            sure = len(found)
        telling += _tells(line, language, page)
        if several or boilerplate.is_short(line, page):
            short += 1
            count += several or 1
    length = sum(map(len, lines))
    is_menu = (
        count >= page.line_items
        and sum(len(lines[n]) for n in found) <= page.max_menu_share * length
        and short >= page.min_short_share * len(found)
        and telling <= page.max_telling_share * len(found)
    )
    return found[:sure], found if is_menu else []


def _may_be_item(line: str, language: Language, page: PageConfig) -> bool:
    """Whether a line is short, or among short ones may be, and is nothing else."""
    short = boilerplate.is_short(line, page) or boilerplate.fits(
        line, page.long_item_chars, page
    )
    return short and not (
        _LIST_ITEM.match(line)
        or _HEADING.fullmatch(line)
        or line.endswith((":", "："))
        or boilerplate.ends_sentence(line, language)
    )


def _tells(line: str, language: Language, page: PageConfig) -> bool:
    """Whether a line is one of facts or of verse rather than the name of a page."""
    if _ADDRESS.search(line) or _HASHTAG.fullmatch(line):
        return False
    if _FACT.search(line):
        return True
    words = quality_filters.words_of(line.lower())
    return len(words) >= page.clause_words and not _stop_words(language).isdisjoint(
        words
    )


@functools.lru_cache
def _stop_words(language: Language) -> frozenset[str]:
    """The language's, as published; none where words are not spaced.

    Between no spaces they cannot be told from parts of other words.
    """
    values = fineweb2.of(language, FineWeb2Config())
    return values.stop_words if values and language.spaced else frozenset()
