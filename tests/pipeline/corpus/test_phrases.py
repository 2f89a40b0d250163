"""Phrases are found where a dictionary of them finds them, also if hashes are equal."""

import random

import numpy as np
import pytest

from xinst_jax.pipeline.corpus import phrases
from xinst_jax.pipeline.corpus.phrases import Builder, Units
from xinst_jax.pipeline.executors import functions

WORDS = ["a", "ab", "abc", "sää", "नमस्ते", "ใคร", "😀", "x" * 40, "äo", "b"]
LETTERS = "กขคงabç𝒳"


def grams(units, joint, n):
    count = max(1, len(units) - n + 1) if units else 0
    return [joint.join(units[i : i + n]) for i in range(count)]


def texts(rng, count, joint):
    kinds = WORDS if joint else LETTERS
    some = [rng.choices(kinds, k=rng.randint(0, 30)) for _ in range(count)]
    return [words if joint else "".join(words) for words in some]


@pytest.mark.parametrize("bits", [1, 6, 64])
@pytest.mark.parametrize("joint", [" ", ""])
def test_what_a_dictionary_finds_is_found(tmp_path, monkeypatch, bits, joint):
    mixed, n, rng = phrases._mixed, 4, random.Random(bits)
    monkeypatch.setattr(
        phrases,
        "_mixed",
        lambda values: mixed(values) & np.uint64(2**64 - 2 ** (64 - bits)),
    )
    builder, expected = Builder(), {}
    for number in range(4):
        for units in texts(rng, 8 if number != 2 else 0, joint):
            builder.add(Units(units, joint), n, number)
            for gram in grams(units, joint, n):
                expected.setdefault(gram, number)
    built = builder.build()
    assert len(built) == len(expected)
    path = tmp_path / "index"
    with path.open("wb") as file:
        file.writelines(functions.parts(built.find))
    hits = 0
    for units in texts(rng, 60, joint):
        text = Units(units, joint)
        looked_up = [
            (place, gram, expected[gram])
            for place, gram in enumerate(grams(units, joint, n))
            if gram in expected
        ]
        for find in (built.find, functions.load(path)):
            assert looked_up == [
                (window.unit, text.text[window.start : window.end], number)
                for window, number in find(text, n)
            ]
        hits += len(looked_up)
    assert hits > 10


def test_of_no_phrases_none_is_found():
    assert not list(Builder().build().find(Units(["a", "b"], " "), 2))


def test_hashes_of_equal_words_are_equal_wherever_they_stand():
    rng = random.Random(2)
    words = [*rng.choices(WORDS, k=40), "here", "it", "is", *rng.choices(WORDS, k=900)]
    *_, hashes_w = Units([*words, "here", "it", "is"], " ").windows(3)
    assert hashes_w[40] == hashes_w[-1]
    different = len({tuple(words[i : i + 3]) for i in range(len(words) - 2)})
    assert abs(len(set(hashes_w)) - different) <= 2


def test_a_phrase_takes_some_22_bytes_and_its_share_of_the_text():
    rng = random.Random(5)
    builder = Builder()
    for _ in range(300):
        words = ["".join(rng.choices("aeklmnst", k=6)) for _ in range(40)]
        builder.add(Units(words, " "), 8, 0)
    built = builder.build()
    assert built.nbytes <= 22 * len(built) + 300 * 7 * 40 + 8
