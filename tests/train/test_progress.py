import io
import sys

import pytest

from xinst_jax import distributed
from xinst_jax.train import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_without_a_terminal_a_line_comes_now_and_then_and_at_the_end(
    capsys, monkeypatch
):
    seconds = iter([0.0, 10.0, 31.0, 35.0, 62.0, 65.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))
    with progress.Progress("train x", 0, 5) as shown:
        for step in range(1, 6):
            shown.update(step, 2.5, 1234.0)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        f"train x: step {step}/5" for step in (2, 4, 5)
    ]
    assert "loss 2.5000  1,234 tokens/s  0.8 minutes left" in lines[0]
    assert "left" not in lines[-1]


def test_on_a_terminal_a_bar_shows_loss_speed_and_time_left(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    with progress.Progress("train x", 3, 10) as shown:
        shown.update(5, 2.5, 1234.0)
    assert "train x" in terminal.getvalue()
    assert "5/10" in terminal.getvalue()
    assert "loss 2.5000  1,234 tokens/s" in terminal.getvalue()


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_other_processes_say_nothing(stream, monkeypatch):
    said = stream()
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.setattr(distributed, "is_primary", lambda: False)
    with progress.Progress("train x", 0, 1) as shown:
        shown.update(1, 2.5, 0.0)
    assert said.getvalue() == ""
