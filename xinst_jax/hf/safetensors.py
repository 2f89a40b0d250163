"""Weights in safetensors files: reading parts of them, and writing them in shards."""

import concurrent.futures
import copy
import itertools
import json
import math
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import BinaryIO

import ml_dtypes
import numpy as np

from xinst_jax.errors import UserError
from xinst_jax.hf import header
from xinst_jax.hf.header import Entry

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

FLOATS = {
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F16": np.dtype(np.float16),
    "F32": np.dtype(np.float32),
}
"""The dtypes of weights that can be read, by the names that files have for them."""

_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


class Weights:
    """The tensors of a folder, read part by part from the disk.

    Nothing is mapped into memory: what is read is held by who asked for it, and no
    byte outside the parts asked for is read.

    Attributes:
      folder: the folder.
      listed: the file that says which tensors there are: the index, or the one file.
      files: the file that holds each tensor, by the tensor's name.
    """

    def __init__(self, folder: pathlib.Path):
        """Reads the headers of the folder's one file, or of its index's shards.

        A shard may be a symbolic link to anywhere, as in the Hugging Face cache; its
        name in the index must be one in the folder itself.

        Raises:
          UserError: no safetensors files, a damaged one, an index at odds with them, or
            an index beside the one file.
        """
        self.folder = folder
        if (folder / INDEX).is_file() and (folder / SINGLE).is_file():
            raise UserError(
                f"{folder} has both {SINGLE} and {INDEX}, which may be of two models. "
                "Remove the one that is not this model's, and its shards with an index."
            )
        if (folder / INDEX).is_file():
            self.listed = folder / INDEX
            names = _indexed(folder / INDEX)
            shards = {file: folder / file for file in sorted(set(names.values()))}
        elif (folder / SINGLE).is_file():
            self.listed = folder / SINGLE
            names = None
            shards = {SINGLE: folder / SINGLE}
        else:
            raise UserError(_no_weights(folder))
        held = {file: header.read(path) for file, path in shards.items()}
        if names is not None:
            _check_index(folder / INDEX, names, held)
        self.files = {
            name: shards[file] for file, entries in held.items() for name in entries
        }
        self._entries = {
            name: entry for entries in held.values() for name, entry in entries.items()
        }

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        return self._entries[name].shape

    def dtype(self, name: str) -> str:
        """A tensor's dtype as the file spells it: 'BF16', 'F32'."""
        return self._entries[name].dtype

    def item_bytes(self, name: str) -> int:
        """Bytes of one of a tensor's numbers."""
        return header.BITS[self.dtype(name)] // 8

    def size(self, name: str) -> int:
        """A tensor's bytes."""
        return math.prod(self.shape(name)) * header.BITS[self.dtype(name)] // 8

    def renamed(self, names: Mapping[str, str]) -> "Weights":
        """Some of the tensors, under other names.

        Args:
          names: the name that each has in the folder, by the new one.
        """
        chosen = copy.copy(self)
        chosen.files = {new: self.files[name] for new, name in names.items()}
        chosen._entries = {new: self._entries[name] for new, name in names.items()}
        return chosen

    def check_floats(self, names: Iterable[str]) -> None:
        """Checks that tensors can be read as weights.

        Raises:
          UserError: one is not of `FLOATS`, as those of quantised models are not.
        """
        wrong = [name for name in names if self.dtype(name) not in FLOATS]
        if wrong:
            name = wrong[0]
            more = f" (and {len(wrong) - 1} more like it)" if len(wrong) > 1 else ""
            raise UserError(
                f"{self.files[name]}: the tensor {name}{more} is of the type "
                f"{self.dtype(name)}; expected one of {', '.join(FLOATS)}. "
                "Quantised models cannot be trained."
            )

    def read(self, name: str, index: tuple[slice, ...] | None = None) -> np.ndarray:
        """A tensor, or the part of it that `index` names, in the file's dtype.

        Args:
          name: the tensor.
          index: a slice for each dimension, with steps of 1.

        Raises:
          UserError: the tensor is not of floats, or the file has become shorter.
        """
        self.check_floats([name])
        entry, path = self._entries[name], self.files[name]
        given = index or (slice(None),) * len(entry.shape)
        ranges = [
            part.indices(size)[:2]
            for part, size in zip(given, entry.shape, strict=True)
        ]
        part = np.empty([stop - start for start, stop in ranges], FLOATS[entry.dtype])
        if part.size:
            _read_runs(path, name, entry, ranges, part)
        return part


