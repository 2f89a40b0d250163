"""How far work on rows has come: a bar on a terminal, a line now and then elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

import rich.console
import rich.progress

_QUIET_SECONDS = 30.0


@contextlib.contextmanager
def bar(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yields what is to be called with each number of parts that are done."""
    if sys.stderr.isatty():
        columns = (
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeRemainingColumn(),
        )
        console = rich.console.Console(stderr=True)
        with rich.progress.Progress(*columns, console=console, transient=True) as shown:
            task = shown.add_task(name, total=total)
            yield lambda parts: shown.update(task, advance=parts)
        return
    done, told = 0, time.monotonic()

    def advance(parts: int) -> None:
        nonlocal done, told
        done += parts
        if time.monotonic() - told >= _QUIET_SECONDS:
            told = time.monotonic()
            print(f"{name}: {done} of {total}", file=sys.stderr, flush=True)

    yield advance
