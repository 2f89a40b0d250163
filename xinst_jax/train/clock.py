"""Where a training's time goes, as its main thread sees it."""

import contextlib
import time
from collections.abc import Iterator

ENDS, COMPILE, INPUT, STEP = "ends", "compile", "input", "step"
CHECKPOINT, EVALUATION, OTHER = "checkpoint", "evaluation", "other"
KINDS = (ENDS, COMPILE, INPUT, STEP, CHECKPOINT, EVALUATION, OTHER)
"""What time is spent on: both ends, before the first step and until the last checkpoint
is written; compiling the step; waiting for a batch; waiting for the device, or giving
it the next step; waiting for a checkpoint to be copied; evaluating; the rest, such as
writing metrics."""

_OF_A_STEP = (INPUT, STEP, OTHER)


class Clock:
    """Seconds by what they were spent on, each second on one thing.

    Attributes:
      seconds: by kind, up to the last change of it.
    """

    def __init__(self) -> None:
        """Starts the time, on `ENDS`."""
        self.seconds = dict.fromkeys(KINDS, 0.0)
        self._kind = ENDS
        self._since = time.monotonic()
        self._lap_at = 0.0

    @contextlib.contextmanager
    def spend(self, kind: str) -> Iterator[None]:
        """What happens in this block is `kind`, but for blocks inside of it."""
        before = self.change(kind)
        try:
            yield
        finally:
            self.change(before)

    def change(self, kind: str) -> str:
        """From now on time is `kind`; gives what it was."""
        now = time.monotonic()
        self.seconds[self._kind] += now - self._since
        self._since, before, self._kind = now, self._kind, kind
        return before

    def lap(self) -> float:
        """Seconds of steps since the last lap: no compiling, saving or evaluating."""
        self.change(self._kind)
        spent = sum(self.seconds[kind] for kind in _OF_A_STEP)
        lap, self._lap_at = spent - self._lap_at, spent
        return lap


def shares(seconds: dict[str, float]) -> dict[str, float]:
    """Each kind's share of the seconds in sum; empty if there are none."""
    total = sum(seconds.values())
    return {kind: part / total for kind, part in seconds.items()} if total else {}
