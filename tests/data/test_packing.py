import bisect
import hashlib
import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xinst_jax.data import best_fit, packed_files, packing
from xinst_jax.data.examples import Pair
from xinst_jax.data.loader import Rows
from xinst_jax.errors import UserError


def real_lengths(count, length, seed=0):
    """Tokens of pairs of the paper's lengths: log-normal, 3.6 characters a token."""
    rng = np.random.default_rng(seed)
    tokens_e = np.ones(count)
    for mean, deviation in ((100, 50), (1145, 540)):
        sigma2 = np.log1p((deviation / mean) ** 2)
        characters_e = rng.lognormal(np.log(mean) - sigma2 / 2, sigma2**0.5, count)
        tokens_e += np.ceil(characters_e / 3.6)
    return np.clip(tokens_e.astype(int), 1, length)


def random_pairs(count, seed=0, vocabulary=50):
    rng = np.random.default_rng(seed)
    return [
        tuple(
            rng.integers(0, vocabulary, rng.integers(low, high)).tolist()
            for low, high in ((0, 6), (1, 12))
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("count", [10_000, 131_072])
def test_rows_of_real_lengths_are_at_least_99_8_percent_full(count):
    lengths_e = real_lengths(count, 2048)
    rows_e = best_fit.assign(lengths_e, 2048)
    used_r = np.bincount(rows_e, weights=lengths_e)
    assert used_r.max() <= 2048
    assert used_r.min() > 0
    assert lengths_e.sum() / (2048 * used_r.size) >= 0.998


def test_a_million_examples_are_assigned_in_a_second():
    lengths_e = real_lengths(1_000_000, 2048)
    before = time.process_time()
    best_fit.assign(lengths_e, 2048)
    assert time.process_time() - before < 1


def best_fit_decreasing_rows(lengths, length):
    rooms, rows = [], 0
    for size in sorted(lengths, reverse=True):
        fit = bisect.bisect_left(rooms, size)
        room = rooms.pop(fit) if fit < len(rooms) else length
        rows += room == length
        bisect.insort(rooms, room - size)
    return rows


def test_rows_are_fewer_than_those_of_best_fit_decreasing():
    rng = np.random.default_rng(0)
    ours = theirs = 0
    for _ in range(300):
        low, high = sorted(rng.integers(1, 31, 2).tolist())
        lengths_e = rng.integers(low, high + 1, rng.integers(1, 121))
        ours += int(best_fit.assign(lengths_e, 30).max()) + 1
        theirs += best_fit_decreasing_rows(lengths_e.tolist(), 30)
    assert ours < theirs


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=120))
def test_no_two_rows_would_fit_into_one(lengths):
    rows_e = best_fit.assign(np.array(lengths), 30)
    used_r = np.sort(np.bincount(rows_e, weights=lengths))
    assert used_r[0] > 0
    assert used_r[-1] <= 30
    assert used_r.size == 1 or used_r[0] + used_r[1] > 30


def test_a_length_beyond_the_row_is_an_error():
    with pytest.raises(ValueError, match="1 to 8"):
        best_fit.assign(np.array([3, 9]), 8)


def segments(rows):
    """Each example found in packed rows, as (tokens, targets, weights)."""
    for row in range(len(rows)):
        fields = {name: a[0] for name, a in rows.read(np.array([row])).items()}
        for segment in range(1, fields["segment_ids"].max() + 1):
            at = fields["segment_ids"] == segment
            assert (fields["positions"][at] == np.arange(at.sum())).all()
            yield tuple(
                tuple(fields[name][at].tolist())
                for name in ("tokens", "targets", "loss_weights")
            )


def test_every_example_comes_back_whole_even_if_it_is_full_of_id_0(tmp_path):
    pairs = [*random_pairs(300, vocabulary=3), ([0] * 5, [0] * 7), ([], [0])]
    packing.pack(pairs, tmp_path, length=24, bos=0, eos=0, shard_rows=20, window=64)
    rows = Rows(tmp_path)
    expected = sorted(
        (
            (0, *prompt, *response),
            (*prompt, *response, 0),
            (0.0,) * len(prompt) + (1.0,) * (len(response) + 1),
        )
        for prompt, response in ((tuple(p), tuple(r)) for p, r in pairs)
    )
    assert sorted(segments(rows)) == expected
    assert (tmp_path / "rows-00001.arrayrecord").exists()


