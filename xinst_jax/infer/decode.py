"""Prefill and decode of one batch: a single program, on the device from end to end."""

import functools
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from xinst_jax.config import DecodeConfig, ModelConfig
from xinst_jax.infer.sample import greedy, row_uniforms, sample
from xinst_jax.mesh import ShardingRules
from xinst_jax.models.decoder import Decoder, KVCache, Params, bind
from xinst_jax.models.layers import leading_spec


class Decoded(NamedTuple):
    """What a batch of rows was continued with.

    Attributes:
      tokens_bt: int32 generated ids, T = max_new_tokens; zeros after a row's end.
      lengths_b: int32 generated tokens, the stop token not counted.
      logprobs_b: float32 log-probability of the generated tokens, the stop token
        included, under the model's own distribution (temperature 1, the whole
        vocabulary): how likely the model finds the text, however it was drawn.
      stopped_b: whether a stop token ended the row.
    """

    tokens_bt: jax.Array
    lengths_b: jax.Array
    logprobs_b: jax.Array
    stopped_b: jax.Array


class _State(NamedTuple):
    step: jax.Array
    token_b: jax.Array
    decoded: Decoded
    cache: KVCache


_Choice: TypeAlias = tuple[jax.Array, Decoded]


@functools.partial(
    jax.jit, static_argnames=("model", "rules", "decode", "stop_ids", "vocab_limit")
)
def decode_batch(
    params: Params,
    tokens_bt: jax.Array,
    lengths_b: jax.Array,
    hashes_b: jax.Array,
    seed: jax.Array,
    *,
    model: ModelConfig,
    rules: ShardingRules,
    decode: DecodeConfig,
    stop_ids: tuple[int, ...],
    vocab_limit: int,
) -> Decoded:
    """Continues each prompt until a stop token or `max_new_tokens`.

    Compiled once for each shape of `tokens_bt`. A row's result depends on its prompt,
    its hash and the seed, and on no other row. Called under `jax.set_mesh`.

    Args:
      params: the weights.
      tokens_bt: int32 prompts, padded on the right.
      lengths_b: int32 tokens of each prompt; a row of none is not continued.
      hashes_b: uint32 `sample.row_hash` of each row.
      seed: uint32 scalar.
      model: the decoder's shape.
      rules: how arrays are divided.
      decode: how tokens are chosen.
      stop_ids: ids that end a row.
      vocab_limit: ids from here on are padding of the vocabulary, never generated.
    """
    decoder = bind(model, rules, params)
    width, batch = tokens_bt.shape[1], rules.spec("batch")
    lengths_b, hashes_b = jax.reshard(lengths_b, batch), jax.reshard(hashes_b, batch)
    columns_s = jnp.arange(width + decode.max_new_tokens)
    valid_bs = (columns_s < lengths_b[:, None]) | (columns_s >= width)

    def choose(x_b1d: jax.Array, step: jax.Array, decoded: Decoded) -> _Choice:
        logits_bv = _limited(decoder, x_b1d, vocab_limit)
        if decode.temperature == 0:
            token_b = greedy(logits_bv)
        else:
            uniforms_b = row_uniforms(seed, hashes_b, step)
            token_b = sample(logits_bv, uniforms_b, decode.temperature, decode.top_p)
        live_b = (lengths_b > 0) & ~decoded.stopped_b
        stop_b = live_b & jnp.isin(token_b, jnp.asarray(stop_ids, jnp.int32))
        return token_b, _append(decoded, token_b, logits_bv, live_b, stop_b, step)

    def unfinished(state: _State) -> jax.Array:
        live_b = (lengths_b > 0) & ~state.decoded.stopped_b
        return (state.step < decode.max_new_tokens) & jnp.any(live_b)

    def advance(state: _State) -> _State:
        column = width + state.step - 1
        position_b1 = (lengths_b + state.step - 1)[:, None]
        x_b1d, cache = decoder.extend(
            state.token_b[:, None], position_b1, valid_bs, state.cache, column
        )
        token_b, decoded = choose(x_b1d, state.step, state.decoded)
        return _State(state.step + 1, token_b, decoded, cache)

    cache = decoder.init_cache(len(tokens_bt), len(columns_s))
    x_b1d, cache = prefill(decoder, tokens_bt, lengths_b, valid_bs, cache)
    start = _nothing(lengths_b, decode.max_new_tokens, rules)
    token_b, decoded = choose(x_b1d, jnp.int32(0), start)
    state = _State(jnp.int32(1), token_b, decoded, cache)
    decoded = jax.lax.while_loop(unfinished, advance, state).decoded
    return jax.tree.map(lambda leaf: jax.reshard(leaf, jax.P()), decoded)


