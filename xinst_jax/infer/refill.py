"""How rows get into decode slots: put there by the host, or from a queue."""

import functools
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import layout

from xinst_jax.config import ModelConfig
from xinst_jax.infer import cache as cache_lib
from xinst_jax.infer.cache import Cache, Layout, Store
from xinst_jax.infer.loops import LOOPS
from xinst_jax.infer.slots import Made, Sizes, Slots, made
from xinst_jax.mesh import ShardingRules, axis_names, platform

A = TypeVar("A")


class Read(NamedTuple, Generic[A]):
    """Rows whose prompts were read, and what a slot is told of each.

    Attributes:
      column_b: int32 first column of the prompt in the row of prompts that was read.
      token_b: int32 last token of the prompt, which was not read.
      position_b: int32 its position: how many tokens were read.
      limit_b: int32 as in `Slots`; 0 where there is no row.
      hash_b: uint32 as in `Slots`.
      stops_bn: int32 as in `Slots`.
      history_bs: int32 as in `Slots`.
    """

    column_b: A
    token_b: A
    position_b: A
    limit_b: A
    hash_b: A
    stops_bn: A
    history_bs: A


class Arrivals(NamedTuple, Generic[A]):
    """New rows for some of the slots, beside the rows of prompts that were read.

    The slots of a device, and the one row of prompts that it read, are numbered apart
    from those of the others.

    Attributes:
      order_b: int32 a device's slots that get a row, first among its B / devices.
      rows: what each slot gets, none where it keeps what it has.
    """

    order_b: A
    rows: Read[A]


class Queue(NamedTuple):
    """Rows that wait for slots, at most as many as there are, and their prompts.

    Attributes:
      k_ldkth: keys of the row of prompts that each device read, as for `insert`.
      v_ldkth: values.
      rows: the waiting rows of each device, in the order in which they get slots.
    """

    k_ldkth: jax.Array
    v_ldkth: jax.Array
    rows: Read[jax.Array]


class Turns(NamedTuple):
    """Which slots the rows of a queue got.

    Attributes:
      slot_b: int32 the slot, among its device's; -1 while a row waits.
      before: what the row was continued with that had the slot before; of no meaning
        while a row waits.
    """

    slot_b: jax.Array
    before: Made


def no_rows(count: int, sizes: Sizes) -> Read[np.ndarray]:
    """So many places without a row, on the host, to be filled in."""
    return Read(
        column_b=np.zeros(count, np.int32),
        token_b=np.zeros(count, np.int32),
        position_b=np.zeros(count, np.int32),
        limit_b=np.zeros(count, np.int32),
        hash_b=np.zeros(count, np.uint32),
        stops_bn=np.full((count, sizes.stops), -1, np.int32),
        history_bs=np.zeros((count, sizes.history), np.int32),
    )


def joined(rows: Read[np.ndarray]) -> np.ndarray:
    """All of it in one int32 array (B, ...): one way to the devices, not seven."""
    hashes = rows.hash_b.view(np.int32)
    columns = [one.reshape(len(one), -1) for one in rows._replace(hash_b=hashes)]
    return np.concatenate(columns, axis=1, dtype=np.int32)


def parted(joined_bx: jax.Array, stops: int, rules: ShardingRules) -> Read[jax.Array]:
    """What was `joined`, on the devices, with so many stop ids."""
    rows = rules.spec("batch")
    joined_bx = jax.reshard(joined_bx, jax.P(*rows, None))

    def of_rows(number: int) -> jax.Array:
        # JAX from 0.11 on takes a single row's number to be divided over nothing.
        return jax.reshard(joined_bx[:, number], rows)

    return Read(
        column_b=of_rows(0),
        token_b=of_rows(1),
        position_b=of_rows(2),
        limit_b=of_rows(3),
        hash_b=jax.lax.bitcast_convert_type(of_rows(4), jnp.uint32),
        stops_bn=joined_bx[:, 5 : 5 + stops],
        history_bs=joined_bx[:, 5 + stops :],
    )


