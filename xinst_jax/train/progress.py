"""Progress of a training run, for someone who watches it."""

import sys
import time

import rich.console
import rich.progress

from xinst_jax import distributed

_SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """A bar with loss, speed and time left on a terminal; elsewhere a line at times.

    Both go to standard error, and from process 0 only.
    """

    def __init__(self, label: str, step: int, steps: int):
        """Begins at `step` of `steps`, under a name for the run."""
        self._label, self._first, self._steps = label, step, steps
        self._begun = self._last_line = time.monotonic()
        self._bar = _bar() if distributed.is_primary() and sys.stderr.isatty() else None
        self._prints = distributed.is_primary() and self._bar is None

    def __enter__(self) -> "Progress":
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(
                self._label, total=self._steps, completed=self._first, said=""
            )
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, step: int, loss: float, tokens_per_second: float) -> None:
        """Shows that `step` updates are made, the last with this loss."""
        said = f"loss {loss:.4f}"
        if tokens_per_second:
            said += f"  {tokens_per_second:,.0f} tokens/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, said=said)
        now = time.monotonic()
        due = now - self._last_line >= _SECONDS_BETWEEN_LINES
        if self._prints and (due or step == self._steps):
            self._last_line = now
            left = (now - self._begun) / (step - self._first) * (self._steps - step)
            time_left = f"  {left / 60:.1f} minutes left" if step < self._steps else ""
            line = f"{self._label}: step {step}/{self._steps}  {said}{time_left}"
            print(line, file=sys.stderr, flush=True)

    def say(self, words: str) -> None:
        """Prints a line, above the bar where there is one."""
        if self._bar is not None:
            self._bar.console.print(words, markup=False, highlight=False)
        elif self._prints:
            print(words, file=sys.stderr, flush=True)


def _bar() -> rich.progress.Progress:
    return rich.progress.Progress(
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn("{task.fields[said]}"),
        rich.progress.TimeRemainingColumn(),
        console=rich.console.Console(stderr=True),
    )
