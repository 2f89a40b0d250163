"""Checkpoints: Orbax, written behind the training's back, whole or absent.

A directory of checkpoints holds one directory a step, with the parameters, and their
moving average if there is one, apart from the optimizer's state, so that another stage
can start from the parameters alone. Orbax writes under a temporary name and renames
when a checkpoint is whole.
"""

import contextlib
import hashlib
import logging
import math
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from xinst_jax import distributed
from xinst_jax.errors import UserError
from xinst_jax.models.decoder import Params
from xinst_jax.train.state import TrainState

_PARAMS, _EMA, _OPTIMIZER = "params", "ema", "optimizer"


class Checkpoints:
    """The checkpoints of one training run; close it, or use it in a `with` block."""

    def __init__(
        self,
        directory: pathlib.Path,
        keep_last: int = 2,
        keep_best: int = 0,
        keep_every: int = 0,
        best_metric: str = "",
    ):
        """Opens a directory, made if missing; what a killed save left is removed.

        Args:
          directory: where the checkpoints are.
          keep_last: how many of the newest are kept.
          keep_best: how many of those with the lowest `best_metric` are kept too.
          keep_every: a checkpoint of a step that this divides is kept too; 0 for none.
          best_metric: a name among the metrics that `save` is given; of a state
            without it, or where it is no number, none is kept.
        """
        self.directory = directory
        _remove_unfinished(directory)
        self._best_metric = best_metric
        self._saving: Any = None
        self._open = contextlib.ExitStack()
        self._open.enter_context(_orbax_is_silent())
        policies = ocp.training.preservation_policies
        kept: list[Any] = [policies.LatestN(keep_last)]
        if keep_best:
            kept.append(
                policies.BestN(
                    get_metric_fn=lambda metrics: metrics[best_metric],
                    reverse=True,
                    n=keep_best,
                    keep_checkpoints_without_metrics=False,
                )
            )
        if keep_every:
            kept.append(policies.EveryNSteps(keep_every))
        self._checkpointer = ocp.training.Checkpointer(
            directory.absolute(),
            preservation_policy=policies.AnyPreservationPolicy(kept),
        )

    def latest(self) -> int | None:
        """The step of the newest whole checkpoint; None if there is none."""
        newest = self._checkpointer.latest
        return None if newest is None else newest.step

    def best(self, metric: str) -> int | None:
        """The step with the lowest `metric`, the later of equals; None if none has it.

        Of those on the disk, so wait for what is being written.
        """
        return _best(self._checkpointer.checkpoints, metric)

    def save(
        self,
        step: int,
        state: TrainState,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Saves a state; returns once it is copied, and writes on.

        Args:
          step: its step.
          state: what to save.
          metrics: what the best checkpoint is told by; none for a step that is not to
            be compared.

        Raises:
          UserError: the disk was full, now or while the one before was written.
        """
        with _errors(self.directory):
            self._saving = self._checkpointer.save_checkpointables_async(
                step,
                _items(state),
                force=True,
                metrics=self._comparable(metrics or {}),
            )

    def _comparable(self, metrics: Mapping[str, float]) -> dict[str, float] | None:
        """The metrics, if they tell how good the state is: Orbax sorts by them."""
        known = math.isfinite(metrics.get(self._best_metric, math.nan))
        return dict(metrics) if known else None

    def wait(self) -> None:
        """Waits for what is being written.

        Raises:
          UserError: the disk was full.
        """
        with _errors(self.directory):
            if self._saving is not None:
                self._saving.result()

    def restore(self, step: int, abstract: TrainState) -> TrainState:
        """The state saved at a step, divided as `abstract` is, on any mesh.

        Raises:
          UserError: the checkpoint is of another model.
        """
        loaded = _load(self.directory / str(step), _items(abstract))
        return TrainState(
            params=loaded[_PARAMS], ema=loaded.get(_EMA), **loaded[_OPTIMIZER]
        )

    def close(self) -> None:
        """Waits for what is being written.

        Raises:
          UserError: the disk was full.
        """
        with self._open, _errors(self.directory):
            self._checkpointer.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is None:
            self.close()
            return
        with contextlib.suppress(UserError):
            self.close()


def save_params(directory: pathlib.Path, params: Params) -> None:
    """Saves parameters alone, as the one checkpoint of a directory, at step 0.

    Raises:
      UserError: the disk is full.
    """
    _remove_unfinished(directory)
    path = directory.absolute() / "0"
    with _orbax_is_silent(), _errors(directory):
        ocp.save_checkpointables(path, {_PARAMS: params}, overwrite=True)


def restore_params(
    directory: pathlib.Path, abstract: Params, best_metric: str | None = None
) -> Params:
    """The parameters of a directory's newest or best checkpoint, whoever saved them.

    Where the training kept a moving average of its parameters, that is what is given.

    Args:
      directory: of a training run's checkpoints, or written by `save_params`.
      abstract: `jax.ShapeDtypeStruct`s with the dtypes and shardings wanted.
      best_metric: gives the checkpoint where this is lowest, not the newest.

    Raises:
      UserError: there is no such checkpoint, or it is of another model.
    """
    with contextlib.closing(ocp.training.Checkpointer(directory.absolute())) as found:
        if best_metric is not None:
            step = _best(found.checkpoints, best_metric)
        else:
            step = found.latest.step if found.latest else None
    if step is None:
        which = f" with a {best_metric}" if best_metric else ""
        raise UserError(
            f"No checkpoint{which} in {directory}. Run the stage that trains this "
            "model."
        )
    path = directory / str(step)
    item = _EMA if _EMA in _saved_items(path) else _PARAMS
    return _load(path, {item: abstract})[item]


def check_space(directory: pathlib.Path, state: TrainState, copies: int) -> None:
    """Makes sure that the checkpoints to come will fit on the disk.

    Args:
      directory: where they go; its checkpoints already there count as written.
      state: what each holds, abstract or not.
      copies: how many there will be at once.

    Raises:
      UserError: they will not fit.
    """
    each = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    written = sum(path.name.isdecimal() for path in directory.glob("*"))
    needed = each * max(copies - written, 1)
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise UserError(
            f"{directory} needs {needed / 1e6:,.1f} MB for checkpoints of "
            f"{each / 1e6:,.1f} MB each, and the disk has {free / 1e6:,.1f} MB free. "
            "Free some space, or put --workdir on another disk."
        )


def params_digest(params: Params) -> str:
    """SHA-256, in hex, of the parameters' names, shapes, dtypes and bytes.

    It depends on the numbers alone, not on the mesh or on how they were saved. All
    processes call it; process 0 takes it, and no device holds a stacked weight whole.
    """
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        digest.update(f"{_name(path)} {leaf.shape} {leaf.dtype}\n".encode())
        for part in distributed.to_primary(leaf):
            digest.update(np.ascontiguousarray(part).view(np.uint8).data)
    return distributed.from_primary("digest of parameters", digest.hexdigest)


def _remove_unfinished(directory: pathlib.Path) -> None:
    """Frees the space of what a killed save left; Orbax would, but at its leisure."""
    if distributed.is_primary():
        for path in directory.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(path)


def _items(state: TrainState) -> dict[str, Any]:
    """What a state's checkpoint holds, by name."""
    names = ("step", "opt_state", "health")
    items = {
        _PARAMS: state.params,
        _OPTIMIZER: {name: getattr(state, name) for name in names},
    }
    return items if state.ema is None else items | {_EMA: state.ema}


def _best(checkpoints: Sequence[Any], metric: str) -> int | None:
    found = [
        (one.metrics[metric], -one.step)
        for one in checkpoints
        if one.metrics and metric in one.metrics
    ]
    return -min(found)[1] if found else None


def _saved_items(path: pathlib.Path) -> dict[str, Any]:
    return ocp.checkpointables_metadata(path.absolute()).metadata


def _load(path: pathlib.Path, items: dict[str, Any]) -> dict[str, Any]:
    """Loads named trees, once their leaves are known to be the checkpoint's."""
    saved = _saved_items(path)
    for item, tree in items.items():
        if item not in saved:
            raise UserError(f"{path} holds no {item}, only {', '.join(saved)}.")
        _check_leaves(path, item, _shapes(saved[item]), _shapes(tree))
    return ocp.load_checkpointables(path.absolute(), items)


def _check_leaves(
    path: pathlib.Path, item: str, saved: dict[str, tuple], wanted: dict[str, tuple]
) -> None:
    for name in sorted(saved.keys() | wanted.keys()):
        if saved.get(name) != wanted.get(name):
            found, expected = (
                "nothing" if shape is None else f"shape {shape}"
                for shape in (saved.get(name), wanted.get(name))
            )
            raise UserError(
                f"{path} is a checkpoint of another model: {item}/{name} has {found}, "
                f"expected {expected}. Use the configuration that it was trained with, "
                f"or remove {path.parent} to train anew."
            )


def _shapes(tree: Any) -> dict[str, tuple]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {_name(path): tuple(leaf.shape) for path, leaf in leaves}


def _name(path: tuple[Any, ...]) -> str:
    """A leaf's path, alike for dictionaries, sequences and named tuples."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


@contextlib.contextmanager
def _orbax_is_silent() -> Iterator[None]:
    """Turns Orbax's log off: a thousand lines on an error that is raised anyway."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _errors(directory: pathlib.Path) -> Iterator[None]:
    """Says plainly that the disk is full."""
    try:
        yield
    except (OSError, ValueError) as error:
        if "No space left" not in str(error) and "quota exceeded" not in str(error):
            raise
        raise UserError(
            f"No space left on the disk while saving a checkpoint in {directory}. "
            "Those finished before are intact: free some space and run the same "
            "command again."
        ) from error
