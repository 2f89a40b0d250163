"""The two programs of generation: prompts are read, and slots are continued."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xinst_jax.config import DecodeConfig, ModelConfig
from xinst_jax.infer.cache import Layout
from xinst_jax.infer.cache_attention import attention
from xinst_jax.infer.loops import LOOPS
from xinst_jax.infer.refill import Queue, Turns, can_refill, no_turns, parted, refilled
from xinst_jax.infer.repeats import without_repeats
from xinst_jax.infer.sample import greedy, row_uniforms, sample
from xinst_jax.infer.slots import Made, Slots, made
from xinst_jax.mesh import ShardingRules, platform
from xinst_jax.models import cached
from xinst_jax.models.decoder import Decoder, Params, bind
from xinst_jax.models.layers import leading_spec
from xinst_jax.models.product import product


class Report(NamedTuple):
    """What the host learns of slots, the same on every device.

    Attributes:
      made: what the rows in slots were continued with so far.
      live_b: as in `Slots`.
      steps: int32 how many tokens every slot was given time for.
      live_steps: int32 for how many of them a slot had a live row, all together.
      turns: which slots the queue's rows got meanwhile.
    """

    made: Made
    live_b: jax.Array
    steps: jax.Array
    live_steps: jax.Array
    turns: Turns


_State = tuple[Slots, Turns, jax.Array, jax.Array]


@functools.partial(jax.jit, static_argnames=("model", "rules", "spare"))
def read_prompts(
    params: Params,
    blocks: tuple[Params, ...],
    tokens_bt: jax.Array,
    segment_ids_bt: jax.Array,
    positions_bt: jax.Array,
    *,
    model: ModelConfig,
    rules: ShardingRules,
    spare: int,
) -> tuple[jax.Array, jax.Array]:
    """Keys and values of prompts packed into rows: `cached.keys_and_values`, compiled.

    Compiled once for each shape of `tokens_bt`. Called under `jax.set_mesh`.
    """
    decoder = bind(model, rules, params)
    rows = tokens_bt, segment_ids_bt, positions_bt
    return cached.keys_and_values(decoder, *rows, blocks, spare)


@functools.partial(
    jax.jit,
    static_argnames=("model", "rules", "shape", "decode", "vocab_limit"),
    donate_argnames=("slots",),
    compiler_options=LOOPS,
)
def decode_slots(
    params: Params,
    blocks: tuple[Params, ...],
    slots: Slots,
    queue: tuple[jax.Array, jax.Array, jax.Array] | None,
    kept_b: jax.Array,
    wanted: jax.Array,
    most_steps: jax.Array,
    seed: jax.Array,
    *,
    model: ModelConfig,
    rules: ShardingRules,
    shape: Layout,
    decode: DecodeConfig,
    vocab_limit: int,
) -> tuple[Slots, Report]:
    """Continues the rows of all slots, token by token, until enough of them are free.

    A slot whose row ends gets the next row of the queue at once; slots are free when
    that is used up. A row's tokens depend on its prompt, its hash, its limits and the
    seed, and on no other row. Compiled once, and once more without a queue. Called
    under `jax.set_mesh`.

    Args:
      params: the weights.
      blocks: those of each block apart (`cached.apart`), or nothing.
      slots: the rows; their buffers are used up.
      queue: keys and values of a row of prompts a device, as for `refill.insert`, and
        the rows that wait, `joined`; or nothing.
      kept_b: booleans; a row without is given up.
      wanted: int32 scalar; slots that must get free before it returns.
      most_steps: int32 scalar; tokens of every slot at which to return.
      seed: uint32 scalar.
      model: the decoder's shape.
      rules: how arrays are divided.
      shape: the cache's.
      decode: how tokens are chosen.
      vocab_limit: ids from here on are padding of the vocabulary, never generated.
    """
    decoder = bind(model, rules, params)
    stops = slots.stops_bn.shape[1]
    waiting = Queue(*queue[:2], parted(queue[2], stops, rules)) if queue else None

    def unfinished(state: _State) -> jax.Array:
        slots, _, steps, _ = state
        live = jnp.sum(slots.live_b, dtype=jnp.int32)
        return (steps < most_steps) & (live > enough)

    def undisturbed(state: _State) -> jax.Array:
        slots, turns, _, _ = state
        if not waiting:
            return unfinished(state)
        return unfinished(state) & ~can_refill(slots, waiting, turns, rules)

    def advance(state: _State) -> _State:
        slots, turns, steps, live_steps = state
        live_b, position_b = slots.live_b, slots.position_b
        attend = attention(model, rules, shape, position_b, live_b)
        x_b1d, cache = cached.read_token(
            decoder, slots.token_b, position_b, attend, slots.cache, blocks
        )
        logits_bv = _logits(decoder, x_b1d)
        limited_bv = _limited(logits_bv, vocab_limit)
        token_b = _choose(limited_bv, slots, seed, decode, rules)
        slots = _append(slots._replace(cache=cache), token_b, logits_bv)
        live_steps += jnp.sum(live_b, dtype=jnp.int32)
        return slots, turns, steps + 1, live_steps

    def go_on(state: _State) -> _State:
        slots, turns, steps, live_steps = jax.lax.while_loop(
            undisturbed, advance, state
        )
        if waiting:
            slots, turns = refilled(slots, waiting, turns, model, rules, shape)
        return slots, turns, steps, live_steps

    kept_b = jax.reshard(kept_b, rules.spec("batch"))
    slots = slots._replace(live_b=slots.live_b & kept_b)
    enough = jnp.maximum(jnp.sum(slots.live_b, dtype=jnp.int32) - wanted, 0)
    state = slots, no_turns(slots), jnp.int32(0), jnp.int32(0)
    slots, turns, steps, live_steps = jax.lax.while_loop(unfinished, go_on, state)
    report = Report(made(slots), slots.live_b, steps, live_steps, turns)
    return slots, jax.tree.map(lambda leaf: jax.reshard(leaf, jax.P()), report)


def _choose(
    logits_bv: jax.Array,
    slots: Slots,
    seed: jax.Array,
    decode: DecodeConfig,
    rules: ShardingRules,
) -> jax.Array:
    """The next token of each row, (B,) int32."""
    if decode.no_repeat_ngram:
        logits_bv = without_repeats(
            logits_bv,
            slots.history_bs,
            slots.position_b + 1,
            decode.no_repeat_ngram,
            rules,
        )
    if decode.temperature == 0:
        return greedy(logits_bv)
    uniforms_b = row_uniforms(seed, slots.hash_b, slots.count_b)
    return sample(
        logits_bv,
        uniforms_b,
        decode.temperature,
        decode.top_p,
        decode.top_k,
        decode.min_p,
    )


def _append(slots: Slots, token_b: jax.Array, logits_bv: jax.Array) -> Slots:
    """The slots with one token more in each live row; a stop token is not kept."""
    logit_b = jax.vmap(lambda logits_v, token: logits_v[token])(logits_bv, token_b)
    logprob_b = logit_b - jax.nn.logsumexp(logits_bv, axis=-1)
    live_b, count_b = slots.live_b, slots.count_b
    stop_b = live_b & jnp.any(slots.stops_bn == token_b[:, None], axis=1)
    kept_b = live_b & ~stop_b
    here_bg = jnp.arange(slots.tokens_bg.shape[1]) == count_b[:, None]
    position_b = slots.position_b + live_b
    next_bs = jnp.arange(slots.history_bs.shape[1]) == position_b[:, None]
    grown_b = count_b + kept_b
    return slots._replace(
        token_b=jnp.where(live_b, token_b, slots.token_b),
        position_b=position_b,
        count_b=grown_b,
        live_b=kept_b & (grown_b < slots.limit_b),
        stopped_b=slots.stopped_b | stop_b,
        tokens_bg=jnp.where(
            here_bg & kept_b[:, None], token_b[:, None], slots.tokens_bg
        ),
        logprobs_bg=jnp.where(
            here_bg & live_b[:, None], logprob_b[:, None], slots.logprobs_bg
        ),
        history_bs=jnp.where(
            next_bs & live_b[:, None], token_b[:, None], slots.history_bs
        ),
    )


def _logits(decoder: Decoder, x_b1d: jax.Array) -> jax.Array:
    """Scores of the next token, (B, V) float32."""
    rows = leading_spec(x_b1d, 1)
    if platform() == "cpu":
        # XLA:CPU lays out one operand anew, which had better be the few rows.
        x_bd = x_b1d[:, 0]
        table_vd = decoder.head_table().astype(x_b1d.dtype)
        table_vd = jax.reshard(table_vd, jax.P(decoder.rules.vocab, None))
        spec = jax.P(decoder.rules.vocab, *rows)
        logits_vb = product("vd,bd->vb", table_vd, x_bd, spec, jnp.float32)
        logits_bv = jax.lax.optimization_barrier(logits_vb).T
        cap = decoder.config.final_soft_cap
        logits_bv = cap * jnp.tanh(logits_bv / cap) if cap else logits_bv
    else:
        logits_bv = decoder.logits(x_b1d)[:, 0]
    return jax.reshard(logits_bv, jax.P(*rows))


def _limited(logits_bv: jax.Array, vocab_limit: int) -> jax.Array:
    """The scores with -inf from `vocab_limit` on."""
    if vocab_limit == logits_bv.shape[1]:
        return logits_bv
    return jnp.where(jnp.arange(logits_bv.shape[1]) < vocab_limit, logits_bv, -jnp.inf)
