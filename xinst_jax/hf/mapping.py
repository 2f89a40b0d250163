"""Which tensor of a Hugging Face folder is which of our parameters, in both directions.

A row of the table names a tensor, the leaf of our parameters that it becomes (a part
of, where the leaf stacks all blocks), and the tensor's axes in our letters. Our own
axes end the leaf's name, so the row says everything that import and export do to the
numbers.
"""

import dataclasses
import itertools
import math
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from xinst_jax.config import ModelConfig
from xinst_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Row:
    """One kind of tensor.

    Attributes:
      name: the tensor's name; '{layer}' stands for a block's number, and such tensors
        are stacked along the leaf's leading axis.
      path: the leaf, its keys joined by '/'.
      axes: the tensor's axes; letters in parentheses are one of its dimensions:
        '(nh)d' is a matrix of N * H rows and D columns.
    """

    name: str
    path: str
    axes: str

    @property
    def stacked(self) -> bool:
        """Whether every block has such a tensor."""
        return "{layer}" in self.name

    @property
    def leaf_axes(self) -> str:
        """The leaf's axes, without the one that stacks blocks."""
        axes = self.path.rpartition("_")[2]
        return axes[1:] if self.stacked else axes

    @property
    def dimensions(self) -> list[str]:
        """The tensor's axes, dimension by dimension: '(nh)d' gives ['nh', 'd']."""
        return ["".join(found) for found in _DIMENSION.findall(self.axes)]

    def names(self, leaf_shape: Sequence[int]) -> list[str]:
        """The tensors that make up a leaf of this shape, in the order of its blocks."""
        if not self.stacked:
            return [self.name]
        return [self.name.format(layer=layer) for layer in range(leaf_shape[0])]

    def sizes(self, leaf_shape: Sequence[int]) -> dict[str, int]:
        """The length of each axis, by letter, of a leaf of this shape."""
        own = leaf_shape[1:] if self.stacked else leaf_shape
        return dict(zip(self.leaf_axes, own, strict=True))

    def tensor_shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The tensor's shape, for axes of these lengths."""
        return tuple(
            math.prod(sizes[letter] for letter in dimension)
            for dimension in self.dimensions
        )

    def to_tensor(self, part: np.ndarray) -> np.ndarray:
        """The tensor that one block's part of the leaf is written as.

        Example: axes '(nh)d' and a leaf of axes 'dnh' and shape (8, 2, 3) give a
        matrix (6, 8) whose row n * 3 + h is part[:, n, h].
        """
        sizes = dict(zip(self.leaf_axes, part.shape, strict=True))
        order = [self.leaf_axes.index(letter) for letter in "".join(self.dimensions)]
        return part.transpose(order).reshape(self.tensor_shape(sizes))

    def from_tensor(
        self,
        read: Callable[[tuple[slice, ...]], np.ndarray],
        wanted: Mapping[str, slice],
        sizes: Mapping[str, int],
    ) -> np.ndarray:
        """One block's part of the leaf, or a piece of it, out of a tensor.

        Args:
          read: gives a piece of the tensor.
          wanted: the piece of each axis, by letter, with start and stop.
          sizes: length of each axis, by letter.
        """
        outer, shape, inner = [], [], []
        for dimension in self.dimensions:
            first, rest = dimension[0], dimension[1:]
            width = math.prod(sizes[letter] for letter in rest)
            start, stop = wanted[first].start, wanted[first].stop
            outer.append(slice(start * width, stop * width))
            shape += [stop - start, *(sizes[letter] for letter in rest)]
            inner += [slice(None), *(wanted[letter] for letter in rest)]
        part = read(tuple(outer)).reshape(shape)[tuple(inner)]
        order = "".join(self.dimensions)
        return part.transpose([order.index(letter) for letter in self.leaf_axes])


_DIMENSION = re.compile(r"\(([a-z]+)\)|([a-z])")

EMBEDDING, HEAD = "embedding/table_vd", "head/table_vd"
"""The two leaves that a tied model has as one."""

_BLOCK = "model.layers.{layer}."

_ATTENTION = (
    Row(f"{_BLOCK}self_attn.q_proj.weight", "layers/attention/query_ldnh", "(nh)d"),
    Row(f"{_BLOCK}self_attn.k_proj.weight", "layers/attention/key_ldkh", "(kh)d"),
    Row(f"{_BLOCK}self_attn.v_proj.weight", "layers/attention/value_ldkh", "(kh)d"),
    Row(f"{_BLOCK}self_attn.o_proj.weight", "layers/attention/out_lnhd", "d(nh)"),
)
_BIASES = (
    Row(f"{_BLOCK}self_attn.q_proj.bias", "layers/attention/query_bias_lnh", "(nh)"),
    Row(f"{_BLOCK}self_attn.k_proj.bias", "layers/attention/key_bias_lkh", "(kh)"),
    Row(f"{_BLOCK}self_attn.v_proj.bias", "layers/attention/value_bias_lkh", "(kh)"),
)
_HEAD_NORMS = (
    Row(
        f"{_BLOCK}self_attn.q_norm.weight", "layers/attention/query_norm/scale_lh", "h"
    ),
    Row(f"{_BLOCK}self_attn.k_norm.weight", "layers/attention/key_norm/scale_lh", "h"),
)
_MLP = (
    Row(f"{_BLOCK}mlp.gate_proj.weight", "layers/mlp/gate_ldf", "fd"),
    Row(f"{_BLOCK}mlp.up_proj.weight", "layers/mlp/up_ldf", "fd"),
    Row(f"{_BLOCK}mlp.down_proj.weight", "layers/mlp/down_lfd", "df"),
)
_TWO_NORMS = {
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "mlp_norm",
}
_FOUR_NORMS = {
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "attention_post_norm",
    "pre_feedforward_layernorm": "mlp_norm",
    "post_feedforward_layernorm": "mlp_post_norm",
}
"""Our norm of each of Hugging Face's, which call by one name what is not the same."""


