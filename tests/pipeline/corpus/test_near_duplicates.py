"""MinHash estimates agree with true similarities, and repeats are found."""

import json
import pathlib
import random
import unicodedata

import numpy as np
import regex
from hypothesis import given
from hypothesis import strategies as st

from xinst_jax.pipeline.corpus import near_duplicates

SAMPLE = pathlib.Path(__file__).parents[3] / "data" / "sample" / "corpus"
WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")


def texts():
    return [
        row["text"]
        for path in sorted(SAMPLE.glob("*.jsonl"))
        for row in map(json.loads, path.read_text("utf-8").splitlines())
        if not row["planted"]
    ]


def jaccard(one, other):
    """The similarity of the sets of 5-grams themselves."""
    grams = []
    for text in (one, other):
        words = " ".join(WORD.findall(text.casefold()))
        grams.append({words[i : i + 5] for i in range(len(words) - 4)})
    return len(grams[0] & grams[1]) / len(grams[0] | grams[1])


def changed(text, share, rng):
    words = text.split()
    return " ".join(w if rng.random() > share else w[::-1] + "x" for w in words)


def test_estimates_agree_with_the_true_similarity():
    rng = random.Random(20240527)
    errors = []
    for text in texts()[::3]:
        other = changed(text, rng.random() * 0.2, rng)
        estimate = np.mean(np.equal(*near_duplicates.signatures([text, other])))
        errors.append(estimate - jaccard(text, other))
    # The standard deviation is at most sqrt(1 / (4 * 112)) = 0.047.
    assert abs(np.mean(errors)) < 0.016 and np.std(errors) < 0.052


def test_marks_count_and_case_and_punctuation_do_not():
    def same(one, other):
        return bool(np.all(np.equal(*near_duplicates.signatures([one, other]))))

    assert same("Lumi satoi, hiljaa!", "lumi  satoi hiljaa")
    assert not same("हिन्दी में कई बातें हैं", "हन्द म कई बात ह")
    assert not same("ที่นี่มีของดี", "ทนมของด")
    vietnamese = "tiếng Việt rất đẹp"
    stripped = unicodedata.normalize("NFD", vietnamese)
    stripped = "".join(c for c in stripped if not unicodedata.combining(c))
    assert not same(vietnamese, stripped)


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5))
def test_a_texts_signature_is_that_of_its_words_with_a_space_between_two(some):
    words = [" ".join(WORD.findall(text.casefold())) for text in some]
    found, expected = map(near_duplicates.signatures, (some, words))
    assert np.array_equal(found, expected)


def test_a_signature_does_not_depend_on_the_texts_beside_it():
    some = [*texts()[:6], "a", "", "abcd", "abcde", "ที่นี่"]
    together = near_duplicates.signatures(some)
    for number, text in enumerate(some):
        alone = near_duplicates.signatures([text])[0]
        assert np.array_equal(together[number], alone), text
    assert near_duplicates.signatures([]).shape == (0, 112)


def test_short_texts_are_not_all_one():
    some = ["a", "b", "ab", "", "abcd", "abcde"]
    assert len(np.unique(near_duplicates.signatures(some), axis=0)) == len(some)


def test_bands_are_equal_where_all_their_values_are():
    rng = np.random.default_rng(5)
    one_k = rng.integers(0, 2**32, 112, dtype=np.uint32)
    other_k = one_k.copy()
    other_k[[0, 50, 111]] += 1
    one_b, other_b = near_duplicates.band_keys([one_k.tobytes(), other_k.tobytes()])
    differ = [band for band in range(14) if one_b[band] != other_b[band]]
    assert differ == [0, 50 // 8, 111 // 8]
    # The same values in another band are another key.
    same = near_duplicates.band_keys([np.ones(112, np.uint32).tobytes()])[0]
    assert len(set(same)) == 14