@functools.partial(
    jax.jit,
    static_argnames=("model", "rules", "shape"),
    donate_argnames=("slots",),
    compiler_options=LOOPS,
)
def insert(
    slots: Slots,
    k_ldkth: jax.Array,
    v_ldkth: jax.Array,
    order_b: jax.Array,
    rows_bx: jax.Array,
    *,
    model: ModelConfig,
    rules: ShardingRules,
    shape: Layout,
) -> Slots:
    """Puts new rows into slots; compiled once for each length of rows that were read.

    Called under `jax.set_mesh`.

    Args:
      slots: what is there; its buffers are used up.
      k_ldkth: keys of the rows that were read, one a device along D, and behind them as
        many columns as a slot has: a slot takes so many, whatever its prompt's length.
      v_ldkth: values.
      order_b: int32 as in `Arrivals`.
      rows_bx: int32, the slots' new rows, `joined`.
      model: the decoder's shape.
      rules: how arrays are divided.
      shape: the cache's.
    """
    order_b = jax.reshard(order_b, rules.spec("batch"))
    arrivals = Arrivals(order_b, parted(rows_bx, slots.stops_bn.shape[1], rules))
    return _with(slots, k_ldkth, v_ldkth, arrivals, model, rules, shape)


def no_turns(slots: Slots) -> Turns:
    """The turns of a queue of which no row has a slot yet."""
    return Turns(jnp.full_like(slots.position_b, -1), made(slots))


def refilled(
    slots: Slots,
    queue: Queue,
    turns: Turns,
    model: ModelConfig,
    rules: ShardingRules,
    shape: Layout,
) -> tuple[Slots, Turns]:
    """Gives waiting rows the slots that are free on their device, as far as they go."""
    rows = rules.spec("batch")
    arrivals, turns = jax.shard_map(
        _matched, in_specs=rows, out_specs=rows, check_vma=False
    )(slots.live_b, made(slots), queue.rows, turns)
    keys = queue.k_ldkth, queue.v_ldkth
    return _with(slots, *keys, arrivals, model, rules, shape), turns


def can_refill(
    slots: Slots, queue: Queue, turns: Turns, rules: ShardingRules
) -> jax.Array:
    """Whether on any device a slot is free and a row waits: a boolean on all."""

    def on_device(live_b: jax.Array, limit_b: jax.Array, slot_b: jax.Array) -> Any:
        here = jnp.any(~live_b) & jnp.any(_waits(limit_b, slot_b))
        return jax.lax.psum(here.astype(jnp.int32), axis_names(rules.batch))

    return (
        jax.shard_map(
            on_device,
            in_specs=rules.spec("batch"),
            out_specs=jax.P(),
            check_vma=False,
        )(slots.live_b, queue.rows.limit_b, turns.slot_b)
        > 0
    )


def _waits(limit_b: jax.Array, slot_b: jax.Array) -> jax.Array:
    return (limit_b > 0) & (slot_b < 0)


def _matched(
    live_b: jax.Array, of_slots: Made, rows: Read, turns: Turns
) -> tuple[Arrivals[jax.Array], Turns]:
    """One device's free slots and waiting rows, paired in order."""
    waits_b = _waits(rows.limit_b, turns.slot_b)
    slots_i, rows_i = (jnp.argsort(~a, stable=True) for a in (~live_b, waits_b))
    count = jnp.minimum(jnp.sum(~live_b), jnp.sum(waits_b))
    paired_i = jnp.arange(len(live_b)) < count

    row_b = jnp.zeros_like(slots_i).at[slots_i].set(rows_i)
    arrived_b = jnp.zeros_like(live_b).at[slots_i].set(paired_i)
    arriving = jax.tree.map(lambda a: a[row_b], rows)
    limit_b = jnp.where(arrived_b, arriving.limit_b, 0)

    slot_b = jnp.zeros_like(slots_i).at[rows_i].set(slots_i)
    now_b = jnp.zeros_like(live_b).at[rows_i].set(paired_i)

    chosen = functools.partial(_chosen, now_b)
    before = jax.tree.map(
        lambda new, old: chosen(new[slot_b], old), of_slots, turns.before
    )
    turns = Turns(chosen(slot_b, turns.slot_b), before)
    return Arrivals(slots_i, arriving._replace(limit_b=limit_b)), turns


