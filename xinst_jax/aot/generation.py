"""Generation, compiled for devices that need not be there: what a chip must hold."""

import dataclasses
from typing import Any

import jax
import numpy as np

from xinst_jax.aot import build
from xinst_jax.config import DecodeConfig, ModelConfig
from xinst_jax.infer import cache as cache_lib
from xinst_jax.infer import decode as decode_lib
from xinst_jax.infer.refill import joined, no_rows
from xinst_jax.infer.rows import buckets, widths
from xinst_jax.infer.slots import empty_slots, sizes_for
from xinst_jax.mesh import ShardingRules
from xinst_jax.models import decoder


@dataclasses.dataclass(frozen=True)
class Built:
    """The two programs of generation, and bytes of a device's memory.

    Attributes:
      prefill: reads a row of prompts.
      decoding: continues the slots, and refills them from a queue.
      weights: bytes of the weights, those of blocks apart among them.
      cache: of the slots' keys and values.
      row: of a row of prompts that was read.
    """

    prefill: jax.stages.Compiled
    decoding: jax.stages.Compiled
    weights: float
    cache: float
    row: float

    @property
    def temporaries(self) -> int:
        """Bytes that a program holds beside them while it runs, at most."""
        return max(_memory(one).temp_size_in_bytes for one in self._programs)

    @property
    def needed(self) -> float:
        """Bytes in all: a row waits in the queue, and the next is read beside it."""
        code = sum(_memory(one).generated_code_size_in_bytes for one in self._programs)
        return self.weights + self.cache + 2 * self.row + self.temporaries + code

    @property
    def _programs(self) -> tuple[jax.stages.Compiled, jax.stages.Compiled]:
        return self.prefill, self.decoding


def compiled(
    model: ModelConfig,
    rules: ShardingRules,
    mesh: jax.sharding.Mesh,
    decode: DecodeConfig,
    *,
    apart: bool = False,
) -> Built:
    """Compiles what `infer.engine.Engine` runs; nothing is run.

    Args:
      model: the decoder's shape.
      rules: how arrays are divided.
      mesh: the devices, all of which continue a row together.
      decode: slots, buckets and dtypes.
      apart: whether the programs take the blocks' weights apart, a second time.

    Raises:
      UserError: a size does not fit the mesh.
      TooLargeError: a program does not fit.
    """
    params = decoder.abstract_compute_params(model, rules, mesh)
    blocks = _apart(params, mesh) if apart else ()
    lengths = buckets(decode, model)
    slots = decode.batch_rows
    rules.divide(mesh.shape, (slots,), ("batch",))
    with jax.set_mesh(mesh):
        width = widths(decode, lengths, mesh.shape["sequence"])[0][-1]
        longest = lengths[-1] + decode.max_new_tokens
        shape = cache_lib.layout(model, slots, longest, decode.cache_dtype)
        sizes = sizes_for(decode, shape)
        devices = mesh.shape["slice"] * mesh.shape["fsdp"]
        rows_bt = jax.ShapeDtypeStruct((devices, width), "int32")
        names = ("layers", "batch", "kv_heads", None, "head_dim")
        keys = jax.ShapeDtypeStruct(
            (
                model.num_layers,
                devices,
                model.num_kv_heads,
                width + shape.columns,
                model.head_dim,
            ),
            model.compute_dtype,
            sharding=jax.NamedSharding(mesh, rules.spec(*names)),
        )
        prefill = decode_lib.read_prompts.lower(
            params,
            blocks,
            *[rows_bt] * 3,
            model=model,
            rules=rules,
            spare=shape.columns,
        )
        decoding = decode_lib.decode_slots.lower(
            params,
            blocks,
            jax.eval_shape(
                lambda: empty_slots(model=model, rules=rules, shape=shape, sizes=sizes)
            ),
            (keys, keys, joined(no_rows(slots, sizes))),
            np.zeros(slots, bool),
            np.int32(0),
            np.int32(0),
            np.uint32(0),
            model=model,
            rules=rules,
            shape=shape,
            decode=decode,
            vocab_limit=model.vocab_size,
        )
        return Built(
            build.compiled(prefill),
            build.compiled(decoding),
            _bytes((params, blocks)),
            cache_lib.bytes_of(model, shape) / mesh.size,
            _bytes((keys, keys)),
        )


def _apart(
    params: decoder.Params, mesh: jax.sharding.Mesh
) -> tuple[decoder.Params, ...]:
    """What `cached.apart` makes of the weights, as `jax.ShapeDtypeStruct`s."""
    layers = params["layers"]
    count = len(jax.tree.leaves(layers)[0])

    def of_block(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        sharding = jax.NamedSharding(mesh, jax.P(*leaf.sharding.spec[1:]))
        return jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype, sharding=sharding)

    return (jax.tree.map(of_block, layers),) * count


def _bytes(tree: object) -> float:
    """Bytes that a device holds of abstract arrays."""
    return sum(
        np.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def _memory(program: jax.stages.Compiled) -> Any:
    """What the compiler says of a program's memory."""
    return program.memory_analysis()