def _read_runs(
    path: pathlib.Path,
    name: str,
    entry: Entry,
    ranges: Sequence[tuple[int, int]],
    part: np.ndarray,
) -> None:
    """Reads the given ranges of a tensor's dimensions, one unbroken run at a time."""
    width = part.itemsize
    inner = len(ranges)
    while inner > 1 and ranges[inner - 1] == (0, entry.shape[inner - 1]):
        inner -= 1
    # Dimensions before `inner - 1` are gone through; that one and later ones are a run.
    steps = [math.prod(entry.shape[d + 1 :]) * width for d in range(len(ranges))]
    run = math.prod(part.shape[max(inner - 1, 0) :]) * width
    into = part.reshape(-1).view(np.uint8).data
    first = entry.start + sum(
        start * step for (start, _), step in zip(ranges, steps, strict=True)
    )
    outer = [range(size) for size in part.shape[: max(inner - 1, 0)]]
    with path.open("rb", buffering=0) as file:
        for number, place in enumerate(itertools.product(*outer)):
            offset = first + sum(
                i * step for i, step in zip(place, steps, strict=False)
            )
            target = into[number * run : (number + 1) * run]
            if not _read_fully(file.fileno(), target, offset):
                raise UserError(
                    f"{path} ends within the tensor {name}: it has become shorter "
                    "since it was opened. Download or copy it again."
                )


def _read_fully(descriptor: int, into: memoryview, offset: int) -> bool:
    """Fills a buffer from a file; False where the file ends first."""
    while into:
        count = os.preadv(descriptor, [into], offset)
        if not count:
            return False
        into, offset = into[count:], offset + count
    return True


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


def write_parts(
    path: pathlib.Path,
    tensors: Mapping[str, tuple[str, tuple[int, ...]]],
    parts: Iterable[np.ndarray],
) -> None:
    """Writes one safetensors file from parts, the next made while one is written.

    Args:
      path: the file.
      tensors: dtype, as the file spells it, and shape of each tensor, in their order.
      parts: contiguous arrays whose bytes, one after the other, are the tensors'.

    Raises:
      OSError: it cannot be written; `errno` says why.
    """
    begun = header.encode(tensors)
    bits = (math.prod(shape) * header.BITS[dtype] for dtype, shape in tensors.values())
    expected = len(begun) + sum(bits) // 8
    with path.open("wb") as file:
        with concurrent.futures.ThreadPoolExecutor(1) as writer:
            written = writer.submit(file.write, begun)
            for part in parts:
                content = part.reshape(-1).view(np.uint8).data
                written.result()
                written = writer.submit(file.write, content)
            written.result()
        _to_disk(file)
        if file.tell() != expected:
            raise ValueError(f"{path}: {file.tell()} bytes written, not {expected}")


def _to_disk(file: BinaryIO) -> None:
    file.flush()
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


def _indexed(path: pathlib.Path) -> dict[str, str]:
    """The file of each tensor, as an index says."""
    try:
        weight_map = json.loads(path.read_bytes())["weight_map"]
        named = {tensor: str(file) for tensor, file in weight_map.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} is not an index of safetensors shards ({error!r}); expected "
            'JSON with "weight_map", from tensor to file.'
        ) from error
    for tensor, file in named.items():
        plain = pathlib.PurePath(file).name == file and file not in ("", "..")
        if not plain or "\\" in file:
            raise UserError(
                f"{path} names the shard {file!r} for the tensor {tensor}, which is "
                "not a file name in its own folder."
            )
        if not (path.parent / file).is_file():
            raise UserError(
                f"{path} names the shard {file} for the tensor {tensor}, which is not "
                f"in {path.parent}. Download or copy the folder again."
            )
    return named


def _check_index(
    path: pathlib.Path,
    names: Mapping[str, str],
    held: Mapping[str, Mapping[str, Entry]],
) -> None:
    """Checks that each tensor is in the shard that the index names, and no other."""
    found = {(name, file) for file, entries in held.items() for name in entries}
    wrong = sorted(f"{name} in {file}" for name, file in found ^ {*names.items()})
    if wrong:
        more = f" and {len(wrong) - 8} more" if len(wrong) > 8 else ""
        raise UserError(
            f"{path} and its shards disagree about: {', '.join(wrong[:8])}{more}."
        )


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
