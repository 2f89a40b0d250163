"""Decode slots: rows on the devices that are continued."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xinst_jax.config import DecodeConfig, ModelConfig
from xinst_jax.infer import cache as cache_lib
from xinst_jax.infer.cache import Cache, Layout
from xinst_jax.mesh import ShardingRules


class Slots(NamedTuple):
    """B rows in the middle of being continued.

    Attributes:
      cache: keys and values of all tokens before `position_b`.
      token_b: int32 the token to be read next.
      position_b: int32 its position.
      count_b: int32 generated tokens, the stop token not counted.
      limit_b: int32 most of them.
      hash_b: uint32 `sample.row_hash` of each row.
      stops_bn: int32 ids that end the row; -1 is none.
      live_b: whether the row goes on.
      stopped_b: whether a stop token ended it.
      tokens_bg: int32 generated ids.
      logprobs_bg: float32 log-probability of each, and of the stop token after them.
      history_bs: int32 all tokens, the prompt's first; (B, 0) where nobody asks.
    """

    cache: Cache
    token_b: jax.Array
    position_b: jax.Array
    count_b: jax.Array
    limit_b: jax.Array
    hash_b: jax.Array
    stops_bn: jax.Array
    live_b: jax.Array
    stopped_b: jax.Array
    tokens_bg: jax.Array
    logprobs_bg: jax.Array
    history_bs: jax.Array


class Made(NamedTuple):
    """What rows were continued with; each as in `Slots`."""

    count_b: jax.Array
    stopped_b: jax.Array
    tokens_bg: jax.Array
    logprobs_bg: jax.Array


class Sizes(NamedTuple):
    """Widths of the slots' arrays.

    Attributes:
      new: most generated tokens G of a row.
      stops: most stop ids N of a row.
      history: columns S of what is remembered of a row's tokens.
    """

    new: int
    stops: int
    history: int


def sizes_for(decode: DecodeConfig, shape: Layout, stops: int = 0) -> Sizes:
    """The widths for rows of at most so many stop ids.

    There is room for stop ids in fours, so that few programs serve many sets of them.
    """
    history = shape.columns if decode.no_repeat_ngram else 0
    return Sizes(decode.max_new_tokens, max(4, -(-stops // 4) * 4), history)


@functools.partial(jax.jit, static_argnames=("model", "rules", "shape", "sizes"))
def empty_slots(
    *, model: ModelConfig, rules: ShardingRules, shape: Layout, sizes: Sizes
) -> Slots:
    """Slots without rows; called under `jax.set_mesh`.

    Args:
      model: the decoder's shape.
      rules: how arrays are divided.
      shape: the cache's.
      sizes: of the other arrays.
    """

    def zeros(dtype: str, *widths: int) -> jax.Array:
        spec = rules.spec("batch", *(None for _ in widths))
        return jnp.zeros((shape.slots, *widths), dtype, out_sharding=spec)

    return Slots(
        cache=cache_lib.empty(model, rules, shape),
        token_b=zeros("int32"),
        position_b=zeros("int32"),
        count_b=zeros("int32"),
        limit_b=zeros("int32"),
        hash_b=zeros("uint32"),
        stops_bn=zeros("int32", sizes.stops),
        live_b=zeros("bool"),
        stopped_b=zeros("bool"),
        tokens_bg=zeros("int32", sizes.new),
        logprobs_bg=zeros("float32", sizes.new),
        history_bs=zeros("int32", sizes.history),
    )


def made(slots: Slots) -> Made:
    """What the rows in slots were continued with so far."""
    return Made(*(getattr(slots, name) for name in Made._fields))
