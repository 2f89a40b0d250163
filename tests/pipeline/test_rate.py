"""Ratings: scores, quota, rules, resumption, and what is reported of the rater."""

import dataclasses
import hashlib
import json
import pathlib
import shutil

import numpy as np
import pytest

from xinst_jax import config as config_lib
from xinst_jax import shards
from xinst_jax.config import RateConfig, RunConfig
from xinst_jax.errors import UserError
from xinst_jax.manifest import StageDirectory
from xinst_jax.pipeline import generate, rate
from xinst_jax.pipeline.signals import Reading, Signals

_CONFIG = RateConfig(shard_rows=4, keep_share=0.5, min_score=0.5)
_RESPONSE = "Vastaus on pitkä ja selvä. "


def _stage(path: pathlib.Path) -> StageDirectory:
    return StageDirectory(path, "ratings/round-1", {"rate": 1}, {"candidates": "x"})


def _candidates(path: pathlib.Path, instructions: list[str], lang: str = "fi") -> None:
    rows = [
        {
            "id": f"{lang}-{number}",
            "lang": lang,
            "instruction": instruction,
            "output": _RESPONSE + str(number),
            "round": 1,
        }
        for number, instruction in enumerate(instructions)
    ]
    shards.write_shards(path / lang, rows, generate.SCHEMA, 3)


def _topics(count: int) -> list[str]:
    return [f"Describe the lake number {number} of Finland." for number in range(count)]


class _Rater:
    """Log-probabilities that depend on a pair's text alone; counts its calls."""

    def __init__(self, fails_after: int = 1000):
        self.calls = 0
        self.rows = 0
        self._fails_after = fails_after

    def __call__(self, pairs):
        self.calls += 1
        self.rows += len(pairs)
        if self.calls > self._fails_after:
            raise KeyboardInterrupt
        digests = [hashlib.sha256(repr(pair).encode()).digest() for pair in pairs]
        odds_nk = np.array([[byte + 1 for byte in digest[:3]] for digest in digests])
        return np.log(odds_nk / 1000).astype(np.float32)


def _run(tmp_path, instructions, config=_CONFIG, rater=None, held_out=None, pmi=None):
    _candidates(tmp_path / "candidates", instructions)
    stage = _stage(tmp_path / "ratings")
    stage.begin()
    signals = Signals(rater or _Rater(), pmi)
    counts = rate.run(stage, config, ["fi"], tmp_path / "candidates", signals, held_out)
    return stage, counts


def _pmi(pairs):
    """A signal that depends on a pair's text alone, and tells 'good' from the rest."""
    digests = [hashlib.sha256(repr(pair).encode()).digest() for pair in pairs]
    told = [output.startswith("good") for _, output, _ in pairs]
    return np.float32([byte[5] / 500 for byte in digests]) + np.float32(told)


def test_score_is_the_expected_level():
    found_nk = np.array([[0.25, 0.5, 0.25], [0, 0, 1.0]])
    np.testing.assert_array_equal(rate.expected_level(found_nk), [0.5, 1])
    assert rate.expected_level(found_nk).dtype == np.float32


