"""MinHash estimates agree with true similarities, and repeats are found."""

import json
import pathlib
import random
import unicodedata

import numpy as np
import regex

from xinst_jax.pipeline import near_duplicates

SAMPLE = pathlib.Path(__file__).parents[2] / "data" / "sample" / "corpus"
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
        estimate = np.mean(
            near_duplicates.signature(text) == near_duplicates.signature(other)
        )
        errors.append(estimate - jaccard(text, other))
    # The standard deviation is at most sqrt(1 / (4 * 256)) = 0.031.
    assert abs(np.mean(errors)) < 0.012 and np.std(errors) < 0.035


def test_pairs_above_the_threshold_are_found_and_others_are_not():
    rng = random.Random(7)
    counts = {True: [0, 0], False: [0, 0]}
    for text in texts():
        other = changed(text, rng.choice([0.005, 0.15]), rng)
        true = jaccard(text, other)
        if 0.7 < true < 0.88:
            continue
        unique = near_duplicates.NearDuplicates(0.8)
        assert unique.add(near_duplicates.signature(text)) is None
        found = unique.add(near_duplicates.signature(other)) is not None
        counts[true > 0.8][found] += 1
    assert counts[True][0] == 0 and counts[False][1] == 0
    assert counts[True][1] > 20 and counts[False][0] > 20


def test_unrelated_texts_are_all_kept_and_a_repeat_names_the_first():
    unique = near_duplicates.NearDuplicates(0.8)
    all_texts = texts()
    for text in all_texts:
        assert unique.add(near_duplicates.signature(text)) is None
    repeat = all_texts[5].upper().replace(",", " ;").replace(" ", "  ")
    number, similarity = unique.add(near_duplicates.signature(repeat))
    assert number == 5 and similarity > 0.9


def test_marks_count_and_case_and_punctuation_do_not():
    def same(one, other):
        pair = (near_duplicates.signature(one), near_duplicates.signature(other))
        return bool(np.all(pair[0] == pair[1]))

    assert same("Lumi satoi, hiljaa!", "lumi  satoi hiljaa")
    assert not same("हिन्दी में कई बातें हैं", "हन्द म कई बात ह")
    assert not same("ที่นี่มีของดี", "ทนมของด")
    vietnamese = "tiếng Việt rất đẹp"
    stripped = unicodedata.normalize("NFD", vietnamese)
    stripped = "".join(c for c in stripped if not unicodedata.combining(c))
    assert not same(vietnamese, stripped)


def test_short_texts_are_not_all_one():
    unique = near_duplicates.NearDuplicates(0.8)
    for text in ("a", "b", "ab", "", "abcd", "abcde"):
        assert unique.add(near_duplicates.signature(text)) is None, text


def test_bands_compare_99_of_100_pairs_at_the_threshold():
    for threshold in (0.5, 0.7, 0.8, 0.9):
        rows = near_duplicates.band_rows(threshold)
        bands = 256 // rows
        assert 1 - (1 - threshold**rows) ** bands >= 0.99
        wider = rows + 1
        assert 1 - (1 - threshold**wider) ** (256 // wider) < 0.99
