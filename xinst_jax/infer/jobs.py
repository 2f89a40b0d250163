"""Long jobs over rows, shard by shard: a shard that is there is not made again.

Several processes make every shard together, on the devices of all; process 0 says which
are missing, and writes them.
"""

import contextlib
import pathlib
import sys
import time
from collections.abc import Callable, Iterator

import pyarrow as pa
import rich.progress

from xinst_jax import distributed, shards

_QUIET_SECONDS = 30.0
"""Time between two lines of progress where the output is not a terminal."""


def run_shards(
    directory: pathlib.Path,
    count: int,
    compute: Callable[[int], pa.Table],
    label: str,
) -> int:
    """Writes the shards of a directory that are not there yet, in order.

    A shard that exists is whole, since it was renamed to its name when complete; a job
    that was stopped loses at most the shard it was working on.

    Args:
      directory: where the shards go; made if missing.
      count: shards of the whole job.
      compute: gives the table of shard `index`; a function of the index alone, called
        by all processes.
      label: what the progress is called.

    Returns:
      How many shards were computed.
    """

    def path(index: int) -> pathlib.Path:
        return directory / shards.shard_name(index, count)

    missing = distributed.from_primary(
        label, lambda: [index for index in range(count) if not path(index).exists()]
    )
    writes = distributed.is_primary()
    progress = _progress if writes else _no_progress
    with progress(label, count, len(missing)) as advance:
        for index in missing:
            table = compute(index)
            if writes:
                shards.write_table(path(index), table)
            advance(table.num_rows)
    return len(missing)


@contextlib.contextmanager
def _no_progress(*job: object) -> Iterator[Callable[[int], None]]:
    yield lambda rows: None


@contextlib.contextmanager
def _progress(label: str, count: int, missing: int) -> Iterator[Callable[[int], None]]:
    """Yields what is to be called with each finished shard's rows."""
    start, done, rows = time.monotonic(), 0, 0

    def state() -> str:
        seconds = max(time.monotonic() - start, 1e-9)
        left = seconds / done * (missing - done)
        return f"{rows / seconds:.1f} rows/s, {left:.0f} s left"

    if sys.stdout.isatty():
        columns = (
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("shards  {task.fields[state]}"),
        )
        with rich.progress.Progress(*columns) as bar:
            task = bar.add_task(label, total=count, completed=count - missing, state="")

            def advance_bar(new_rows: int) -> None:
                nonlocal done, rows
                done, rows = done + 1, rows + new_rows
                bar.update(task, advance=1, state=state())

            yield advance_bar
        return
    told = start

    def advance_lines(new_rows: int) -> None:
        nonlocal done, rows, told
        done, rows = done + 1, rows + new_rows
        if done == missing or time.monotonic() - told >= _QUIET_SECONDS:
            told = time.monotonic()
            finished = count - missing + done
            print(f"{label}: {finished} of {count} shards, {state()}", flush=True)

    yield advance_lines