def _with(
    slots: Slots,
    k_ldkth: jax.Array,
    v_ldkth: jax.Array,
    arrivals: Arrivals[jax.Array],
    model: ModelConfig,
    rules: ShardingRules,
    shape: Layout,
) -> Slots:
    """The slots with new rows.

    A device takes its new rows from the row of prompts that it read itself, so that
    nothing is exchanged.
    """
    rows, new = rules.spec("batch"), arrivals.rows
    arrived_b = new.limit_b > 0
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
        arrived_b,
        new.column_b,
        new.position_b,
    )

    chosen = functools.partial(_chosen, arrived_b)
    return slots._replace(
        cache=cache,
        token_b=chosen(new.token_b, slots.token_b),
        position_b=chosen(new.position_b, slots.position_b),
        count_b=jnp.where(arrived_b, 0, slots.count_b),
        limit_b=chosen(new.limit_b, slots.limit_b),
        hash_b=chosen(new.hash_b, slots.hash_b),
        stops_bn=chosen(new.stops_bn, slots.stops_bn),
        live_b=slots.live_b | arrived_b,
        stopped_b=slots.stopped_b & ~arrived_b,
        history_bs=chosen(new.history_bs, slots.history_bs),
    )


def _chosen(flags_b: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    """Rows of one array or of the other, (B, ...)."""
    return jnp.where(flags_b[:, None] if new.ndim == 2 else flags_b, new, old)


def _row_major(a: jax.Array) -> jax.Array:
    return layout.with_layout_constraint(a, layout.Layout(tuple(range(a.ndim))))


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
    """Copies one device's new rows from its row of prompts to its slots.

    A slot is overwritten whole, with zeros behind the prompt: what is no number would
    not weigh nothing there, and so get from one row into another.
    """
    layers = {
        kind: [at for at, flag in enumerate(windowed_layers) if flag == kind]
        for kind in (False, True)
    }

    def copied(store: Store | None, windowed: bool, slot: jax.Array) -> Store | None:
        if store is None:
            return None
        blocks, block = store.v_lcbksh.shape[1], store.v_lcbksh.shape[4]
        columns, last = blocks * block, read_b[slot] - 1
        # A ring is begun anew every so many positions.
        turn = jnp.maximum(last, 0) // columns * columns
        first = column_b[slot] + turn

        def part(a_l1kth: jax.Array, dtype: jnp.dtype) -> tuple[jax.Array, jax.Array]:
            def columns_from(at: jax.Array) -> jax.Array:
                return jax.lax.dynamic_slice_in_dim(a_l1kth[:, 0], at, columns, 2)

            other_lksh = jnp.zeros((), a_l1kth.dtype)
            if windowed:
                before_lksh = columns_from(jnp.maximum(first - columns, 0))
                other_lksh = jnp.where(turn > 0, before_lksh, other_lksh)
            new_s1 = jnp.arange(columns)[:, None] <= last - turn
            a_lksh = jnp.where(new_s1, columns_from(first), other_lksh)
            if len(layers[windowed]) < len(a_lksh):
                a_lksh = a_lksh[jnp.asarray(layers[windowed])]
            a_lksh = cache_lib.filled(a_lksh, store.v_lcbksh.shape[-1])
            kept, scale = cache_lib.kept(a_lksh, dtype)
            return in_blocks(kept), in_blocks(scale)

        def in_blocks(a_lks: jax.Array) -> jax.Array:
            shape = a_lks.shape
            a_lkcs = a_lks.reshape(*shape[:2], blocks, block, *shape[3:])
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
    cache = jax.lax.fori_loop(0, count, one, cache)
    # XLA:TPU would lay the cache out for these copies, and anew for decoding.
    return jax.tree.map(_row_major, cache) if platform() == "tpu" else cache
