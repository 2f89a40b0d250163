"""The programs of generation, lowered for devices that are not there."""

import functools

import jax
import numpy as np

from xinst_jax.config import DecodeConfig
from xinst_jax.infer import cache as cache_lib
from xinst_jax.infer import decode as decode_lib
from xinst_jax.infer import slots as slots_lib
from xinst_jax.mesh import ShardingRules
from xinst_jax.models.decoder import abstract_params

RULES = ShardingRules()
SLOTS, LENGTH = 64, 2048


def compiled(model, mesh, cache_dtype, apart=False):
    """Prefill and decoding with a queue, and the bytes of the cache on a device."""
    decode = DecodeConfig(batch_rows=SLOTS, cache_dtype=cache_dtype)
    devices = mesh.shape["slice"] * mesh.shape["fsdp"]

    def shaped(shape, dtype, *names):
        sharding = jax.NamedSharding(mesh, RULES.spec(*names))
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    params = abstract_params(model, RULES, mesh)
    blocks = ()
    if apart:
        block = jax.tree.map(
            lambda w: jax.ShapeDtypeStruct(
                w.shape[1:],
                w.dtype,
                sharding=jax.NamedSharding(mesh, jax.P(*w.sharding.spec[1:])),
            ),
            params["layers"],
        )
        blocks = (block,) * model.num_layers
    with jax.set_mesh(mesh):
        shape = cache_lib.layout(model, SLOTS, LENGTH, cache_dtype)
        of = {"model": model, "rules": RULES}
        empty = functools.partial(slots_lib.empty_slots, **of, shape=shape)
        slots = jax.eval_shape(lambda: empty(new=128, stops=4, history=0))
        rows_bt = shaped((devices, LENGTH), "int32", None, None)
        heads = devices, model.num_kv_heads, LENGTH + shape.columns, model.head_dim
        names = ("layers", "batch", "kv_heads", None, "head_dim")
        keys = shaped((model.num_layers, *heads), model.compute_dtype, *names)
        read = decode_lib.read_prompts.lower(
            params, blocks, *[rows_bt] * 3, **of, spare=shape.columns
        )
        advance = decode_lib.decode_slots.lower(
            params,
            blocks,
            slots,
            (keys, keys, np.zeros((SLOTS, 9), np.int32)),
            np.zeros(SLOTS, bool),
            np.int32(0),
            np.int32(0),
            np.uint32(0),
            **of,
            shape=shape,
            decode=decode,
            vocab_limit=model.vocab_size,
        )
        cache = cache_lib.bytes_of(model, shape) / mesh.size
        return read.compile(), advance.compile(), cache
