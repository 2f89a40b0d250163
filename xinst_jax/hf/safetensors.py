"""Weights in safetensors files: reading slices of them, and writing them in shards."""

import functools
import json
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from xinst_jax.errors import UserError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


class Weights:
    """The tensors of a folder, read slice by slice from the disk.

    Attributes:
      folder: the folder.
      files: the file that holds each tensor, by the tensor's name.
    """

    def __init__(self, folder: pathlib.Path):
        """Opens the folder's one file, or the shards that its index names.

        Raises:
          UserError: no safetensors files, a damaged one, or an index at odds with them.
        """
        self.folder = folder
        self._handle = functools.cache(_open)
        if (folder / INDEX).is_file():
            self.files = self._indexed(folder / INDEX)
        elif (folder / SINGLE).is_file():
            path = folder / SINGLE
            self.files = dict.fromkeys(self._handle(path).keys(), path)
        else:
            raise UserError(_no_weights(folder))

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        return tuple(self._slice(name).get_shape())

    def dtype(self, name: str) -> str:
        """A tensor's dtype as the file spells it: 'BF16', 'F32'."""
        return self._slice(name).get_dtype()

    def read(self, name: str, index: tuple[slice, ...] | None = None) -> np.ndarray:
        """A tensor, or the part of it that `index` names, in the file's dtype."""
        if index:
            return self._slice(name)[index]
        return self._handle(self.files[name]).get_tensor(name)

    def _slice(self, name: str) -> Any:
        return self._handle(self.files[name]).get_slice(name)

    def _indexed(self, path: pathlib.Path) -> dict[str, pathlib.Path]:
        try:
            weight_map = json.loads(path.read_bytes())["weight_map"]
            named = {tensor: str(file) for tensor, file in weight_map.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path} is not an index of safetensors shards ({error!r}); expected "
                'JSON with "weight_map", from tensor to file.'
            ) from error
        for file in sorted(set(named.values())):
            if pathlib.PurePath(file).name != file or "\\" in file:
                raise UserError(
                    f"{path} names the shard {file!r}, which is not a file name in its "
                    "own folder."
                )
            if not (self.folder / file).is_file():
                raise UserError(
                    f"{path} names the shard {file}, which is not in {self.folder}. "
                    "Download or copy the folder again."
                )
        files = {tensor: self.folder / file for tensor, file in named.items()}
        held = {
            (tensor, shard)
            for shard in set(files.values())
            for tensor in [*self._handle(shard).keys()]
        }
        wrong = sorted(
            f"{name} in {file.name}" for name, file in held ^ {*files.items()}
        )
        if wrong:
            raise UserError(
                f"{path} and its shards disagree about: {', '.join(wrong[:8])}."
            )
        return files


def plan_shards(sizes: Mapping[str, int], shard_bytes: int) -> dict[str, list[str]]:
    """Which tensors go into which file, in the order given.

    A file is closed when the next tensor would make it larger than `shard_bytes`; a
    tensor is never divided. One file has the name `SINGLE`.

    >>> list(plan_shards({"a": 3, "b": 3, "c": 3}, 6).items())[1]
    ('model-00002-of-00002.safetensors', ['c'])

    Args:
      sizes: bytes of each tensor.
      shard_bytes: largest file, in bytes of its tensors.
    """
    shards: list[list[str]] = [[]]
    held = 0
    for name, size in sizes.items():
        if held + size > shard_bytes and shards[-1]:
            shards.append([])
            held = 0
        shards[-1].append(name)
        held += size
    if len(shards) == 1:
        return {SINGLE: shards[0]}
    count = len(shards)
    return {
        f"model-{number:05d}-of-{count:05d}.safetensors": names
        for number, names in enumerate(shards, start=1)
    }


def write_file(path: pathlib.Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes one safetensors file; equal tensors give equal bytes.

    The header says `format: pt`, which older transformers ask for.

    Raises:
      OSError: it cannot be written; `errno` says why.
    """
    whole = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    try:
        safetensors.numpy.save_file(whole, path, metadata={"format": "pt"})
    except safetensors.SafetensorError as error:
        if number := re.search(r"os error (\d+)", str(error)):
            raise OSError(int(number[1]), str(error), str(path)) from error
        raise
    path.chmod(0o644)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def index_record(
    shards: Mapping[str, Sequence[str]], sizes: Mapping[str, int], parameters: int
) -> dict[str, object]:
    """The index of a folder of several shards, ready for JSON.

    Args:
      shards: tensor names by file, as `plan_shards` gives.
      sizes: bytes of each tensor.
      parameters: numbers in all tensors together.
    """
    weight_map = {name: file for file, names in shards.items() for name in names}
    return {
        "metadata": {
            "total_parameters": parameters,
            "total_size": sum(sizes.values()),
        },
        "weight_map": dict(sorted(weight_map.items())),
    }


def _open(path: pathlib.Path) -> Any:
    try:
        return safetensors.safe_open(path, framework="numpy").__enter__()
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is not a whole safetensors file ({error}). Download or copy it "
            "again."
        ) from error


def _no_weights(folder: pathlib.Path) -> str:
    pickled = sorted(
        path.name
        for path in folder.glob("*")
        if path.suffix in _PICKLED and "training_args" not in path.name
    )
    if pickled:
        return (
            f"{folder} holds its weights as pickled files ({', '.join(pickled[:4])}), "
            "which can run any code when they are opened. Use a safetensors version of "
            "the model."
        )
    return f"{folder} has neither {SINGLE} nor {INDEX}."
