"""Counts the texts of clean documents that are dropped since they go on from others.

    python tools/openings_table.py --corpus 'text/{lang}.jsonl.gz'

What it costs good prose that may begin with a connective, or with a pronoun behind a
cut: of the texts that `prepare` makes of the documents and that reach this question,
the share that it drops, by what is found at their start. A Markdown table.
"""

import argparse
import collections
import pathlib
import sys
import unicodedata
from collections.abc import Iterable, Mapping

import regex

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from xinst_jax.config import CorpusConfig
from xinst_jax.data import raw_rows, sources
from xinst_jax.languages import BUILT_IN, Language
from xinst_jax.pipeline import openings
from xinst_jax.pipeline.corpus.documents import Document, Text
from xinst_jax.pipeline.corpus.prepare import prepare

GROUNDS = (
    *("a connective", "a leaning word", "a pronoun", "an item of a list"),
    *("letters no word begins with", "a small letter, a mark or a bracket"),
)
TEXTS, DROPPED = "texts", "dropped"

_ITEM = regex.compile(r"\p{Nd}+[.)।۔]")


def ground(found: str, language: Language) -> str:
    """Which of `GROUNDS` it is that `openings.goes_on` found."""
    words = (openings.CONNECTIVES, openings.DEPENDENT, openings.REFERENCES)
    for name, lists in zip(GROUNDS, words, strict=False):
        if _plain(found) in map(_plain, lists.get(language.code, ())):
            return name
    if _ITEM.fullmatch(found):
        return GROUNDS[3]
    thai = "Thai" in language.scripts and regex.match(r"\p{Thai}", found)
    return GROUNDS[4] if thai else GROUNDS[5]


def _plain(word: str) -> str:
    return unicodedata.normalize("NFC", word).casefold()


def count(
    texts: Iterable[str], language: Language, config: CorpusConfig
) -> collections.Counter[str]:
    """How many texts reach the question, and how many are dropped, by ground."""
    counts: collections.Counter[str] = collections.Counter()
    for number, text in enumerate(texts):
        for one in prepare(Document(str(number), text, "", ""), config, language).texts:
            gone = not isinstance(one, Text)
            if gone and one.reason != "goes_on":
                continue
            counts[TEXTS] += 1
            if gone:
                counts.update((DROPPED, ground(one.value, language)))
    return counts


def table(counts: Mapping[str, collections.Counter[str]]) -> str:
    """Languages in columns: texts, then shares of them."""
    lines = ["| | " + " | ".join(counts) + " |", "|---" * (len(counts) + 1) + "|"]
    texts = [f"{one[TEXTS]:,}" for one in counts.values()]
    lines.append(f"| texts | {' | '.join(texts)} |")
    for name in (DROPPED, *GROUNDS):
        if any(one[name] for one in counts.values()):
            shares = (one[name] / max(1, one[TEXTS]) for one in counts.values())
            cells = " | ".join(f"{share:.1%}" if share else "-" for share in shares)
            lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


def _texts(path: str, code: str) -> Iterable[str]:
    for row in sources.read(path, code):
        text = raw_rows.text_field(row, "text")
        if isinstance(text, str):
            yield text


def main() -> None:
    """Counts what is named on the command line, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True, help="files, {lang} for the code")
    parser.add_argument("--languages", nargs="+", default=list(BUILT_IN))
    options = parser.parse_args()
    config = CorpusConfig()
    counts = {
        code: count(_texts(options.corpus, code), BUILT_IN[code], config)
        for code in options.languages
    }
    total = sum(one[TEXTS] for one in counts.values())
    print(f"{total:,} texts\n\n{table(counts)}")


if __name__ == "__main__":
    main()
