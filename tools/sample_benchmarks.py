"""Small files in the formats of the four benchmark sets, made of the embedded sample.

python tools/sample_benchmarks.py runs/sample_benchmarks

For trials of `benchmark` without network. What follows a document's first sentence
(XCOPA), its first four (XStoryCloze), or its second with the passage at hand (Belebele)
is to be told from sentences of another document; a sentence itself (XNLI, entailment)
from a later one (neutral) and another document's (contradiction). Figures on them are
not those of the sets.
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import regex

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from xinst_jax import shards
from xinst_jax.eval.benchmarks import COVERAGE

_SAMPLE = pathlib.Path(__file__).parents[1] / "data" / "sample" / "corpus"
_END = regex.compile(r"(?<=[.!?।۔])\s+|\n+|(?<=\p{Thai}) (?=\p{Thai})")
_SENTENCES = 6
_ROWS = 8
"""Rows of a set in a language at most."""

Row = dict[str, Any]


def sentences(language: str) -> list[list[str]]:
    """Six sentences, or clauses in Thai, of each document that has so many."""
    lines = (_SAMPLE / f"{language}.jsonl").read_text("utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    parts = [[part.strip() for part in _END.split(text) if part] for text in texts]
    whole = [one[:_SENTENCES] for one in parts if len({*one[:_SENTENCES]}) > 5]
    return whole[:_ROWS]


def _choice(number: int, right: str, wrong: str) -> tuple[str, str, int]:
    """Two choices, and the place of the right one: first in every other row."""
    place = number % 2
    return (right, wrong, 0) if place == 0 else (wrong, right, 1)


def _xcopa(number: int, own: Sequence[str], other: Sequence[str]) -> Row:
    first, second, label = _choice(number, own[1], other[1])
    texts = {"premise": own[0], "choice1": first, "choice2": second}
    return texts | {"question": "effect", "label": label}


def _xstorycloze(number: int, own: Sequence[str], other: Sequence[str]) -> Row:
    first, second, label = _choice(number, own[4], other[4])
    story = {f"input_sentence_{n}": own[n - 1] for n in (1, 2, 3, 4)}
    ends = {"sentence_quiz1": first, "sentence_quiz2": second}
    return story | ends | {"answer_right_ending": label + 1}


def _xnli(number: int, own: Sequence[str], other: Sequence[str]) -> Row:
    label = number % 3
    hypothesis = (own[0], own[3], other[0])[label]
    return {"premise": own[0], "hypothesis": hypothesis, "label": label}


def _belebele(number: int, own: Sequence[str], other: Sequence[str]) -> Row:
    wrong, place = [other[2], other[3], other[4]], number % 4
    answers = [*wrong[:place], own[2], *wrong[place:]]
    texts = {f"mc_answer{n}": answer for n, answer in enumerate(answers, 1)}
    passage = {"flores_passage": " ".join(own[:4]), "question": own[1]}
    return passage | texts | {"correct_answer_num": str(place + 1)}


_ROW: dict[str, Callable[[int, Sequence[str], Sequence[str]], Row]] = {
    "xcopa": _xcopa,
    "xstorycloze": _xstorycloze,
    "xnli": _xnli,
    "belebele": _belebele,
}


def write(folder: pathlib.Path) -> None:
    """Writes every set in each of its languages, as `BenchmarkConfig.data` has them."""
    for name, of_set in COVERAGE.items():
        for language in of_set.tasks:
            found = sentences(language)
            rows = [
                _ROW[name](number, own, found[(number + 1) % len(found)])
                for number, own in enumerate(found)
            ]
            lines = [json.dumps(row, ensure_ascii=False) for row in rows]
            path = folder / name / language / f"{of_set.split}.jsonl"
            shards.write_bytes(path, ("\n".join(lines) + "\n").encode())


def main() -> None:
    """Writes the files below the folder that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    write(parser.parse_args().folder)


if __name__ == "__main__":
    main()
