"""The study of refinement: sets of equal size, intervals as scipy has them."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import types

import numpy as np
import pyarrow as pa
import pytest
import scipy.stats

from tools.tuning import paired, sets, study
from xinst_jax import shards
from xinst_jax.config import RateConfig, RunConfig
from xinst_jax.errors import UserError
from xinst_jax.manifest import Counts, StageDirectory

_ROOT = pathlib.Path(__file__).parents[2]
_CANDIDATE = pa.schema(
    [(name, pa.string()) for name in ("id", "lang", "instruction", "output")]
)
_RATING = pa.schema(
    [("id", pa.string()), ("score", pa.float32()), ("kept", pa.bool_())]
)
_ROWS = 60


def _kept(number: int) -> bool:
    return number % 2 == 0


@pytest.fixture
def run(tmp_path):
    """A round of 60 candidates, of which every other one is kept; two are no pairs."""
    candidates = [
        {
            "id": f"fi-{number:02d}",
            "lang": "fi",
            "instruction": " " if number == 7 else f"Ask {number}.",
            "output": "" if number == 9 else f"Vastaus {number}.",
        }
        for number in range(_ROWS)
    ]
    ratings = [
        {"id": row["id"], "score": number / _ROWS, "kept": _kept(number)}
        for number, row in enumerate(candidates)
    ]
    path = tmp_path / "run"
    shards.write_shards(path / "candidates/round-1/fi", candidates, _CANDIDATE, 25)
    shards.write_shards(path / "ratings/round-1/fi", ratings, _RATING, 100)
    return path


def drawn(run, name: str, seed: int, size: int = 20):
    """The rows of a set, of a fresh directory that reads the run."""
    own = run.parent / f"{name}-{seed}-{size}"
    workspace = types.SimpleNamespace(
        run=types.SimpleNamespace(seed=seed),
        path=lambda stage: (own if stage == "dataset" else run) / stage,
        seed=lambda text: (
            int(hashlib.sha256(f"{seed}/{text}".encode()).hexdigest(), 16) % 2**31
        ),
    )
    sets.write_set(workspace, name, "round-1", {"fi": size})
    return shards.read_rows(own / "dataset" / "fi")


def test_sets_have_equal_sizes_and_come_from_where_they_say(run):
    for seed in range(3):
        random = drawn(run, sets.RANDOM, seed)
        refined = drawn(run, sets.REFINED, seed)
        assert len(random) == len(refined) == 20
        for rows in (random, refined):
            ids = [row["id"] for row in rows]
            assert ids == sorted(set(ids)) and not {"fi-07", "fi-09"} & set(ids)
            for row in rows:
                number = int(row["id"][3:])
                assert row["output"] == f"Vastaus {number}."
                assert row["score"] == pytest.approx(number / _ROWS)
                assert row["weight"] == 1.0
        assert all(_kept(int(row["id"][3:])) for row in refined)
        assert not all(_kept(int(row["id"][3:])) for row in random)
    assert drawn(run, sets.SEED_PAIRS, 0, 0) == []


def test_every_candidate_is_as_likely_as_another():
    pool = {n: {"id": n, "instruction": "a", "output": "b"} for n in range(30)}
    times = np.zeros(30)
    for seed in range(600):
        for row in sets.drawn(pool, 10, seed):
            times[row["id"]] += 1
    assert scipy.stats.chisquare(times).pvalue > 1e-4


def test_a_draw_depends_on_ids_and_not_on_their_order():
    pool = {n: {"id": n, "instruction": "a", "output": "b"} for n in "gacebdf"}
    other = dict(sorted(pool.items()))
    one, two = ([row["id"] for row in sets.drawn(rows, 4, 3)] for rows in (pool, other))
    assert one != two and sorted(one) == two


def test_more_than_there_are_cannot_be_drawn(run):
    with pytest.raises(UserError, match=r"31 pairs .*/fi \(refined\), .* only 30 have"):
        drawn(run, sets.REFINED, 0, 31)


def _losses(seeds, names, rng):
    one = {"fi": 6.0, "ur": 5.0, "all": 5.8}

    def shifted():
        return {
            column: {"loss_per_token": loss + rng.normal(0, 0.1)}
            for column, loss in one.items()
        }

    found = {name: {seed: shifted() for seed in seeds} for name in names}
    return found | {"base": shifted()}


@pytest.mark.parametrize("count", [2, 3, 7])
def test_means_and_paired_differences_have_the_intervals_of_scipy(count):
    seeds, names = range(4, 4 + count), ("random", "refined")
    losses = _losses(seeds, names, np.random.default_rng(count))
    differences = [("refined", "random"), ("refined", "absent")]
    found = paired.summary(losses, "base", names, seeds, differences)
    assert list(found["differences"]) == ["refined - random"]
    for column in ("fi", "ur", "all"):
        values = {
            name: [losses[name][seed][column]["loss_per_token"] for seed in seeds]
            for name in names
        }
        oracle = scipy.stats.ttest_1samp(values["random"], 0).confidence_interval(0.95)
        _check(found["sets"]["random"][column], oracle)
        test = scipy.stats.ttest_rel(values["refined"], values["random"])
        _check(
            found["differences"]["refined - random"][column], test.confidence_interval()
        )


def _check(entry, oracle):
    found = [entry["mean"] + side * entry["half_width"] for side in (-1, 1)]
    np.testing.assert_allclose(found, [oracle.low, oracle.high], rtol=1e-9)


@pytest.mark.parametrize("count", [1, 3])
def test_the_tables_have_a_cell_for_every_figure_and_say_what_they_show(count):
    seeds, names = range(count), ("random", "refined", "diversified")
    losses = _losses(seeds, names, np.random.default_rng(0))
    for seed in seeds:
        # Far below, whatever the seed.
        losses["diversified"][seed]["all"]["loss_per_token"] = 1.0 + seed / 100
    differences = [("refined", "random"), ("diversified", "random")]
    record = paired.summary(losses, "base", names, seeds, differences)
    record = json.loads(json.dumps(record | {"seeds": list(seeds)}))
    means, changes, said = paired.tables(record).split("\n\n")
    for text in (means, changes):
        assert len({line.count("|") for line in text.splitlines()}) == 1
    assert len(means.splitlines()) == 2 + 1 + len(names)
    assert len(changes.splitlines()) == 2 + 3 * len(differences)
    assert f"{losses['base']['fi']['loss_per_token']:.4f}" in means
    if count == 1:
        assert "±" not in means and said.startswith("One seed")
    else:
        assert "4.30 standard errors" in said
        assert "Of the 2 differences over all tokens 1 has an interval" in said


def test_the_run_is_only_read_and_no_score_is_too_low(tmp_path):
    run = RunConfig(name="x", languages=("fi",), rounds=2, rate=RateConfig())
    given = study.Study(run, tmp_path / "run", tmp_path / "run" / "study")
    with pytest.raises(UserError, match="which is only read"):
        given.check(None)
    given = study.Study(run, tmp_path / "run", tmp_path / "study")
    workspace = given.workspace("seed-5/random", 5)
    assert workspace.run.seed == 5 and workspace.run.rate.min_score == 0.0
    ratings = workspace.path("ratings/round-2")
    assert ratings.readlink() == tmp_path / "run" / "ratings" / "round-2"
    assert not (tmp_path / "run").exists()


def test_a_run_in_other_languages_is_told_from_the_one_described(tmp_path):
    run = RunConfig(name="x", languages=("fi", "th"), rounds=1)
    record = {"languages": [{"code": "fi"}]}
    stage = StageDirectory(tmp_path / "run" / "corpus", "corpus", record, {})
    given = study.Study(run, tmp_path / "run", tmp_path / "study")
    with pytest.raises(UserError, match="corpus is not finished"):
        given.check(None)
    stage.begin()
    stage.finish({"fi": Counts()})
    with pytest.raises(UserError, match="made for fi, not for fi, th"):
        given.check(None)


_REDUCED = [
    "LANGUAGES=('fi', 'th')",
    "STEPS=6",
    "base/TrainConfig.steps=20",
    "generator/TrainConfig.steps=80",
    "TrainConfig.global_batch=4",
    "TrainConfig.length=320",
    "ModelConfig.num_layers=2",
    "ModelConfig.embed_dim=64",
    "ModelConfig.mlp_dim=96",
    "DecodeConfig.prompt_buckets=(256,)",
    "DecodeConfig.batch_rows=8",
    "generate/DecodeConfig.max_new_tokens=12",
    "answer/DecodeConfig.max_new_tokens=8",
    "EvaluateConfig.max_questions=2",
    "RateConfig.min_score=0.0",
]


def _call(*command: str) -> str:
    overrides = [f"--gin.{override}" for override in _REDUCED]
    command = (sys.executable, *command, *overrides)
    command += ("--gin_file", "gin/runs/quickstart.gin")
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        command, cwd=_ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


def _files(directory: pathlib.Path) -> dict[str, tuple[int, str]]:
    return {
        str(path.relative_to(directory)): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
def test_a_run_is_studied_from_end_to_end_and_left_as_it_was(tmp_path):
    workdir, output = tmp_path / "run", tmp_path / "study"
    _call("-m", "xinst_jax", "pipeline", "--workdir", str(workdir))
    before = _files(workdir)
    tool = ["tools/tuning_study.py", "--workdir", str(workdir), "--output", str(output)]
    tool += ["--seeds", "2", "--only_seed_pairs"]
    said = _call(*tool)
    assert _files(workdir) == before
    record = json.loads((output / "tuning_study.json").read_bytes())
    assert list(record["sets"]) == ["random", "refined", "diversified", "seed_pairs"]
    assert len(record["differences"]) == 6
    # The run's own seed draws the run's own dataset.
    assert record["also_in_the_runs_dataset"]["0"] == 1.0
    evaluated = json.loads((workdir / "evaluation" / "evaluation.json").read_bytes())
    for code, figures in evaluated["languages"].items():
        for place, measured in figures["likelihood"].items():
            of = record["losses"]["base" if place == "base" else "diversified"]
            own = of if place == "base" else of["0"]
            assert own[code]["loss_per_token"] == pytest.approx(
                measured["loss_per_token"], abs=1e-5
            )
    for seed in ("0", "1"):
        counts = {
            name: {
                code: len(
                    shards.read_rows(output / f"seed-{seed}" / name / "dataset" / code)
                )
                for code in ("fi", "th")
            }
            for name in ("random", "refined", "diversified")
        }
        for each in counts.values():
            assert each == record["pairs"][seed]
    for name, by_seed in record["seen"].items():
        for seed, each in by_seed.items():
            most = sum(record["pairs"][seed].values())
            assert each["pairs_of_the_set"] <= min(most, each["of_the_set"])
            assert (each["of_the_set"] == 0) == (name == "seed_pairs")
            assert each["of_the_set"] < each["examples"]
    models = [path.stat().st_mtime_ns for path in output.rglob("model/manifest.json")]
    again = _call(*tool)
    assert models == [
        path.stat().st_mtime_ns for path in output.rglob("model/manifest.json")
    ]
    assert said.splitlines()[-20:] == again.splitlines()[-20:]
