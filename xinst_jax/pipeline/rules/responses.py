"""Responses that break off, or are not of the type that the instruction asks for."""

import dataclasses
import functools
from collections.abc import Callable

import regex

from xinst_jax.config import RulesConfig
from xinst_jax.languages import BUILT_IN
from xinst_jax.pipeline import endings

DEFAULT = RulesConfig()
_TERMINAL = regex.compile(r"\p{Sentence_Terminal}")
_THAI = regex.compile(r"\p{Thai}")
_LETTER = regex.compile(r"\p{L}")
_CLOSERS = regex.compile(r"[\s\"'*_~\p{Pe}\p{Pf}\p{So}]+$")
_OPEN_END = regex.compile(r"[,،、;؛:\p{Pd}\p{Ps}]$")
_WORD_END = regex.compile(r"[\p{L}\p{M}]$")

_MARKER = r"(?:[\p{Nd}]{1,3}[.):]|[\p{L}][.)]|[•‣◦▪●○*·–—-])"
_ITEM = regex.compile(rf"^\s*{_MARKER}\s+\S", regex.MULTILINE)
_INLINE_ITEM = regex.compile(r"(?:^|\s)(?:[\p{Nd}]{1,2}[.)]|[•‣◦▪●])\s*\S")
_SEPARATOR = regex.compile(r"[,،、;؛]")


def is_unfinished(output: str, config: RulesConfig = DEFAULT) -> bool:
    """Whether a response breaks off, in whichever language it is.

    It ends in a comma, an opening bracket or an elision; or in the middle of a
    sentence, where it marks the ends of others. A last line that is short, or an item
    of a list, needs no mark. Thai marks none: see `endings`.

        is_unfinished("Se on vesi. Sitä juodaan, kun")   # True
        is_unfinished("Se on vesi. Sitä juodaan.")       # False
    """
    text = output.rstrip()
    if not text or endings.ELISION.search(text):
        return True
    body = _CLOSERS.sub("", text)
    if not body or _OPEN_END.search(body):
        return True
    tail = body[-config.tail_chars :]
    if 2 * len(_THAI.findall(tail)) > len(_LETTER.findall(tail)):
        return not endings.is_finished(text, BUILT_IN["th"])
    lines = text.splitlines()
    last = lines[-1].strip()
    if len(lines) > 1 and (len(last) <= config.last_item_chars or _ITEM.match(last)):
        return False
    return bool(_WORD_END.search(body) and _TERMINAL.search(body))


@dataclasses.dataclass(frozen=True)
class AnswerType:
    """A kind of answer that an instruction may ask for.

    Attributes:
      name: what it is called in tests and documentation.
      asked: what an instruction that asks for it looks like.
      given: whether a response is of the kind, given what `asked` matched and how many
        things make one.
    """

    name: str
    asked: regex.Pattern
    given: Callable[[str, regex.Match, RulesConfig], bool]


def _lines(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.strip()]


def _has_items(output: str, asked: regex.Match, config: RulesConfig) -> bool:
    del asked
    items = max(len(_ITEM.findall(output)), len(_INLINE_ITEM.findall(output)))
    return items >= config.list_items


def _has_list(output: str, asked: regex.Match, config: RulesConfig) -> bool:
    """Items, three lines, three short things in a row, or, in Thai, spaces."""
    things, chars = config.list_things, config.list_thing_chars
    return (
        _has_items(output, asked, config)
        or len(_lines(output)) >= things
        or bool(_enumeration(things, chars).search(output))
        or (bool(_THAI.search(output)) and len(output.split()) >= things)
    )


@functools.cache
def _enumeration(things: int, chars: int) -> regex.Pattern:
    """So many things in a row, of so many characters each, with commas between."""
    thing = rf"[^,،、;؛\p{{Sentence_Terminal}}\n]{{1,{chars}}}"
    return regex.compile(rf"(?:{thing}[,،、;؛]\s*){{{things - 1},}}\S")


