"""A model's folder in Hugging Face's format, read into sharded arrays and written."""

import contextlib
import dataclasses
import errno
import functools
import json
import math
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import ml_dtypes
import numpy as np
import tokenizers
from jax.experimental import multihost_utils

from xinst_jax.config import ModelConfig
from xinst_jax.errors import UserError
from xinst_jax.hf import config as config_lib
from xinst_jax.hf import mapping, safetensors
from xinst_jax.hf.config import SpecialIds
from xinst_jax.hf.mapping import Row
from xinst_jax.hf.tokenizer import TOKENIZER, padding_id
from xinst_jax.mesh import ShardingRules
from xinst_jax.models import decoder as decoder_lib
from xinst_jax.models.decoder import Params

_UNUSED = ".rotary_emb.inv_freq"
_LEGAL = ("LICENSE", "LICENSE.txt", "LICENSE.md", "USE_POLICY.md", "NOTICE")
_DTYPES = {"bfloat16": ml_dtypes.bfloat16, "float32": np.float32}
_FILE_DTYPES = {"bfloat16": "BF16", "float32": "F32"}
_FLOATS = ("BF16", "F16", "F32")


def import_params(
    folder: pathlib.Path,
    model: ModelConfig,
    rules: ShardingRules,
    mesh: jax.sharding.Mesh,
) -> Params:
    """The weights of a folder as sharded parameters.

    Each device's part is read from the disk by itself, so that no more than one of
    them is on the host at a time. Rows of the embedding beyond the folder's are zero.

    Args:
      folder: a Hugging Face folder with safetensors weights of a Llama.
      model: the decoder's shape, of `config.read(folder)`; `vocab_size` may be larger.
      rules: how logical axes lie on the mesh.
      mesh: the devices.

    Raises:
      UserError: a tensor is missing, left over, of another shape or not of floats; the
        weights are damaged or pickled.
    """
    pieces = config_lib.read(folder).vocab_size
    weights = safetensors.Weights(folder)
    abstract = decoder_lib.abstract_params(model, rules, mesh)
    leaves = mapping.leaves(abstract)
    rows = {row.path: row for row in mapping.FAMILIES[model.family]}
    expected = _shapes(model.family, leaves, pieces)
    names = [name for name in weights.files if not name.endswith(_UNUSED)]
    mapping.check(expected, {name: weights.shape(name) for name in names}, str(folder))
    for name in names:
        if weights.dtype(name) not in _FLOATS:
            raise UserError(
                f"{weights.files[name]}: the tensor {name} is of the type "
                f"{weights.dtype(name)}; expected one of {', '.join(_FLOATS)}. "
                "Quantised models cannot be trained."
            )

    def leaf(path: Any, shape: jax.ShapeDtypeStruct) -> jax.Array:
        row = rows[jax.tree_util.keystr(path, simple=True, separator="/")]
        return _read_leaf(row, shape, weights, pieces)

    return jax.tree_util.tree_map_with_path(leaf, abstract)


def _read_leaf(
    row: Row, leaf: jax.ShapeDtypeStruct, weights: safetensors.Weights, pieces: int
) -> jax.Array:
    sizes = row.sizes(leaf.shape)
    names = row.names(leaf.shape)

    def piece(name: str, index: tuple[slice, ...]) -> np.ndarray:
        wanted = dict(zip(sizes, index, strict=True))
        shape = [part.stop - part.start for part in index]
        if "v" in wanted:
            start, stop = wanted["v"].start, wanted["v"].stop
            wanted["v"] = slice(min(start, pieces), min(stop, pieces))
        part = row.from_tensor(functools.partial(weights.read, name), wanted, sizes)
        part = part.astype(leaf.dtype)
        missing = [(0, size - own) for size, own in zip(shape, part.shape, strict=True)]
        return np.pad(part, missing)

    def shard(index: tuple[slice, ...] | None) -> np.ndarray:
        assert index is not None
        whole = tuple(
            slice(*part.indices(size)[:2])
            for part, size in zip(index, leaf.shape, strict=True)
        )
        if not row.stacked:
            return piece(names[0], whole)
        return np.stack([piece(name, whole[1:]) for name in names[whole[0]]])

    return jax.make_array_from_callback(leaf.shape, leaf.sharding, shard)


