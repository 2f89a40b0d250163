"""What a few rows take: held against a machine whose time is known."""

import heapq
import time

import numpy as np
import pytest

from xinst_jax.infer.engine import Generation
from xinst_jax.infer.usage import Usage
from xinst_jax.pipeline import probes
from xinst_jax.pipeline.generate import Writer

_SLOTS = 32


class _Machine:
    """Slots that each take the next row when theirs ends, as the engine has them.

    A token of all slots takes a hundredth of a second.

    Attributes:
      reading: seconds that reading a row takes.
    """

    def __init__(self) -> None:
        self.now, self.reading = 0.0, 0.01
        self.usage = Usage()

    def generate(self, prompts, names, max_new_tokens=None) -> list[Generation]:
        lengths = max_new_tokens or [_length(name) for name in names]
        free = [0] * _SLOTS
        for length in lengths:
            heapq.heappush(free, heapq.heappop(free) + length)
        self.now += self.reading * len(names) + 0.01 * max(free)
        self.usage.slot_steps += _SLOTS * max(free)
        self.usage.live_slot_steps += sum(lengths)
        return [Generation([1] * length, 0.0, "stop") for length in lengths]


def _length(name: str) -> int:
    """Tokens of a row: lognormal, as instructions are, 25 in the mean, at most 128."""
    return min(128, 1 + int(np.random.default_rng(int(name)).lognormal(3, 0.65)))


@pytest.fixture
def machine(monkeypatch) -> _Machine:
    machine = _Machine()
    monkeypatch.setattr(time, "monotonic", lambda: machine.now)
    return machine


def _writer(machine: _Machine) -> Writer:
    return Writer(
        machine.generate, lambda text: [1], lambda ids: "", 100, usage=machine.usage
    )


@pytest.mark.parametrize(
    ("reading", "too_long"), [(0.0, 1.25), (0.001, 1.2), (0.01, 1.1), (0.5, 1.0)]
)
def test_slots_that_run_empty_count_once_a_shard(machine, reading, too_long):
    """Whatever part of the time decoding takes; else hours are too many."""
    machine.reading = reading
    names, shard_rows = [str(number) for number in range(6_400)], 64 * _SLOTS
    asked = [(name, [1]) for name in probes.evenly(names, 2 * _SLOTS)]
    probe = probes.of_generation(_writer(machine), asked, shard_rows)
    assert probe is not None
    machine.now = 0
    for start in range(0, len(names), shard_rows):
        machine.generate([], names[start : start + shard_rows])
    assert probe.hours(len(names)) * 3600 == pytest.approx(machine.now, rel=0.15)
    assert len(names) * probe.seconds / probe.rows > too_long * machine.now
    assert "counted once a shard" in str(probe)


def test_a_job_that_fills_no_slots_takes_what_its_probe_took(machine):
    asked = [(str(number), [1]) for number in range(8)]
    probe = probes.of_generation(_writer(machine), asked, 100)
    assert probe is not None
    assert probe.hours(8) * 3600 == pytest.approx(probe.seconds)
    assert probes.of_generation(_writer(machine), [], 100) is None


def test_evenly_spaced_rows():
    assert probes.evenly(list(range(100)), 4) == [0, 25, 50, 75]
    assert probes.evenly([1, 2], 4) == [1, 2]
