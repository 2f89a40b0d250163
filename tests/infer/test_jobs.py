"""A job goes on where it stopped, and what it leaves is the same."""

import pyarrow as pa
import pytest

from xinst_jax import shards
from xinst_jax.infer.jobs import run_shards


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