def test_every_row_names_its_examples_in_the_order_of_its_segments(tmp_path):
    pairs = [
        Pair([], response, f"doc-{number}#1", "fi")
        for number, (_, response) in enumerate(random_pairs(300))
    ]
    packing.pack(pairs, tmp_path, length=24, bos=None, eos=99, shard_rows=20, window=64)
    rows = Rows(tmp_path)
    ids = {f"fi/{pair.id}": [*pair.response_ids, 99] for pair in pairs}
    seen = []
    for row in range(len(rows)):
        fields = {name: a[0] for name, a in rows.read(np.array([row])).items()}
        for segment, name in enumerate(rows.names(row), 1):
            seen.append(name)
            targets = fields["targets"][fields["segment_ids"] == segment]
            assert targets.tolist() == ids[name][1:]
    assert sorted(seen) == sorted(name for name in ids if len(ids[name]) > 1)
    (tmp_path / "names-00001.arrayrecord").unlink()
    with pytest.raises(UserError, match=r"names-00001"):
        rows.names(20)


def test_rows_by_language_mix_none_and_lie_language_by_language(tmp_path):
    pairs = [
        Pair([5], response, str(number), lang)
        for lang, count in (("th", 90), ("fi", 40), ("sw", 3))
        for number, (_, response) in enumerate(random_pairs(count, seed=count))
    ]
    settings = {"length": 24, "bos": 1, "eos": 2, "window": 32, "by_language": True}
    packed = packing.pack(pairs, tmp_path, **settings)
    rows = Rows(tmp_path)
    found = [
        {name.split("/")[0] for name in rows.names(row)} for row in range(len(rows))
    ]
    expected = [
        {lang} for lang, count in packed.languages.items() for _ in range(count)
    ]
    assert list(packed.languages) == ["th", "fi", "sw"]
    assert found == expected
    assert (
        packed.examples
        == len(pairs)
        == sum(len(rows.names(r)) for r in range(len(rows)))
    )
    with pytest.raises(ValueError, match="th come again"):
        packing.pack([*pairs, pairs[0]], tmp_path, **settings)


def test_the_summary_counts_what_is_in_the_rows(tmp_path):
    pairs = [*random_pairs(50), ([5], []), ([5] * 40, [6]), ([5], [6] * 40)]
    packed = packing.pack(pairs, tmp_path, length=24, bos=1, eos=2)
    assert packed == packed_files.read_summary(tmp_path)
    assert packed.refused == {"empty response": 1, "prompt too long": 1}
    assert packed.cut == 1
    found = list(segments(Rows(tmp_path)))
    assert packed.examples == len(found) == 51
    assert packed.tokens == sum(len(tokens) for tokens, _, _ in found)
    assert packed.response_tokens == sum(sum(weights) for _, _, weights in found)
    assert packed.fill == pytest.approx(packed.tokens / (packed.rows * 24), abs=1e-6)


def test_equal_pairs_give_equal_bytes(tmp_path):
    digests = []
    for name in ("first", "second"):
        directory = tmp_path / name
        packing.pack(
            iter(random_pairs(500)), directory, length=32, bos=1, eos=2, shard_rows=50
        )
        digests.append(
            {
                path.name: hashlib.sha256(path.read_bytes()).hexdigest()
                for path in directory.iterdir()
            }
        )
    assert len(digests[0]) > 3
    assert digests[0] == digests[1]


def test_the_first_rows_are_not_the_longest_examples(tmp_path):
    rng = np.random.default_rng(0)
    pairs = [([], [7] * int(n)) for n in rng.integers(2, 60, 2000)]
    packing.pack(pairs, tmp_path, length=64, bos=1, eos=2)
    rows = Rows(tmp_path)
    examples_b = rows.read(np.arange(len(rows)))["segment_ids"].max(axis=1)
    quarter = len(rows) // 4
    assert examples_b[:quarter].mean() == pytest.approx(examples_b.mean(), rel=0.1)


def test_packing_again_replaces_what_was_there(tmp_path):
    packing.pack(random_pairs(500), tmp_path, length=32, bos=1, eos=2, shard_rows=10)
    packing.pack(random_pairs(5), tmp_path, length=32, bos=1, eos=2, shard_rows=10)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "names-00000.arrayrecord",
        "packed.json",
        "rows-00000.arrayrecord",
    ]


def test_pairs_without_any_example_are_an_error(tmp_path):
    with pytest.raises(UserError, match="empty response"):
        packing.pack([([1], [])] * 3, tmp_path, length=8, bos=1, eos=2)
    with pytest.raises(UserError, match="there were none"):
        packing.pack([], tmp_path, length=8, bos=1, eos=2)


def test_a_full_disk_is_an_error_that_says_so(tmp_path):
    (tmp_path / ".rows-00000.arrayrecord.tmp").symlink_to("/dev/full")
    with pytest.raises(UserError, match="No space left"):
        packing.pack(random_pairs(50), tmp_path, length=32, bos=1, eos=2)
    assert not (tmp_path / "packed.json").exists()


def test_an_unfinished_or_damaged_directory_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no finished packed rows"):
        packed_files.read_summary(tmp_path)
    (tmp_path / "packed.json").write_text(json.dumps({"rows": 3}))
    with pytest.raises(UserError, match="not a summary"):
        packed_files.read_summary(tmp_path)
