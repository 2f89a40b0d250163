"""Instructions that hold what a prompt is made of, rather than what it asks for."""

import functools
import string

import regex

from xinst_jax.config import PromptConfig, RulesConfig
from xinst_jax.data import prompts

DEFAULT = RulesConfig()

# Headings that models know from other prompts, and special tokens.
_MARKS = r"(?m:^\s*###)|</?s>|<\|[^|>]*\|>|\[/?INST\]"
_PIECE = regex.compile(r"[\p{L}\p{M}\p{N}]+|[^\s\p{L}\p{M}\p{N}]+")
_WORD = regex.compile(r"[\p{L}\p{N}]")


def echoes_prompt(
    text: str,
    wording: PromptConfig = prompts.PAPER,
    words: int = DEFAULT.prompt_words,
) -> bool:
    """Whether a text holds marks of a prompt's template or of special tokens.

    A template's marks are the beginnings of its lines, up to what is put in. One that
    begins with a sign ('### Response:') or has `words` words is looked for anywhere,
    another ('Text:') where a line begins with it.

        echoes_prompt("Write about tea. ### Response: Tee")   # True
    """
    return _pattern(wording, words).search(text) is not None


@functools.lru_cache
def _pattern(wording: PromptConfig, words: int) -> regex.Pattern:
    templates = (wording.reverse, wording.answer, wording.rate)
    marks = [_mark(line, words) for one in templates for line in _beginnings(one)]
    return regex.compile("|".join(dict.fromkeys([_MARKS, *filter(None, marks)])))


def _beginnings(template: str) -> list[str]:
    """What each line of a template begins with, up to the first slot in it."""
    slot = "\0"
    text = "".join(
        literal + (slot if name is not None else "")
        for literal, name, _, _ in string.Formatter().parse(template)
    )
    return [line.partition(slot)[0].strip() for line in text.split("\n")]


def _mark(line: str, words: int) -> str:
    """The pattern of a line's beginning; '' for one without a word."""
    pieces = _PIECE.findall(line)
    ends = [n for n, piece in enumerate(pieces, 1) if _WORD.match(piece)]
    if not ends:
        return ""
    anywhere = ends[0] > 1 or len(ends) >= words
    told = pieces[: ends[:words][-1]] if anywhere else pieces
    escaped = [regex.escape(piece) for piece in told]
    joined = escaped[0]
    for before, piece, plain in zip(told, told[1:], escaped[1:], strict=False):
        both = _WORD.match(before) and _WORD.match(piece)
        joined += (r"\s+" if both else r"\s*") + plain
    if anywhere:
        return rf"{joined}(?![\p{{L}}\p{{M}}\p{{N}}])"
    end = r"\s*$" if _WORD.match(pieces[-1]) else ""
    return rf"(?m:^\s*{joined}{end})"
