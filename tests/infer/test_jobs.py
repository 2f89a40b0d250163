"""A job goes on where it stopped, and what it leaves is the same."""

import json
import os
import pathlib
import subprocess
import sys
import time

import pyarrow as pa
import pytest

from xinst_jax import shards
from xinst_jax.errors import UserError
from xinst_jax.infer.jobs import Part, Share, run_shards
from xinst_jax.manifest import JOB

# Started as each of two processes: a job of many shards, which it takes every second of
# and whose numbers it notes before it computes them.
_JOB = """
import os, pathlib, sys, time
import pyarrow as pa
from xinst_jax.infer.jobs import Part, Share, run_shards

directory, index = pathlib.Path(sys.argv[1]), int(sys.argv[2])
count, seconds = int(sys.argv[3]), float(sys.argv[4])
log = os.open(directory.parent / f"log-{index}", os.O_CREAT | os.O_APPEND | os.O_WRONLY)

def compute(number):
    os.write(log, f"{number}\\n".encode())
    time.sleep(seconds)
    rows = pa.table({"row": [number * 10 + k for k in range(10)]})
    return Part(rows, pa.table({"bad": [number]}), tokens=50)

run_shards(
    directory / "job", count, compute, "job", key={"model": "m"},
    rejected=directory / "rejected", share=Share(index, 2),
)
"""
_SHARDS = 40


def _table(index):
    return pa.table({"id": [f"{index}-{row}" for row in range(index + 1)]})


