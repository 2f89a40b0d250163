"""Texts that nobody should be taught: by a list of words, or by a user's model."""

import dataclasses
import functools
import importlib
import pathlib
import unicodedata
from collections.abc import Callable

import regex

from xinst_jax.errors import UserError
from xinst_jax.languages import Language
from xinst_jax.pipeline.corpus.boilerplate import Flaw

SCREENED = "screened"
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")


@dataclasses.dataclass(frozen=True)
class Words:
    """A list of words and phrases, none of which a text may hold.

    Attributes:
      file: the list's name.
      phrases: in NFC and without case, their words parted by one space.
      spaced: whether they must be whole words; else they are looked for anywhere.
    """

    file: str
    phrases: frozenset[str]
    spaced: bool

    def find(self, text: str) -> Flaw | None:
        """The first of its words that a text holds."""
        folded = _folded(text)
        for phrase in self._found(folded):
            if phrase in self.phrases:
                return Flaw(SCREENED, phrase, f"nothing of {self.file}")
        return None

    def _found(self, folded: str) -> list[str]:
        if not self.spaced:
            return [phrase for phrase in sorted(self.phrases) if phrase in folded]
        words = _WORD.findall(folded)
        longest = max(phrase.count(" ") + 1 for phrase in self.phrases)
        return [
            " ".join(words[start : start + length])
            for start in range(len(words))
            for length in range(1, min(longest, len(words) - start) + 1)
        ]


@dataclasses.dataclass(frozen=True)
class Model:
    """A model's verdict on a text.

    Attributes:
      name: 'MODULE:FUNCTION' of a function that takes a text and a language's code and
        gives a probability, 0 to 1, that the text should not be used.
      code: the language.
      most: greatest probability that is accepted.
    """

    name: str
    code: str
    most: float

    def find(self, text: str) -> Flaw | None:
        """The verdict, where it is against the text.

        Raises:
          UserError: the function gives no number between 0 and 1.
        """
        found = _function(self.name)(text, self.code)
        if not isinstance(found, (int, float)) or not 0 <= found <= 1:
            raise UserError(
                f"CorpusConfig.screen_model = {self.name!r} gave {found!r}; expected a "
                "probability between 0 and 1."
            )
        if found <= self.most:
            return None
        return Flaw(SCREENED, f"{found:.3f} by {self.name}", f"<= {self.most}")


def words(path: str, language: Language) -> Words | None:
    """A language's list: a word or phrase a line, but for lines that begin with '#'.

    Args:
      path: the file; '{lang}' stands for the language's code.
      language: the language; None is given where it has no file.

    Raises:
      UserError: the file is not UTF-8, or holds no word.
    """
    file = pathlib.Path(path.replace("{lang}", language.code))
    if not file.is_file():
        return None
    try:
        lines = file.read_text("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{file}: byte {error.start} is not UTF-8. Write the list in "
            "CorpusConfig.screen_words in UTF-8."
        ) from error
    folded = (_folded(line) for line in lines if not line.startswith("#"))
    if language.spaced:
        folded = (" ".join(_WORD.findall(line)) for line in folded)
    phrases = frozenset(line.strip() for line in folded) - {""}
    if not phrases:
        raise UserError(
            f"{file} holds no word. Give one a line, or empty "
            "CorpusConfig.screen_words."
        )
    return Words(file.name, phrases, language.spaced)


def check_model(name: str) -> None:
    """Raises UserError unless a function of this name can be imported."""
    _function(name)


@functools.cache
def _function(name: str) -> Callable[[str, str], float]:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"CorpusConfig.screen_model = {name!r} cannot be imported ({error}). "
            "Expected 'MODULE:FUNCTION' on the Python path."
        ) from error
    return found


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()
