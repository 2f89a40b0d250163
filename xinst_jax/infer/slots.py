"""Decode slots: rows on the devices that are continued, and how new ones get in."""

import functools
from typing import Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from xinst_jax.config import ModelConfig
from xinst_jax.infer import cache as cache_lib
from xinst_jax.infer.cache import Cache, Layout, Store
from xinst_jax.mesh import ShardingRules

A = TypeVar("A")


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


class Arrivals(NamedTuple, Generic[A]):
    """New rows for some of the slots, beside the rows whose prompts were read.

    The slots of a device, and the one row of prompts that it read, are numbered apart
    from those of the others.

    Attributes:
      arrived_b: whether a slot gets a new row.
      column_b: int32 first column of the prompt in the row that was read.
      order_b: int32 a device's slots that get a row, first among its B / devices.
      token_b: int32 last token of the prompt, which was not read.
      position_b: int32 its position: how many tokens were read.
      limit_b: int32 as in `Slots`.
      hash_b: uint32 as in `Slots`.
      stops_bn: int32 as in `Slots`.
      history_bs: int32 as in `Slots`.
    """

    arrived_b: A
    column_b: A
    order_b: A
    token_b: A
    position_b: A
    limit_b: A
    hash_b: A
    stops_bn: A
    history_bs: A


def no_arrivals(count: int, stops: int, history: int) -> Arrivals[np.ndarray]:
    """Nothing for any of so many slots, on the host, to be filled in."""
    none = [np.zeros(count, bool), *(np.zeros(count, np.int32) for _ in range(5))]
    none += [np.zeros(count, np.uint32), np.full((count, stops), -1, np.int32)]
    none.append(np.zeros((count, history), np.int32))
    return Arrivals(*none)


def joined(arrivals: Arrivals[np.ndarray]) -> np.ndarray:
    """All of it in one int32 array (B, ...): one way to the devices, not nine."""
    hashes = arrivals.hash_b.view(np.int32)
    columns = [one.reshape(len(one), -1) for one in arrivals._replace(hash_b=hashes)]
    return np.concatenate(columns, axis=1, dtype=np.int32)


def _parted(joined_bx: jax.Array, stops: int) -> Arrivals[jax.Array]:
    """What was `joined`, on the devices."""
    numbers = [joined_bx[:, at] for at in range(7)]
    numbers[0] = numbers[0] > 0
    numbers[6] = jax.lax.bitcast_convert_type(numbers[6], jnp.uint32)
    numbers += [joined_bx[:, 7 : 7 + stops], joined_bx[:, 7 + stops :]]
    return Arrivals(*numbers)


