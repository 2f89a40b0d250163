"""What a training run says of itself: metrics.jsonl, TensorBoard, and its speed."""

import contextlib
import json
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence

import jax

from xinst_jax import distributed, shards
from xinst_jax.config import ModelConfig, TrainConfig
from xinst_jax.errors import UserError
from xinst_jax.models.flops import flops_per_token
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


class Monitor:
    """Collects the steps' metrics; writes those of the first, last and every n-th step.

    A line of `metrics.jsonl` is a step with its figures, either of training (`loss`,
    `learning_rate`, `grad_norm`, and from the second line on `tokens_per_second`,
    `response_tokens_per_second`, `mfu`) or of an evaluation (`eval_loss`). TensorBoard
    gets the same. Only process 0 writes.

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
        adapters: int = 0,
    ):
        """Goes on from `step`; lines of later steps will come again and are dropped.

        Args:
          directory: where metrics.jsonl is, and tensorboard/.
          step: updates already made.
          model: what is trained, for its FLOPs.
          config: how, for the lines' distance and the length of rows.
          mesh: the devices, for their peak FLOP/s.
          adapters: numbers in the adapters, where those are what is trained.
        """
        path = directory / "metrics.jsonl"
        self.lines = _lines_until(path, step) if step else []
        self.tokens_per_second = 0.0
        self._every, self._steps = config.log_every, config.steps
        self._flops_per_token = flops_per_token(model, config.length, adapters)
        self._peak_flops = peak_flops(mesh.devices.flatten().tolist(), model)
        self._tokens = self._response_tokens = 0.0
        self._since: float | None = None
        self._primary = distributed.is_primary()
        if self._primary:
            content = "".join(json.dumps(line) + "\n" for line in self.lines)
            shards.write_bytes(path, content.encode())
            # Unbuffered: a line is out once written, and closing cannot fail.
            self._file = path.open("ab", buffering=0)
            self._events = EventFile(directory / "tensorboard", step + 1)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """What happens in this block is not training, and not part of its speed."""
        begun = time.monotonic()
        yield
        if self._since is not None:
            self._since += time.monotonic() - begun

    def train(self, step: int, metrics: Mapping[str, float]) -> None:
        """Takes the metrics of the `step`-th update; writes a line if one is due."""
        self._tokens += metrics["tokens"]
        self._response_tokens += metrics["weight"]
        due = step % self._every == 0 or step in (1, self._steps)
        if due:
            names = ("loss", "learning_rate", "grad_norm")
            line = {name: metrics[name] for name in names}
            self._write(step, "train", line | self._speed())
        if due or self._since is None:
            self._tokens = self._response_tokens = 0.0
            self._since = time.monotonic()

    def evaluation(self, step: int, loss: float) -> None:
        """Takes the loss on held-out rows after `step` updates."""
        self._write(step, "eval", {"eval_loss": loss})

    def __enter__(self) -> "Monitor":
        return self

    def __exit__(self, *error: object) -> None:
        if self._primary:
            self._file.close()
            self._events.close()

    def _speed(self) -> dict[str, float]:
        """Figures since the last line; none at first, since the first step compiles."""
        if self._since is None:
            return {}
        seconds = time.monotonic() - self._since
        self.tokens_per_second = self._tokens / seconds
        speed = {
            "tokens_per_second": round(self.tokens_per_second, 1),
            "response_tokens_per_second": round(self._response_tokens / seconds, 1),
        }
        if self._peak_flops:
            used = self.tokens_per_second * self._flops_per_token
            speed["mfu"] = round(used / self._peak_flops, 4)
        return speed

    def _write(self, step: int, group: str, values: dict[str, float]) -> None:
        line = {"step": step, **values}
        self.lines.append(line)
        if not self._primary:
            return
        try:
            self._file.write((json.dumps(line) + "\n").encode())
            tags = {f"{group}/{name}": value for name, value in values.items()}
            self._events.scalars(step, tags)
        except OSError as error:
            raise UserError(
                f"{self._file.name} cannot be written: {error}. The checkpoints are "
                "intact: mend that and run the same command again."
            ) from error


def _lines_until(path: pathlib.Path, step: int) -> list[dict[str, float]]:
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
