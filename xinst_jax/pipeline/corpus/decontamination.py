"""Texts that hold a piece of an evaluation set: n-grams that both have in common."""

import dataclasses
import pathlib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import regex

from xinst_jax.data import raw_rows, sources
from xinst_jax.errors import UserError
from xinst_jax.pipeline.corpus.boilerplate import Flaw

WORDS, CHARS = 8, 25
"""Length of an n-gram: in words, and in characters where words are not spaced."""

CONTAMINATED = "contaminated"

_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")
_LETTER = regex.compile(r"\p{L}")
_UNSPACED = regex.compile(
    r"[\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}\p{Script=Han}"
    r"\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Tibetan}]"
)


@dataclasses.dataclass(frozen=True)
class Index:
    """The n-grams of evaluation sets.

    Attributes:
      names: the sets, by the names of their files.
      grams: each n-gram, with the number of the set that has it first; an item too
        short to have one as a whole, to be found where a text is nothing else.
    """

    names: tuple[str, ...]
    grams: Mapping[str, int]

    def find(self, text: str) -> Flaw | None:
        """The first n-gram of a text that a set has, with the set's name: 'set: gram'.

        Of a text that is too short to have one, the text itself.
        """
        for gram in n_grams(text):
            number = self.grams.get(gram)
            if number is not None:
                found = f"{self.names[number]}: {gram}"
                return Flaw(CONTAMINATED, found, "no n-gram of an evaluation set")
        return None


def n_grams(text: str) -> Iterator[str]:
    """A text's word 8-grams, or its character 25-grams where words are not spaced.

    Case, punctuation and spacing do not count; marks do. What most letters belong to
    decides how a text is cut. A text that is too short for one is one as a whole.

    >>> next(n_grams("Who wrote it, and why: in how many days?"))
    'who wrote it and why in how many'
    >>> list(n_grams("Who wrote it?"))
    ['who wrote it']
    """
    normal = unicodedata.normalize("NFC", text).casefold()
    words = _WORD.findall(normal)
    if 2 * len(_UNSPACED.findall(normal)) > len(_LETTER.findall(normal)):
        joined = "".join(words)
        for i in range(max(1, len(joined) - CHARS + 1)):
            yield joined[i : i + CHARS]
    elif words:
        for i in range(max(1, len(words) - WORDS + 1)):
            yield " ".join(words[i : i + WORDS])


def read(paths: Sequence[str], codes: Iterable[str]) -> Index:
    """The index of evaluation sets: of every text of every row, whatever its field.

    Args:
      paths: files, as `CorpusConfig.path`; '{lang}' stands for each of the codes.
      codes: languages of the run.

    Raises:
      UserError: a path matches nothing, or a row cannot be read.
    """
    names: list[str] = []
    grams: dict[str, int] = {}
    for path in paths:
        given = tuple(codes) if "{lang}" in path else ("",)
        found = [code for code in given if sources.exists(path, code)]
        if not found:
            raise UserError(
                f"No evaluation set: nothing matches {path!r} of evaluation_sets. Give "
                "a file that exists, or leave it out."
            )
        for code in found:
            number = len(names)
            names.append(_name(path, code))
            for row in sources.read(path, code):
                if isinstance(row, raw_rows.Rejected):
                    raise UserError(
                        f"{row.place}: {row.reason} (found {row.value}; expected "
                        f"{row.threshold}). Repair the file in evaluation_sets."
                    )
                for text in _texts(row.fields):
                    for gram in n_grams(text):
                        grams.setdefault(gram, number)
    return Index(tuple(names), grams)


def _name(path: str, code: str) -> str:
    """A set's name: its file's, without what says how it is packed."""
    name = pathlib.PurePath(path.replace("{lang}", code)).name
    return name.split(".")[0] or name


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _texts(part)