def prefill(
    decoder: Decoder,
    tokens_bt: jax.Array,
    lengths_b: jax.Array,
    valid_bs: jax.Array,
    cache: KVCache,
) -> tuple[jax.Array, KVCache]:
    """Reads prompts into an empty cache.

    Args:
      decoder: the model.
      tokens_bt: int32 prompts, padded on the right.
      lengths_b: int32 tokens of each prompt.
      valid_bs: booleans, whether a cache column holds (or will hold) a token.
      cache: of S >= T columns.

    Returns:
      The hidden state (B, 1, D) of each prompt's last token, zeros for an empty prompt,
      and the cache.
    """
    columns_t = jnp.arange(tokens_bt.shape[1])
    positions_bt = jnp.broadcast_to(columns_t, tokens_bt.shape)
    x_btd, cache = decoder.extend(tokens_bt, positions_bt, valid_bs, cache, 0)
    last_bt = columns_t == lengths_b[:, None] - 1
    # A sum of one term: exact, and indifferent to how the arrays are divided.
    x_b1d = jnp.sum(jnp.where(last_bt[..., None], x_btd, 0), axis=1, keepdims=True)
    return x_b1d, cache


def _limited(decoder: Decoder, x_b1d: jax.Array, vocab_limit: int) -> jax.Array:
    """Scores of the next token, (B, V) float32; -inf from `vocab_limit` on."""
    logits_b1v = decoder.logits(x_b1d)
    logits_bv = jax.reshard(logits_b1v, jax.P(*leading_spec(x_b1d, 1)))[:, 0]
    return jnp.where(jnp.arange(logits_bv.shape[1]) < vocab_limit, logits_bv, -jnp.inf)


def _nothing(
    lengths_b: jax.Array, max_new_tokens: int, rules: ShardingRules
) -> Decoded:
    shape = (len(lengths_b), max_new_tokens)
    return Decoded(
        tokens_bt=jnp.zeros(shape, jnp.int32, out_sharding=rules.spec("batch", None)),
        lengths_b=jnp.zeros_like(lengths_b),
        logprobs_b=jnp.zeros_like(lengths_b, jnp.float32),
        stopped_b=jnp.zeros_like(lengths_b, jnp.bool),
    )


def _append(
    decoded: Decoded,
    token_b: jax.Array,
    logits_bv: jax.Array,
    live_b: jax.Array,
    stop_b: jax.Array,
    step: jax.Array,
) -> Decoded:
    """`decoded` with one more token in each live row; a stop token is only counted."""
    chosen_bv = jnp.arange(logits_bv.shape[1]) == token_b[:, None]
    logit_b = jnp.sum(jnp.where(chosen_bv, logits_bv, 0), axis=-1)
    logprob_b = logit_b - jax.nn.logsumexp(logits_bv, axis=-1)
    kept_b = live_b & ~stop_b
    here_t = jnp.arange(decoded.tokens_bt.shape[1]) == step
    written_bt = kept_b[:, None] & here_t
    return Decoded(
        tokens_bt=jnp.where(written_bt, token_b[:, None], decoded.tokens_bt),
        lengths_b=decoded.lengths_b + kept_b,
        logprobs_b=decoded.logprobs_b + jnp.where(live_b, logprob_b, 0),
        stopped_b=decoded.stopped_b | stop_b,
    )
