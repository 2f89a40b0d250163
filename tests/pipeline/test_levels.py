"""The rater's training data: balance, splits, order, and no tell-tale lengths."""

import collections
import dataclasses
import json
import pathlib
import random

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from xinst_jax.config import TextConfig
from xinst_jax.data.prompts import LABELS
from xinst_jax.languages import BUILT_IN
from xinst_jax.pipeline import corruptions, endings, levels, pair_pool

_SEED = pathlib.Path(__file__).parents[2] / "data" / "sample" / "seed"


@pytest.fixture(scope="module")
def pairs() -> list[pair_pool.Pair]:
    rows = []
    for path in sorted(_SEED.glob("*.jsonl")):
        for number, line in enumerate(path.read_text("utf-8").splitlines()):
            split = "held_out" if number % 6 == 5 else "train"
            rows.append(json.loads(line) | {"split": split})
    return levels.good_pairs(rows)


@pytest.fixture(scope="module")
def rows(pairs) -> list[dict[str, str]]:
    return levels.make_levels(pairs, seed=0)


def test_levels_are_equally_common_in_every_language(rows):
    train = [row for row in rows if row["split"] == "train"]
    counts = collections.Counter((row["lang"], row["label"]) for row in train)
    for lang in {row["lang"] for row in train}:
        assert len({counts[lang, label] for label in LABELS}) == 1


def test_corruptions_are_about_equally_common(rows):
    train = [row["corruption"] for row in rows if row["split"] == "train"]
    counts = collections.Counter(train)
    for registry in (corruptions.BAD, corruptions.FAIR):
        shares = [counts[name] / counts[levels.NONE] for name in registry]
        fair = 1 / len(registry)
        assert min(shares) > 0.6 * fair and max(shares) < 1.4 * fair


def test_every_corruption_is_measured_on_every_held_out_pair(pairs, rows):
    held_out = [row for row in rows if row["split"] == "held_out"]
    counts = collections.Counter(row["corruption"] for row in held_out)
    whole = sum(pair.split == "held_out" for pair in pairs)
    always = {"boilerplate_response", "generic_instruction", "missing_input"}
    assert counts[levels.NONE] == whole
    assert all(counts[name] == whole for name in always)
    # What is borrowed must be as long as the pair's own.
    sometimes = (corruptions.BAD | corruptions.FAIR).keys() - {"neighbour_instruction"}
    assert all(counts[name] > 0 for name in sometimes)


def test_the_summary_counts_examples_and_what_could_not_be_spoilt(pairs, rows):
    told = levels.summary(rows)
    counts = collections.Counter((row["split"], row["corruption"]) for row in rows)
    for entry in told["examples"].split(", "):
        name, _, number = entry.partition(" ")
        assert counts["train", name] == int(number)
    whole = sum(pair.split == "held_out" for pair in pairs)
    missing = dict(entry.split(" ") for entry in told["not_spoilt"].split(", "))
    for name in corruptions.BAD | corruptions.FAIR:
        assert counts["held_out", name] == whole - int(missing.get(name, 0))


def test_label_follows_from_the_corruption(rows):
    for row in rows:
        if row["corruption"] == levels.NONE:
            assert row["label"] == "good"
        elif row["corruption"] in corruptions.BAD:
            assert row["label"] == "bad"
        else:
            assert row["corruption"] in corruptions.FAIR and row["label"] == "fair"


def test_good_rows_are_the_pairs_and_spoilt_rows_are_not(pairs, rows):
    shown = [levels.without_last_sentence(pair, BUILT_IN) for pair in pairs]
    by_id = {pair.id: (pair.instruction, pair.output) for pair in shown}
    for row in rows:
        same = (row["instruction"], row["output"]) == by_id[row["pair"]]
        assert same == (row["label"] == "good")
    assert len({row["id"] for row in rows}) == len(rows)


def test_a_response_is_shown_up_to_the_end_of_a_sentence(pairs):
    for pair in pairs:
        shown = levels.without_last_sentence(pair, BUILT_IN)
        assert shown.output + shown.rest == pair.output
        assert 2 * len(shown.output) >= len(pair.output)
        assert endings.is_finished(shown.output, BUILT_IN[pair.lang])
    one = pair_pool.Pair("s1", "fi", "Why?", "Koska ilma siroaa valoa.", "train")
    assert levels.without_last_sentence(one, BUILT_IN) == one


def test_no_split_borrows_from_the_other(pairs, rows):
    texts = collections.defaultdict(set)
    for pair in pairs:
        shown = levels.without_last_sentence(pair, BUILT_IN)
        texts[pair.split] |= {pair.instruction, shown.output}
    split_of = {pair.id: pair.split for pair in pairs}
    for row in rows:
        assert row["split"] == split_of[row["pair"]]
        other = "train" if row["split"] == "held_out" else "held_out"
        borrowed = {row["instruction"], row["output"]} - texts[row["split"]]
        assert not borrowed & texts[other]


