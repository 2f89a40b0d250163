"""Texts that hold a piece of an evaluation set: an n-gram, or a short item, of one."""

import collections
import dataclasses
import itertools
import json
import pathlib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import regex

from xinst_jax import shards
from xinst_jax.config import DecontaminationConfig
from xinst_jax.data import raw_rows, sources
from xinst_jax.errors import UserError
from xinst_jax.pipeline.corpus import phrases
from xinst_jax.pipeline.corpus.boilerplate import Flaw
from xinst_jax.pipeline.corpus.phrases import Phrases, Units

DEFAULT = DecontaminationConfig()

COVERAGE = "evaluation_sets.json"
"""What a stage looked for, in its directory: `Coverage` of each set."""

CONTAMINATED = "contaminated"

_UNSPACED_SCRIPTS = (
    r"[\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}\p{Script=Han}"
    r"\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Tibetan}]"
)
_UNSPACED = regex.compile(_UNSPACED_SCRIPTS)
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")
# A word beside letters of a script without spaces ends where they begin.
_WORD_OF_A_SCRIPT = regex.compile(
    rf"[[\p{{L}}\p{{M}}\p{{N}}]&&{_UNSPACED_SCRIPTS}]+"
    rf"|[[\p{{L}}\p{{M}}\p{{N}}]--{_UNSPACED_SCRIPTS}]+",
    regex.V1,
)
_LETTER = regex.compile(r"\p{L}")
_SPACED_LETTER = regex.compile(rf"[\p{{L}}--{_UNSPACED_SCRIPTS}]", regex.V1)
_MARK = regex.compile(r"\p{M}")


class _Cut(NamedTuple):
    """A text's words, or its letters where words are not spaced.

    Attributes:
      units: the words, or the letters.
      joint: what stands between two of them.
      n: how many an n-gram has.
      least: how many an item must have to be looked for inside texts.
      own: whether most of its letters are of the scripts that are cut so.
    """

    units: Sequence[str]
    joint: str
    n: int
    least: int
    own: bool


@dataclasses.dataclass(frozen=True)
class Coverage:
    """How the items of a set are looked for; an item is a text field, each once.

    Attributes:
      name: the set.
      n_grams: items found by their n-grams.
      inside: shorter ones, found where a text has all of one.
      alone: those shorter still, found where a text is nothing else.
    """

    name: str
    n_grams: int = 0
    inside: int = 0
    alone: int = 0

    def __str__(self) -> str:
        """Set and counts, in words."""
        return (
            f"{self.name} ({self.n_grams:,} items by n-grams, {self.inside:,} shorter "
            f"ones as a whole, {self.alone:,} only where a text is nothing else)"
        )


@dataclasses.dataclass(frozen=True)
class Index:
    """The n-grams and short items of evaluation sets.

    Attributes:
      coverage: the sets, by the names of their files.
      grams: each n-gram, with the number of the set that has it first; an item too
        short to have one as a whole, to be found where a text is nothing else.
      inside: by their length, items too short for an n-gram that are found as a whole
        inside texts too, each with its set's number.
      lengths: of an n-gram and of such items.
    """

    coverage: tuple[Coverage, ...]
    grams: Phrases
    inside: Mapping[int, Phrases]
    lengths: DecontaminationConfig = DEFAULT

    def find(self, text: str) -> Flaw | None:
        """The first n-gram of a text that a set has, with the set's name: 'set: gram'.

        Or the first short item that it has as a whole, between bounds of words; of a
        text that is too short for either, the text itself. A text of scripts with and
        without spaces between words is looked through as words and as letters.
        """
        for cut in _cuts(text, self.lengths):
            for number, piece in self._pieces(cut):
                # Words are none of an item of letters, nor letters of one of words.
                if cut.own or _is_unspaced(piece) is not bool(cut.joint):
                    found = f"{self.coverage[number].name}: {piece}"
                    expected = "no n-gram of an evaluation set"
                    return Flaw(CONTAMINATED, found, expected)
        return None

    def _pieces(self, cut: _Cut) -> Iterator[tuple[int, str]]:
        """The n-grams of a text that a set has, then the short items; set and piece."""
        units = Units(cut.units, cut.joint)
        for window, number in self.grams.find(units, cut.n):
            yield number, units.text[window.start : window.end]
        for length, items in self.inside.items():
            if not cut.least <= length < min(cut.n, len(cut.units) + 1):
                continue
            for window, number in items.find(units, length):
                # A last letter with one mark more is another one.
                if cut.joint or not _MARK.match(units.text, window.end):
                    yield number, units.text[window.start : window.end]


def _cuts(text: str, lengths: DecontaminationConfig) -> list[_Cut]:
    """The ways to cut a text: as most of its letters are, then as the others are."""
    normal = unicodedata.normalize("NFC", text).casefold()
    mixed = _UNSPACED.search(normal) is not None
    parts = (_WORD_OF_A_SCRIPT if mixed else _WORD).findall(normal)
    if not parts:
        return []
    unspaced = mixed and _is_unspaced(normal)
    sizes = lengths.gram_words, lengths.item_words
    words = _Cut(parts, " ", *sizes, own=not unspaced)
    if not mixed:
        return [words]
    sizes = lengths.gram_chars, lengths.item_chars
    letters = _Cut("".join(parts), "", *sizes, own=unspaced)
    if not unspaced:
        return [words, letters]
    return [letters, words] if _SPACED_LETTER.search(normal) else [letters]


