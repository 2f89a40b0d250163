import unicodedata

import numpy as np
import pyarrow as pa
import pytest

from xinst_jax import shards
from xinst_jax.report import collect


@pytest.fixture
def many_shards(tmp_path):
    schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
    rows = [{"id": number, "text": f"text {number}"} for number in range(1000)]
    shards.write_shards(tmp_path / "fi", rows, schema, shard_rows=50)
    return tmp_path / "fi"


@pytest.mark.parametrize(("count", "wanted"), [(10, 3), (7, 7), (3, 9), (0, 4), (1, 1)])
def test_spread_numbers_are_distinct_in_order_and_in_range(count, wanted):
    numbers = collect.spread(count, wanted)
    assert len(numbers) == min(count, wanted)
    assert sorted(set(numbers)) == numbers
    assert all(0 <= number < count for number in numbers)


def test_a_sample_spans_the_directory_evenly_and_repeats(many_shards):
    first = collect.sample(many_shards, ["id"], 100)
    ids = first["id"].to_pylist()
    assert len(set(ids)) == 100
    assert ids == sorted(ids)
    assert min(ids) < 100
    assert max(ids) >= 900
    assert collect.sample(many_shards, ["id"], 100) == first


def test_a_sample_reads_a_bounded_number_of_shards(many_shards, monkeypatch):
    read = []
    original = collect.pq.read_table
    monkeypatch.setattr(
        collect.pq,
        "read_table",
        lambda path, **k: read.append(path) or original(path, **k),
    )
    collect.sample(many_shards, ["id"], 500)
    assert len(read) == collect.MAX_SHARDS


def test_a_sample_larger_than_the_directory_is_all_of_it(tmp_path):
    schema = pa.schema([("id", pa.int64())])
    shards.write_shards(tmp_path, [{"id": n} for n in range(5)], schema, shard_rows=2)
    assert collect.sample(tmp_path, ["id"], 99)["id"].to_pylist() == list(range(5))
    assert len(collect.sample(tmp_path / "missing", ["id"], 9)) == 0


def test_an_empty_shard_is_an_empty_sample(tmp_path):
    shards.write_shards(tmp_path, [], pa.schema([("id", pa.int64())]), shard_rows=2)
    assert collect.sample(tmp_path, ["id"], 9).num_rows == 0


def test_samples_are_sorted_by_score(workdir):
    scores = [row["score"] for row in collect.samples(workdir.path, "fi", 5)]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)


def test_every_reason_has_its_examples_and_ratings_their_responses(workdir):
    found = collect.rejections(
        workdir.path, ["corpus", "ratings/round-1", "ratings/round-2"], "ur", 2, 100
    )
    places = [(row.stage, row.reason) for row in found]
    assert places == [
        *[("corpus", "near_duplicate")] * 2,
        *[("corpus", "too_short")] * 2,
        *[("ratings/round-2", "low_score")] * 2,
        *[("ratings/round-2", "refers_to_input")] * 2,
    ]
    for row in found:
        assert 50 < len(row.text) <= 100
    assert found[-1].instruction.startswith(("Write", "Describe", "List", "Explain"))
    # The same row's instruction and response carry the same number.
    number = found[-1].instruction.split("number ")[1].split(".")[0]
    assert found[-1].text.startswith(f"{number} ")


def test_curves_hold_every_loss_and_long_ones_their_mean(workdir):
    curve = collect.curve(workdir.path, "base")
    np.testing.assert_array_equal(curve.steps_n, np.arange(1, 41))
    np.testing.assert_array_equal(curve.eval_steps_m, [0, 20, 40])
    np.testing.assert_allclose(curve.eval_losses_m, [5.5, 4.5, 3.5])
    assert curve.language_losses == {"fi": (6, 4)}
    assert curve.tokens_per_second == 1234
    thin = collect.curve(workdir.path, "base", points=8)
    assert len(thin.steps_n) == 8
    assert thin.losses_n.mean() == pytest.approx(curve.losses_n.mean())
    assert collect.curve(workdir.path, "seed") is None


def test_scores_and_kept_flags_are_read_whole(workdir):
    scores_n, kept_n = collect.scores(workdir.path, 1, "th")
    assert len(scores_n) == 40
    assert kept_n.sum() == 24
    assert scores_n[kept_n].min() >= scores_n[~kept_n].max()
    assert len(collect.scores(workdir.path, 3, "th")[0]) == 0


@pytest.mark.parametrize(
    "text", ["வேகவைத்து" * 30, "ข้าวเหนียวมะม่วง" * 20, "चायपत्ती डालकर " * 20, "a" * 300]
)
def test_a_cut_text_never_loses_a_letters_marks(text):
    for chars in range(2, 120):
        short = collect.cut(text, chars)
        assert len(short) <= chars
        assert short.endswith("…")
        kept = short[:-1]
        assert text.startswith(kept)
        assert not unicodedata.category(text[len(kept)]).startswith("M")
    assert collect.cut(text, len(text)) == text
