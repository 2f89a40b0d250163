"""Choosing the next token of each row, by a key of the row's own."""

import hashlib
from collections.abc import Callable

import jax
import jax.numpy as jnp

_ONE = 0x3F800000
"""The bits of 1.0 as float32; those of smaller positive numbers are below, in order."""


def row_hash(row_id: str, sample: int = 0) -> int:
    """A 32-bit number for a row, the same in every process: SHA-256's first bytes.

    Args:
      row_id: the row's name.
      sample: number among the row's samples; the first has the row's own number.
    """
    name = f"{row_id}\0{sample}" if sample else row_id
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")


def row_uniforms(seed: jax.Array, hashes_b: jax.Array, step_b: jax.Array) -> jax.Array:
    """A number in [0, 1) for each row: a function of seed, row and step alone.

    Args:
      seed: uint32 scalar, the run's.
      hashes_b: uint32 `row_hash` of each row.
      step_b: int32 number of the generated token in its row.

    Returns:
      (B,) float32.
    """
    key = jax.random.key(seed)

    def draw(row: jax.Array, step: jax.Array) -> jax.Array:
        return jax.random.uniform(
            jax.random.fold_in(jax.random.fold_in(key, row), step)
        )

    return jax.vmap(draw)(hashes_b, step_b)


def greedy(logits_bv: jax.Array) -> jax.Array:
    """The likeliest token of each row, (B,) int32; of equals, the lowest id.

    The index of a maximum is several times slower on XLA:CPU than a maximum.
    """
    top_b1 = jnp.max(logits_bv, axis=-1, keepdims=True)
    size = logits_bv.shape[-1]
    return jnp.min(jnp.where(logits_bv == top_b1, jnp.arange(size), size - 1), axis=-1)


def sample(
    logits_bv: jax.Array,
    uniforms_b: jax.Array,
    temperature: float,
    top_p: float,
    top_k: int = 0,
    min_p: float = 0.0,
) -> jax.Array:
    """Draws a token of each row from what is left of its tempered distribution.

    First the `top_k` likeliest tokens are kept; of these the nucleus, Holtzman et al.,
    arXiv 1904.09751, section 3.1: the smallest set of the likeliest whose share of what
    is left reaches `top_p`, the token that crosses it included; of these the tokens of
    at least `min_p` times the likeliest's probability (Nguyen et al., arXiv 2407.01082,
    equation 2). transformers filters in the same order. Of equally likely tokens the
    lower ids come first. Sets, and the place of the draw in them, are found by
    bisection, in sums over the vocabulary: sorting a vocabulary of 32,000 is thirty
    times slower on XLA:CPU.

    Args:
      logits_bv: float32 scores; -inf is never drawn.
      uniforms_b: float32 in [0, 1).
      temperature: divides the scores; positive.
      top_p: probability of the nucleus.
      top_k: most tokens drawn from; 0 sets no limit.
      min_p: smallest probability drawn, as a share of the likeliest token's.

    Returns:
      (B,) int32 token ids.
    """
    probs_bv = jax.nn.softmax(logits_bv / temperature, axis=-1)
    size = probs_bv.shape[-1]
    if 0 < top_k < size:
        one_bv = jnp.ones_like(probs_bv)
        probs_bv = jnp.where(_likeliest(probs_bv, one_bv, top_k), probs_bv, 0)
    if top_p < 1:
        share_bv = probs_bv / jnp.sum(probs_bv, axis=-1, keepdims=True)
        probs_bv = jnp.where(nucleus(share_bv, top_p), probs_bv, 0)
    if min_p:
        least_b1 = min_p * jnp.max(probs_bv, axis=-1, keepdims=True)
        probs_bv = jnp.where(probs_bv >= least_b1, probs_bv, 0)
    ids_v = jnp.arange(size)
    # 1 - u is above 0: the sum first reaches it at a token of positive probability, or,
    # where two sums of all of them are rounded apart, takes the last of those.
    goal_b = jnp.sum(probs_bv, axis=-1) * (1 - uniforms_b)
    return _least(
        lambda id_b: _mass(probs_bv, ids_v <= id_b[:, None]) >= goal_b,
        jnp.max(jnp.where(probs_bv > 0, ids_v, 0), axis=-1),
    )


def nucleus(probs_bv: jax.Array, top_p: float) -> jax.Array:
    """Which tokens are in the nucleus, (B, V) booleans; see `sample`.

    Example: probabilities (0.1, 0.5, 0.3, 0.1) and top_p 0.7 give (no, yes, yes, no).
    """
    return _likeliest(probs_bv, probs_bv, top_p)


def _likeliest(probs_bv: jax.Array, counts_bv: jax.Array, goal: float) -> jax.Array:
    """The smallest set of the likeliest tokens whose counts reach `goal`."""
    size = probs_bv.shape[-1]
    bits_bv = jax.lax.bitcast_convert_type(probs_bv, jnp.int32)
    one_b = jnp.full_like(probs_bv[:, 0], _ONE, jnp.int32)
    # The probability of the token that crosses the goal, as bits, counted down from 1.
    least_b = _ONE - _least(
        lambda below_b: _mass(counts_bv, bits_bv >= (_ONE - below_b)[:, None]) >= goal,
        one_b,
    )
    above_bv, tied_bv = bits_bv > least_b[:, None], bits_bv == least_b[:, None]
    ids_v = jnp.arange(size)
    last_b = _least(
        lambda id_b: (
            _mass(counts_bv, above_bv | (tied_bv & (ids_v <= id_b[:, None]))) >= goal
        ),
        jnp.full_like(one_b, size - 1),
    )
    return above_bv | (tied_bv & (ids_v <= last_b[:, None]))


def _mass(probs_bv: jax.Array, chosen_bv: jax.Array) -> jax.Array:
    return jnp.sum(jnp.where(chosen_bv, probs_bv, 0), axis=-1)


def _least(holds: Callable[[jax.Array], jax.Array], top_b: jax.Array) -> jax.Array:
    """The least integer from 0 to `top_b` for which `holds`, or `top_b` if none is."""

    def halve(
        _: int, bounds: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        low_b, high_b = bounds
        middle_b = low_b + (high_b - low_b) // 2
        found_b = holds(middle_b)
        return (
            jnp.where(found_b, low_b, jnp.minimum(middle_b + 1, high_b)),
            jnp.where(found_b, middle_b, high_b),
        )

    return jax.lax.fori_loop(0, 31, halve, (jnp.zeros_like(top_b), top_b))[1]
