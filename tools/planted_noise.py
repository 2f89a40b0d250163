"""Noise put into clean documents at known rates, and whether cleaning found it.

    python tools/planted_noise.py --corpus 'text/{lang}.jsonl.gz' --languages fi sw

plants every kind below in a part of the documents, runs `prepare` on them with
gin/runs/curation_study.gin, and prints by language what was caught and, of the
documents left as they were, what was dropped and why.
"""

import argparse
import collections
import dataclasses
import gzip
import itertools
import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import regex

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from xinst_jax import shards
from xinst_jax.data import sources
from xinst_jax.pipeline.clean import clean

ROOT = pathlib.Path(__file__).resolve().parents[1]
NONE = "none"
RUN = ROOT / "gin" / "runs" / "curation_study.gin"


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
      foreign: a document in another language.
      words: words of the language, in no order.
      rng: the PRNG.
    """

    text: str
    id: str
    foreign: str
    words: Sequence[str]
    rng: np.random.Generator


def menu(source: Source) -> Planted:
    """A page of nothing but a menu: short lines of one to three words."""
    text = "\n".join(_menu_lines(source, 24, 1))
    return _planted(source, "menu", text, (text,))


def frame_lines(source: Source) -> Planted:
    """A menu before the text, and a tail of links after it."""
    lines = _menu_lines(source, 8, 2)
    tail = ["Home | About | Contact", "https://example.com/more"]
    text = "\n".join([*lines, "", source.text, "", *tail])
    return _planted(source, "frame_lines", text, (*lines, *tail))


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


def personal_data(source: Source) -> Planted:
    """An address and a number of a person at the end of a paragraph."""
    number = f"+358 40 {int(source.rng.integers(1_000_000, 9_999_999))}"
    name = f"user{int(source.rng.integers(10_000))}@example.org"
    first, *rest = source.text.split("\n")
    text = "\n".join([f"{first} {name}, {number}.", *rest])
    return _planted(source, "personal_data", text, (name, number))


KINDS: dict[str, Callable[[Source], Planted]] = {
    each.__name__: each
    for each in (
        menu,
        frame_lines,
        wrong_language,
        mixed_language,
        mojibake,
        duplicate,
        near_duplicate,
        cut_text,
        personal_data,
    )
}


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
            source = Source(text, id, foreign, words, rng)
            kind = kinds.get(place, NONE)
            made = KINDS[kind](source) if kind != NONE else _planted(source, NONE, text)
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


@dataclasses.dataclass
class Found:
    """What became of a language's documents.

    Attributes:
      planted: documents by kind.
      caught: those of them whose noise is in no kept text.
      kept: those of them of which any text was kept.
      clean_texts: texts of the documents that were left as they were.
      clean_dropped: how many of those were dropped, by reason.
    """

    planted: collections.Counter[str]
    caught: collections.Counter[str]
    kept: collections.Counter[str]
    clean_texts: int
    clean_dropped: collections.Counter[str]


def judge(corpus: pathlib.Path, code: str, rows: Sequence[Planted]) -> Found:
    """Holds a finished `corpus` directory against what was planted."""
    kept: dict[str, list[str]] = collections.defaultdict(list)
    for row in shards.read_rows(corpus / code, ["id", "text"]):
        kept[row["id"].partition("#")[0]].append(row["text"])
    found = Found(*(collections.Counter() for _ in range(3)), 0, collections.Counter())
    for row in rows:
        if row.kind == NONE:
            continue
        texts = kept[row.id]
        found.planted[row.kind] += 1
        found.kept[row.kind] += bool(texts)
        found.caught[row.kind] += not any(_has(text, row, kept) for text in texts)
    untouched = {row.id for row in rows if row.kind == NONE}
    found.clean_texts = sum(len(kept[id]) for id in untouched)
    for row in shards.read_rows(corpus / "rejected" / code, ["id", "reason"]):
        if row["id"].partition("#")[0] in untouched:
            found.clean_texts += 1
            found.clean_dropped[row["reason"]] += 1
    return found


def _has(text: str, row: Planted, kept: Mapping[str, Sequence[str]]) -> bool:
    """Whether a kept text has the noise that was planted in its document."""
    if row.twin:
        return any(_alike(text, other) for other in kept[row.twin])
    if row.kind == "cut_text":
        return clean(row.text).endswith(text[-20:])
    if row.kind in ("menu", "wrong_language"):
        return True
    if row.kind == "mojibake":
        return _squeezed(text) not in _squeezed(clean(row.original))
    return any(_squeezed(clean(noise)) in _squeezed(text) for noise in row.noise)


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def _alike(one: str, other: str) -> bool:
    """Whether two texts share most of their runs of eight characters."""
    first, second = (
        {text[start : start + 8] for start in range(len(text) - 7)}
        for text in (one, other)
    )
    return len(first & second) > 0.6 * min(len(first), len(second))


def _planted(
    source: Source, kind: str, text: str, noise: Sequence[str] = (), twin: str = ""
) -> Planted:
    return Planted(source.id, kind, text, source.text, tuple(noise), twin)


def _menu_lines(source: Source, count: int, least: int) -> list[str]:
    """Lines of `least` to `least` + 2 words."""
    sizes = source.rng.integers(least, least + 3, size=count)
    chosen = [source.rng.integers(len(source.words), size=size) for size in sizes]
    return [
        " ".join(source.words[int(place)] for place in places).capitalize()
        for places in chosen
    ]


def table(found: Mapping[str, Found]) -> str:
    """Markdown: a line a language, caught of planted by kind, then what was dropped."""
    lines = [
        ["", *(kind.replace("_", " ") for kind in KINDS), "left alone: dropped"],
        ["---", *["---:"] * len(KINDS), "---"],
    ]
    for code, each in found.items():
        reasons = ", ".join(
            f"{reason.replace('_', ' ')} {count:,}"
            for reason, count in each.clean_dropped.most_common()
        )
        dropped = sum(each.clean_dropped.values())
        share = dropped / each.clean_texts if each.clean_texts else 0.0
        lines.append(
            [
                code,
                *(f"{each.caught[kind]}/{each.planted[kind]}" for kind in KINDS),
                f"{share:.1%} of {each.clean_texts:,} texts: {reasons or 'none'}",
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def study(
    path: str, languages: Sequence[str], documents: int, share: float, seed: int
) -> dict[str, Found]:
    """Plants noise in a corpus, prepares it, and says what was caught.

    Args:
      path: the clean documents, with {lang} in its name.
      languages: language codes.
      documents: of each language, drawn evenly over its file.
      share: of the documents, for each kind of noise.
      seed: of the PRNG.
    """
    texts = {code: _drawn(path, code, documents) for code in languages}
    planted = plant(texts, share=share, seed=seed)
    with tempfile.TemporaryDirectory() as scratch:
        directory = pathlib.Path(scratch)
        for code, rows in planted.items():
            with gzip.open(directory / f"{code}.jsonl.gz", "wt") as file:
                file.writelines(
                    json.dumps({"id": row.id, "text": row.text}) + "\n" for row in rows
                )
        bindings = {
            "LANGUAGES": tuple(languages),
            "CORPUS": f"{directory}/{{lang}}.jsonl.gz",
        }
        subprocess.run(
            [
                *(sys.executable, "-m", "xinst_jax", "prepare"),
                *("--gin_file", str(RUN), "--workdir", str(directory / "run")),
                *(f"--gin.{name}={value!r}" for name, value in bindings.items()),
            ],
            check=True,
            cwd=ROOT,
        )
        corpus = directory / "run" / "corpus"
        return {code: judge(corpus, code, rows) for code, rows in planted.items()}


def _drawn(path: str, code: str, documents: int) -> list[tuple[str, str]]:
    """(id, text) of as many documents, spread over the file, each text once."""
    rows: Iterator = sources.read(path, code)
    found = {}
    for number, row in enumerate(rows):
        text = clean(str(row.fields["text"]))
        found.setdefault(text, f"{code}-{number}")
    step = max(1, len(found) // documents)
    return [(id, text) for text, id in found.items()][::step][:documents]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", required=True, help="documents; {lang} in the name")
    parser.add_argument("--languages", nargs="+", required=True)
    parser.add_argument("--documents", type=int, default=300, help="of each language")
    parser.add_argument("--share", type=float, default=0.05, help="for each kind")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(
        table(
            study(
                *(given.corpus, given.languages),
                *(given.documents, given.share, given.seed),
            )
        )
    )
