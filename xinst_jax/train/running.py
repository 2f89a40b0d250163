"""A training under way: what is done at a step, at an evaluation, at a checkpoint."""

import dataclasses
import functools

import jax
import optax

from xinst_jax.config import ModelConfig, TrainConfig
from xinst_jax.mesh import ShardingRules
from xinst_jax.models.decoder import Params
from xinst_jax.train import bad_steps, checkpoint, clock, evaluation, monitor
from xinst_jax.train import step as step_lib
from xinst_jax.train.profiler import Profiler
from xinst_jax.train.progress import Progress
from xinst_jax.train.state import TrainState


@dataclasses.dataclass(frozen=True)
class Programs:
    """The jitted functions of a training.

    Attributes:
      update: one step.
      evaluate: the loss of a held-out batch by language.
      look: the loss of every target.
      compiled_before: how often this process had compiled the step.
    """

    update: step_lib.TrainStep
    evaluate: step_lib.EvalStep
    look: step_lib.LookStep
    compiled_before: int

    def compiles(self) -> int:
        """How often the step was compiled in this start."""
        return self.update._cache_size() - self.compiled_before


@dataclasses.dataclass
class Run:
    """The state of a training, and those who are told of it.

    Attributes:
      programs: what the devices are given.
      label: the training's name for someone who watches it.
      held_out: the held-out batches, if there are any.
      current: the state after the last step.
      frozen: the weights under the adapters, where those are trained.
      checkpoints, log, progress, profiler, bad, clock: who is told.
      unread: the last step, while its metrics were not read.
      compiled: how often the update was compiled; None before the first step.
    """

    programs: Programs
    label: str
    held_out: evaluation.HeldOut | None
    current: TrainState
    frozen: Params | None
    checkpoints: checkpoint.Checkpoints
    log: monitor.Monitor
    progress: Progress
    profiler: Profiler
    bad: bad_steps.BadSteps
    clock: clock.Clock
    unread: tuple[int, step_lib.Metrics, step_lib.Batch] | None = None
    compiled: int | None = None

    def step(self, number: int, batch: step_lib.Batch) -> None:
        """Gives the device its next step, and reads the metrics of the one before."""
        self.profiler.begin(number)
        first = self.compiled is None
        kind = clock.COMPILE if first else clock.STEP
        with self.clock.spend(kind), jax.transfer_guard("disallow"):
            self.current, metrics = self.programs.update(
                self.current, batch, self.frozen
            )
        compiled = self.programs.compiles()
        if not first and compiled != self.compiled:
            raise RuntimeError(
                f"{self.label}: step {number} compiled the update again, which a run "
                "must do once: its batch differs from those before in shape, dtype or "
                "sharding."
            )
        self.compiled = compiled
        # Read while this step runs, so that the device never waits for us.
        self.catch_up()
        self.unread = number, metrics, batch
        self.profiler.end(number, metrics)

    def catch_up(self) -> None:
        """Reads the metrics that are not read yet."""
        if self.unread is None:
            return
        (number, metrics, batch), self.unread = self.unread, None
        with self.clock.spend(clock.STEP):
            fetched = jax.device_get(metrics)
        values = {name: float(value) for name, value in fetched.items()}
        if values["bad_steps"] > self.bad.count:
            self._bad_step(number, values, batch)
        self.log.train(number, values)
        self.progress.update(number, values["loss"], self.log.tokens_per_second)

    def _bad_step(
        self, number: int, values: dict[str, float], batch: step_lib.Batch
    ) -> None:
        with self.clock.spend(clock.EVALUATION):
            looked = self.programs.look(self.current.params, batch, self.frozen)
            found = bad_steps.suspects(*jax.device_get(looked))
        newest = self.checkpoints.latest()
        said = self.bad.take(number, values, found, newest)
        self.progress.say(f"{self.label}: {said}")

    def evaluate(self, number: int) -> dict[str, float]:
        """The held-out losses after `number` steps, by name; none if there are none."""
        if self.held_out is None:
            return {}
        with self.clock.spend(clock.EVALUATION):
            losses = evaluation.losses(
                functools.partial(
                    self.programs.evaluate,
                    self.current.final_params,
                    frozen=self.frozen,
                ),
                self.held_out,
            )
            if losses:
                self.log.evaluation(number, losses)
        return losses

    def save(self, number: int, losses: dict[str, float]) -> None:
        """Saves the state, with the losses that the best is told by."""
        with self.clock.spend(clock.CHECKPOINT):
            self.checkpoints.save(number, self.current, losses)

    def end(self, number: int) -> None:
        """Waits for the last checkpoint, and tells where this start's time went."""
        with self.clock.spend(clock.ENDS):
            self.checkpoints.wait()
        figures = self.log.summary(number)
        self.progress.say(f"{self.label}: {monitor.in_words(figures)}")


def programs(
    model: ModelConfig,
    rules: ShardingRules,
    optimizer: optax.GradientTransformation,
    config: TrainConfig,
    held_out: evaluation.HeldOut | None,
    targets_per_row: int | None,
) -> Programs:
    """The programs of a training; nothing is compiled before it is used."""
    update = step_lib.make_train_step(model, rules, optimizer, config, targets_per_row)
    languages = len(held_out.languages) if held_out else 1
    return Programs(
        update,
        step_lib.make_eval_step(model, rules, config, languages, targets_per_row),
        step_lib.make_look_step(model, rules, config, targets_per_row),
        compiled_before=update._cache_size(),
    )