def test_lengths_alone_do_not_tell_the_level(rows):
    train = [row for row in rows if row["split"] == "train"]
    chars = np.array([[len(row["instruction"]), len(row["output"])] for row in train])
    x = np.hstack([chars, np.log(chars), chars[:, 1:] / chars[:, :1]])
    y = [row["label"] for row in train]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    fitted = balanced_accuracy_score(y, model.fit(x, y).predict(x))
    groups = [row["pair"] for row in train]
    unseen = balanced_accuracy_score(
        y, cross_val_predict(model, x, y, groups=groups, cv=GroupKFold(5))
    )
    assert fitted < 0.4
    assert unseen < 0.4


def test_order_of_the_pairs_does_not_matter(pairs, rows):
    shuffled = pairs.copy()
    random.Random(3).shuffle(shuffled)
    again = levels.make_levels(shuffled, seed=0)
    key = json.dumps
    assert sorted(map(key, again)) == sorted(map(key, rows))


def test_rows_follow_the_order_of_the_pairs(pairs, rows):
    order = list(dict.fromkeys(row["pair"] for row in rows))
    assert order == [pair.id for pair in pairs]


def test_another_seed_spoils_otherwise(pairs, rows):
    other = levels.make_levels(pairs, seed=1)
    assert len(other) >= 0.9 * len(rows)
    spoilt = {(row["instruction"], row["output"]) for row in rows}
    same = [row for row in other if (row["instruction"], row["output"]) in spoilt]
    assert len(same) < 0.7 * len(other)


@pytest.mark.parametrize("examples", [1, 2, 3, 6])
def test_examples_per_pair_are_half_bad_half_fair(pairs, examples: int):
    train = [pair for pair in pairs if pair.split == "train"]
    made = levels.make_levels(train, seed=0, examples_per_pair=examples)
    counts = collections.Counter(row["label"] for row in made)
    assert counts["bad"] + counts["fair"] == examples * len(train)
    assert abs(counts["bad"] - counts["fair"]) <= len(train) % 2
    assert counts["good"] == max(1, examples // 2) * len(train)
    assert len({row["id"] for row in made}) == len(made)


def test_embeddings_decide_what_a_neighbour_is(pairs):
    train = [pair for pair in pairs if pair.split == "train"][:20]
    train = [dataclasses.replace(p, instruction=f"{p.instruction:.55}") for p in train]
    # Pairs 2k and 2k + 1 are neighbours, all others at right angles.
    angle = np.arccos(0.5)
    embeddings_pe = np.zeros((20, 20), np.float32)
    for first in range(0, 20, 2):
        embeddings_pe[first, first] = 1
        embeddings_pe[first + 1, first : first + 2] = np.cos(angle), np.sin(angle)
    made = levels.make_levels(
        train, seed=0, examples_per_pair=10, embeddings_pe=embeddings_pe
    )
    number = {pair.id: place for place, pair in enumerate(train)}
    found = [row for row in made if row["corruption"] == "neighbour_instruction"]
    assert {row["pair"] for row in found} == set(number)
    for row in found:
        assert row["instruction"] == train[number[row["pair"]] ^ 1].instruction


def test_a_single_pair_gets_all_three_levels():
    pair = pair_pool.Pair("s1", "fi", "Why is the sky blue?", "Koska ilma.", "train")
    made = levels.make_levels([pair], seed=0)
    assert [row["label"] for row in made] == ["good", "bad", "fair"]


def test_a_response_is_cut_where_the_run_says_that_sentences_end():
    """'Prof.' may be an abbreviation of four letters; of a run that has three, none."""
    text = "Maija on kylän uusi Prof. Kaikki pitivät heti."
    pair = pair_pool.Pair("s1", "fi", "Who is she?", text, "train")
    good = {
        letters: levels.make_levels(
            [pair], seed=0, texts=TextConfig(abbreviation_letters=letters)
        )[0]["output"]
        for letters in (4, 3)
    }
    assert good == {4: text, 3: "Maija on kylän uusi Prof."}


def test_no_pairs_make_no_rows():
    assert levels.make_levels([], seed=0) == []


def test_kept_pairs_are_trained_on_whatever_the_split_of_the_seed():
    seed = [
        {
            "id": "a",
            "lang": "fi",
            "instruction": "A?",
            "output": "yksi",
            "split": "train",
        },
        {"id": "b", "lang": "fi", "instruction": "B?", "output": "kaksi"}
        | {"split": "held_out"},
    ]
    kept = [
        {"id": "c", "lang": "fi", "instruction": "C?", "output": "kolme", "score": 1},
        {"id": "e", "lang": "sw", "instruction": "E?", "output": "kaksi", "score": 1},
    ]
    made = levels.good_pairs(seed, kept)
    assert [(pair.id, pair.split) for pair in made] == [
        ("a", "train"),
        ("b", "held_out"),
        ("c", "train"),
        ("e", "train"),
    ]


def test_rows_fit_the_schema(rows):
    import pyarrow as pa

    table = pa.Table.from_pylist(rows, schema=levels.SCHEMA)
    assert table.num_rows == len(rows)
    assert all(column.null_count == 0 for column in table.columns)
    assert set(rows[0]) == set(levels.SCHEMA.names)
