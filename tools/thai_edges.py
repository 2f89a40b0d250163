"""Counts which letters Thai words neither end in nor begin with, and writes them down.

    python tools/thai_edges.py --corpus 'text/{lang}.jsonl.gz' --words words_th.txt \\
        --output xinst_jax/pipeline/thai_edges.py

Thai has spaces between phrases only. So where letters stand before a space a word ends,
and where they stand behind one a word begins; inside a phrase nothing is known of them.
One to four letters are written down that are at the edge of a phrase far more seldom
than chance would have it, given how often they are inside one, and that no word of a
dictionary ends in, or begins with (PyThaiNLP's `words_th.txt`, CC0): words that texts
such as those counted have seldom at an edge are none the less words. A space counts as
a letter. The documents that tools/planted_noise.py draws are left out, so that what it
measures was not counted.
"""

import argparse
import collections
import dataclasses
import math
import pathlib
import sys
from collections.abc import Iterable, Sequence

import regex

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from tools import planted_noise
from xinst_jax.data import sources
from xinst_jax.pipeline.clean import clean

LETTERS = 4
LEAST_EXPECTED = 8
MOST_LOG_ODDS = -2.0

_WIDTH = 76

# An abbreviation's letters, which a full stop follows or parts, are no word's.
_PHRASE = regex.compile(
    r"(?<![\p{Thai}.])[\p{Thai}--[\p{Nd}ฯๆ฿]]+(?![\p{Thai}.])", regex.V1
)
_HEAD = '''"""Letters that no Thai word ends in, and that none begins with.

Written by tools/thai_edges.py, which says what they are: {phrases:,} phrases of
{documents:,} press releases and encyclopedia articles were counted, and {words:,} words
of a dictionary have none of these at their edge. A space in them is the one before, or
behind, the phrase.
"""

LETTERS = {letters}
"""The most that are looked at together."""

'''


@dataclasses.dataclass
class Counts:
    """How often letters stand at an edge of a phrase, and anywhere inside one.

    Attributes:
      edge: letters before a phrase's end, or behind its start.
      inside: letters before, or behind, a place between two letters of a phrase.
    """

    edge: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )
    inside: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )

    def rare(self) -> list[str]:
        """Letters whose log odds to be at an edge are low, and of no longer ones.

        The odds are those of all places: a half is added to every count.
        """
        at_edge, within = (
            sum(n for letters, n in counts.items() if len(letters) == 1)
            for counts in (self.edge, self.inside)
        )
        found: set[str] = set()
        for letters in sorted(self.inside, key=len):
            expected = self.inside[letters] * at_edge / within
            odds = (self.edge[letters] + 0.5) / (expected + 0.5 * at_edge / within)
            if expected >= LEAST_EXPECTED and math.log(odds) < MOST_LOG_ODDS:
                found.add(letters)
        return sorted(found)


def edges(words: Iterable[str]) -> tuple[set[str], set[str]]:
    """The letters that words end in, and those that they begin with."""
    lengths = range(1, LETTERS + 1)
    known = [*words]
    return (
        {f" {word}"[-n:] for word in known for n in lengths},
        {f"{word} "[:n] for word in known for n in lengths},
    )


def count(texts: Iterable[str]) -> tuple[Counts, Counts, int]:
    """What stands before phrases' ends and behind their starts, and their number."""
    ends, starts = Counts(), Counts()
    phrases = 0
    for text in texts:
        for phrase in _PHRASE.findall(text):
            phrases += 1
            for n in range(1, LETTERS + 1):
                ends.edge[f" {phrase}"[-n:]] += 1
                starts.edge[f"{phrase} "[:n]] += 1
            for place in range(1, len(phrase)):
                # A mark is never parted from its letter.
                if phrase[place - 1].isalpha() and phrase[place].isalpha():
                    for n in range(1, LETTERS + 1):
                        ends.inside[f" {phrase[:place]}"[-n:]] += 1
                        starts.inside[f"{phrase[place:]} "[:n]] += 1
    return ends, starts, phrases


def _shortest(letters: Iterable[str], end: bool) -> list[str]:
    """Those that no shorter one already has at the same edge."""
    known = set(letters)
    return sorted(
        each
        for each in known
        if not any(
            (each[-n:] if end else each[:n]) in known for n in range(1, len(each))
        )
    )


def _written(name: str, letters: Sequence[str], doc: str) -> str:
    lines, line = [], ""
    for each in letters:
        if len(line) + len(each) > _WIDTH:
            lines.append(line)
            line = ""
        line += f"{each}|"
    body = "\n".join(f'    "{one}"' for one in [*lines, line[:-1]])
    return (
        f'_{name} = (\n{body}\n)\n{name} = frozenset(_{name}.split("|"))\n"""{doc}"""\n'
    )


def main() -> None:
    """Counts, and writes the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", required=True, help="documents; {lang} in the name")
    parser.add_argument("--words", required=True, help="a dictionary, a word a line")
    parser.add_argument("--output", required=True, help="the module")
    parser.add_argument("--documents", type=int, default=500, help="planted_noise.py's")
    given = parser.parse_args()
    drawn = planted_noise.drawn(given.corpus, "th", given.documents)
    left_out = {text for _, text in drawn}
    texts = {clean(str(r.fields["text"])) for r in sources.read(given.corpus, "th")}
    ends, starts, phrases = count(texts - left_out)
    words = pathlib.Path(given.words).read_text("utf-8").split()
    word_ends, word_starts = edges(words)
    head = _HEAD.format(
        letters=LETTERS,
        words=len(words),
        phrases=phrases,
        documents=len(texts - left_out),
    )
    no_end = _shortest({*ends.rare()} - word_ends, True)
    no_start = _shortest({*starts.rare()} - word_starts, False)
    parts = [
        _written("NO_END", no_end, "A word goes on behind these."),
        _written("NO_START", no_start, "One began before these."),
    ]
    pathlib.Path(given.output).write_text(head + "\n".join(parts), "utf-8")


if __name__ == "__main__":
    main()