def test_a_stopped_job_makes_only_what_is_missing_with_the_same_bytes(tmp_path):
    run_shards(tmp_path / "whole", 4, _table, "whole")
    asked = []

    def fail_at_two(index):
        asked.append(index)
        if index == 2:
            raise KeyboardInterrupt
        return _table(index)

    with pytest.raises(KeyboardInterrupt):
        run_shards(tmp_path / "stopped", 4, fail_at_two, "stopped")
    asked.clear()

    def count(index):
        asked.append(index)
        return _table(index)

    assert run_shards(tmp_path / "stopped", 4, count, "stopped") == 2
    assert asked == [2, 3]
    for path in shards.shard_paths(tmp_path / "whole"):
        assert (tmp_path / "stopped" / path.name).read_bytes() == path.read_bytes()
    assert run_shards(tmp_path / "stopped", 4, count, "stopped") == 0
    assert asked == [2, 3]


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_tells_shards_and_rows_per_second(
    terminal, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    monkeypatch.setenv("COLUMNS", "120")
    run_shards(tmp_path, 3, _table, "rate fi")
    told = capsys.readouterr().out
    assert "rate fi" in told
    assert "rows/s, 0 s left" in told
    assert ("3/3" if terminal else "3 of 3 shards") in told


def test_a_job_on_no_terminal_is_silent_between_its_lines(tmp_path, capsys):
    run_shards(tmp_path, 5, _table, "generate sw")
    assert len(capsys.readouterr().out.splitlines()) == 1


def _start(directory: pathlib.Path, index: int, seconds: float) -> subprocess.Popen:
    """One of the two processes."""
    command = [sys.executable, "-c", _JOB, str(directory), str(index), str(_SHARDS)]
    return subprocess.Popen(
        [*command, str(seconds)],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.DEVNULL,
    )


def _bytes(directory: pathlib.Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in shards.each_file(directory)
    }


def test_two_processes_share_a_job_and_a_kill_costs_less_than_a_twentieth(tmp_path):
    directory = tmp_path / "stopped"
    directory.mkdir()
    killed, other = (_start(directory, index, seconds=0.03) for index in (0, 1))
    own = Share(0, 2).of(range(_SHARDS))
    while sum(
        (directory / "job" / shards.shard_name(i, _SHARDS)).exists() for i in own
    ) < (len(own) // 2):
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    assert killed.wait() < 0 and other.wait(timeout=200) == 0
    assert not shards.complete(directory / "job")
    assert _start(directory, 0, seconds=0).wait(timeout=200) == 0

    computed = [
        [int(line) for line in (tmp_path / f"log-{index}").read_text().split()]
        for index in (0, 1)
    ]
    assert sum(map(len, computed)) <= 1.05 * _SHARDS
    assert set(computed[0]) == set(own)
    assert computed[1] == Share(1, 2).of(range(_SHARDS))

    def compute(number):
        rows = pa.table({"row": [number * 10 + k for k in range(10)]})
        return Part(rows, pa.table({"bad": [number]}), tokens=50)

    whole = tmp_path / "whole"
    run_shards(
        whole / "job",
        _SHARDS,
        compute,
        "job",
        key={"model": "m"},
        rejected=whole / "rejected",
    )
    assert _bytes(directory) == _bytes(whole)


def test_another_key_makes_the_shards_again_and_the_same_goes_on(tmp_path):
    asked = []

    def compute(index):
        asked.append(index)
        return _table(index)

    def run(count=3, **key):
        asked.clear()
        run_shards(tmp_path, count, compute, "job", key=key)
        return list(asked)

    assert run(model="a", template="t") == [0, 1, 2]
    assert run(model="a", template="t") == []
    (tmp_path / shards.shard_name(1, 3)).unlink()
    assert run(template="t", model="a") == [1]
    assert run(model="b", template="t") == [0, 1, 2]
    note = json.loads((tmp_path / JOB).read_bytes())
    assert note["key"] == {"model": "b", "template": "t"}
    assert run(count=2, model="b", template="t") == [0, 1]
    assert [path.name for path in shards.shard_paths(tmp_path)] == [
        shards.shard_name(index, 2) for index in range(2)
    ]


def test_a_half_made_change_of_key_goes_on_too(tmp_path):
    run_shards(tmp_path, 4, _table, "job", key={"model": "a"})

    def stop_at_two(index):
        if index == 2:
            raise KeyboardInterrupt
        return _table(index)

    with pytest.raises(KeyboardInterrupt):
        run_shards(tmp_path, 4, stop_at_two, "job", key={"model": "b"})
    assert run_shards(tmp_path, 4, _table, "job", key={"model": "b"}) == 2


def test_progress_json_says_how_far_a_job_is(tmp_path):
    path = tmp_path / shards.PROGRESS
    seen = []

    def compute(index):
        seen.append(json.loads(path.read_bytes()))
        return Part(_table(index), tokens=100)

    run_shards(tmp_path, 3, compute, "job")
    assert [record["state"] for record in seen] == ["running"] * 3
    assert seen[0]["seconds_left"] is None
    done = json.loads(path.read_bytes())
    assert done["state"] == "done" and done["seconds_left"] == 0
    assert (done["shards"], done["shards_done"]) == (3, 3)
    assert (done["rows"], done["tokens"]) == (1 + 2 + 3, 300)
    seconds = done["tokens"] / done["tokens_per_second"]
    assert seconds == pytest.approx(done["seconds"], abs=0.001)  # as it is rounded
    assert path not in shards.each_file(tmp_path)

    def fail(index):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_shards(tmp_path / "stopped", 3, fail, "job")
    stopped = json.loads((tmp_path / "stopped" / shards.PROGRESS).read_bytes())
    assert (stopped["state"], stopped["shards_done"]) == ("stopped", 0)


def test_progress_of_another_number_of_processes_is_removed(tmp_path):
    for index in range(4):
        share = Share(index, 4)
        run_shards(tmp_path, 8, _table, "job", key={"a": "b"}, share=share)

    def told():
        return sorted(path.name for path in tmp_path.glob(f"*{shards.PROGRESS}"))

    assert told() == [f"0000{index}-of-00004.progress.json" for index in range(4)]
    for index in range(2):
        share = Share(index, 2)
        run_shards(tmp_path, 8, _table, "job", key={"a": "b"}, share=share)
    assert told() == [f"0000{index}-of-00002.progress.json" for index in range(2)]
    run_shards(tmp_path, 8, _table, "job", key={"a": "b"})
    assert told() == [shards.PROGRESS]


def test_tokens_per_second_are_told_where_they_are_counted(tmp_path, capsys):
    run_shards(tmp_path, 3, lambda index: Part(_table(index), tokens=7), "job")
    assert " tokens/s, 0 s left" in capsys.readouterr().out


def test_shares_are_disjoint_and_complete():
    shares = [Share(index, 3).of(range(10)) for index in range(3)]
    assert sorted(index for one in shares for index in one) == list(range(10))
    with pytest.raises(UserError, match="from 0 to 2"):
        Share(3, 3)


def test_of_processes_with_one_model_one_writes_and_the_others_compute(tmp_path):
    made = []

    def compute(index):
        made.append(index)
        return _table(index)

    share = Share(0, 2, writes=False)
    assert run_shards(tmp_path, 4, compute, "job", share=share) == 2
    assert made == [0, 2] and list(tmp_path.iterdir()) == []
    assert run_shards(tmp_path, 4, compute, "job", share=Share(0, 2)) == 2
    assert len(list(tmp_path.glob("part-*"))) == 2
