"""Checkpoints: Orbax, written behind the training's back, whole or absent.

A directory of checkpoints holds one directory a step, with the parameters apart from
the optimizer's state, so that another stage can start from the parameters alone. Orbax
writes under a temporary name and renames when a checkpoint is whole.
"""

import contextlib
import hashlib
import logging
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from xinst_jax import distributed
from xinst_jax.errors import UserError
from xinst_jax.models.decoder import Params
from xinst_jax.train.state import TrainState

_PARAMS, _OPTIMIZER = "params", "optimizer"


class Checkpoints:
    """The checkpoints of one training run; close it, or use it in a `with` block."""

    def __init__(self, directory: pathlib.Path, keep: int = 2):
        """Opens a directory, made if missing; what a killed save left is removed.

        Args:
          directory: where the checkpoints are.
          keep: how many of the newest are kept.
        """
        self.directory = directory
        _remove_unfinished(directory)
        self._open = contextlib.ExitStack()
        self._open.enter_context(_orbax_is_silent())
        policies = ocp.training.preservation_policies
        self._checkpointer = ocp.training.Checkpointer(
            directory.absolute(),
            preservation_policy=policies.LatestN(keep),
        )

    def latest(self) -> int | None:
        """The step of the newest whole checkpoint; None if there is none."""
        newest = self._checkpointer.latest
        return None if newest is None else newest.step

    def save(self, step: int, state: TrainState, wait: bool = False) -> None:
        """Saves a state; returns once it is copied, unless `wait`, and writes on.

        Raises:
          UserError: the disk was full, now or while the one before was written.
        """
        items = {_PARAMS: state.params, _OPTIMIZER: _optimizer_item(state)}
        with _errors(self.directory):
            saving = self._checkpointer.save_checkpointables_async(
                step, items, force=True
            )
            if wait and saving is not None:
                saving.result()

    def restore(self, step: int, abstract: TrainState) -> TrainState:
        """The state saved at a step, divided as `abstract` is, on any mesh.

        Raises:
          UserError: the checkpoint is of another model.
        """
        items = {_PARAMS: abstract.params, _OPTIMIZER: _optimizer_item(abstract)}
        loaded = _load(self.directory / str(step), items)
        optimizer = loaded[_OPTIMIZER]
        return TrainState(optimizer["step"], loaded[_PARAMS], optimizer["opt_state"])

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


def restore_params(directory: pathlib.Path, abstract: Params) -> Params:
    """The parameters of a directory's newest checkpoint, whoever saved them.

    Args:
      directory: of a training run's checkpoints, or written by `save_params`.
      abstract: `jax.ShapeDtypeStruct`s with the dtypes and shardings wanted.

    Raises:
      UserError: there is no checkpoint, or it is of another model.
    """
    with contextlib.closing(ocp.training.Checkpointer(directory.absolute())) as found:
        newest = found.latest
    if newest is None:
        raise UserError(
            f"No checkpoint in {directory}. Run the stage that trains this model."
        )
    return _load(directory / str(newest.step), {_PARAMS: abstract})[_PARAMS]


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

    It depends on the numbers alone, not on the mesh or on how they were saved.
    """
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        digest.update(f"{_name(path)} {leaf.shape} {leaf.dtype}\n".encode())
        if leaf.is_fully_addressable:
            value = jax.device_get(leaf)
        else:
            value = multihost_utils.process_allgather(leaf, tiled=True)
        digest.update(np.ascontiguousarray(value).view(np.uint8).data)
    return digest.hexdigest()


def _remove_unfinished(directory: pathlib.Path) -> None:
    """Frees the space of what a killed save left; Orbax would, but at its leisure."""
    if distributed.is_primary():
        for path in directory.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(path)


def _optimizer_item(state: TrainState) -> dict[str, Any]:
    return {"step": state.step, "opt_state": state.opt_state}


def _load(path: pathlib.Path, items: dict[str, Any]) -> dict[str, Any]:
    """Loads named trees, once their leaves are known to be the checkpoint's."""
    saved = ocp.checkpointables_metadata(path.absolute()).metadata
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
