"""The kinds of noise: a document in, the document with noise in it out."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import regex

from tools.noise import personal, phrases
from xinst_jax.languages import BUILT_IN
from xinst_jax.pipeline.clean import clean

NONE = "none"

_WORD = regex.compile(r"(?<=[\p{L}\p{M}] )\p{L}")
_INNER_LETTER = regex.compile(r"(?<=[\p{L}\p{M}])\p{L}")


@dataclasses.dataclass(frozen=True)
class Planted:
    """A document with noise in it.

    Attributes:
      id: the document's.
      kind: what was planted; `NONE` for nothing.
      text: the document, noise included.
      original: the text it was made of, clean.
      noise: what must not be among the kept texts.
      twin: id of the document that this one repeats.
    """

    id: str
    kind: str
    text: str
    original: str
    noise: tuple[str, ...] = ()
    twin: str = ""


@dataclasses.dataclass(frozen=True)
class Source:
    """What noise is made of.

    Attributes:
      text: the document's text.
      id: the document's id.
      code: its language.
      foreign: a document in another language.
      words: words of the language, in no order.
      rng: the PRNG.
    """

    text: str
    id: str
    code: str
    foreign: str
    words: Sequence[str]
    rng: np.random.Generator

    def of(self, wordings: Mapping[str, tuple[str, ...]]) -> str:
        """One of the language's wordings."""
        own = wordings[self.code]
        return own[int(self.rng.integers(len(own)))]

    def few_words(self, count: int) -> str:
        """Some words of the language, the first with a large letter."""
        places = self.rng.integers(len(self.words), size=count)
        return " ".join(self.words[int(place)] for place in places).capitalize()


def menu(source: Source) -> Planted:
    """A page of nothing but a menu: short lines of one to three words."""
    text = "\n".join(_menu_lines(source, 24, 1))
    return _planted(source, "menu", text, (text,))


def menu_lines(source: Source) -> Planted:
    """Eight lines of a menu before the text."""
    lines = _menu_lines(source, 8, 2)
    text = "\n".join([*lines, "", source.text])
    return _planted(source, "menu_lines", text, lines)


def tail_links(source: Source) -> Planted:
    """Two lines of links behind the text: three words between bars, and an address."""
    tail = ["Home | About | Contact", "https://example.com/more"]
    text = "\n".join([source.text, "", *tail])
    return _planted(source, "tail_links", text, tail)


def cookie_notice(source: Source) -> Planted:
    """A notice on cookies before the text."""
    notice = source.of(phrases.COOKIE_NOTICES)
    text = f"{notice}\n\n{source.text}"
    return _planted(source, "cookie_notice", text, (notice,))


def caption(source: Source) -> Planted:
    """The credit of a picture, a line behind the first paragraph."""
    line = source.of(phrases.CAPTIONS).format(name=source.few_words(2))
    first, *rest = source.text.split("\n")
    text = "\n".join([first, line, *rest])
    return _planted(source, "caption", text, (line,))


def read_more(source: Source) -> Planted:
    """A link to another article behind the text."""
    line = source.of(phrases.READ_MORE).format(title=source.few_words(5))
    return _planted(source, "read_more", f"{source.text}\n\n{line}", (line,))


def wrong_language(source: Source) -> Planted:
    """A document in another language under this one's name."""
    return _planted(source, "wrong_language", source.foreign, (source.foreign,))


def mixed_language(source: Source) -> Planted:
    """A paragraph in another language in the middle."""
    foreign = clean(source.foreign)[:400]
    parts = source.text.split("\n")
    middle = len(parts) // 2
    text = "\n\n".join(
        ["\n".join(parts[:middle]), foreign, "\n".join(parts[middle:])]
    ).strip()
    return _planted(source, "mixed_language", text, (foreign[:120],))


def mojibake(source: Source) -> Planted:
    """UTF-8 read as if it were Latin-1."""
    text = source.text.encode().decode("latin-1")
    return _planted(source, "mojibake", text, (text,))


def duplicate(source: Source) -> Planted:
    """The same text once more, under another id."""
    return _planted(source, "duplicate", source.text, twin=source.id)


