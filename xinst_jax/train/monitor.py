"""What a training run says of itself: metrics.jsonl, TensorBoard, and its speed."""

import functools
import json
import math
import pathlib
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from xinst_jax import distributed, shards
from xinst_jax.config import ModelConfig, TrainConfig
from xinst_jax.errors import UserError
from xinst_jax.models import flops
from xinst_jax.train import clock as clock_lib
from xinst_jax.train import lora
from xinst_jax.train.clock import Clock
from xinst_jax.train.events import EventFile

PEAK_FLOPS = {
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5": 459e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
    "NVIDIA A100": 312e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H200": 989e12,
}
"""Dense bfloat16 FLOP/s of a device, by the start of its `device_kind`.

TPU: the "Peak compute per chip (bf16)" of each version's page under
cloud.google.com/tpu/docs. NVIDIA: data sheets of the SXM modules, "BFLOAT16 Tensor
Core", the figure without sparsity.
"""


_COUNTED = ("tokens", "weight", "pairs")
_PERCENTILES = (50, 90, 99)


class Monitor:
    """Collects the steps' metrics; writes those of the first, last and every n-th step.

    A line of `metrics.jsonl` is a step with its figures: of training (`loss`,
    `learning_rate`, `grad_norm`, `bad_steps` if there were any, and from the second
    line on what was measured since the line before: speeds, step times, shares of the
    time), of an evaluation (`eval_loss`, `eval_loss/fi` and so on), or of a whole start
    of the run at its end (`run/...`). A figure that is no number is left out.
    TensorBoard gets the same. Only process 0 writes.

    Attributes:
      lines: all lines of the run, those before a resume too.
      tokens_per_second: over the steps of the last line.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        step: int,
        model: ModelConfig,
        config: TrainConfig,
        mesh: jax.sharding.Mesh,
        clock: Clock,
        targets_per_row: int | None = None,
    ):
        """Goes on from `step`; lines of later steps will come again and are dropped.

        Args:
          directory: where metrics.jsonl is, and tensorboard/.
          step: updates already made.
          model: what is trained, for its FLOPs.
          config: how, for the lines' distance and the length of rows.
          mesh: the devices, for their peak FLOP/s.
          clock: where the run's time goes.
          targets_per_row: for how many targets of a row logits are computed; None for
            all.
        """
        path = directory / "metrics.jsonl"
        self.lines = lines_until(path, step) if step else []
        self.tokens_per_second = 0.0
        self._every, self._steps = config.log_every, config.steps
        self._length = config.length
        self._model, self._adapters = model, lora.count(model, config.lora)
        self._targets_per_step = (
            None if targets_per_row is None else targets_per_row * config.global_batch
        )
        self._peak_flops = peak_flops(mesh.devices.flatten().tolist(), model)
        self._clock = clock
        self._first_step = True
        self._seen = dict.fromkeys(_COUNTED, 0.0)
        self._laps: list[float] = []
        self._all_laps: list[float] = []
        self._at_last_line = dict(clock.seconds)
        self._primary = distributed.is_primary()
        if self._primary:
            content = "".join(json.dumps(line) + "\n" for line in self.lines)
            shards.write_bytes(path, content.encode())
            # Unbuffered: a line is out once written, and closing cannot fail.
            self._file = path.open("ab", buffering=0)
            self._events = EventFile(directory / "tensorboard", step + 1)

    def train(self, step: int, metrics: Mapping[str, float]) -> None:
        """Takes the metrics of the `step`-th update; writes a line if one is due."""
        self._laps.append(self._clock.lap())
        for name in _COUNTED:
            self._seen[name] += metrics[name]
        due = step % self._every == 0 or step in (1, self._steps)
        if due:
            names = ("loss", "learning_rate", "grad_norm")
            line = {name: metrics[name] for name in names}
            if metrics["bad_steps"]:
                line["bad_steps"] = metrics["bad_steps"]
            self._write(step, "train", line | self._speed())
        # The first step of a start takes what the others do not.
        if due or self._first_step:
            if not self._first_step:
                self._all_laps += self._laps
            self._laps, self._first_step = [], False
            self._seen = dict.fromkeys(_COUNTED, 0.0)
            self._at_last_line = dict(self._clock.seconds)

    def evaluation(self, step: int, losses: Mapping[str, float]) -> None:
        """Takes the losses on held-out rows after `step` updates."""
        self._write(step, "eval", dict(losses))

    def summary(self, step: int) -> dict[str, float]:
        """Writes where this start's time went, up to `step`; gives the figures."""
        self._clock.lap()
        seconds = self._clock.seconds
        total = sum(seconds.values())
        laps = [*self._all_laps, *([] if self._first_step else self._laps)]
        figures = {
            "seconds": round(total, 3),
            "goodput": round(seconds[clock_lib.STEP] / total, 4),
            **{
                f"seconds_in_{kind}": round(spent, 3) for kind, spent in seconds.items()
            },
            **_percentiles(laps),
        }
        self._write(step, "run", {f"run/{name}": v for name, v in figures.items()})
        return figures

    def __enter__(self) -> "Monitor":
        return self

    def __exit__(self, *error: object) -> None:
        if self._primary:
            self._file.close()
            self._events.close()

    def _speed(self) -> dict[str, float]:
        """Figures since the last line; none at first, since the first step compiles."""
        if self._first_step:
            return {}
        seconds = sum(self._laps)
        self.tokens_per_second = self._seen["tokens"] / seconds
        speed = {
            "tokens_per_second": round(self.tokens_per_second, 1),
            "response_tokens_per_second": round(self._seen["weight"] / seconds, 1),
        }
        spent = {
            kind: now - self._at_last_line[kind]
            for kind, now in self._clock.seconds.items()
        }
        if spent[clock_lib.CHECKPOINT]:
            speed["checkpoint_blocked_seconds"] = round(spent[clock_lib.CHECKPOINT], 4)
        for kind, part in clock_lib.shares(spent).items():
            if kind not in (clock_lib.ENDS, clock_lib.COMPILE):
                speed[f"{kind}_share"] = round(part, 4)
        return speed | _percentiles(self._laps) | self._utilisation(seconds)

    def _utilisation(self, seconds: float) -> dict[str, float]:
        """The share of the devices' peak that was used, by both ways of counting.

        Causal: attention as it is needed, each token with itself and those before it in
        its example, as far as it sees. Full: each token with a whole row, as in PaLM.
        Padding is no work; nor is the head where no logits are computed.
        """
        if not self._peak_flops:
            return {}
        tokens, pairs = int(self._seen["tokens"]), int(self._seen["pairs"])
        all_pairs = flops.attended_pairs(self._model, [self._length], causal=False)
        predicted = tokens
        if self._targets_per_step is not None:
            predicted = min(tokens, len(self._laps) * self._targets_per_step)
        used = functools.partial(
            flops.training_flops,
            self._model,
            tokens,
            adapters=self._adapters,
            predicted=predicted,
        )
        peak = seconds * self._peak_flops
        return {
            "mfu_causal": round(used(pairs).total / peak, 4),
            "mfu_full": round(used(tokens * all_pairs // self._length).total / peak, 4),
        }

    def _write(self, step: int, group: str, values: dict[str, float]) -> None:
        values = {name: value for name, value in values.items() if math.isfinite(value)}
        if not values:
            return
        line = {"step": step, **values}
        self.lines.append(line)
        if not self._primary:
            return
        try:
            self._file.write((json.dumps(line) + "\n").encode())
            tags = {
                f"{group}/{name.removeprefix('run/')}": value
                for name, value in values.items()
            }
            self._events.scalars(step, tags)
        except OSError as error:
            raise UserError(
                f"{self._file.name} cannot be written: {error}. The checkpoints are "
                "intact: mend that and run the same command again."
            ) from error


def in_words(figures: Mapping[str, float]) -> str:
    """A `summary` for someone who watches."""
    of_time = ", ".join(
        f"{kind} {figures[f'seconds_in_{kind}'] / figures['seconds']:.1%}"
        for kind in clock_lib.KINDS
    )
    words = f"{figures['seconds']:,.0f} seconds: {of_time}"
    if "step_seconds_p50" in figures:
        half, most, nearly_all = (figures[f"step_seconds_p{p}"] for p in _PERCENTILES)
        words += f"; a step {half:.3f} s (p90 {most:.3f}, p99 {nearly_all:.3f})"
    return words


def _percentiles(laps: Sequence[float]) -> dict[str, float]:
    """Seconds of a step that half, 9 in 10 and 99 in 100 steps stay under."""
    if not laps:
        return {}
    values = np.percentile(laps, _PERCENTILES)
    return {
        f"step_seconds_p{percent}": round(float(value), 5)
        for percent, value in zip(_PERCENTILES, values, strict=True)
    }


def lines_until(path: pathlib.Path, step: int) -> list[dict[str, float]]:
    """The lines of steps up to `step`; one that a kill cut short is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if line["step"] <= step:
            lines.append(line)
    return lines


def peak_flops(devices: Sequence[jax.Device], model: ModelConfig) -> float | None:
    """Bfloat16 FLOP/s of the devices together; None if unknown, or for float32."""
    if model.compute_dtype != "bfloat16":
        return None
    kind = devices[0].device_kind
    fitting = [name for name in PEAK_FLOPS if kind.startswith(name)]
    if not fitting:
        return None
    return PEAK_FLOPS[max(fitting, key=len)] * len(devices)