def _table(norms: Mapping[str, str], *of_attention: Row) -> tuple[Row, ...]:
    """A family's rows, in the order in which its tensors are written."""
    return (
        Row("model.embed_tokens.weight", EMBEDDING, "vd"),
        *_ATTENTION,
        *of_attention,
        *_MLP,
        *(
            Row(f"{_BLOCK}{theirs}.weight", f"layers/{ours}/scale_ld", "d")
            for theirs, ours in norms.items()
        ),
        Row("model.norm.weight", "final_norm/scale_d", "d"),
        Row("lm_head.weight", HEAD, "vd"),
    )


LLAMA = _table(_TWO_NORMS)
"""LlamaForCausalLM, and what has the same tensors.

Hugging Face's rotary layout is ours, so queries and keys need no permutation, and
Gemma's norms are kept as they are stored, without the 1 that is added to them.
"""

FAMILIES: dict[str, tuple[Row, ...]] = {
    "llama": LLAMA,
    "mistral": LLAMA,
    "gemma": LLAMA,
    "gemma2": _table(_FOUR_NORMS),
    "gemma3_text": _table(_FOUR_NORMS, *_HEAD_NORMS),
    "qwen2": _table(_TWO_NORMS, *_BIASES),
    "qwen3": _table(_TWO_NORMS, *_HEAD_NORMS),
}
"""The table of each family, by `ModelConfig.family`."""


def tensors(
    rows: Iterable[Row], leaf_shapes: Mapping[str, Sequence[int]]
) -> dict[str, tuple[Row, int]]:
    """Every tensor's row and block (0 where there are none), in the order written.

    Rows of one block stay together: embedding, blocks in turn, final norm, head. Rows
    without a leaf are left out, as the head is where it is tied to the embedding.

    Args:
      rows: a family's table.
      leaf_shapes: shape of each leaf, by path.
    """
    present = [row for row in rows if row.path in leaf_shapes]
    found = {}
    for _, group in itertools.groupby(present, lambda row: row.stacked):
        members = list(group)
        names = [row.names(leaf_shapes[row.path]) for row in members]
        for block, of_block in enumerate(zip(*names, strict=True)):
            for row, name in zip(members, of_block, strict=True):
                found[name] = (row, block)
    return found


def leaf_shapes(model: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The shape of each leaf that a family's table has for a model, by path.

    For a model with its family's switches they are those of
    `models.decoder.abstract_params`, told without a mesh.
    """
    sizes = _sizes(model)
    return {
        row.path: (
            *((model.num_layers,) if row.stacked else ()),
            *(sizes[letter] for letter in row.leaf_axes),
        )
        for row in FAMILIES[model.family]
        if not (model.tie_embeddings and row.path == HEAD)
    }


def expected_shapes(model: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor of a model's folder, by name, in the order written.

    A tied head is left out.
    """
    placed = tensors(FAMILIES[model.family], leaf_shapes(model))
    sizes = _sizes(model)
    return {name: row.tensor_shape(sizes) for name, (row, _) in placed.items()}


def _sizes(model: ModelConfig) -> dict[str, int]:
    """The length of each axis, by letter."""
    return {
        "v": model.vocab_size,
        "d": model.embed_dim,
        "f": model.mlp_dim,
        "n": model.num_heads,
        "k": model.num_kv_heads,
        "h": model.head_dim,
    }


def leaves(params: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves of nested dictionaries, by their keys joined with '/'."""
    flat = jax.tree_util.tree_flatten_with_path(params)[0]
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in flat
    }


def check(
    expected: Mapping[str, tuple[int, ...]],
    found: Mapping[str, tuple[int, ...]],
    place: pathlib.Path,
    advice: str,
    files: Mapping[str, pathlib.Path] | None = None,
) -> None:
    """Checks that a folder has exactly the expected tensors, in the expected shapes.

    Args:
      expected: shapes by tensor name.
      found: the same, as read.
      place: the file that says which tensors there are.
      advice: what errors say is to be done.
      files: the file that each tensor was found in; without it all are in `place`.

    Raises:
      UserError: a tensor is missing, left over, or of another shape.
    """
    missing = sorted(expected.keys() - found.keys())
    left_over = sorted(found.keys() - expected.keys())
    if missing or left_over:
        raise UserError(
            f"{place} has other tensors than expected. Missing tensors: "
            f"{_some(missing)}. Left over: {_some(left_over)}. {advice}"
        )
    for name, shape in expected.items():
        if found[name] != shape:
            file = files[name] if files else place
            raise UserError(
                f"{file}: the tensor {name} has shape {found[name]}, expected "
                f"{shape}. {advice}"
            )


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - 8} more" if len(listed) > 8 else ""
    return ", ".join(listed[:8]) + more if listed else "none"
