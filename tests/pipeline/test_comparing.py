"""`compare RUN_A RUN_B` from the command line, with an endpoint that misbehaves."""

import json
import os
import unittest.mock

import pytest

from tools.stub_endpoint import PLAN, Stub
from xinst_jax import __main__ as command_line
from xinst_jax import shards
from xinst_jax.eval import answers, evaluate, fidelity
from xinst_jax.manifest import Counts, StageDirectory

KEY = "sk-planted-fedcba9876543210"
_LANGUAGES = ("fi", "ur")
_FIDELITY = fidelity.Fidelity(True, 1.0, False, False, 0.0, 0.0)


def evaluated(path, words, languages=_LANGUAGES):
    """A run as `evaluate` leaves it, whose answers have so many words."""
    stage = StageDirectory(path / "evaluation", "evaluation", {"words": words}, {})
    stage.begin()
    for code in languages:
        rows = [
            {
                "question_set": "rivers",
                "id": f"q{number}",
                "lang": code,
                "instruction": f"Name {number} rivers.",
                "model": "tuned",
                "sample": 1,
                "answer": " ".join(f"sana{i}" for i in range(words + number)),
                "finish": "stop",
                "settings": "{}",
                **vars(_FIDELITY),
            }
            for number in range(6)
        ]
        shards.write_shards(
            path / "evaluation" / "answers" / code, rows, answers.SCHEMA, 100
        )
    shards.write_bytes(path / "evaluation" / evaluate.FIGURES, b"{}")
    stage.finish({code: Counts(6, 6) for code in languages})
    return path


def compare(runs, workdir, url, *overrides):
    command = ["compare", *map(str, runs), "--workdir", str(workdir)]
    if "--dry_run" in overrides:
        command.append("--dry_run")
    given = [
        f"LANGUAGES={_LANGUAGES}",
        f"URL='{url}'",
        "KEY_VARIABLE='PLANTED_KEY'",
        "EndpointConfig.attempts=40",
        "JudgeConfig.bootstrap=100",
        *(override for override in overrides if override != "--dry_run"),
    ]
    command += ["--gin_file", "gin/runs/evaluate.gin"]
    with unittest.mock.patch.dict(os.environ, {"PLANTED_KEY": KEY}):
        return command_line.main([*command, *(f"--gin.{one}" for one in given)])


@pytest.fixture
def runs(tmp_path):
    return evaluated(tmp_path / "long", 40), evaluated(tmp_path / "short", 8)


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr("xinst_jax.eval.exchange.backoff", lambda *args: 0.0)


def test_two_runs_are_compared_and_the_key_is_nowhere(runs, tmp_path, capsys):
    workdir = tmp_path / "compared"
    with Stub(PLAN, silence=0.02) as stub:
        assert compare(runs, workdir, stub.url, "--dry_run") == 0
        assert "24 requests, 0 of them answered before" in capsys.readouterr().out
        assert stub.seen == []
        assert compare(runs, workdir, stub.url) == 0
        asked = len(stub.seen)
        said = capsys.readouterr()
        # Another rule reads what is kept.
        assert compare(runs, workdir, stub.url, "RULE='lenient'") == 0
        assert len(stub.seen) == asked
        assert set(stub.keys) == {f"Bearer {KEY}"}
    assert "long judged by stub at" in said.out and "eval.html" in said.out
    assert "rivers: answers, % and 95% interval" in said.out
    record = json.loads((workdir / "comparison" / "win_rates.json").read_bytes())
    rate = record["sets"]["rivers"]["all"]["short"]
    assert rate["pairs"] == 12 and rate["wins"] + rate["unjudged"] == 12
    written = [p.read_bytes() for p in workdir.rglob("*") if p.is_file()]
    assert len(written) > 24
    for content in (*written, said.out.encode(), said.err.encode()):
        assert KEY.encode() not in content


def test_a_run_against_itself_is_a_tie_or_unjudged(runs, tmp_path):
    with Stub() as stub:
        assert compare((runs[0], runs[0]), tmp_path / "same", stub.url) == 0
        assert len(stub.seen) == 6 * len(_LANGUAGES)
    found = json.loads(
        (tmp_path / "same" / "comparison" / "win_rates.json").read_bytes()
    )
    (rate,) = found["sets"]["rivers"]["all"].values()
    assert rate["ties"] == 12 and rate["rate"] == 0.5


def test_a_cost_limit_stops_the_comparison_and_a_higher_one_ends_it(
    runs, tmp_path, capsys
):
    workdir, limit = tmp_path / "compared", "EndpointConfig.cost_limit_usd"
    with Stub() as stub:
        assert compare(runs, workdir, stub.url, f"{limit}=0.01") == 2
        assert "cost_limit_usd = 0.01" in capsys.readouterr().err
        first = len(stub.seen)
        assert 0 < first < 24
        assert compare(runs, workdir, stub.url, f"{limit}=5.0") == 0
        assert len(stub.seen) == 24


def test_what_cannot_be_compared_is_told(runs, tmp_path, capsys):
    with Stub() as stub:
        assert compare((runs[0], tmp_path), tmp_path / "x", stub.url) == 2
        assert "holds no finished evaluation" in capsys.readouterr().err
        finnish = evaluated(tmp_path / "finnish", 3, ("fi",))
        assert compare((runs[0], finnish), tmp_path / "y", stub.url) == 2
        assert "was not evaluated in ur" in capsys.readouterr().err
        overrides = ("JUDGE='base'", "PROMPT='verdict'")
        assert compare(runs, tmp_path / "z", stub.url, *overrides) == 2
        assert "compare needs JudgeConfig.judge" in capsys.readouterr().err
