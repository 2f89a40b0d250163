"""What is told of a bad step: where it was, and which texts it read.

A bad step (`health.judge`) has changed nothing. `bad_steps.jsonl` gets a line on each;
one more than `TrainConfig.skip_bad_steps` ends the run.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from xinst_jax import distributed, shards
from xinst_jax.errors import UserError
from xinst_jax.train import monitor

FILE = "bad_steps.jsonl"

Origin = Callable[[int, int], tuple[int, Sequence[str]]]
"""For a step, from 0, and a place in its batch: the packed row that lies there, by
number, and the names of its examples, segment by segment."""

_TOLD = 3
_KEPT = 50


@dataclasses.dataclass(frozen=True)
class Suspect:
    """An example of a bad step.

    Attributes:
      place: its row in the batch.
      segment: its place in that row, from 1.
      loss: its own loss, nats a token; of the parameters that the step left, and where
        another step ran before the loss was read, of those after it.
    """

    place: int
    segment: int
    loss: float


def suspects(
    losses_bt: np.ndarray, weights_bt: np.ndarray, segment_ids_bt: np.ndarray
) -> list[Suspect]:
    """A batch's examples, those whose loss is no number first, then the highest.

    Args:
      losses_bt: weighted loss of each target.
      weights_bt: the weights.
      segment_ids_bt: int, examples of a row from 1; 0 is padding.
    """
    found = []
    for place, segments_t in enumerate(segment_ids_bt):
        for segment in range(1, int(segments_t.max(initial=0)) + 1):
            here_t = segments_t == segment
            weight = float(weights_bt[place, here_t].sum())
            if weight:
                loss = float(losses_bt[place, here_t].sum()) / weight
                found.append(Suspect(place, segment, loss))
    return sorted(found, key=lambda one: (math.isfinite(one.loss), -one.loss))


class BadSteps:
    """The bad steps of a run.

    Attributes:
      count: how many there were, over all starts of the run.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        count: int,
        allowed: int,
        max_ratio: float,
        origin: Origin | None,
    ):
        """Goes on from `count`.

        Args:
          directory: what the run owns.
          count: bad steps before this start.
          allowed: how many are skipped in the whole run.
          max_ratio: `TrainConfig.max_loss_ratio`.
          origin: where batches come from, if that is known.
        """
        self.count = count
        self._directory, self._allowed = directory, allowed
        self._max_ratio, self._origin = max_ratio, origin

    def take(
        self,
        number: int,
        values: Mapping[str, float],
        found: Sequence[Suspect],
        newest_checkpoint: int | None,
    ) -> str:
        """Notes that update `number` was bad; says so in a line.

        Args:
          number: the update, from 1.
          values: its metrics.
          found: its examples, worst first.
          newest_checkpoint: the step of the newest checkpoint, if there is one.

        Raises:
          UserError: it is one more than may be skipped.
        """
        self.count = int(values["bad_steps"])
        examples = [self._example(number, one) for one in found[:_KEPT]]
        self._write(number, values, examples)
        what = self._what(number, values)
        if self.count <= self._allowed:
            return f"{what}; skipped ({self.count} of at most {self._allowed})."
        worst = "; ".join(
            f"{one['example']} in row {one['row']}, loss {one['loss']}"
            for one in examples[:_TOLD]
        )
        start = (
            "there is no checkpoint yet"
            if newest_checkpoint is None
            else f"the last good checkpoint is of step {newest_checkpoint}"
        )
        raise UserError(
            f"{what} in {self._directory}. The step has changed nothing; {start}. "
            f"Worst of the {len(found)} examples that it read: {worst}. More are in "
            f"{self._directory / FILE}. Look at these texts. To go on without such "
            f"steps, run the same command with --gin.SKIP_BAD_STEPS={self.count} or "
            "more (TrainConfig.skip_bad_steps); or lower TrainConfig.learning_rate, "
            "remove the directory and train anew."
        )

    def _what(self, number: int, values: Mapping[str, float]) -> str:
        loss, norm, limit = (values[n] for n in ("loss", "grad_norm", "loss_limit"))
        if not math.isfinite(loss):
            return f"The loss is {loss} at step {number}"
        if not math.isfinite(norm):
            return f"grad_norm is {norm} at step {number}, with a loss of {loss:.4f}"
        return (
            f"The loss is {loss:.4f} at step {number}, over {limit:.4f}, which is "
            f"{self._max_ratio:g} times the median of the steps before "
            "(TrainConfig.max_loss_ratio)"
        )

    def _example(self, number: int, one: Suspect) -> dict[str, Any]:
        row, name = one.place, f"example {one.segment}"
        if self._origin is not None:
            row, names = self._origin(number - 1, one.place)
            name = names[one.segment - 1] or name
        loss = round(one.loss, 4) if math.isfinite(one.loss) else str(one.loss)
        return {"row": row, "example": name, "loss": loss}

    def _write(
        self, number: int, values: Mapping[str, float], examples: list[dict[str, Any]]
    ) -> None:
        if not distributed.is_primary():
            return
        path = self._directory / FILE
        figures = {
            name: values[name] if math.isfinite(values[name]) else str(values[name])
            for name in ("loss", "grad_norm", "loss_limit")
        }
        line = {"step": number, **figures, "examples": examples}
        lines = [*monitor.lines_until(path, number - 1), line]
        content = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in lines)
        shards.write_bytes(path, content.encode())
