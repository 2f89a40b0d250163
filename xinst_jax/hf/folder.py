"""A model's folder in Hugging Face's format, read into sharded arrays and written."""

import concurrent.futures
import dataclasses
import functools
import json
import math
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from xinst_jax import distributed, manifest
from xinst_jax.config import ModelConfig
from xinst_jax.errors import UserError
from xinst_jax.hf import (
    boxes,
    fit,
    importable,
    licences,
    mapping,
    safetensors,
    whole,
)
from xinst_jax.hf import config as config_lib
from xinst_jax.hf.boxes import Box
from xinst_jax.hf.config import SpecialIds
from xinst_jax.hf.mapping import Row
from xinst_jax.hf.tokenizer import TOKENIZER, padding_id
from xinst_jax.mesh import ShardingRules
from xinst_jax.models import decoder as decoder_lib
from xinst_jax.models.decoder import Params

_LARGE_FILES = ("*.safetensors", "tokenizer.json")
_NOTICE = "NOTICE"
_FILE_DTYPES = {"bfloat16": "BF16", "float32": "F32"}
_DAMAGED = "The disk has damaged what was written; run the same command again."
_PART_BYTES = 1 << 22
_THREADS = min(4, os.cpu_count() or 1)
_ALIGNMENT = 64


def import_params(
    folder: pathlib.Path,
    model: ModelConfig,
    rules: ShardingRules,
    mesh: jax.sharding.Mesh,
) -> Params:
    """The weights of a folder as sharded parameters.

    A process reads the bytes of its own devices' parts and no others, pieces of a few
    tensors at a time, into the memory that the parameters then have (on accelerators:
    one leaf's, before it moves there). Rows of the embedding beyond the folder's are
    zero. A tied model's folder may hold a copy of the embedding as its head; to know
    that it is one, every process first reads both tensors whole. Of a model that also
    reads images the text half is read; `importable.left_out` says what is not.

    Args:
      folder: a Hugging Face folder with safetensors weights.
      model: the decoder's shape, of `config.read(folder)`; `vocab_size` may be larger.
      rules: how logical axes lie on the mesh.
      mesh: the devices.

    Raises:
      UserError: a tensor is missing, left over, of another shape or not of floats; the
        weights are damaged or pickled; the tokenizer has ids that the embedding lacks.
        All of it before weights are read, but for a head that is no copy.
    """
    pieces = config_lib.read(folder).vocab_size
    weights = importable.check(folder, dataclasses.replace(model, vocab_size=pieces))
    abstract = decoder_lib.abstract_params(model, rules, mesh)
    rows = {row.path: row for row in mapping.FAMILIES[model.family]}

    def leaf(path: Any, shape: jax.ShapeDtypeStruct) -> jax.Array:
        row = rows[jax.tree_util.keystr(path, simple=True, separator="/")]
        return _read_leaf(row, shape, weights, pieces)

    return jax.tree_util.tree_map_with_path(leaf, abstract)


def _read_leaf(
    row: Row, leaf: jax.ShapeDtypeStruct, weights: safetensors.Weights, pieces: int
) -> jax.Array:
    places = {
        device: boxes.of(index, leaf.shape)
        for device, index in leaf.sharding.addressable_devices_indices_map(
            leaf.shape
        ).items()
    }
    parts = {
        box: _aligned_zeros(boxes.lengths(box), leaf.dtype)
        for box in set(places.values())
    }
    sizes = row.sizes(leaf.shape) | {"v": pieces}

    def read_block(block: int, name: str) -> None:
        _read_tensor(row, name, weights, sizes, _of_block(row, parts, block))

    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        names = row.names(leaf.shape)
        for done in [pool.submit(read_block, *pair) for pair in enumerate(names)]:
            done.result()
    arrays = [jax.device_put(parts[box], device) for device, box in places.items()]
    read = jax.make_array_from_single_device_arrays(leaf.shape, leaf.sharding, arrays)
    return jax.block_until_ready(read)


def _of_block(
    row: Row, parts: Mapping[Box, np.ndarray], block: int
) -> dict[Box, np.ndarray]:
    """What a leaf's parts hold of one block, without the axis that stacks blocks."""
    if not row.stacked:
        return dict(parts)
    return {
        box[1:]: part[block - box[0][0]]
        for box, part in parts.items()
        if box[0][0] <= block < box[0][1]
    }


