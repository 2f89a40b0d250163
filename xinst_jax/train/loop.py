"""The training loop: from parameters and batches to better parameters.

A run owns one directory: `checkpoints/`, `metrics.jsonl` and `tensorboard/`. Started
again it goes on from its newest checkpoint, and gives bit for bit what it would have
given without the stop: batches are a function of the step, and the state is all else.
"""

import concurrent.futures
import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterator

import jax

from xinst_jax import distributed
from xinst_jax.config import ModelConfig, TrainConfig
from xinst_jax.errors import Preempted, UserError
from xinst_jax.mesh import ShardingRules
from xinst_jax.models.decoder import Params
from xinst_jax.train import (
    bad_steps,
    checkpoint,
    clock,
    evaluation,
    monitor,
    optim,
    running,
    state,
    step,
)
from xinst_jax.train.profiler import Profiler
from xinst_jax.train.progress import Progress


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What a training run gives.

    Attributes:
      params: the final parameters, or adapters where those were trained: of the last
        step or the best, and their moving average, as the configuration says.
      steps: updates made, over all starts of the run.
      final_step: the step that the parameters are of.
      bad_steps: steps that were skipped, over all starts of the run.
      history: the lines of metrics.jsonl, over all starts of the run.
      compiles: how often the update was compiled in this start: once, or not at all if
        nothing was left to do or this process had it compiled before.
    """

    params: Params
    steps: int
    final_step: int
    bad_steps: int
    history: list[dict[str, float]]
    compiles: int


def train(
    *,
    model: ModelConfig,
    rules: ShardingRules,
    mesh: jax.sharding.Mesh,
    config: TrainConfig,
    initial_params: Callable[[], Params],
    train_batch: Callable[[int], step.Batch],
    held_out: evaluation.HeldOut | None,
    directory: pathlib.Path,
    label: str,
    targets_per_row: int | None = None,
    frozen_params: Callable[[], Params] | None = None,
    origin: bad_steps.Origin | None = None,
) -> TrainResult:
    """Trains until `config.steps` updates are made, from wherever the run stands.

    Args:
      model: the decoder's shape.
      rules: how its arrays are divided.
      mesh: over which devices.
      config: the run.
      initial_params: gives the parameters to start from, adapters where `config.lora`
        has a rank; called only where there is no checkpoint yet. They are the run's to
        use up, so the caller keeps none.
      train_batch: the batch of a step, steps counting from 0; called in a thread, one
        step ahead.
      held_out: the held-out batches, if there are any.
      directory: what the run owns.
      label: the run's name for someone who watches it.
      targets_per_row: most targets with a loss weight in any row of these batches, if
        that is known: logits of the others are not computed.
      frozen_params: gives the weights under the adapters, at every start; given if and
        only if adapters are trained. Checkpoints do not hold them.
      origin: which rows a batch is made of, to name those of a bad step.

    Raises:
      UserError: the disk cannot hold the checkpoints, the newest checkpoint is of
        another model or run, the batch does not divide, the best checkpoint is asked
        for and nothing tells it, or there was one bad step more than may be skipped.
      Preempted: SIGTERM came; the state is saved.
    """
    times = clock.Clock()
    optimizer = optim.make_optimizer(config)
    abstract = state.abstract_training(model, rules, mesh, config)
    _check_best_metric(config, held_out)
    saved = directory / "checkpoints"
    checkpoint.check_space(saved, abstract, copies=_most_checkpoints(config))
    with contextlib.ExitStack() as opened:
        opened.enter_context(jax.set_mesh(mesh))
        preemption = opened.enter_context(distributed.Preemption())
        checkpoints = opened.enter_context(_checkpoints(saved, config))
        start = checkpoints.latest() or 0
        _check_start(start, config, directory)
        if start:
            current = checkpoints.restore(start, abstract)
        else:
            current = state.init_state(
                initial_params(), optimizer, mesh, ema=config.ema_decay > 0
            )
        skipped = int(jax.device_get(current.health.bad_steps))
        run = running.Run(
            programs=running.programs(
                model, rules, optimizer, config, held_out, targets_per_row
            ),
            label=label,
            held_out=held_out,
            current=current,
            frozen=frozen_params() if frozen_params else None,
            checkpoints=checkpoints,
            log=opened.enter_context(
                monitor.Monitor(
                    directory, start, model, config, mesh, times, targets_per_row
                )
            ),
            progress=opened.enter_context(Progress(label, start, config.steps)),
            profiler=opened.enter_context(
                Profiler(
                    directory / "profile", config.profile_from, config.profile_steps
                )
            ),
            bad=bad_steps.BadSteps(
                directory,
                skipped,
                config.skip_bad_steps,
                config.max_loss_ratio,
                origin,
            ),
            clock=times,
        )
        del current
        if start == 0:
            run.evaluate(0)
        if preemption.noticed():
            raise Preempted(
                f"{label} was stopped after step {start} of {config.steps}, before "
                "another. Run the same command again to go on."
            )
        times.change(clock.OTHER)
        for number, batch in _ahead(train_batch, start, config.steps, times):
            run.step(number, batch)
            last, stop = number == config.steps, preemption.noticed()
            evaluates = last or number % config.eval_every == 0
            saves = last or stop or number % config.checkpoint_every == 0
            if evaluates or saves:
                run.catch_up()
                losses = run.evaluate(number) if evaluates else {}
                if saves:
                    run.save(number, losses)
            if last or stop:
                run.end(number)
            if stop:
                raise Preempted(
                    f"{label} was stopped after step {number} of {config.steps}, "
                    "which is saved. Run the same command again to go on."
                )
        final_step, final_params = config.steps, run.current.final_params
        if config.final == "best":
            final_step = checkpoints.best(config.best_metric) or final_step
        if final_step != config.steps:
            # The state makes room for what is read.
            del final_params, run.current
            final_params = checkpoint.restore_params(
                saved, abstract.final_params, config.best_metric
            )
        return TrainResult(
            params=final_params,
            steps=config.steps,
            final_step=final_step,
            bad_steps=run.bad.count,
            history=run.log.lines,
            compiles=run.programs.compiles(),
        )


def _checkpoints(
    directory: pathlib.Path, config: TrainConfig
) -> checkpoint.Checkpoints:
    return checkpoint.Checkpoints(
        directory,
        config.keep_last,
        _kept_best(config),
        config.keep_every,
        config.best_metric,
    )


def _kept_best(config: TrainConfig) -> int:
    return max(config.keep_best, int(config.final == "best"))


def _most_checkpoints(config: TrainConfig) -> int:
    """How many checkpoints are on the disk at once: one more while it is written."""
    kept = config.keep_last + _kept_best(config) + 1
    if config.keep_every:
        kept += config.steps // config.keep_every
    return min(kept, -(-config.steps // config.checkpoint_every))


def _check_best_metric(
    config: TrainConfig, held_out: evaluation.HeldOut | None
) -> None:
    names = held_out.names() if held_out else ()
    if config.compares_checkpoints and config.best_metric not in names:
        raise UserError(
            f"TrainConfig.best_metric = {config.best_metric!r} is not measured: "
            f"expected one of {', '.join(names) or 'none, for no row is held out'}. "
            "Name one of these, or set keep_best = 0 and final = 'last'."
        )


def _check_start(start: int, config: TrainConfig, directory: pathlib.Path) -> None:
    if start > config.steps:
        raise UserError(
            f"{directory} holds a checkpoint of step {start}, but TrainConfig.steps is "
            f"{config.steps}. Raise it, or remove the directory to train anew."
        )


def _ahead(
    train_batch: Callable[[int], step.Batch], start: int, steps: int, times: clock.Clock
) -> Iterator[tuple[int, step.Batch]]:
    """Each update's number, from 1, and its batch, made while the one before runs."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = (pool.submit(train_batch, at) for at in range(start, steps))
        upcoming, number = next(asked, None), start
        while upcoming is not None:
            with times.spend(clock.INPUT):
                batch = upcoming.result()
            upcoming, number = next(asked, None), number + 1
            yield number, batch
