"""Examples are drawn as they are told, and repeat exactly."""

import collections
import pathlib
import subprocess
import sys

import pytest
import seqio

from tests.data.two_languages import (
    LENGTH,
    SIZES,
    decoded,
)
from xinst_jax.data import (
    preprocessors,
    stream,
    tasks,
)
from xinst_jax.data.row_source import Part, RowSource


def test_rows_are_drawn_in_proportion_to_their_weight(home):
    source = RowSource("fi", [Part(home / "dataset", weighted=True)], ["id"])
    with seqio.utils.map_seed_manager(7):
        dataset = preprocessors.drawn_by_rate(
            source.get_dataset(shuffle=False).repeat(300)
        )
    drawn = collections.Counter(
        int(row["id"].decode().split("-")[-1]) % 4
        for row in dataset.as_numpy_iterator()
    )
    assert drawn[0] == 0
    total = sum(drawn.values())
    assert total == pytest.approx(300 * SIZES["fi"], rel=0.03)
    for weight in (1, 2, 3):
        assert drawn[weight] / total == pytest.approx(weight / 6, abs=0.02)


def test_languages_are_drawn_by_the_temperature(home, vocabulary):
    for temperature in (1.0, 2.0):
        tasks.register_reverse(
            home / "pairs",
            list(SIZES),
            vocabulary,
            length=512,
            temperature=temperature,
        )
        drawn = decoded(
            vocabulary, stream.examples(tasks.REVERSE, "train", passes=20.0, seed=1)
        )
        assert len(drawn) == 20 * (35 + 7)
        finnish = sum("Ask fi" in instruction for _, instruction in drawn)
        share = 35 ** (1 / temperature) / (
            35 ** (1 / temperature) + 7 ** (1 / temperature)
        )
        assert finnish / len(drawn) == pytest.approx(share, abs=0.05)


def test_every_row_comes_once_before_any_comes_again(home, vocabulary, settings):
    tasks.register_reverse(home / "pairs", ["fi"], vocabulary, **settings)
    drawn = [
        vocabulary.decode(pair.response_ids)
        for pair in stream.examples(tasks.REVERSE, "train", passes=3.0, seed=5)
    ]
    epochs = [drawn[start : start + 35] for start in (0, 35, 70)]
    assert all(len(set(epoch)) == 35 for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_examples_repeat_in_another_process(home, vocabulary, settings):
    tasks.register_reverse(home / "pairs", list(SIZES), vocabulary, **settings)
    here = list(stream.examples(tasks.REVERSE, "train", passes=2.0, seed=11))
    other = list(stream.examples(tasks.REVERSE, "train", passes=2.0, seed=12))
    script = f"""
import pathlib
from xinst_jax.data import stream, tasks, vocab
tasks.register_reverse(
    pathlib.Path({str(home / "pairs")!r}), {list(SIZES)!r},
    vocab.load_vocabulary({str(vocabulary.path)!r}), length={LENGTH}, temperature=1.0)
print(list(stream.examples(tasks.REVERSE, "train", passes=2.0, seed=11)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=pathlib.Path(__file__).parents[2],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == str(here)
    assert here != other
