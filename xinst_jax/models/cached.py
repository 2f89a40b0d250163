"""The decoder's passes around caches: one gives what to keep, one reads what was kept.

What a cache looks like is its owner's business: a pass hands each block's new keys and
values to a function of the owner's, which answers with the attention's contexts.
"""

import operator
from collections.abc import Sequence
from typing import Protocol, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

from xinst_jax.mesh import devices, platform
from xinst_jax.models.attention.blocks import filled
from xinst_jax.models.attention.choice import packed_rows
from xinst_jax.models.decoder import Decoder, Params
from xinst_jax.models.rotary import rotation
from xinst_jax.models.views import Views

Cache = TypeVar("Cache")
Stacked = TypeVar("Stacked")

_FEWEST = 16
"""Rows that the matrix units of a GPU multiply at once. Fewer are no less work to them,
and XLA:GPU takes slower ways for the products of one row in a block; the head's, which
is as fast as memory, may have fewer."""

_Carry = tuple[jax.Array, jax.Array, jax.Array]
"""Activations, and all keys and values so far."""


class Attend(Protocol[Cache]):
    """Attention of one new token a row over a cache that the token is added to.

    Called with the cache, whether the block is windowed, the block's number among those
    of its kind, queries (B, N, 1, H), keys and values (B, K, 1, H); gives contexts
    (B, N, 1, H) and the cache with the token.
    """

    def __call__(
        self,
        cache: Cache,
        windowed: bool,
        number: jax.Array | int,
        q_bn1h: jax.Array,
        k_bk1h: jax.Array,
        v_bk1h: jax.Array,
    ) -> tuple[jax.Array, Cache]:
        """See the class."""
        ...


def keys_and_values(
    decoder: Decoder,
    tokens_bt: jax.Array,
    segment_ids_bt: jax.Array,
    positions_bt: jax.Array,
    blocks: Sequence[Params] = (),
    spare: int = 0,
) -> tuple[jax.Array, jax.Array]:
    """The rotated keys and the values of packed rows in every block.

    Args:
      decoder: the model.
      tokens_bt: int32 token ids.
      segment_ids_bt: int32; a token sees the earlier tokens of its own segment, and 0
        is padding.
      positions_bt: int32 position of each token in its segment.
      blocks: as for `read_token`.
      spare: columns of zeros behind the rows'.

    Returns:
      Both (L, B, K, T + spare, H) in the compute dtype, not divided along T.
    """
    config, rules = decoder.config, decoder.rules
    rows = rules.spec("batch", "length")
    seen = packed_rows(config, rules, segment_ids_bt, positions_bt)
    views = Views(config, jax.reshard(positions_bt, rows), seen)
    graphdef, stacked = nnx.split(decoder.layers)
    x_btd = decoder.embed(jax.reshard(tokens_bt, rows))
    spec = rules.spec("layers", "batch", "kv_heads", None, "head_dim")
    rows_of_heads = config.num_layers, len(tokens_bt), config.num_kv_heads
    zero_lbkth = jnp.zeros(
        (*rows_of_heads, tokens_bt.shape[1] + spare, config.head_dim),
        x_btd.dtype,
        out_sharding=spec,
    )

    def read(layer: jax.Array | int, carry: _Carry) -> _Carry:
        x_btd, k_lbkth, v_lbkth = carry
        windowed = _of_layer(views.windowed_l, layer)
        state = blocks[int(layer)] if blocks else _of_layer(stacked, layer)
        block = nnx.merge(graphdef, state)
        x_btd, (k_bkth, v_bkth) = block.read(x_btd, views.of(windowed))
        k_lbkth, v_lbkth = (
            jax.lax.dynamic_update_slice(a, new[None], (layer, 0, 0, 0, 0))
            for a, new in ((k_lbkth, k_bkth), (v_lbkth, v_bkth))
        )
        return x_btd, k_lbkth, v_lbkth

    last = config.num_layers - 1
    carry = x_btd, zero_lbkth, zero_lbkth
    if blocks:
        for layer in range(last):
            carry = read(layer, carry)
    else:
        carry = jax.lax.fori_loop(0, last, read, carry)
    # Of the last block only these two are needed, and XLA computes no more of it.
    _, k_lbkth, v_lbkth = read(last, carry)
    return k_lbkth, v_lbkth