def near_duplicate(source: Source) -> Planted:
    """The same text once more, one word in thirty another."""
    words = source.text.split(" ")
    edits = max(1, len(words) // 30) if len(words) > 30 else 1
    for place in source.rng.choice(len(words), size=edits, replace=False):
        words[place] = source.words[int(source.rng.integers(len(source.words)))]
    return _planted(source, "near_duplicate", " ".join(words), twin=source.id)


def cut_text(source: Source) -> Planted:
    """The text up to somewhere inside a sentence."""
    place = int(len(source.text) * source.rng.uniform(0.5, 0.8))
    while place < len(source.text) - 1 and not (
        source.text[place - 1].isalpha() and source.text[place].isalpha()
    ):
        place += 1
    return _planted(source, "cut_text", source.text[:place], (source.text[:place],))


def cut_start(source: Source) -> Planted:
    """The text from a word inside a sentence on; where none is spaced, a letter."""
    least = int(len(source.text) * source.rng.uniform(0.1, 0.4))
    pattern = _WORD if BUILT_IN[source.code].spaced else _INNER_LETTER
    found = pattern.search(source.text, least) or _INNER_LETTER.search(
        source.text, least
    )
    text = source.text[found.start() if found else least :]
    return _planted(source, "cut_start", text, (text,))


def contact(source: Source) -> Planted:
    """An e-mail address and an international telephone number."""
    number = f"+358 40 {int(source.rng.integers(1_000_000, 9_999_999))}"
    name = f"user{int(source.rng.integers(10_000))}@example.org"
    return _behind_first(source, "contact", name, number)


def phone_own_digits(source: Source) -> Planted:
    """A telephone number as it is dialled at home, in the script's own digits."""
    number = personal.own_digits(personal.phone(source.rng), source.code)
    return _behind_first(source, "phone_own_digits", number)


def ip_address(source: Source) -> Planted:
    """A public network address."""
    return _behind_first(source, "ip_address", personal.address(source.rng))


def card_number(source: Source) -> Planted:
    """A card's number, in the script's own digits."""
    number = personal.own_digits(personal.card(source.rng), source.code)
    return _behind_first(source, "card_number", number)


def iban(source: Source) -> Planted:
    """A bank account's number."""
    return _behind_first(source, "iban", personal.iban(source.rng))


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of noise.

    Attributes:
      make: a document to one with the noise.
      meant: what drops or cuts out texts because of just this: reasons of rejected
        texts, names of notes on what was cut out, or `REPAIRED`.
    """

    make: Callable[[Source], Planted]
    meant: frozenset[str]


REPAIRED = "repaired"
"""What a text is whose noise is gone without a drop or a note."""

_FOREIGN = ("wrong_language", "wrong_script", "other_language_paragraphs")
_MEANT: dict[Callable[[Source], Planted], tuple[str, ...]] = {
    menu: ("menu", "menu_line"),
    menu_lines: ("menu", "menu_line"),
    tail_links: ("menu_line",),
    cookie_notice: ("notice_line", "cookie_notice"),
    caption: ("caption_line",),
    read_more: ("read_more_line",),
    wrong_language: _FOREIGN,
    mixed_language: _FOREIGN,
    mojibake: (REPAIRED, "damaged"),
    duplicate: ("duplicate", "near_duplicate"),
    near_duplicate: ("near_duplicate",),
    cut_text: ("unfinished",),
    cut_start: ("goes_on",),
    contact: ("masked_email", "masked_phone"),
    phone_own_digits: ("masked_phone",),
    ip_address: ("masked_ip",),
    card_number: ("masked_card",),
    iban: ("masked_iban",),
}
KINDS = {make.__name__: Kind(make, frozenset(meant)) for make, meant in _MEANT.items()}


def plant(
    texts: Mapping[str, Sequence[tuple[str, str]]], *, share: float, seed: int
) -> dict[str, list[Planted]]:
    """Documents of every language, each kind of noise in `share` of them.

    Args:
      texts: by language, (id, text) of clean documents.
      share: of the documents, for each kind; a repeated document is added, the others
        take a document's place.
      seed: of the PRNG.
    """
    codes = list(texts)
    found: dict[str, list[Planted]] = {}
    for number, code in enumerate(codes):
        rng = np.random.default_rng([seed, number])
        others = texts[codes[(number + 1) % len(codes)]]
        words = _words([text for _, text in texts[code]])
        order = rng.permutation(len(texts[code]))
        each = int(share * len(order))
        kinds = dict(zip(order, itertools.chain(*([k] * each for k in KINDS))))  # noqa: B905
        rows = []
        for place, (id, text) in enumerate(texts[code]):
            foreign = others[int(rng.integers(len(others)))][1]
            source = Source(text, id, code, foreign, words, rng)
            kind = kinds.get(place, NONE)
            if kind == NONE:
                rows.append(_planted(source, NONE, text))
                continue
            made = KINDS[kind].make(source)
            if made.twin:
                rows.append(_planted(source, NONE, text))
                made = dataclasses.replace(made, id=f"{id} again")
            rows.append(made)
        found[code] = rows
    return found


def _words(texts: Sequence[str]) -> list[str]:
    """Words of some texts, each once; of unspaced writing, pieces as long as words."""
    found = {
        piece
        for text in texts
        for word in regex.findall(r"[\p{L}\p{M}]+", text)
        for piece in regex.findall(r"\X{1,12}", word)
    }
    return sorted(found)


def _planted(
    source: Source, kind: str, text: str, noise: Sequence[str] = (), twin: str = ""
) -> Planted:
    return Planted(source.id, kind, text, source.text, tuple(noise), twin)


def _behind_first(source: Source, kind: str, *noise: str) -> Planted:
    """The noise at the end of the first paragraph."""
    first, *rest = source.text.split("\n")
    text = "\n".join([f"{first} {', '.join(noise)}.", *rest])
    return _planted(source, kind, text, noise)


def _menu_lines(source: Source, count: int, least: int) -> list[str]:
    """Lines of `least` to `least` + 2 words."""
    sizes = source.rng.integers(least, least + 3, size=count)
    return [source.few_words(int(size)) for size in sizes]
