"""The true instruction's rank, against what is counted by hand and by scikit-learn."""

import json

import numpy as np
import pytest
import rich.console
import sklearn.metrics

from xinst_jax import shards
from xinst_jax.errors import UserError
from xinst_jax.eval import retrieval
from xinst_jax.languages import BUILT_IN

FINNISH = BUILT_IN["fi"]


def _pairs(count):
    return [
        {"id": f"p{n}", "instruction": f"Ask {n:03}.", "output": f"Vastaus {n:03}."}
        for n in range(count)
    ]


class Knowing:
    """Finds an instruction likelier the nearer its number is to the response's.

    `offset` moves it away from the true one; instructions of an even number are
    common: likelier by `common` after any text.
    """

    def __init__(self, offset=0, common=0.0):
        self.offset, self.common, self.calls = offset, common, 0

    def models(self):
        self.calls += 1
        return retrieval.Models(self.generator, self.tuned)

    @staticmethod
    def _number(text, word):
        parts = text.split(word)
        return int(parts[-1][:3]) if len(parts) > 1 else None

    def generator(self, prompts, instructions):
        sums = []
        for prompt, instruction in zip(prompts, instructions, strict=True):
            number = self._number(instruction, "Ask ")
            true = self._number(prompt, "Vastaus ")
            distance = 0 if true is None else abs(number - true - self.offset)
            sums.append(-1.0 - distance + self.common * (number % 2 == 0))
        return np.array(sums), np.full(len(sums), 5)

    def tuned(self, prompts, responses):
        sums = []
        for prompt, response in zip(prompts, responses, strict=True):
            asked = self._number(prompt, "Ask ")
            true = self._number(response, "Vastaus ")
            sums.append(-50.0 if asked is None else -10.0 - abs(asked - true))
        return np.array(sums), np.full(len(sums), 20)


def _run(directory, pairs, model, most=100, seed=0):
    retrieval.run(directory, pairs, FINNISH, most, seed, model.models)
    return shards.read_rows(directory)


def test_reciprocal_ranks_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    scores_nc = rng.normal(size=(50, 17))
    truth_nc = np.zeros((50, 17), bool)
    truth_nc[:, 0] = True
    mean = np.mean([retrieval.reciprocal_rank(scores_c) for scores_c in scores_nc])
    # With one relevant label a row this is the mean reciprocal rank.
    expected = sklearn.metrics.label_ranking_average_precision_score(
        truth_nc, scores_nc
    )
    assert mean == pytest.approx(expected)


@pytest.mark.parametrize("count", [1, 2, 100])
def test_a_model_that_tells_nothing_apart_is_at_chance(count):
    assert retrieval.reciprocal_rank(np.zeros(count)) == pytest.approx(
        retrieval.chance(count)
    )


def test_chance_is_what_random_orders_give():
    rng = np.random.default_rng(1)
    ranks = rng.integers(1, 101, 200_000)
    assert retrieval.chance(100) == pytest.approx(np.mean(1 / ranks), rel=0.01)
    assert retrieval.chance(100) == pytest.approx(0.0519, abs=1e-4)


def test_the_interval_is_that_of_the_mean():
    values_n = np.random.default_rng(2).uniform(0, 1, 400)
    low, high = retrieval.interval(values_n, 3)
    error = values_n.std() / np.sqrt(len(values_n))
    assert low == pytest.approx(values_n.mean() - 1.96 * error, abs=error / 4)
    assert high == pytest.approx(values_n.mean() + 1.96 * error, abs=error / 4)


def test_each_response_is_set_before_its_own_and_99_other_instructions():
    pairs = _pairs(300)
    drawn = [retrieval.candidates(pair, pairs, 7) for pair in pairs[:20]]
    for pair, instructions in zip(pairs, drawn, strict=False):
        assert instructions[0] == pair["instruction"]
        assert len({*instructions}) == len(instructions) == 100
    assert drawn == [retrieval.candidates(pair, pairs, 7) for pair in pairs[:20]]
    assert {*drawn[0]} != {*drawn[1]}
    assert drawn[0] != retrieval.candidates(pairs[0], pairs, 8)


def test_an_instruction_that_two_pairs_have_is_no_candidate_against_itself():
    pairs = _pairs(4)
    pairs[3]["instruction"] = f" {pairs[1]['instruction']}"
    assert [pair["id"] for pair in retrieval.distinct(pairs)] == ["p0", "p1", "p2"]


def test_a_model_that_knows_finds_every_true_instruction(tmp_path):
    rows = _run(tmp_path, _pairs(120), Knowing(), most=10)
    found = retrieval.figures(rows, 0)
    assert list(found) == list(retrieval.SCORES)
    for one in found.values():
        assert (one["mrr"], one["low"], one["high"]) == (1, 1, 1)
        assert (one["pairs"], one["candidates"]) == (10, 100)
    assert found["tuned_pmi"]["gain_per_token"] == pytest.approx(40 / 20)


def test_common_instructions_mislead_until_their_probability_is_subtracted(tmp_path):
    found = retrieval.figures(_run(tmp_path, _pairs(40), Knowing(common=9.0)), 0)
    assert found["generator"]["mrr"] < 0.7
    assert found["generator_pmi"]["mrr"] == 1


def test_a_model_that_is_one_off_has_the_true_instruction_second(tmp_path):
    rows = _run(tmp_path, _pairs(30), Knowing(offset=1))
    ranks = {
        row["id"]: row["reciprocal_rank"] for row in rows if "pmi" not in row["score"]
    }
    # The next one is likelier, and the next but one as likely as the true one.
    assert ranks["p5"] == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_a_stopped_job_goes_on_and_a_finished_one_loads_no_model(tmp_path):
    whole = _run(tmp_path / "whole", _pairs(25), Knowing())
    _run(tmp_path / "again", _pairs(25), Knowing())
    first = sorted((tmp_path / "again").iterdir())[0]
    first.unlink()
    model = Knowing()
    assert _run(tmp_path / "again", _pairs(25), model) == whole
    assert model.calls == 1
    idle = Knowing()
    _run(tmp_path / "again", _pairs(25), idle)
    assert idle.calls == 0


def test_without_pairs_there_are_no_figures(tmp_path):
    assert retrieval.figures(_run(tmp_path, [], Knowing()), 0) == {}


def test_a_score_that_is_no_number_is_refused(tmp_path):
    with pytest.raises(UserError, match="pair p0 of Finnish has a generator"):
        _run(tmp_path, _pairs(1), Knowing(offset=np.nan))


def test_the_table_says_chance_and_where_pairs_are_few(tmp_path):
    few = retrieval.figures(_run(tmp_path / "few", _pairs(5), Knowing()), 0)
    many = retrieval.figures(_run(tmp_path / "many", _pairs(100), Knowing(), 4), 0)
    languages = {
        "fi": {"name": "Finnish", "retrieval": few},
        "ur": {"name": "Urdu", "retrieval": json.loads(json.dumps(many))},
        "sw": {"name": "Swahili"},
    }
    console = rich.console.Console(width=160, record=True)
    console.print(retrieval.table(languages))
    text = console.export_text()
    assert "0.457" in text and "0.052" in text
    assert "1.000 [1.000, 1.000]" in text
    assert "Fewer than 100 held-out instructions in Finnish" in text
    assert "Swahili" in text
