"""Choosing the next token of each row, by a key of the row's own."""

import hashlib
from collections.abc import Callable

import jax
import jax.numpy as jnp

_ONE = 0x3F800000
"""The bits of 1.0 as float32; those of smaller positive numbers are below, in order."""


def row_hash(row_id: str) -> int:
    """A 32-bit number for a row, the same in every process: SHA-256's first bytes."""
    return int.from_bytes(hashlib.sha256(row_id.encode()).digest()[:4], "little")


def row_uniforms(seed: jax.Array, hashes_b: jax.Array, step: jax.Array) -> jax.Array:
    """A number in [0, 1) for each row: a function of seed, row and step alone.

    Args:
      seed: uint32 scalar, the run's.
      hashes_b: uint32 `row_hash` of each row.
      step: int32 scalar, number of the generated token.

    Returns:
      (B,) float32.
    """
    key = jax.random.key(seed)

    def draw(row: jax.Array) -> jax.Array:
        return jax.random.uniform(
            jax.random.fold_in(jax.random.fold_in(key, row), step)
        )

    return jax.vmap(draw)(hashes_b)


def greedy(logits_bv: jax.Array) -> jax.Array:
    """The likeliest token of each row, (B,) int32; of equals, the lowest id.

    The index of a maximum is several times slower on XLA:CPU than a maximum.
    """
    top_b1 = jnp.max(logits_bv, axis=-1, keepdims=True)
    size = logits_bv.shape[-1]
    return jnp.min(jnp.where(logits_bv == top_b1, jnp.arange(size), size - 1), axis=-1)


def sample(
    logits_bv: jax.Array, uniforms_b: jax.Array, temperature: float, top_p: float
) -> jax.Array:
    """Draws a token of each row from the nucleus of its tempered distribution.

    Holtzman et al., arXiv 1904.09751, section 3.1: the smallest set of the likeliest
    tokens whose probability reaches `top_p`, the token that crosses it included; of
    equally likely tokens the lower ids come first. The set, and the place of the draw
    in it, are found by bisection, in sums over the vocabulary: sorting a vocabulary of
    32,000 is thirty times slower on XLA:CPU.

    Args:
      logits_bv: float32 scores; -inf is never drawn.
      uniforms_b: float32 in [0, 1).
      temperature: divides the scores; positive.
      top_p: probability of the nucleus, of the tempered distribution.

    Returns:
      (B,) int32 token ids.
    """
    probs_bv = jax.nn.softmax(logits_bv / temperature, axis=-1)
    if top_p < 1:
        probs_bv = jnp.where(nucleus(probs_bv, top_p), probs_bv, 0)
    ids_v = jnp.arange(probs_bv.shape[-1])
    # 1 - u is above 0: the sum first reaches it at a token of positive probability.
    goal_b = jnp.sum(probs_bv, axis=-1) * (1 - uniforms_b)
    return _least(
        lambda id_b: _mass(probs_bv, ids_v <= id_b[:, None]) >= goal_b,
        jnp.full_like(goal_b, probs_bv.shape[-1] - 1, jnp.int32),
    )


def nucleus(probs_bv: jax.Array, top_p: float) -> jax.Array:
    """Which tokens are in the nucleus, (B, V) booleans; see `sample`.

    Example: probabilities (0.1, 0.5, 0.3, 0.1) and top_p 0.7 give (no, yes, yes, no).
    """
    size = probs_bv.shape[-1]
    bits_bv = jax.lax.bitcast_convert_type(probs_bv, jnp.int32)
    one_b = jnp.full_like(probs_bv[:, 0], _ONE, jnp.int32)
    # The probability of the token that crosses top_p, as bits, counted down from 1.0.
    least_b = _ONE - _least(
        lambda below_b: _mass(probs_bv, bits_bv >= (_ONE - below_b)[:, None]) >= top_p,
        one_b,
    )
    above_bv, tied_bv = bits_bv > least_b[:, None], bits_bv == least_b[:, None]
    ids_v = jnp.arange(size)
    last_b = _least(
        lambda id_b: (
            _mass(probs_bv, above_bv | (tied_bv & (ids_v <= id_b[:, None]))) >= top_p
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
