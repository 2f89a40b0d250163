"""Of texts that are one the best is kept, whoever carries out the search."""

import collections
import json
import pathlib
import random

import hypothesis
import pytest
from hypothesis import strategies as st

from xinst_jax.pipeline import numbering
from xinst_jax.pipeline.corpus import documents, duplicates
from xinst_jax.pipeline.corpus.clusters import Light
from xinst_jax.pipeline.corpus.documents import Row, Text
from xinst_jax.pipeline.executors import frames, local
from xinst_jax.pipeline.executors.local import Local
from xinst_jax.pipeline.rejects import Dropped

SAMPLE = pathlib.Path(__file__).parents[3] / "data" / "sample" / "corpus"


def texts(code="fi"):
    lines = (SAMPLE / f"{code}.jsonl").read_text("utf-8").splitlines()
    return [row["text"] for row in map(json.loads, lines) if not row["planted"]]


def row(number, text, score=0.5, id="", code="fi"):
    kept = Text(id or f"t{number}", text, "", "", 1.0, score)
    return Row(documents.place(0 if code == "fi" else 1, number, 0), code, kept, {})


def changed(text, share, rng):
    words = text.split()
    return " ".join(w if rng.random() > share else w[::-1] + "x" for w in words)


def grams(text):
    words = " ".join(duplicates.near_duplicates._WORD.findall(text.casefold()))
    return {words[i : i + 5] for i in range(len(words) - 4)}


def found(tmp_path, rows, workers=1, frame_rows=5):
    directory = tmp_path / f"scratch-{workers}"
    directory.mkdir()
    with pytest.MonkeyPatch.context() as patch, Local(directory, workers) as executor:
        patch.setattr(frames, "FRAME_ROWS", frame_rows)
        patch.setattr(frames, "_PICKLED_ROWS", 1)
        executor.put(rows, "rows")
        patch.undo()
        made = duplicates.unique(executor, ["rows"], 0.8)
        return [row for _, row in executor.ordered(made, documents.shard)]


def test_the_best_of_equal_texts_is_kept_and_says_how_many_there_were(tmp_path):
    one, other = texts()[:2]
    rows = [row(0, one), row(1, other), row(2, one.upper(), 0.9), row(3, f" {one} ")]
    made = found(tmp_path, rows)
    assert [isinstance(r.found, Dropped) for r in made] == [True, False, False, True]
    assert made[2].found.cluster == 3 and made[1].found.cluster == 1
    assert made[0].found.reason == "duplicate" and made[0].found.value == "of t2"


def test_of_equally_good_texts_the_first_is_kept(tmp_path):
    made = found(tmp_path, [row(number, texts()[0]) for number in range(9)])
    assert [r.found.id for r in made if isinstance(r.found, Text)] == ["t0"]


def test_ids_are_given_once_and_equal_texts_of_two_languages_are_one(tmp_path):
    one, other = texts()[:2]
    rows = [row(0, one, id="a"), row(1, other, id="a"), row(0, one, id="a", code="id")]
    made = found(tmp_path, rows)
    assert [r.found.id for r in made] == ["a", "a~2", "a"]
    assert made[2].found.value == "of fi/a"


def test_an_id_that_looks_like_that_of_a_second_row_is_not_given_twice(tmp_path):
    raw = ["x", "x", "x~2", "x~2", "x~2~2"]
    rows = [
        row(number, text, id=raw[number]) for number, text in enumerate(texts()[:5])
    ]
    ids = [r.found.id for r in found(tmp_path, rows)]
    assert ids == ["x", "x~2", "x~2~1", "x~2~2", "x~2~2~1"]


@hypothesis.settings(max_examples=50, deadline=None)
@hypothesis.given(
    raw=st.lists(
        st.one_of(
            st.from_regex(r"x?(~[012٢]{1,2}){0,3}(~|#1|\n)?", fullmatch=True),
            st.text(max_size=3),
        )
    )
)
@hypothesis.example(raw=["x", "x", "x~2"])
@hypothesis.example(raw=["x~2", "x", "x", "x~2", "x~2~2", "x~2~1"])
def test_ids_are_different_whatever_files_give_and_lead_back(raw):
    groups = collections.defaultdict(list)
    for number, id in enumerate(raw):
        light = Light(b"%06d" % number, "fi", id, 0.5, b"", b"")
        ((key, value),) = duplicates._by_id(light)
        groups[key].append(value)
    named = [
        light
        for key, values in groups.items()
        for light in duplicates._numbered(key, iter(values))
    ]
    ids = [light.id for light in sorted(named, key=duplicates._order)]
    assert len(set(ids)) == len(raw)
    assert [numbering.given(id) for id in ids] == raw


def test_pairs_above_the_threshold_are_found_and_others_are_not(tmp_path):
    rng = random.Random(7)
    rows, expected = [], {}
    for number, text in enumerate(
        text for code in ("fi", "th") for text in texts(code)
    ):
        other = changed(text, rng.choice([0.005, 0.15]), rng)
        true = len(grams(text) & grams(other)) / len(grams(text) | grams(other))
        if 0.68 < true < 0.92 or other.split() == text.split():
            continue
        expected[number] = true >= 0.92
        rows += [row(2 * number, text, 0.4), row(2 * number + 1, other, 0.6)]
    assert {True, False} == set(expected.values())
    made = {r.order: r.found for r in found(tmp_path, rows)}
    for number, one in expected.items():
        first = made[documents.place(0, 2 * number, 0)]
        second = made[documents.place(0, 2 * number + 1, 0)]
        assert isinstance(second, Text)
        assert isinstance(first, Dropped) == one, first
        if one:
            assert first.reason == "near_duplicate" and second.cluster == 2
            assert f"to {second.id}" in first.value


def test_what_is_linked_through_another_is_one_cluster(tmp_path):
    words = texts()[0].split()
    chain = [words]
    for step in range(4):
        following = list(chain[-1])
        for place in range(step * 7, step * 7 + 2):
            following[place] = f"sana{step}{place}"
        chain.append(following)
    rows = [row(n, " ".join(w), 0.1 * n) for n, w in enumerate(chain)]
    kept = [r.found for r in found(tmp_path, rows) if isinstance(r.found, Text)]
    assert [text.id for text in kept] == ["t4"] and kept[0].cluster == 5


def test_workers_and_frames_change_nothing(tmp_path):
    rng = random.Random(1)
    some = [
        texts()[n % 9] if n % 3 else changed(texts()[n % 7], 0.01, rng)
        for n in range(60)
    ]
    rows = [row(n, text, rng.random()) for n, text in enumerate(some)]
    alone = found(tmp_path, rows, workers=1, frame_rows=7)
    # Twenty frames: more than are worked on without other processes.
    assert found(tmp_path, rows, workers=2, frame_rows=3) == alone
    assert sum(isinstance(r.found, Text) for r in alone) < 20


def test_however_many_files_a_group_is_spread_over(tmp_path, monkeypatch):
    rows = [row(n, texts()[n % 5] + f" {n}." * (n % 2), 0.1) for n in range(20)]
    (tmp_path / "one").mkdir()
    (tmp_path / "many").mkdir()
    expected = found(tmp_path / "one", rows)
    monkeypatch.setattr(local, "_PARTITION_BYTES", 500)
    assert found(tmp_path / "many", rows) == expected
    assert sum(isinstance(r.found, Text) for r in expected) == 5
