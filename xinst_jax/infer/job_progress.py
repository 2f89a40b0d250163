"""How far a job is: a bar or lines for people, progress.json for machines."""

import json
import pathlib
import sys
import time

import rich.progress

from xinst_jax import distributed, shards

_QUIET_SECONDS = 30.0
"""Time between two lines of progress where the output is not a terminal."""

_JSON_SECONDS = 1.0
"""Least time between two writings of progress.json, but for the last."""


class Progress:
    """Progress of the shards that this process computes, in a `with` block.

    People are told by process 0; the file is each process's own. It holds `label`,
    `state` ('running', 'done' or 'stopped'), `shards` and `shards_done` (those found
    already made included), `rows` and `tokens` of this run, `rows_per_second`,
    `tokens_per_second`, `seconds`, `seconds_left` (null before the first shard) and
    `updated` (Unix time in seconds).
    """

    def __init__(self, label: str, path: pathlib.Path, total: int, done: int):
        """Begins with `done` of `total` shards made; the file goes to `path`."""
        self._label, self._path = label, path
        self._total, self._found, self._done = total, done, done
        self._rows = self._tokens = 0
        self._start = self._told = self._written = time.monotonic()
        tells = distributed.is_primary() and done < total
        self._bar = _bar() if tells and sys.stdout.isatty() else None
        self._prints = tells and self._bar is None

    def __enter__(self) -> "Progress":
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(
                self._label, total=self._total, completed=self._done, state=""
            )
        self._write("running")
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._write("stopped" if kind else "done")

    def advance(self, rows: int, tokens: int) -> None:
        """Counts one shard more, of so many rows and computed tokens."""
        self._done += 1
        self._rows, self._tokens = self._rows + rows, self._tokens + tokens
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, advance=1, state=self._state())
        last = self._done == self._total
        if self._prints and (last or now - self._told >= _QUIET_SECONDS):
            self._told = now
            shards_done = f"{self._done} of {self._total} shards"
            print(f"{self._label}: {shards_done}, {self._state()}", flush=True)
        if now - self._written >= _JSON_SECONDS:
            self._write("running")

    def _seconds_left(self, seconds: float) -> float | None:
        made = self._done - self._found
        return seconds / made * (self._total - self._done) if made else None

    def _state(self) -> str:
        seconds = max(time.monotonic() - self._start, 1e-9)
        speeds = f"{self._rows / seconds:.1f} rows/s"
        if self._tokens:
            speeds += f", {self._tokens / seconds:,.0f} tokens/s"
        return f"{speeds}, {self._seconds_left(seconds) or 0:.0f} s left"

    def _write(self, state: str) -> None:
        self._written = time.monotonic()
        seconds = max(self._written - self._start, 1e-9)
        left = self._seconds_left(seconds)
        record = {
            "label": self._label,
            "state": state,
            "shards": self._total,
            "shards_done": self._done,
            "rows": self._rows,
            "tokens": self._tokens,
            "rows_per_second": round(self._rows / seconds, 3),
            "tokens_per_second": round(self._tokens / seconds, 3),
            "seconds": round(seconds, 3),
            "seconds_left": None if left is None else round(left, 3),
            "updated": round(time.time(), 3),
        }
        shards.write_bytes(self._path, f"{json.dumps(record, indent=1)}\n".encode())


def _bar() -> rich.progress.Progress:
    return rich.progress.Progress(
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn("shards  {task.fields[state]}"),
    )