def export_folder(
    folder: pathlib.Path,
    params: Params,
    model: ModelConfig,
    *,
    dtype: str,
    vocab_size: int,
    special: SpecialIds,
    tokenizer: Mapping[str, bytes],
    card: str,
    shard_bytes: int,
    base: pathlib.Path | None = None,
) -> None:
    """Writes a model's folder, whole or not at all; equal weights give equal bytes.

    One shard is on the host at a time. The folder is written beside its place, opened
    again and compared with what it should hold, and renamed. With several processes
    all must call this, and the first one writes.

    Args:
      folder: where it goes; one that exists is replaced.
      params: the weights, sharded or not.
      model: the decoder's shape.
      dtype: of the written weights, 'bfloat16' (rounded to nearest even) or 'float32'.
      vocab_size: rows of the written embedding: the tokenizer's size, or the base
        model's; further rows, which are padding, are left out.
      special: the special ids; without one for padding, the tokenizer's is taken.
      tokenizer: contents of the tokenizer's files, by name.
      card: contents of README.md.
      shard_bytes: largest weights file, in bytes.
      base: folder of the base model, whose other settings and licence files are kept.

    Raises:
      UserError: the tokenizer does not fit, a weight is not finite, the disk is full.
    """
    if special.pad is None:
        special = dataclasses.replace(special, pad=padding_id(tokenizer))
    _check_tokenizer(tokenizer, vocab_size, special)
    leaves = mapping.leaves(params)
    placed = _placed(model.family, leaves)
    shapes = _shapes(model.family, leaves, vocab_size)
    width = np.dtype(_DTYPES[dtype]).itemsize
    numbers = {name: math.prod(shape) for name, shape in shapes.items()}
    sizes = {name: count * width for name, count in numbers.items()}
    plan = safetensors.plan_shards(sizes, shard_bytes)
    kept = config_lib.read_base(base) if base else {}
    record = config_lib.config_record(model, vocab_size, special, dtype, kept)
    files = {
        **tokenizer,
        config_lib.CONFIG: _json(record),
        config_lib.GENERATION: _json(config_lib.generation_record(special)),
        "README.md": card.encode(),
        **legal_files(base),
    }
    if len(plan) > 1:
        total = sum(numbers.values())
        files[safetensors.INDEX] = _json(safetensors.index_record(plan, sizes, total))
    with _written_whole(folder) as temporary:
        for file, names in plan.items():
            shard = {}
            for name in names:
                row, block = placed[name]
                tensor = _tensor(row, leaves[row.path], block, vocab_size)
                shard[name] = _converted(tensor, name, dtype)
            if temporary:
                safetensors.write_file(temporary / file, shard)
        if temporary:
            for file, content in files.items():
                _write(temporary / file, content)
            _verify(temporary, shapes, dtype)


def _shapes(
    family: str, leaves: Mapping[str, Any], pieces: int
) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor in a folder with an embedding of `pieces` rows."""
    return {
        name: row.tensor_shape(row.sizes(leaves[row.path].shape) | {"v": pieces})
        for name, (row, _) in _placed(family, leaves).items()
    }


def _placed(family: str, leaves: Mapping[str, Any]) -> dict[str, tuple[Row, int]]:
    shapes = {path: leaf.shape for path, leaf in leaves.items()}
    return mapping.tensors(mapping.FAMILIES[family], shapes)


def _tensor(row: Row, leaf: jax.Array, block: int, pieces: int) -> np.ndarray:
    """A tensor of the folder in the parameters' dtype, on every process's host."""
    tensor = row.to_tensor(_fetch(leaf, block if row.stacked else None))
    return tensor[:pieces] if row.axes.startswith("v") else tensor


def _converted(tensor: np.ndarray, name: str, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        tensor = tensor.astype(_DTYPES[dtype])
    if not np.isfinite(tensor).all():
        raise UserError(
            f"The weights of {name} hold NaN or infinity as {dtype}: the checkpoint is "
            "of no use. Look at its training's losses."
        )
    return tensor


@jax.jit
def _block(leaf: jax.Array, block: int) -> jax.Array:
    return jax.lax.dynamic_index_in_dim(leaf, block, keepdims=False)


def _fetch(leaf: jax.Array, block: int | None) -> np.ndarray:
    """One block's part of a leaf, or all of it, on every process's host."""
    if block is not None:
        leaf = _block(leaf, block)
    if leaf.is_fully_addressable:
        return np.asarray(leaf)
    return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))


def _check_tokenizer(
    files: Mapping[str, bytes], vocab_size: int, special: SpecialIds
) -> None:
    tokenizer = tokenizers.Tokenizer.from_str(files[TOKENIZER].decode())
    ids = [*tokenizer.get_vocab(with_added_tokens=True).values(), *special.stops]
    ids += [index for index in (special.bos, special.pad) if index is not None]
    if max(ids) >= vocab_size:
        raise UserError(
            f"The tokenizer has the id {max(ids)}, but the model only {vocab_size} "
            "rows: they do not belong together. Export with the tokenizer that the "
            "model was trained with."
        )


def legal_files(base: pathlib.Path | None) -> dict[str, bytes]:
    """The licence and notices of a base model's folder, by file name."""
    if base is None:
        return {}
    present = [name for name in _LEGAL if (base / name).is_file()]
    return {name: (base / name).read_bytes() for name in present}


@contextlib.contextmanager
def _written_whole(folder: pathlib.Path) -> Iterator[pathlib.Path | None]:
    """Gives the writing process a directory, which becomes `folder` at the end."""
    if jax.process_index() > 0:
        yield None
        return
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"No space left on the disk while writing {folder}. Free some space "
                "and run the same command again."
            ) from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(path: pathlib.Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _verify(
    folder: pathlib.Path, shapes: Mapping[str, tuple[int, ...]], dtype: str
) -> None:
    """Opens what was written and compares names, shapes and dtypes."""
    weights = safetensors.Weights(folder)
    found = {name: weights.shape(name) for name in weights.files}
    mapping.check(shapes, found, str(folder))
    wrong = [name for name in found if weights.dtype(name) != _FILE_DTYPES[dtype]]
    if wrong:
        raise UserError(f"{folder}: {', '.join(wrong[:8])} not written as {dtype}.")


def _json(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=2, sort_keys=True) + "\n").encode()
