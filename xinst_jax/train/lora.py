"""Low-rank adapters: what is trained in place of the weights, and how both become one.

Hu et al., *LoRA: Low-Rank Adaptation of Large Language Models*, arXiv 2106.09685.
Beside a weight W, which stays as it is, lie A and B of a small rank r; the model
multiplies by W + alpha / r * A B without ever making that sum. The adapters of a weight
lie where it lies in the tree of parameters: those of `layers/mlp/down_lfd` are
`layers/mlp/down_a_lfr` and `layers/mlp/down_b_lrd`.
"""

import dataclasses
import functools
import math
import zlib
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh, NamedSharding

from xinst_jax.config import LoraConfig, ModelConfig
from xinst_jax.mesh import ShardingRules
from xinst_jax.models import decoder as decoder_lib
from xinst_jax.models.decoder import Decoder, Params
from xinst_jax.models.layers import Adapted


@dataclasses.dataclass(frozen=True)
class Matrix:
    """A or B of one weight.

    Attributes:
      name: the leaf's name, which ends in its axes.
      shape: its shape, all blocks together.
      axes: the logical names of its axes.
    """

    name: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Target:
    """A weight that has adapters.

    Attributes:
      module: the keys of the dictionary that holds the weight.
      weight: its name there, 'down_lfd'.
      a: from the weight's input axes to the rank.
      b: from the rank to its output axes.
    """

    module: tuple[str, ...]
    weight: str
    a: Matrix
    b: Matrix


@functools.cache
def targets(
    model: ModelConfig, rules: ShardingRules, lora: LoraConfig
) -> tuple[Target, ...]:
    """The weights of a decoder that get adapters; called under `jax.set_mesh`."""
    made = nnx.eval_shape(lambda: Decoder(model, rules, rngs=nnx.Rngs(0)))
    found = []
    for path, param in nnx.to_flat_state(nnx.split(made)[1]):
        stem, _, letters = str(path[-1]).rpartition("_")
        if stem in lora.targets:
            axes = param.get_metadata("axes")
            module = tuple(str(key) for key in path[:-1])
            found.append(_target(module, stem, letters, param.shape, axes, lora.rank))
    return tuple(found)


def _target(
    module: tuple[str, ...],
    stem: str,
    letters: str,
    shape: tuple[int, ...],
    axes: tuple[str, ...],
    rank: int,
) -> Target:
    """Cuts a weight's axes into input and output: one of the two is the width D."""
    cut = 2 if letters[1] == "d" else len(letters) - 1
    a = Matrix(
        f"{stem}_a_{letters[:cut]}r", (*shape[:cut], rank), (*axes[:cut], "rank")
    )
    b = Matrix(
        f"{stem}_b_lr{letters[cut:]}",
        (shape[0], rank, *shape[cut:]),
        (axes[0], "rank", *axes[cut:]),
    )
    return Target(module, f"{stem}_{letters}", a, b)


def init_adapters(
    model: ModelConfig,
    rules: ShardingRules,
    mesh: Mesh,
    lora: LoraConfig,
    key: jax.Array,
) -> Params:
    """Adapters that change nothing yet: A random, B zero; the same on every mesh.

    A is normal with the variance 1 / (3 * inputs) of peft's uniform default, so that
    learning rates found with it hold here. Adapters are float32, whatever the weights.

    Raises:
      UserError: an adapter does not divide over the mesh.
    """
    with jax.set_mesh(mesh):
        return _init(model, rules, lora, key)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _init(
    model: ModelConfig, rules: ShardingRules, lora: LoraConfig, key: jax.Array
) -> Params:
    sizes = jax.sharding.get_abstract_mesh().shape
    adapters: dict[str, Any] = {}
    for target in targets(model, rules, lora):
        a, b = target.a, target.b
        own = jax.random.fold_in(
            key, zlib.crc32("/".join((*target.module, a.name)).encode())
        )
        std = (3 * math.prod(a.shape[1:-1])) ** -0.5
        a_spec = rules.divide(sizes, a.shape, a.axes)
        b_spec = rules.divide(sizes, b.shape, b.axes)
        leaves = _inside(adapters, target.module)
        leaves[a.name] = std * jax.random.normal(own, a.shape, out_sharding=a_spec)
        leaves[b.name] = jnp.zeros(b.shape, jnp.float32, out_sharding=b_spec)
    return adapters


def count(model: ModelConfig, lora: LoraConfig) -> int:
    """Numbers in the adapters of a model, whatever the mesh."""
    width, head = model.embed_dim, model.head_dim
    heads, groups = model.num_heads * head, model.num_kv_heads * head
    sides = {
        "query": width + heads,
        "key": width + groups,
        "value": width + groups,
        "out": heads + width,
        "gate": width + model.mlp_dim,
        "up": width + model.mlp_dim,
        "down": model.mlp_dim + width,
    }
    return model.num_layers * lora.rank * sum(sides[name] for name in lora.targets)


def abstract_adapters(
    model: ModelConfig, rules: ShardingRules, mesh: Mesh, lora: LoraConfig
) -> Params:
    """Shapes, dtypes and shardings of the adapters, as `jax.ShapeDtypeStruct`s.

    Raises:
      UserError: an adapter does not divide over the mesh.
    """
    with jax.set_mesh(mesh):
        made = jax.eval_shape(lambda: _init(model, rules, lora, jax.random.key(0)))
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, leaf.sharding.spec)
        ),
        made,
    )


def bind(
    model: ModelConfig,
    rules: ShardingRules,
    lora: LoraConfig,
    frozen: Params,
    adapters: Params,
) -> Decoder:
    """The decoder with these weights and adapters, for use inside `jax.jit`."""
    decoder = decoder_lib.bind(model, rules, frozen)
    for target in targets(model, rules, lora):
        module: Any = functools.reduce(getattr, target.module, decoder)
        leaves = _inside(adapters, target.module)
        a, b = (
            nnx.Param(leaves[matrix.name], axes=matrix.axes)
            for matrix in (target.a, target.b)
        )
        weight = getattr(module, target.weight)
        setattr(module, target.weight, Adapted(weight, a, b, lora.scale))
    return decoder


def merge(
    model: ModelConfig,
    rules: ShardingRules,
    mesh: Mesh,
    lora: LoraConfig,
    frozen: Params,
    adapters: Params,
) -> Params:
    """The weights W + alpha / r * A B; their memory is taken over.

    Sums are made in float32 and kept in the weights' dtype, one weight at a time.
    """
    merged: Any = jax.tree.map(lambda leaf: leaf, frozen)
    with jax.set_mesh(mesh):
        for target in targets(model, rules, lora):
            weights = _inside(merged, target.module)
            leaves = _inside(adapters, target.module)
            weights[target.weight] = _sum(
                target.weight.rpartition("_")[2],
                lora.scale,
                weights[target.weight],
                leaves[target.a.name],
                leaves[target.b.name],
            )
    return merged


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def _sum(
    letters: str, scale: float, w: jax.Array, a: jax.Array, b: jax.Array
) -> jax.Array:
    cut = a.ndim - 1
    product = jnp.einsum(
        f"{letters[:cut]}r,lr{letters[cut:]}->{letters}",
        a,
        b,
        precision=jax.lax.Precision.HIGHEST,
        out_sharding=jax.typeof(w).sharding.spec,
    )
    return (w.astype(jnp.float32) + scale * product).astype(w.dtype)


def _inside(tree: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    """The dictionary under these keys, made if missing."""
    for key in keys:
        tree = tree.setdefault(key, {})
    return tree
