"""What a few rows take, from which it follows what many do."""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from xinst_jax.pipeline.generate import Writer

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Probe:
    """What a few rows took.

    Attributes:
      rows: how many.
      seconds: that they took, compilation not counted.
      new_tokens: that were written, in the mean of a row; 0 where none are.
      end_seconds: of the seconds, those in which slots had no next row: they come once
        in each shard of a job, however many rows it has.
      shard_rows: rows of such a shard.
    """

    rows: int
    seconds: float
    new_tokens: float
    end_seconds: float = 0.0
    shard_rows: int = 1

    def hours(self, rows: float) -> float:
        """Hours that so many rows take, in shards."""
        each = (self.seconds - self.end_seconds) / self.rows
        ends = math.ceil(rows / self.shard_rows) * self.end_seconds
        return (rows * each + ends) / 3600

    def __str__(self) -> str:
        """What was measured, for people."""
        took = f"{self.rows} rows in {self.seconds:.2f} s"
        if not self.end_seconds:
            return f"a probe: {took}, {self.rows / self.seconds:.2f} rows/s"
        return (
            f"a probe: {took}, of which {self.end_seconds:.2f} s for slots that had no "
            "next row, counted once a shard"
        )


def evenly(rows: Sequence[T], most: int) -> list[T]:
    """At most so many of the rows, at equal distances.

    >>> evenly("abcdefg", 3)
    ['a', 'c', 'e']
    """
    if len(rows) <= most:
        return list(rows)
    return [rows[number * len(rows) // most] for number in range(most)]


def timed(compute: Callable[[], T]) -> tuple[T, float]:
    """What is computed, and the seconds of a second time: the first one compiles."""
    compute()
    start = time.monotonic()
    made = compute()
    return made, time.monotonic() - start


def of_generation(
    writer: Writer, asked: Sequence[tuple[str, list[int]]], shard_rows: int
) -> Probe | None:
    """What generating some rows takes; None of no rows.

    The rows are read with a token each, too: what they take beyond that is decoding, in
    which the slots are busy for a known share of the time.

    Args:
      writer: the generator.
      asked: names and prompts of the rows.
      shard_rows: rows of a shard of the job.
    """

    if not asked:
        return None
    names, prompts = zip(*asked, strict=True)
    first = [1] * len(names)
    _, reading = timed(lambda: writer.generate(prompts, names, max_new_tokens=first))
    before = dataclasses.replace(writer.usage)
    made, seconds = timed(lambda: writer.generate(prompts, names))
    slots = writer.usage.slot_steps - before.slot_steps
    idle = 1 - (writer.usage.live_slot_steps - before.live_slot_steps) / slots
    end_seconds = max(0.0, seconds - reading) * idle
    new_tokens = sum(len(one.tokens) for one in made) / len(names)
    return Probe(len(names), seconds, new_tokens, end_seconds, shard_rows)