@functools.partial(
    jax.jit, static_argnames=("model", "rules", "shape", "new", "stops", "history")
)
def empty_slots(
    *,
    model: ModelConfig,
    rules: ShardingRules,
    shape: Layout,
    new: int,
    stops: int,
    history: int,
) -> Slots:
    """Slots without rows; called under `jax.set_mesh`.

    Args:
      model: the decoder's shape.
      rules: how arrays are divided.
      shape: the cache's.
      new: most generated tokens G of a row.
      stops: most stop ids N of a row.
      history: columns S of what is remembered of a row's tokens.
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
        stops_bn=zeros("int32", stops),
        live_b=zeros("bool"),
        stopped_b=zeros("bool"),
        tokens_bg=zeros("int32", new),
        logprobs_bg=zeros("float32", new),
        history_bs=zeros("int32", history),
    )


@functools.partial(
    jax.jit, static_argnames=("model", "rules", "shape"), donate_argnames=("slots",)
)
def insert(
    slots: Slots,
    k_ldkth: jax.Array,
    v_ldkth: jax.Array,
    arrivals_bx: jax.Array,
    *,
    model: ModelConfig,
    rules: ShardingRules,
    shape: Layout,
) -> Slots:
    """Puts new rows into slots; compiled once for each length of rows that were read.

    A device takes its new rows from the row of prompts that it read itself, so that
    nothing is exchanged. Called under `jax.set_mesh`.

    Args:
      slots: what is there; its buffers are used up.
      k_ldkth: keys of the rows that were read, one a device along D.
      v_ldkth: values.
      arrivals_bx: int32, which slots get what: `joined`.
      model: the decoder's shape.
      rules: how arrays are divided.
      shape: the cache's.
    """
    rows = rules.spec("batch")
    arrivals = Arrivals(
        *(
            jax.reshard(one, rules.spec("batch", *[None] * (one.ndim - 1)))
            for one in _parted(arrivals_bx, slots.stops_bn.shape[1])
        )
    )
    specs = cache_lib.cache_specs(model, rules, shape)
    read = rules.spec("layers", "batch", "kv_heads", None, "head_dim")
    cache = jax.shard_map(
        functools.partial(_insert, model.windowed_layers),
        in_specs=(specs, read, read, rows, rows, rows, rows),
        out_specs=specs,
        check_vma=False,
    )(
        slots.cache,
        jax.reshard(k_ldkth, read),
        jax.reshard(v_ldkth, read),
        arrivals.order_b,
        arrivals.arrived_b,
        arrivals.column_b,
        arrivals.position_b,
    )

    def chosen(new: jax.Array, old: jax.Array) -> jax.Array:
        arrived = arrivals.arrived_b[:, None] if new.ndim == 2 else arrivals.arrived_b
        return jnp.where(arrived, new, old)

    zero_b = jnp.zeros_like(slots.count_b)
    return slots._replace(
        cache=cache,
        token_b=chosen(arrivals.token_b, slots.token_b),
        position_b=chosen(arrivals.position_b, slots.position_b),
        count_b=chosen(zero_b, slots.count_b),
        limit_b=chosen(arrivals.limit_b, slots.limit_b),
        hash_b=chosen(arrivals.hash_b, slots.hash_b),
        stops_bn=chosen(arrivals.stops_bn, slots.stops_bn),
        live_b=slots.live_b | arrivals.arrived_b,
        stopped_b=slots.stopped_b & ~arrivals.arrived_b,
        history_bs=chosen(arrivals.history_bs, slots.history_bs),
    )


def _insert(
    windowed_layers: tuple[bool, ...],
    cache: Cache,
    k_l1kth: jax.Array,
    v_l1kth: jax.Array,
    order_b: jax.Array,
    arrived_b: jax.Array,
    column_b: jax.Array,
    read_b: jax.Array,
) -> Cache:
    """Copies one device's new rows from its row of prompts to its slots."""
    length = k_l1kth.shape[3]
    layers = {
        kind: [at for at, flag in enumerate(windowed_layers) if flag == kind]
        for kind in (False, True)
    }

    def copied(store: Store | None, windowed: bool, slot: jax.Array) -> Store | None:
        if store is None:
            return None
        blocks, block = store.v_lcbksh.shape[1], store.v_lcbksh.shape[4]
        columns = blocks * block
        count = min(columns, -(-length // block) * block)
        # The last position that falls into each column; a negative one fell nowhere.
        last = read_b[slot] - 1
        position_s = last - (last - jnp.arange(count)) % columns
        at_s = jnp.clip(column_b[slot] + jnp.maximum(position_s, 0), 0, length - 1)

        def part(a_l1kth: jax.Array, dtype: jnp.dtype) -> tuple[jax.Array, jax.Array]:
            of_kind = a_l1kth[:, 0]
            if len(layers[windowed]) < len(of_kind):
                of_kind = of_kind[jnp.asarray(layers[windowed])]
            kept, scale = cache_lib.kept(jnp.take(of_kind, at_s, axis=2), dtype)
            return in_blocks(kept), in_blocks(scale)

        def in_blocks(a_lks: jax.Array) -> jax.Array:
            shape = a_lks.shape
            a_lkcs = a_lks.reshape(*shape[:2], count // block, block, *shape[3:])
            return jnp.swapaxes(a_lkcs, 1, 2)

        def put(a: jax.Array, part_lcks: jax.Array) -> jax.Array:
            starts: list[jax.Array | int] = [0, 0, slot, *[0] * (a.ndim - 3)]
            return jax.lax.dynamic_update_slice(a, part_lcks[:, :, None], starts)

        k_lcksh, k_scale_lcks = part(k_l1kth, store.k_lcbksh.dtype)
        v_lcksh, v_scale_lcks = part(v_l1kth, store.v_lcbksh.dtype)
        k_scale, v_scale = store.k_scale_lcbks, store.v_scale_lcbks
        return Store(
            put(store.k_lcbksh, k_lcksh),
            put(store.v_lcbksh, v_lcksh),
            None if k_scale is None else put(k_scale, k_scale_lcks),
            None if v_scale is None else put(v_scale, v_scale_lcks),
        )

    def one(number: jax.Array, cache: Cache) -> Cache:
        slot = order_b[number]
        return Cache(
            copied(cache.full, False, slot), copied(cache.windowed, True, slot)
        )

    count = jnp.sum(arrived_b, dtype=jnp.int32)
    return jax.lax.fori_loop(0, count, one, cache)