def apart(stacked: Params) -> tuple[Params, ...]:
    """The weights of each block by themselves, a copy of the stacked `layers`."""
    count = len(jax.tree.leaves(stacked)[0])
    return tuple(
        jax.tree.map(operator.itemgetter(layer), stacked) for layer in range(count)
    )


def read_token(
    decoder: Decoder,
    token_b: jax.Array,
    position_b: jax.Array,
    attend: Attend[Cache],
    cache: Cache,
    blocks: Sequence[Params] = (),
) -> tuple[jax.Array, Cache]:
    """Reads one more token of each row.

    Blocks are scanned in groups that repeat, so that each knows while it is compiled
    whether it is windowed, and the cache of one kind need not have the other's shape.
    With the blocks' weights apart they are unrolled: XLA copies a block's weights out
    of the stacked ones for every token, on a GPU and a CPU.

    Args:
      decoder: the model.
      token_b: int32 token ids.
      position_b: int32 position of each in its row.
      attend: the attention.
      cache: what `attend` takes.
      blocks: what `apart` makes of the decoder's layers, or nothing.

    Returns:
      Final-normed hidden states (B, 1, D), and the cache with the tokens.
    """
    config, flags = decoder.config, decoder.config.windowed_layers
    count, whole = len(token_b), devices(decoder.rules.batch) == 1
    few = platform() == "gpu" and whole and count < _FEWEST
    if few:
        token_b, position_b = (filled(a, 0, _FEWEST) for a in (token_b, position_b))
    turns = {
        windowed: rotation(
            position_b[:, None],
            config,
            windowed=windowed and config.local_rope_theta > 0,
        )
        for windowed in sorted(set(flags))
    }
    period = config.full_every if len(turns) == 2 else 1
    graphdef, stacked = nnx.split(decoder.layers)

    def through(
        carry: tuple[jax.Array, Cache],
        layer: jax.Array | int,
        windowed: bool,
        number: jax.Array | int,
    ) -> tuple[jax.Array, Cache]:
        x_b1d, cache = carry
        state = blocks[int(layer)] if blocks else _of_layer(stacked, layer)

        def over(
            q_bn1h: jax.Array, k_bk1h: jax.Array, v_bk1h: jax.Array
        ) -> tuple[jax.Array, Cache]:
            if not few:
                return attend(cache, windowed, number, q_bn1h, k_bk1h, v_bk1h)
            heads = (a[:count] for a in (q_bn1h, k_bk1h, v_bk1h))
            context_bn1h, grown = attend(cache, windowed, number, *heads)
            return filled(context_bn1h, 0, _FEWEST), grown

        return nnx.merge(graphdef, state).through(x_b1d, turns[windowed], over)

    def read(
        carry: tuple[jax.Array, Cache], group: jax.Array | int, size: int
    ) -> tuple[jax.Array, Cache]:
        for place in range(size):
            layer, number = group * period + place, group
            if flags[place] and period > 1:
                # All blocks of a mixed group but its last are windowed.
                number = group * (period - 1) + place
            carry = through(carry, layer, flags[place], number)
        return carry

    groups, rest = divmod(len(flags), period)
    rows = decoder.rules.spec("batch", None)
    carry = decoder.embed(jax.reshard(token_b[:, None], rows)), cache
    if blocks:
        for group in range(groups):
            carry = read(carry, group, period)
    else:
        carry, _ = jax.lax.scan(
            lambda carry, group: (read(carry, group, period), None),
            carry,
            jnp.arange(groups),
        )
    x_b1d, cache = read(carry, groups, rest)
    x_b1d = decoder.final_norm(x_b1d)
    return (x_b1d[:count] if few else x_b1d), cache


def _of_layer(stacked: Stacked, layer: jax.Array | int) -> Stacked:
    """A block's part of what is stacked."""
    return jax.tree.map(
        lambda a: jax.lax.dynamic_index_in_dim(a, layer, keepdims=False), stacked
    )