def _read_tensor(
    row: Row,
    name: str,
    weights: safetensors.Weights,
    sizes: Mapping[str, int],
    parts: Mapping[Box, np.ndarray],
) -> None:
    """Fills the parts of one block with what a tensor has for them."""
    everything = tuple((0, sizes[letter]) for letter in row.leaf_axes)
    wanted = [box for part in parts if (box := boxes.common(part, everything))]
    for box in boxes.joined(wanted) if wanted else ():
        for piece in _pieces(row, box, weights.item_bytes(name)):
            source = row.from_tensor(
                functools.partial(weights.read, name),
                {a: slice(*ends) for a, ends in zip(row.leaf_axes, piece, strict=True)},
                sizes,
            )
            for target_box, target in parts.items():
                boxes.copy_common(target_box, target, piece, source)


def _pieces(row: Row, box: Box, width: int) -> Iterator[Box]:
    """A box of a block in pieces of about `_PART_BYTES`, each whole rows of the tensor.

    Args:
      width: bytes of one number.
    """
    axis = row.leaf_axes.index(row.dimensions[0][0])
    lengths = boxes.lengths(box)
    row_bytes = width * math.prod(lengths) // lengths[axis]
    return boxes.cut(box, axis, max(1, _PART_BYTES // row_bytes))


def _aligned_zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Zeros that begin where the CPU's devices use them in place, without a copy."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    held = np.zeros(size + _ALIGNMENT, np.uint8)
    start = -held.ctypes.data % _ALIGNMENT
    return held[start : start + size].view(dtype).reshape(shape)


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
    lineage: Mapping[str, Any] | None = None,
) -> None:
    """Writes a model's folder, whole or not at all; equal weights give equal bytes.

    On the CPU a few pieces of a tensor are held beyond the parameters; on accelerators
    one tensor is gathered at a time. The folder is written beside its place, opened
    again and compared with what it should hold, and renamed. A caller from Python with
    several processes calls this in all of them, and the first one writes.

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
      base: folder of the base model, whose other settings and licence files are kept;
        of one that also reads images, the text half's.
      lineage: what the model was made from, ready for JSON, for `xinst_run.json`.

    Raises:
      UserError: the tokenizer does not fit, a weight is not finite, the disk is full.
    """
    if special.pad is None:
        special = dataclasses.replace(special, pad=padding_id(tokenizer))
    ids = (special.bos, special.pad, *special.stops)
    fit.check_tokenizer(tokenizer[TOKENIZER], vocab_size, ids)
    leaves = mapping.leaves(params)
    placed = _placed(model.family, leaves)
    shapes = mapping.expected_shapes(dataclasses.replace(model, vocab_size=vocab_size))
    numbers = {name: math.prod(shape) for name, shape in shapes.items()}
    kind = safetensors.FLOATS[_FILE_DTYPES[dtype]]
    sizes = {name: count * kind.itemsize for name, count in numbers.items()}
    plan = safetensors.plan_shards(sizes, shard_bytes)
    kept = config_lib.read_text(base) if base else {}
    record = config_lib.config_record(model, vocab_size, special, dtype, kept)
    files = {
        **tokenizer,
        config_lib.CONFIG: _json(record),
        config_lib.GENERATION: _json(config_lib.generation_record(special)),
        "README.md": card.encode(),
        ".gitattributes": _large_files(),
        **legal_files(base),
    }
    files |= lineage_file(lineage)
    if len(plan) > 1:
        total = sum(numbers.values())
        files[safetensors.INDEX] = _json(safetensors.index_record(plan, sizes, total))

    def parts(names: Iterable[str]) -> Iterator[np.ndarray]:
        for name in names:
            row, block = placed[name]
            leaf = leaves[row.path]
            yield from _tensor_parts(row, leaf, block, vocab_size, name, kind)

    if not distributed.is_primary():
        for names in plan.values():
            for _ in parts(names):
                pass
        return
    with whole.written_whole(folder, sum(sizes.values())) as temporary:
        for file, names in plan.items():
            described = {name: (_FILE_DTYPES[dtype], shapes[name]) for name in names}
            safetensors.write_parts(temporary / file, described, parts(names))
        for file, content in files.items():
            whole.write_file(temporary / file, content)
        _verify(temporary, shapes, dtype)


def _placed(family: str, leaves: Mapping[str, Any]) -> dict[str, tuple[Row, int]]:
    shapes = {path: leaf.shape for path, leaf in leaves.items()}
    return mapping.tensors(mapping.FAMILIES[family], shapes)


def _tensor_parts(
    row: Row, leaf: jax.Array, block: int, pieces: int, name: str, dtype: np.dtype
) -> Iterator[np.ndarray]:
    """A tensor of the folder, some of its rows at a time, checked to be finite."""
    sizes = row.sizes(leaf.shape) | {"v": pieces}
    order = "".join(row.dimensions)
    turned = [order.index(letter) for letter in row.leaf_axes]
    held = _on_host(row, leaf, block)
    everything = tuple((0, sizes[letter]) for letter in row.leaf_axes)
    for piece in _pieces(row, everything, dtype.itemsize):
        lengths = dict(zip(row.leaf_axes, boxes.lengths(piece), strict=True))
        tensor = np.empty([lengths[letter] for letter in order], dtype)
        for box, part in held.items():
            boxes.copy_common(piece, tensor.transpose(turned), box, part)
        _check_finite(tensor, name)
        yield tensor


def _on_host(row: Row, leaf: jax.Array, block: int) -> dict[Box, np.ndarray]:
    """Disjoint parts of one block's leaf that are together all of it, by their boxes.

    On the CPU they are the devices' own memory. From accelerators, or where other
    processes hold a part, the block alone is fetched, by every process.
    """
    if leaf.is_fully_addressable and _of_cpu(leaf):
        parts = {
            boxes.of(shard.index, leaf.shape): np.asarray(shard.data)
            for shard in leaf.addressable_shards
            if shard.replica_id == 0
        }
        return _of_block(row, parts, block)
    if row.stacked:
        leaf = _block(leaf, block)
    fetched = distributed.to_host(leaf)
    return {tuple((0, size) for size in fetched.shape): fetched}


def _of_cpu(leaf: jax.Array) -> bool:
    return all(shard.device.platform == "cpu" for shard in leaf.addressable_shards)


@jax.jit
def _block(leaf: jax.Array, block: int) -> jax.Array:
    return jax.lax.dynamic_index_in_dim(leaf, block, keepdims=False)


def _check_finite(tensor: np.ndarray, name: str) -> None:
    if tensor.dtype == np.float32:
        finite = np.isfinite(tensor).all()
    else:
        # The bits of bfloat16 are ordered as its magnitudes are, infinity and NaN last.
        finite = (
            tensor.view(np.int16).max() < 0x7F80
            and tensor.view(np.uint16).max() < 0xFF80
        )
    if not finite:
        raise UserError(
            f"The weights of {name} hold NaN or infinity as {tensor.dtype}: the "
            "checkpoint is of no use. Look at its training's losses."
        )


def legal_files(base: pathlib.Path | None) -> dict[str, bytes]:
    """The licence and notices of a base model's folder, by file name.

    A notice that the licence wants in every copy is written where the folder has none.
    """
    if base is None:
        return {}
    present = {path for pattern in licences.LEGAL for path in base.glob(pattern)}
    files = {path.name: path.read_bytes() for path in present if path.is_file()}
    licence = licences.of_base(base)
    terms = licences.TERMS.get(licence.title) if licence else None
    if terms and not any(name.upper().startswith(_NOTICE) for name in files):
        files[_NOTICE] = f"{terms.notice}\n".encode()
    return files


def lineage_file(lineage: Mapping[str, Any] | None) -> dict[str, bytes]:
    """What a folder was made from, as a file by its name; nothing where it is None."""
    return {manifest.LINEAGE: _json(lineage)} if lineage else {}


def _large_files() -> bytes:
    lines = (f"{name} filter=lfs diff=lfs merge=lfs -text\n" for name in _LARGE_FILES)
    return "".join(lines).encode()


def _verify(
    folder: pathlib.Path, shapes: Mapping[str, tuple[int, ...]], dtype: str
) -> None:
    """Opens what was written and compares names, shapes, dtypes and sizes of files."""
    weights = safetensors.Weights(folder)
    found = {name: weights.shape(name) for name in weights.files}
    mapping.check(shapes, found, weights.listed, _DAMAGED, weights.files)
    wrong = [name for name in found if weights.dtype(name) != _FILE_DTYPES[dtype]]
    if wrong:
        file = weights.files[wrong[0]]
        names = ", ".join(wrong[:8])
        raise UserError(f"{file}: {names} not written as {dtype}. {_DAMAGED}")


def _json(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=2, sort_keys=True) + "\n").encode()