def _is_unspaced(text: str) -> bool:
    """Whether most letters of a text are of scripts without spaces between words."""
    return 2 * len(_UNSPACED.findall(text)) > len(_LETTER.findall(text))


def read(
    paths: Sequence[str],
    codes: Iterable[str],
    lengths: DecontaminationConfig = DEFAULT,
) -> Index:
    """The index of evaluation sets: of every text of every row, whatever its field.

    Args:
      paths: files, as `CorpusConfig.path`; '{lang}' stands for each of the codes.
      codes: languages of the run.
      lengths: of an n-gram, and of shorter items that are looked for as a whole.

    Raises:
      UserError: a path matches nothing, or a row cannot be read.
    """
    sets: dict[tuple[str, str], None] = {}
    for path in paths:
        given = tuple(codes) if "{lang}" in path else ("",)
        found = [code for code in given if sources.exists(path, code)]
        if not found:
            raise UserError(
                f"No evaluation set: nothing matches {path!r} of evaluation_sets. Give "
                "a file that exists, or leave it out."
            )
        sets |= {(path, code): None for code in found}
    names = _names([path.replace("{lang}", code) for path, code in sets])
    items = itertools.starmap(_items, sets)
    return index(zip(names, items, strict=True), lengths)


def index(
    sets: Iterable[tuple[str, Iterable[str]]],
    lengths: DecontaminationConfig = DEFAULT,
    *,
    alone: bool = True,
) -> Index:
    """The index of sets of texts.

    Args:
      sets: names, and the texts of each.
      lengths: of an n-gram, and of shorter items that are looked for as a whole.
      alone: whether items shorter still are found where a text is nothing else.
    """
    coverage: list[Coverage] = []
    grams = phrases.Builder()
    inside: dict[int, phrases.Builder] = {}
    for number, (name, texts) in enumerate(sets):
        kinds: dict[str, str] = {}
        for text in texts:
            cuts = _cuts(text, lengths)
            if not cuts:
                continue
            cut = cuts[0]
            units, kind = Units(cut.units, cut.joint), _kind(cut)
            if kind == "alone" and not alone:
                continue
            kinds[units.text] = kind
            grams.add(units, cut.n, number)
            if kind == "inside":
                length = len(cut.units)
                same_length = inside.setdefault(length, phrases.Builder())
                same_length.add(units, length, number)
        counts = collections.Counter(kinds.values())
        coverage.append(Coverage(name, **counts))
    by_length = {length: items.build() for length, items in inside.items()}
    return Index(tuple(coverage), grams.build(), by_length, lengths)


def _items(path: str, code: str) -> Iterator[str]:
    """The texts of an evaluation set's rows."""
    for row in sources.read(path, code):
        if isinstance(row, raw_rows.Rejected):
            raise UserError(
                f"{row.place}: {row.reason} (found {row.value}; expected "
                f"{row.threshold}). Repair the file in evaluation_sets."
            )
        yield from _texts(row.fields)


def write_coverage(directory: pathlib.Path, index: Index) -> None:
    """Writes what a stage looks for into its directory; nothing where that is nothing.

    Args:
      directory: the stage's.
      index: what it looks for.
    """
    if index.coverage:
        rows = [dataclasses.asdict(one) for one in index.coverage]
        text = json.dumps(rows, indent=1, ensure_ascii=False)
        shards.write_bytes(directory / COVERAGE, f"{text}\n".encode())


def read_coverage(directory: pathlib.Path) -> list[Coverage]:
    """What `write_coverage` wrote; of a directory without it, nothing."""
    path = directory / COVERAGE
    if not path.exists():
        return []
    return [Coverage(**row) for row in json.loads(path.read_bytes())]


def _kind(cut: _Cut) -> str:
    """How an item is looked for: the field of `Coverage` that counts it."""
    if len(cut.units) >= cut.n:
        return "n_grams"
    # Numbers make no sentence: a row of years or scores is in many texts.
    units = cut.units
    if cut.joint:
        units = [word for word in units if _LETTER.search(word)]
    return "inside" if len(units) >= cut.least else "alone"


def _names(files: Sequence[str]) -> list[str]:
    """Of each set's file its name, without what says how it is packed.

    Where that is also another's, all of it or as many folders before it as it takes.

    >>> _names(["sets/xnli/test.jsonl", "sets/xcopa/test.jsonl", "sets/copa.jsonl.gz"])
    ['xnli/test', 'xcopa/test', 'copa']
    """
    paths = [pathlib.PurePath(each.rpartition(",")[2]) for each in files]
    bare = [path.with_name(path.name.split(".")[0] or path.name) for path in paths]
    times = collections.Counter(bare)
    whole = [
        path if times[one] > 1 else one for path, one in zip(paths, bare, strict=True)
    ]
    names = [path.name for path in whole]
    for depth in range(2, max((len(path.parts) for path in whole), default=0) + 1):
        times_of_name = collections.Counter(names)
        names = [
            "/".join(path.parts[-depth:]) if times_of_name[name] > 1 else name
            for path, name in zip(whole, names, strict=True)
        ]
    return names


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _texts(part)
