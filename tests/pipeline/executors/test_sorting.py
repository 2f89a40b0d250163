"""Sorting and grouping give what a list in memory gives, however little of it fits."""

import collections
import pathlib
import random

import pytest

from xinst_jax.pipeline.executors import frames, sorting


def rows(count, keys, seed=0):
    rng = random.Random(seed)
    names = [b"%06d" % n for n in range(keys)]
    return [(rng.choice(names), (rng.random(), number)) for number in range(count)]


def parts(found, most):
    for chunk in frames.chunks(found, most):
        yield chunk, 40 * len(chunk)


def first(row):
    return row[0]


def itself(one):
    return one


@pytest.mark.parametrize("memory", [200, 2000, 10**9])
def test_rows_come_sorted_and_equal_ones_as_they_came(tmp_path, monkeypatch, memory):
    monkeypatch.setattr(sorting, "MEMORY_BYTES", memory)
    # At 200 bytes there are 200 runs, and so three rounds of merging.
    monkeypatch.setattr(sorting, "_FAN_IN", 4)
    found = rows(1000, 30)
    made = list(sorting.in_order(parts(found, 5), first, tmp_path))
    assert made == sorted(found, key=first)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("memory", [300, 10**9])
@pytest.mark.parametrize("keys", [1, 40, 900])
def test_each_key_comes_once_with_all_its_values(tmp_path, monkeypatch, memory, keys):
    monkeypatch.setattr(sorting, "MEMORY_BYTES", memory)
    found = rows(1000, keys)
    expected = collections.defaultdict(list)
    for key, one in found:
        expected[key].append(one)
    made = [
        (key, list(values))
        for key, values in sorting.by_key(parts(found, 7), itself, tmp_path)
    ]
    assert len(made) == len(expected)
    assert {key: sorted(values) for key, values in expected.items()} == dict(made)


def test_what_a_key_leaves_is_not_taken_for_the_next_one(tmp_path, monkeypatch):
    monkeypatch.setattr(sorting, "MEMORY_BYTES", 300)
    found = rows(500, 5)
    made = [
        (key, next(values))
        for key, values in sorting.by_key(parts(found, 7), itself, tmp_path)
    ]
    assert made == [(key, min(v for k, v in found if k == key)) for key, _ in made]
    assert len(made) == 5


@pytest.mark.parametrize("count", [1, 255, 256, 3000])
def test_one_keys_values_are_sorted(monkeypatch, count):
    monkeypatch.setattr(sorting, "MEMORY_BYTES", 5000)
    found = [one for _, one in rows(count, 1)]
    assert list(sorting.values_in_order(found, itself)) == sorted(found)


def test_frames_are_cut_by_their_bytes_and_keep_their_rows(tmp_path: pathlib.Path):
    rng = random.Random(3)
    found = [rng.randbytes(rng.choice([10, 400_000])) for _ in range(120)]
    file = frames.write(tmp_path / "rows", frames.parts(found))
    sizes = [size for *_, size in frames.index(file)]
    # The last few rows of a frame may take it over its 1 MiB.
    assert max(sizes) < 2**20 + frames._PICKLED_ROWS * 400_100
    assert list(frames.rows(file)) == found
    assert [row for f in frames.index(file) for row in frames.load(f)] == found
