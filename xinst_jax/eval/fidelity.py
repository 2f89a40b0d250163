"""Whether an answer is what was asked for, as far as its letters show.

Figures that need neither a judge nor a reference: is it in the language asked for, as a
whole and sentence by sentence, is it empty, was it cut off, does it go in circles, and
is English left in it.
"""

import dataclasses
import unicodedata
from collections.abc import Hashable, Sequence

import regex

from xinst_jax.languages import Language
from xinst_jax.pipeline import langid

_WORD = regex.compile(r"[\p{L}\p{M}\p{N}\u200c\u200d]+")
_LETTER = regex.compile(r"[\p{L}\p{M}]")
_FUNCTION_WORDS = """
about after again also and any because been before being between both could does during
each from had have having him how into itself more most must never of only other ought
our people should since some such that the their them there these they this those
through under until very was were what when where whether which while whom whose why
will with within without would your yourself
"""
_ENGLISH = frozenset(_FUNCTION_WORDS.split())
_LANGUAGE_SHARE = 0.8
_WORD_GRAM = 4
_CHARACTER_GRAM = 16
_PIECE_LETTERS = 40
"""Letters from which the language of a piece of text can be told."""


@dataclasses.dataclass(frozen=True)
class Fidelity:
    """What one answer shows.

    Attributes:
      in_language: whether the text is in the language asked for.
      sentences: share in [0, 1] of it, by letters, that stands in sentences in the
        language, as `sentence_share` has it.
      empty: whether it has no letter and no digit.
      truncated: whether it ended at the token limit instead of a stop token.
      repetition: share in [0, 1] of its n-grams that it had already said.
      english: share in [0, 1] of it that looks English, as `english_share` has it.
    """

    in_language: bool
    sentences: float
    empty: bool
    truncated: bool
    repetition: float
    english: float


@dataclasses.dataclass(frozen=True)
class FidelitySummary:
    """What many answers show: the number of them, and means over them.

    Attributes:
      answers: how many there are, empty ones included.
      in_language: share of all answers in the language; an empty one is not.
      sentences: mean share of those that are not empty that stands in sentences in the
        language.
      empty: share that is empty.
      truncated: share that was cut off.
      repetition: mean repetition of those that are not empty.
      english: mean English share of those that are not empty.
    """

    answers: int
    in_language: float
    sentences: float
    empty: float
    truncated: float
    repetition: float
    english: float


def fidelity(text: str, finish: str, language: Language) -> Fidelity:
    """The figures of one answer.

    Args:
      text: the answer.
      finish: 'stop' or 'length', why its generation ended.
      language: the language asked for.
    """
    text = unicodedata.normalize("NFC", text)
    empty = _WORD.search(text) is None
    return Fidelity(
        in_language=not empty and _in_language(text, language),
        sentences=0.0 if empty else sentence_share(text, language),
        empty=empty,
        truncated=finish == "length",
        repetition=repetition(text, language),
        english=english_share(text, language),
    )


def summary(figures: Sequence[Fidelity]) -> FidelitySummary:
    """The figures of many answers; all shares are 0 where there are none."""
    spoken = [figure for figure in figures if not figure.empty]
    return FidelitySummary(
        answers=len(figures),
        in_language=_mean([figure.in_language for figure in figures]),
        sentences=_mean([figure.sentences for figure in spoken]),
        empty=_mean([figure.empty for figure in figures]),
        truncated=_mean([figure.truncated for figure in figures]),
        repetition=_mean([figure.repetition for figure in spoken]),
        english=_mean([figure.english for figure in spoken]),
    )


def sentence_share(text: str, language: Language) -> float:
    """Share of a text, by letters, that stands in sentences in the language, in [0, 1].

    Sentences are taken together up to 40 letters, of which a language can be told; what
    is shorter at the end goes with what comes before it.

    Example: an answer of one Finnish sentence of 60 letters and one English one of 60
    gives 0.5 for Finnish.
    """
    pieces = _pieces(text, language)
    letters = [len(_LETTER.findall(piece)) for piece in pieces]
    own = sum(
        count
        for piece, count in zip(pieces, letters, strict=True)
        if count and _in_language(piece, language)
    )
    return own / max(1, sum(letters))


def repetition(text: str, language: Language) -> float:
    """Share of a text's n-grams that occurred in it before, in [0, 1].

    The larger of two shares: of runs of 16 letters and digits, spaces left out, and,
    where words are separated by spaces, of runs of 4 words. Four words of Thai are
    about 16 characters; web text in the ten languages has 0.00 to 0.07 on average.

    Example: 'one two three four five' gives 0; 'la la la la la la' has three runs of 4
    words, all the same, and gives 2/3.
    """
    words = _WORD.findall(text.casefold())
    shares = [_repeated("".join(words), _CHARACTER_GRAM)]
    if language.spaced:
        shares.append(_repeated(words, _WORD_GRAM))
    return max(shares)


def english_share(text: str, language: Language) -> float:
    """Share of a text that looks English, in [0, 1].

    In a language of Latin script, the share of its words that are English function
    words, of those that are no word of the five such languages among the ten: about
    0.16 in English text, 0.00 in theirs. In another script, the share of its letters
    that are unaccented Latin ones, names included.
    """
    if language.code == "en":
        return 0.0
    if "Latin" in language.scripts:
        words = _WORD.findall(text.casefold())
        return sum(word in _ENGLISH for word in words) / max(1, len(words))
    letters = _LETTER.findall(text)
    return sum(letter.isascii() for letter in letters) / max(1, len(letters))


def _pieces(text: str, language: Language) -> list[str]:
    """A text cut after sentences, into pieces of 40 letters where it has as many."""
    ends = regex.escape(language.sentence_ends, special_only=False)
    # Where sentences are marked by spaces alone, a space may end one.
    end = rf"(?<=[{ends}])\s+|\n+" + ("" if language.spaced else r"|\s+")
    pieces, piece = [], ""
    for sentence in regex.split(end, text):
        piece = f"{piece} {sentence}".strip()
        if len(_LETTER.findall(piece)) >= _PIECE_LETTERS:
            pieces.append(piece)
            piece = ""
    if piece and pieces:
        pieces[-1] = f"{pieces[-1]} {piece}"
    elif piece:
        pieces.append(piece)
    return pieces


def _in_language(text: str, language: Language) -> bool:
    return not langid.identify(text, language, _LANGUAGE_SHARE).reason


def _repeated(units: Sequence[Hashable], n: int) -> float:
    grams = [tuple(units[i : i + n]) for i in range(len(units) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
