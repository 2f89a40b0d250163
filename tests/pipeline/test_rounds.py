"""What is kept from round to round: how far it moved, and what if it has not."""

import json

import numpy as np
import pytest
from scipy import stats

from xinst_jax import shards
from xinst_jax.config import RunConfig
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.pipeline import contamination, generate, rate, rounds
from xinst_jax.pipeline.make import answers, models
from xinst_jax.pipeline.rejects import REJECTED, Dropped
from xinst_jax.pipeline.workspace import Workspace


def _workspace(path, **config) -> Workspace:
    return Workspace(
        RunConfig(name="test", languages=("fi", "sw"), rounds=4, **config), path
    )


def _rows(instructions, scores, kept):
    rows = zip(instructions, scores, kept, strict=True)
    return [
        dict.fromkeys(rate.SCHEMA.names)
        | {"id": str(number), "instruction": text, "score": score, "kept": one}
        for number, (text, score, one) in enumerate(rows)
    ]


def _ratings(workspace: Workspace, number: int, rows) -> dict[str, Counts]:
    """A finished round of ratings, as the stage leaves it."""
    name = f"ratings/round-{number}"
    stage = StageDirectory(workspace.path(name), name, {}, {})
    stage.begin()
    counts = {code: Counts(len(rows), 3) for code in ("fi", "sw")}
    for code in counts:
        shards.write_shards(stage.path / code, rows, rate.SCHEMA, 10)
    if number > 1:
        before = workspace.path(f"ratings/round-{number - 1}")
        rounds.write_moved(before, stage.path, ("fi", "sw"), counts)
    stage.finish(counts)
    return counts


_ABC = ["a", "b", "c", "d", "e"]
_FIRST = _rows(_ABC, [0.9, 0.8, 0.7, 0.2, 0.1], [True, True, True, False, False])
# One kept instruction is another now, and another document's is kept beside.
_SECOND = _rows(
    ["a", "b", "C", "d", "e"], [0.9, 0.8, 0.7, 0.6, 0.1], [True] * 4 + [False]
)


def test_what_changed_is_the_share_kept_in_one_round_alone(tmp_path):
    workspace = _workspace(tmp_path)
    _ratings(workspace, 1, _FIRST)
    counts = _ratings(workspace, 2, _SECOND)
    path = workspace.path("ratings/round-2") / rounds.MOVED
    found = json.loads(path.read_text())
    # a and b are in both; c, C and d in one.
    assert found["fi"] == found["sw"]
    assert found["fi"]["changed"] == pytest.approx(3 / 5)
    assert found["all"] == {"rows": 10, "changed": pytest.approx(3 / 5)}
    shift = stats.ks_2samp(
        *([row["score"] for row in rows] for rows in (_FIRST, _SECOND)), method="asymp"
    ).statistic
    assert found["fi"]["score_shift"] == pytest.approx(shift)
    assert counts["fi"].notes["kept_changed"] == 0.6


def test_nothing_kept_in_either_round_has_not_changed(tmp_path):
    workspace = _workspace(tmp_path)
    none = _rows(_ABC, [0.1] * 5, [False] * 5)
    for number in (1, 2):
        _ratings(workspace, number, none)
    assert rounds.settled(workspace, 3)


def test_rounds_go_on_until_what_is_kept_has_settled(tmp_path):
    workspace = _workspace(tmp_path)
    _ratings(workspace, 1, _FIRST)
    _ratings(workspace, 2, _SECOND)
    assert [rounds.settled(workspace, number) for number in (1, 2, 3)] == [False] * 3
    _ratings(workspace, 3, _SECOND)
    assert rounds.settled(workspace, 4)
    assert rounds.last_trained(workspace) == 3
    assert not rounds.settled(_workspace(tmp_path, settled_change=0.0), 4)


def test_rounds_after_a_settled_one_train_nothing_and_carry_its_rows_on(tmp_path):
    workspace = _workspace(tmp_path)
    for number, rows in enumerate((_FIRST, _SECOND, _SECOND), 1):
        _ratings(workspace, number, rows)
    for train, name in (
        *((models.generator, "generator"), (models.rater, "rater")),
        (models.follower, "follower"),
    ):
        stage = StageDirectory(workspace.path(f"{name}/round-4"), name, {}, {})
        stage.begin()
        made = train(workspace, stage, 4)
        assert made.counts["all"].notes == {"settled_in_round": 3}
        assert shards.each_file(stage.path) == [stage.path / "started.json"]
    stage = StageDirectory(workspace.path("ratings/round-4"), "ratings/round-4", {}, {})
    stage.begin()
    made = answers.ratings(workspace, stage, 4)
    stage.finish(made.counts)
    before = workspace.path("ratings/round-3")
    for code in ("fi", "sw"):
        assert shards.read_rows(stage.path / code) == shards.read_rows(before / code)
        assert made.counts[code].rows_out == 3
        assert made.counts[code].notes["settled_in_round"] == 3
    # And so does every round after it, which names the same.
    assert rounds.settled(workspace, 5)
    assert rounds.left_out(workspace, 5).counts["all"].notes == {"settled_in_round": 3}


def test_what_a_settled_round_dropped_is_carried_on_with_it(tmp_path):
    workspace = _workspace(tmp_path)
    for number in (1, 2, 3):
        _ratings(workspace, number, _SECOND)
    name = "candidates/round-{}".format
    before = StageDirectory(workspace.path(name(3)), name(3), {}, {})
    before.begin()
    hit = Dropped("d", "contaminated", "lights: who wrote it", "no n-gram", "x")
    for code in ("fi", "sw"):
        shards.write_shards(before.path / code, [], generate.SCHEMA, 10)
        rejected = before.path / "rejected" / code
        shards.write_shards(rejected, [hit.row(code)], REJECTED, 10)
    before.finish({code: Counts(1, 0, {"contaminated": 1}) for code in ("fi", "sw")})
    stage = StageDirectory(workspace.path(name(4)), name(4), {}, {})
    stage.begin()
    stage.finish(answers.candidates(workspace, stage, 4).counts)
    (found,) = contamination.hits([stage.path], ("fi", "sw"))
    assert (found.name, found.stage) == ("lights", name(4))
    assert found.rows == {"fi": 1, "sw": 1}


@pytest.mark.parametrize("seed", range(3))
def test_a_shift_is_that_of_the_two_distributions(seed: int):
    rng = np.random.default_rng(seed)
    before, now = rng.normal(size=200), rng.normal(0.5, size=300)
    found = rounds._moved((set(), before), (set(), now))["score_shift"]
    points = np.r_[before, now]
    shares = [(one[:, None] <= points).mean(axis=0) for one in (before, now)]
    assert found == pytest.approx(np.abs(shares[0] - shares[1]).max())


def test_shards_of_a_round_that_has_settled_since_are_replaced(tmp_path):
    workspace = _workspace(tmp_path)
    for number, rows in enumerate((_FIRST, _SECOND, _SECOND), 1):
        _ratings(workspace, number, rows)
    path = workspace.path("ratings/round-4")
    shards.write_shards(path / "scores" / "fi", _FIRST, rate.SCHEMA, 1)
    shards.write_shards(path / "fi", _FIRST, rate.SCHEMA, 1)
    stage = StageDirectory(
        path, "ratings/round-4", {}, {}, keyed=("scores/fi", "scores/sw")
    )
    stage.begin()
    stage.finish(answers.ratings(workspace, stage, 4).counts)
    before = workspace.path("ratings/round-3")
    assert shards.read_rows(path / "fi") == shards.read_rows(before / "fi")
    assert not (path / "scores").exists()
