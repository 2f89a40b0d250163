"""Mismatched pairs: planted as asked for, judged as the stage `rate` judges."""

import collections
import hashlib
import types

import numpy as np
import pyarrow as pa
import pytest

from tools import planted_pairs
from tools.noise import pairs
from xinst_jax import shards
from xinst_jax.config import RateConfig
from xinst_jax.errors import MISTAKEN, UserError
from xinst_jax.manifest import StageDirectory
from xinst_jax.pipeline import rate
from xinst_jax.pipeline.signals import Signals

_CONFIG = RateConfig(keep_share=0.2, min_score=0.5)
_ROWS = 40
_PAIR = pa.schema(
    [(name, pa.string()) for name in ("id", "lang", "instruction", "output", "split")]
)


def _signal(asked, place: int) -> np.ndarray:
    """A number of each pair's text alone, 0 to 1."""
    digests = [hashlib.sha256(repr(tuple(pair)).encode()).digest() for pair in asked]
    return np.float32([(digest[place] + 1) / 257 for digest in digests])


_SIGNALS = Signals(
    lambda asked: np.log(np.stack([_signal(asked, place) for place in range(3)], 1)),
    lambda asked: _signal(asked, 4),
)


def _row(number: int, split: str = "train") -> dict[str, str]:
    instruction = f"Describe the lake number {number} of Finland."
    if number % 7 == 3:
        instruction = "Summarize the text."
    output = f"Järvi numero {number} on suuri ja syvä."
    names = ("id", "lang", "instruction", "output", "split")
    return dict(
        zip(names, (f"fi-{number:02}", "fi", instruction, output, split), strict=True)
    )


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A round that the stage `rate` made; of the seed pairs each third is held out."""
    home = tmp_path_factory.mktemp("run")
    rows = [_row(number) for number in range(_ROWS)]
    shards.write_shards(home / "candidates/round-1/fi", rows, _PAIR, 100)
    seed = [_row(n, "train" if n % 3 else "held_out") for n in range(100, 130)]
    shards.write_shards(home / "seed/fi", seed, _PAIR, 100)
    levels = [
        {**row, "pair": row["id"], "label": label, "corruption": label}
        for row in seed
        for label in ("bad", "fair", "good")
    ]
    path = home / "ratings/round-1"
    stage = StageDirectory(path, "ratings/round-1", {"rate": 1}, {})
    stage.begin()
    candidates = home / "candidates/round-1"
    rate.run(stage, _CONFIG, ["fi"], candidates, _SIGNALS, levels)
    run = types.SimpleNamespace(languages=("fi",), rate=_CONFIG)
    return types.SimpleNamespace(run=run, path=lambda name: home / name)


def test_pairs_left_alone_get_the_scores_and_verdicts_of_the_stage(workspace):
    """All candidates, not only the kept ones, whose verdicts would all be one."""
    given = [
        pairs.Pair(pairs.KEPT, "fi", row["instruction"], row["output"])
        for row in map(_row, range(_ROWS))
    ]
    rated = shards.read_rows(workspace.path("ratings/round-1") / "fi")
    score_n = pairs.scores(workspace.path("ratings/round-1"), _SIGNALS, given)
    np.testing.assert_array_equal(score_n, np.float32([row["score"] for row in rated]))
    found = pairs.verdicts(given, score_n, pairs.bars(workspace, "round-1"), _CONFIG)
    expected = [(row["reasons"] or [pairs.KEEP])[0] for row in rated]
    assert found == expected
    assert {pairs.KEEP, rate.BELOW_MIN_SCORE, rate.BELOW_QUOTA} < set(expected)


def test_pools_are_held_out_seed_pairs_and_kept_candidates(workspace):
    found = pairs.pools(workspace, "round-1", None)
    held_out = [pair.output for pair in found if pair.pool == pairs.HELD_OUT]
    assert held_out == [_row(n)["output"] for n in range(100, 130) if n % 3 == 0]
    rated = shards.read_rows(workspace.path("ratings/round-1") / "fi")
    kept = [_row(n)["output"] for n in range(_ROWS) if rated[n]["kept"]]
    assert [pair.output for pair in found if pair.pool == pairs.KEPT] == kept != []
    few = pairs.pools(workspace, "round-1", 4)
    assert collections.Counter(p.pool for p in few) == {
        pairs.HELD_OUT: 4,
        pairs.KEPT: 4,
    }


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_the_share_asked_for_has_anothers_instruction_of_its_pool(share: float):
    given = [
        pairs.Pair(pool, lang, f"Ask {pool} {lang} {number % 30}.", f"{number}")
        for pool in (pairs.HELD_OUT, pairs.KEPT)
        for lang in ("fi", "th")
        for number in range(40)
    ]
    found = pairs.mismatch(given, share, seed=1)
    assert found == pairs.mismatch(given, share, seed=1)
    assert found != pairs.mismatch(given, share, seed=2)
    for before, after in zip(given, found, strict=True):
        assert (before.output, before.pool) == (after.output, after.pool)
        assert after.mismatched == (before.instruction != after.instruction)
        assert after.instruction.startswith(f"Ask {before.pool} {before.lang} ")
    counts = collections.Counter((p.pool, p.lang) for p in found if p.mismatched)
    assert set(counts.values()) == {round(share * 40)} and len(counts) == 4


def test_a_pair_without_another_instruction_is_left_alone():
    same = [pairs.Pair(pairs.KEPT, "fi", "Ask.", str(number)) for number in range(4)]
    assert pairs.mismatch(same, 0.5, seed=0) == same


def test_tables_count_every_pair_once_a_language_and_once_among_all():
    given = [
        pairs.Pair(pairs.KEPT, lang, "Ask.", "Yes.", mismatched)
        for lang in ("fi", "th")
        for mismatched in (True, False, False)
    ]
    verdicts = ["below_quota", pairs.KEEP, "repetition", pairs.KEEP, pairs.KEEP, "kept"]
    lines = pairs.tables(given, verdicts).splitlines()
    cells = {row[1]: row[2:] for row in (line.split(" | ") for line in lines[2:])}
    assert len(lines) == 8 and cells
    assert lines[-2] == "| all, mismatched | 2 | 1 | 50% (9-91) | 1 | below quota 1 |"
    assert lines[-1] == "| all, left alone | 4 | 1 | 25% (5-70) | 3 | repetition 1 |"


def test_a_run_rated_by_another_model_is_told_from_the_one_described(tmp_path):
    """Also one from before there were followers, whose record says only whether."""
    workspace = types.SimpleNamespace(
        run=types.SimpleNamespace(rate=RateConfig()), path=lambda name: tmp_path / name
    )
    for old, found in (({"pmi": True}, "base"), ({"pmi_model": "none"}, "none")):
        stage = StageDirectory(tmp_path / "ratings", "ratings", {"rate": old}, {})
        stage.begin()
        stage.finish({})
        with pytest.raises(UserError, match=f"RateConfig.pmi_model=\"'{found}'\""):
            planted_pairs._check_pmi_model(workspace, "ratings")
        workspace.run.rate = RateConfig(pmi_model=found)
        planted_pairs._check_pmi_model(workspace, "ratings")
        workspace.run.rate = RateConfig()


def test_what_is_not_finished_is_named_and_what_to_do(tmp_path, capsys):
    arguments = ["--workdir", str(tmp_path), "--gin_file", "gin/runs/small_cpu.gin"]
    assert planted_pairs.main(arguments) == MISTAKEN
    told = capsys.readouterr().err
    assert f"{tmp_path / 'seed'} is not finished" in told
    with pytest.raises(UserError, match=r"calibration.json is missing"):
        pairs.scores(tmp_path, _SIGNALS, [])