def _has_table(output: str, asked: regex.Match, config: RulesConfig) -> bool:
    del asked
    lines = _lines(output)
    columns = [line for line in lines if regex.search(r"\S\s*[|\t:]\s*\S", line)]
    enough = len(columns) >= config.table_lines
    return enough or len(lines) >= config.list_things


def _has_code(output: str, asked: regex.Match, config: RulesConfig) -> bool:
    del asked, config
    return bool(regex.search(r"[{}<>=]|\w\(|```|\bSELECT\b", output))


_NUMBERS = {
    word: number
    for number, word in enumerate(
        [
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
        ],
        3,
    )
}


def _has_number(output: str, asked: regex.Match, config: RulesConfig) -> bool:
    """As many lines, items, parts between commas or sentences; some may be joined."""
    word = asked["number"].casefold()
    wanted = _NUMBERS[word] if word in _NUMBERS else int(word)
    found = max(
        len(_lines(output)),
        len(_INLINE_ITEM.findall(output)),
        len(_SEPARATOR.findall(output)) + 1,
        len(_TERMINAL.findall(output)),
        len(output.split()) if _THAI.search(output) else 0,
    )
    return found + config.joined_things >= wanted


def _type(
    name: str, given: Callable[[str, regex.Match, RulesConfig], bool], asked: str
) -> AnswerType:
    return AnswerType(name, regex.compile(asked, regex.IGNORECASE), given)


_MAKE = (
    r"\b(?:make|create|draw|draw up|build|prepare|provide|give|write|present|show)\b"
)
_UNITS = (
    r"(?:percent|%|per cent|hundred|thousand|million|words?|sentences?|paragraphs?|"
    r"lines?|pages?|letters?|characters?|minutes?|hours?|days?|weeks?|months?|years?|"
    r"stars?|times|people|year-old)"
)
ANSWER_TYPES = (
    _type(
        "items",
        _has_items,
        r"\b(?:bullet(?:ed)? (?:points?|lists?)|numbered lists?)\b",
    ),
    _type(
        "list",
        _has_list,
        rf"(?:{_MAKE}[^.?!:\n]{{0,30}}\ba (?:\p{{L}}+ )?list (?:of|with)\b|"
        r"\bmake a list\b|\bin (?:the form of )?a list\b|\bas a list\b)",
    ),
    _type(
        "table",
        _has_table,
        rf"(?:{_MAKE}[^.?!:\n]{{0,40}}\b(?:in|as) a table\b|"
        rf"{_MAKE} (?:me )?a table (?:of|with|that|which|showing|comparing|listing)\b)",
    ),
    _type(
        "code",
        _has_code,
        r"\b(?:write|create|give|provide|implement)\b[^.?!:\n]{0,30}"
        r"\b(?:python|javascript|java|c\+\+|sql|html|css|php|bash)\b[^.?!:\n]{0,20}"
        r"\b(?:code|function|program|script|query|class)\b",
    ),
    _type(
        "number of things",
        _has_number,
        r"\b(?:list|name|give|mention|suggest|provide|identify|enumerate|recommend)"
        r"(?: me| us)? (?:the )?(?:top |best |first )?"
        rf"(?P<number>[3-9]|1[0-9]|{'|'.join(_NUMBERS)})\b(?![-.,]\d)(?! ?{_UNITS}\b)",
    ),
)
"""Every kind of answer that is looked for, in this order."""


def missing_answer_type(
    instruction: str, output: str, config: RulesConfig = DEFAULT
) -> str | None:
    """The name of the first kind that is asked for and not given, or None.

    It is lenient: what might be a list counts as one.

        missing_answer_type("Write it in bullet points.", "Se on vesi.")    # 'items'
        missing_answer_type("Name three rivers.", "Oulujoki, Kemijoki ja Kymi.")  # None
    """
    for kind in ANSWER_TYPES:
        asked = kind.asked.search(instruction)
        if asked and not kind.given(output, asked, config):
            return kind.name
    return None
