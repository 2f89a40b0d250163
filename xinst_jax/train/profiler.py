"""A profiler trace of some steps, for TensorBoard or XProf."""

import pathlib

import jax

from xinst_jax import distributed


class Profiler:
    """Traces a window of steps into a directory, on process 0.

    Use it in a `with` block: a run that ends inside the window keeps what was traced.
    """

    def __init__(self, directory: pathlib.Path, first: int, steps: int):
        """Traces steps `first` to `first + steps - 1`, counted from 1; none for 0."""
        self._directory = directory
        self._first, self._last = first, first + steps - 1
        self._wanted = bool(first) and distributed.is_primary()
        self._runs = False

    def begin(self, number: int) -> None:
        """To be called before each step."""
        if self._wanted and number == self._first:
            jax.profiler.start_trace(str(self._directory))
            self._runs = True

    def end(self, number: int, result: object) -> None:
        """To be called after each step, with something that it computes."""
        if self._runs and number == self._last:
            jax.block_until_ready(result)
            self._stop()

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, *error: object) -> None:
        if self._runs:
            self._stop()

    def _stop(self) -> None:
        self._runs = False
        jax.profiler.stop_trace()
