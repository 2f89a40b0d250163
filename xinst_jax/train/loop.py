"""The training loop: from parameters and batches to better parameters.

A run owns one directory: `checkpoints/`, `metrics.jsonl` and `tensorboard/`. Started
again it goes on from its newest checkpoint, and gives bit for bit what it would have
given without the stop: batches are a function of the step, and the state is all else.
"""

import concurrent.futures
import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable, Iterable, Iterator

import jax

from xinst_jax import distributed
from xinst_jax.config import ModelConfig, TrainConfig
from xinst_jax.errors import Preempted, UserError
from xinst_jax.mesh import ShardingRules
from xinst_jax.models import decoder
from xinst_jax.models.decoder import Params
from xinst_jax.train import checkpoint, lora, monitor, optim, state, step
from xinst_jax.train.progress import Progress


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What a training run gives.

    Attributes:
      params: the final parameters, or adapters where those were trained.
      steps: updates made, over all starts of the run.
      history: the lines of metrics.jsonl, over all starts of the run.
      compiles: how often the update was compiled in this start: once, or not at all if
        nothing was left to do or this process had it compiled before.
    """

    params: Params
    steps: int
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
    eval_batches: Callable[[], Iterable[step.Batch]],
    directory: pathlib.Path,
    label: str,
    targets_per_row: int | None = None,
    keep: int = 2,
    frozen_params: Callable[[], Params] | None = None,
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
      eval_batches: the held-out batches, the same at every call; there may be none.
      directory: what the run owns.
      label: the run's name for someone who watches it.
      targets_per_row: most targets with a loss weight in any row of these batches, if
        that is known: logits of the others are not computed.
      keep: how many of the newest checkpoints are kept.
      frozen_params: gives the weights under the adapters, at every start; given if and
        only if adapters are trained. Checkpoints do not hold them.

    Raises:
      UserError: the disk cannot hold the checkpoints, the newest checkpoint is of
        another model or run, the batch does not divide, or the loss is not a number.
      Preempted: SIGTERM came; the state is saved.
    """
    optimizer = optim.make_optimizer(config)
    adapters = 0
    if config.lora.rank:
        trained = lora.abstract_adapters(model, rules, mesh, config.lora)
        adapters = sum(leaf.size for leaf in jax.tree.leaves(trained))
    else:
        trained = decoder.abstract_params(model, rules, mesh)
    abstract = state.abstract_state(trained, optimizer, mesh)
    microbatch = (config.global_batch // config.microbatches, config.length)
    rules.divide(mesh.shape, microbatch, ("batch", "length"))
    saved = directory / "checkpoints"
    checkpoint.check_space(saved, abstract, copies=_most_checkpoints(config, keep))
    update = step.make_train_step(model, rules, optimizer, config, targets_per_row)
    evaluate = step.make_eval_step(model, rules, config, targets_per_row)
    compiled_before = update._cache_size()
    with (
        jax.set_mesh(mesh),
        distributed.Preemption() as preemption,
        checkpoint.Checkpoints(saved, keep) as checkpoints,
    ):
        start = checkpoints.latest() or 0
        _check_start(start, config, directory)
        if start:
            current = checkpoints.restore(start, abstract)
        else:
            current = state.init_state(initial_params(), optimizer, mesh)
        frozen = frozen_params() if frozen_params else None
        with (
            monitor.Monitor(directory, start, model, config, mesh, adapters) as log,
            Progress(label, start, config.steps) as progress,
        ):

            def report(number: int, metrics: step.Metrics) -> None:
                values = _fetch(number, metrics, directory)
                log.train(number, values)
                progress.update(number, values["loss"], log.tokens_per_second)

            def held_out(number: int) -> None:
                loss = _held_out_loss(
                    functools.partial(evaluate, current.params, frozen=frozen),
                    eval_batches(),
                )
                if loss is not None:
                    log.evaluation(number, loss)

            if start == 0:
                held_out(0)
            unread: tuple[int, step.Metrics] | None = None
            for number, batch in _ahead(train_batch, start, config.steps):
                with jax.transfer_guard("disallow"):
                    current, metrics = update(current, batch, frozen)
                # Read while this step runs, so that the device never waits for us.
                if unread:
                    report(*unread)
                unread = number, metrics
                last = number == config.steps
                stop = preemption.noticed(number)
                evaluates = last or number % config.eval_every == 0
                saves = last or stop or number % config.checkpoint_every == 0
                if not (evaluates or saves):
                    continue
                report(*unread)
                unread = None
                with log.aside():
                    if evaluates:
                        held_out(number)
                    if saves:
                        checkpoints.save(number, current, wait=stop)
                if stop and not last:
                    raise Preempted(
                        f"{label} was stopped at step {number} of {config.steps}, "
                        "which is saved. Run the same command again to go on."
                    )
        compiles = update._cache_size() - compiled_before
        return TrainResult(current.params, config.steps, log.lines, compiles)


def _most_checkpoints(config: TrainConfig, keep: int) -> int:
    """How many checkpoints are on the disk at once: one more while it is written."""
    return min(keep + 1, -(-config.steps // config.checkpoint_every))


def _check_start(start: int, config: TrainConfig, directory: pathlib.Path) -> None:
    if start > config.steps:
        raise UserError(
            f"{directory} holds a checkpoint of step {start}, but TrainConfig.steps is "
            f"{config.steps}. Raise it, or remove the directory to train anew."
        )


def _ahead(
    train_batch: Callable[[int], step.Batch], start: int, steps: int
) -> Iterator[tuple[int, step.Batch]]:
    """Each update's number, from 1, and its batch, made while the one before runs."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = (pool.submit(train_batch, at) for at in range(start, steps))
        upcoming, number = next(asked, None), start
        while upcoming is not None:
            batch = upcoming.result()
            upcoming, number = next(asked, None), number + 1
            yield number, batch


def _fetch(
    number: int, metrics: step.Metrics, directory: pathlib.Path
) -> dict[str, float]:
    values = {name: float(value) for name, value in jax.device_get(metrics).items()}
    for name in ("loss", "grad_norm"):
        if not math.isfinite(values[name]):
            raise UserError(
                f"{name} is {values[name]} at step {number} of {directory}. Nothing of "
                "that step is saved. Lower TrainConfig.learning_rate or lengthen "
                "warmup_steps, remove the directory and train anew."
            )
    return values


def _held_out_loss(
    evaluate: Callable[[step.Batch], tuple[jax.Array, jax.Array]],
    batches: Iterable[step.Batch],
) -> float | None:
    """Loss per unit of weight over all batches; None if they weigh nothing."""
    sums = [jax.device_get(evaluate(batch)) for batch in batches]
    weight = sum(float(weight) for _, weight in sums)
    return sum(float(loss) for loss, _ in sums) / weight if weight else None