def test_rows_have_the_contracts_columns_in_the_candidates_order(tmp_path):
    stage, _ = _run(tmp_path, _topics(10))
    rows = shards.read_rows(stage.path / "fi")
    assert list(rows[0]) == [
        "id",
        "instruction",
        "p_bad",
        "p_fair",
        "p_good",
        "entropy",
        "pmi",
        "score",
        "kept",
        "reasons",
    ]
    assert [row["id"] for row in rows] == [f"fi-{number}" for number in range(10)]
    expected = np.exp(_Rater()([(rows[4]["instruction"], _RESPONSE + "4", "fi")]))[0]
    expected /= expected.sum()
    found = [rows[4]["p_bad"], rows[4]["p_fair"], rows[4]["p_good"]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert rows[4]["score"] == pytest.approx(expected[1] / 2 + expected[2], rel=1e-5)
    entropy = -(expected * np.log(expected)).sum()
    assert rows[4]["entropy"] == pytest.approx(entropy, rel=1e-5)
    assert rows[4]["pmi"] is None
    assert len(shards.shard_paths(stage.path / "fi")) == 3


def test_kept_are_the_best_that_pass(tmp_path):
    instructions = [*_topics(20), "Summarize the text.", "Why?", ""]
    stage, counts = _run(tmp_path, instructions)
    rows = shards.read_rows(stage.path / "fi")
    kept = [row for row in rows if row["kept"]]
    passing = [row for row in rows[:20] if row["score"] >= 0.5]
    best = sorted(passing, key=lambda row: -row["score"])[:12]
    assert {row["id"] for row in kept} == {row["id"] for row in best}
    assert rows[20]["reasons"][0] == "refers_to_missing_text"
    assert rows[21]["reasons"][0] == "too_short"
    assert rows[22]["reasons"][0] == "empty"
    assert all(row["kept"] == (not row["reasons"]) for row in rows)
    assert counts["fi"].rows_in == 23
    assert counts["fi"].rows_out == len(kept)
    assert sum(counts["fi"].dropped.values()) == 23 - len(kept)


def test_the_quota_counts_all_candidates_and_is_rounded_up():
    ids = [str(number) for number in range(10)]
    score_n = np.linspace(1, 0.55, 10)
    broken = [["empty"]] * 4 + [[]] * 6
    reasons = rate.why_not_kept(ids, score_n, broken, 0.5, 0.25)
    assert reasons == [["empty"]] * 4 + [[]] * 3 + [[rate.BELOW_QUOTA]] * 3
    thirty = rate.why_not_kept([*map(str, range(30))], np.ones(30), [[]] * 30, 0.5, 0.1)
    assert sum(not names for names in thirty) == 3


def test_a_language_may_have_its_own_quota_and_lowest_score(tmp_path):
    for lang in ("fi", "sw"):
        _candidates(tmp_path / "candidates", _topics(20), lang)
    config = dataclasses.replace(
        _CONFIG, keep_share_of=(("sw", 0.1),), min_score_of=(("sw", 0.0),)
    )
    stage = _stage(tmp_path / "ratings")
    stage.begin()
    candidates = tmp_path / "candidates"
    rate.run(stage, config, ["fi", "sw"], candidates, Signals(_Rater(), None), None)
    rows = {lang: shards.read_rows(stage.path / lang) for lang in ("fi", "sw")}
    assert sum(row["kept"] for row in rows["sw"]) == 2
    assert 2 < sum(row["kept"] for row in rows["fi"]) <= 10
    reasons = {
        lang: {reason for row in part for reason in row["reasons"]}
        for lang, part in rows.items()
    }
    assert rate.BELOW_MIN_SCORE in reasons["fi"]
    assert rate.BELOW_MIN_SCORE not in reasons["sw"]
    assert config.lowest_min_score == 0.0 and _CONFIG.lowest_min_score == 0.5


def test_thresholds_of_languages_are_recorded_only_if_set():
    plain = config_lib.as_record(_CONFIG)
    assert not {"keep_share_of", "min_score_of"} & plain.keys()
    own = dataclasses.replace(_CONFIG, keep_share_of=[["sw", 0.1]])
    assert config_lib.as_record(own) == plain | {"keep_share_of": [["sw", 0.1]]}


@pytest.mark.parametrize(
    "pairs", [("sw", 0.1), (("sw", 2.0),), (("sw", 0.1), ("sw", 0.2)), ((1, 0.1),)]
)
def test_bad_thresholds_of_languages_are_refused(pairs):
    with pytest.raises(UserError, match="language code, each once"):
        RateConfig(keep_share_of=pairs)
    own = RateConfig(min_score_of=(("xx", 0.1),))
    with pytest.raises(UserError, match="min_score_of names the language 'xx'"):
        RunConfig(name="a", languages=("fi", "sw"), rate=own)


def test_a_low_score_is_named_beside_a_broken_rule():
    reasons = rate.why_not_kept(["a"], np.array([0.1]), [["too_short"]], 0.5, 1.0)
    assert reasons == [["too_short", rate.BELOW_MIN_SCORE]]


def test_ties_are_broken_by_the_id_and_not_by_the_order():
    ids = [f"document-{number}" for number in range(50)]
    forward = rate.why_not_kept(ids, np.full(50, 0.7), [[]] * 50, 0.5, 0.3)
    backward = rate.why_not_kept(ids[::-1], np.full(50, 0.7), [[]] * 50, 0.5, 0.3)
    kept = {name for name, why in zip(ids, forward, strict=True) if not why}
    again = {name for name, why in zip(ids[::-1], backward, strict=True) if not why}
    assert kept == again
    assert len(kept) == 15
    assert kept != set(ids[:15])


@pytest.mark.parametrize("stop", range(4))
def test_a_stopped_run_goes_on_to_the_same_bytes(tmp_path, stop: int):
    instructions = [*_topics(13), "Summarize the text."]
    held_out = [
        {"instruction": f"Say {n}.", "output": "Hei", "lang": "fi", "pair": "a"}
        | {"label": label, "corruption": corruption}
        for n, (label, corruption) in enumerate(
            [("good", "none"), ("bad", "instruction_echo"), ("fair", "cut_response")]
        )
    ]
    whole, counts = _run(tmp_path / "whole", instructions, held_out=held_out, pmi=_pmi)
    whole.finish(counts)
    part = tmp_path / "part"
    with pytest.raises(KeyboardInterrupt):
        _run(
            *(part, instructions, _CONFIG),
            rater=_Rater(fails_after=stop),
            held_out=held_out,
            pmi=_pmi,
        )
    stage = _stage(part / "ratings")
    assert stage.begin()
    rater = _Rater()
    signals = Signals(rater, _pmi)
    counts = rate.run(stage, _CONFIG, ["fi"], part / "candidates", signals, held_out)
    assert rater.rows <= len(instructions) + 3 - 4 * max(0, stop - 1)
    stage.finish(counts)
    names = [path.relative_to(whole.path) for path in shards.each_file(whole.path)]
    assert names == [
        path.relative_to(stage.path) for path in shards.each_file(stage.path)
    ]
    for name in names:
        assert (whole.path / name).read_bytes() == (stage.path / name).read_bytes()


def test_finished_languages_are_not_rated_again(tmp_path):
    stage, counts = _run(tmp_path, _topics(6))
    rater = _Rater()
    signals = Signals(rater)
    again = rate.run(stage, _CONFIG, ["fi"], tmp_path / "candidates", signals)
    assert (rater.calls, again) == (0, counts)
    shutil.rmtree(stage.path / "fi")
    again = rate.run(stage, _CONFIG, ["fi"], tmp_path / "candidates", signals)
    assert (rater.calls, again) == (0, counts)


def test_no_candidates_give_an_empty_shard(tmp_path):
    stage, counts = _run(tmp_path, [])
    table = shards.read_table(stage.path / "fi")
    assert table.num_rows == 0
    assert table.schema.equals(rate.SCHEMA)
    assert counts["fi"].rows_in == counts["fi"].rows_out == 0


def test_all_scores_equal_and_none_kept_are_ordinary(tmp_path):
    def flat(pairs):
        return np.zeros((len(pairs), 3), np.float32)

    strict = RateConfig(min_score=0.9)
    _, counts = _run(tmp_path, _topics(6), strict, flat)
    assert counts["fi"].rows_out == 0
    assert counts["fi"].dropped == {rate.BELOW_MIN_SCORE: 6}
    assert "mean_score_kept" not in counts["fi"].notes


def test_a_rater_that_gives_no_numbers_is_refused(tmp_path):
    def broken(pairs):
        return np.full((len(pairs), 3), np.nan, np.float32)

    with pytest.raises(UserError, match="log-probabilities of bad, fair, good"):
        _run(tmp_path, _topics(6), rater=broken)


def test_missing_candidates_are_a_users_error(tmp_path):
    stage = _stage(tmp_path / "ratings")
    stage.begin()
    with pytest.raises(UserError, match="candidates"):
        rate.run(stage, _CONFIG, ["fi"], tmp_path / "candidates", Signals(_Rater()))


def test_the_raters_quality_is_written_noted_and_shown(tmp_path):
    def oracle(pairs):
        levels = {"bad": [1, 0.1, 0.1], "fair": [0.1, 1, 0.1], "good": [0.1, 0.1, 1]}
        return np.log(
            [levels.get(output.split()[0], [1, 1, 1]) for _, output, _ in pairs]
        )

    held_out = [
        {"lang": lang, "instruction": "Say it.", "output": f"{label} {number}"}
        | {"pair": str(number)}
        | {"label": label, "corruption": {"good": "none"}.get(label, label + "_way")}
        for lang in ("fi", "sw")
        for label in ("bad", "fair", "good")
        for number in range(8)
    ]
    stage, counts = _run(tmp_path, _topics(6), rater=oracle, held_out=held_out)
    written = json.loads((stage.path / rate.QUALITY).read_text())
    assert written["all"]["n"] == 48
    assert written["all"]["accuracy"] == written["all"]["auc_good"] == 1
    assert written["corruptions"]["bad_way"]["preferred"] == 1
    assert written["confusion"] == [[16, 0, 0], [0, 16, 0], [0, 0, 16]]
    assert set(written["corruptions"]) == {"bad_way", "fair_way"}
    assert counts["fi"].notes["rater_held_out"] == 24
    assert counts["fi"].notes["rater_chance"] == pytest.approx(1 / 3, abs=1e-4)
    table = rate.quality_table(stage.path, 2)
    assert "round 2 on 48" in str(table.title)
    assert table.row_count == 1 + 2 + 2


def test_a_pmi_that_tells_what_the_rater_does_not_is_counted(tmp_path):
    """The rater is flat; all that is known of a candidate is its PMI."""

    def flat(pairs):
        return np.zeros((len(pairs), 3), np.float32)

    held_out = [
        {"lang": "fi", "instruction": f"Say {number}.", "output": f"{label} {number}"}
        | {"pair": str(number), "label": label}
        | {"corruption": {"good": "none"}.get(label, label + "_way")}
        for label in ("bad", "fair", "good")
        for number in range(30)
    ]
    made = {"rater": flat, "held_out": held_out}
    stage, _ = _run(tmp_path / "with", _topics(12), **made, pmi=_pmi)
    rows = shards.read_rows(stage.path / "fi")
    order = np.argsort([row["pmi"] for row in rows])
    scores = [rows[row]["score"] for row in order]
    assert scores == sorted(scores)
    assert scores[0] < scores[-1]
    written = json.loads((stage.path / rate.QUALITY).read_text())
    assert written["all"]["auc_good"] == 1
    assert written["signals"]["rater"]["bad_way"]["auc_good"] == 0.5
    assert written["signals"]["pmi"]["bad_way"]["preferred"] == 1
    stage, _ = _run(tmp_path / "without", _topics(12), **made)
    assert {row["score"] for row in shards.read_rows(stage.path / "fi")} == {0.5}


def test_without_held_out_pairs_the_raters_probabilities_stand(tmp_path):
    stage, _ = _run(tmp_path, _topics(5), pmi=_pmi)
    [row, *_] = shards.read_rows(stage.path / "fi")
    odds = np.exp(_Rater()([(row["instruction"], _RESPONSE + "0", "fi")]))[0]
    assert row["p_good"] == pytest.approx(odds[2] / odds.sum(), rel=1e-5)
    assert row["pmi"] is not None


def test_a_pmi_that_is_no_number_is_refused(tmp_path):
    def broken(pairs):
        return np.full(len(pairs), np.nan, np.float32)

    with pytest.raises(UserError, match=r"The model gives .* mutual information"):
        _run(tmp_path, _topics(6), pmi=broken)


def test_progress_has_the_tokens_that_were_read(tmp_path):
    _candidates(tmp_path / "candidates", _topics(6))
    reading = Reading()

    def rater(pairs):
        reading.tokens += 100 * len(pairs)
        return _Rater()(pairs)

    stage = _stage(tmp_path / "ratings")
    candidates = tmp_path / "candidates"
    rate._score(stage, _CONFIG, candidates, "fi", Signals(rater, None, reading))
    told = json.loads((stage.path / "scores" / "fi" / "progress.json").read_text())
    assert (told["rows"], told["tokens"]) == (6, 600)
