"""Rotary positions: their angles, scaled for longer texts, and the turning."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xinst_jax.config import ModelConfig


class Rotation(NamedTuple):
    """Cosines and sines of the angles that a head's pairs of coordinates turn by.

    Attributes:
      cos_bth: (B, T, H / 2) float32.
      sin_bth: likewise.
    """

    cos_bth: jax.Array
    sin_bth: jax.Array


def rotation(
    positions_bt: jax.Array, config: ModelConfig, *, windowed: bool = False
) -> Rotation:
    """How rotary positions turn the heads of these tokens.

    Su et al., arXiv 2104.09864, section 3.4.2; agrees with LlamaRotaryEmbedding.

    Args:
      positions_bt: int32 position of each token in its own sequence.
      config: the decoder's shape.
      windowed: whether they are those of windowed blocks with a base of their own.
    """
    theta = config.local_rope_theta if windowed else config.rope_theta
    width = config.head_dim
    frequency_h = theta ** -(jnp.arange(0, width, 2, dtype=jnp.float32) / width)
    if config.rope_scaling != "none" and not windowed:
        frequency_h = _scaled(frequency_h, config)
    angles_bth = positions_bt[..., None].astype(jnp.float32) * frequency_h
    # Behind the barrier they are numbers; XLA would compute them in every block and for
    # every head anew.
    turns = Rotation(jnp.cos(angles_bth), jnp.sin(angles_bth))
    return jax.lax.optimization_barrier(turns)


def _scaled(frequency_h: jax.Array, config: ModelConfig) -> jax.Array:
    """Frequencies, radians a token, changed for texts longer than those of training.

    'linear' is Chen et al., arXiv 2306.15595, equation 4. 'llama3' divides only the
    frequencies that turn less than `rope_low_freq_factor` times within the original
    length, as Meta's Llama 3.1 does; agrees with transformers' ROPE_INIT_FUNCTIONS.
    """
    divided_h = frequency_h / config.rope_factor
    if config.rope_scaling == "linear":
        return divided_h
    low, high = config.rope_low_freq_factor, config.rope_high_freq_factor
    turns_h = config.rope_original_length * frequency_h / (2 * math.pi)
    kept_h = jnp.clip((turns_h - low) / (high - low), 0, 1)
    return kept_h * frequency_h + (1 - kept_h) * divided_h


def rotate(x_btnh: jax.Array, turns: Rotation) -> jax.Array:
    """Turns coordinate i of each head together with coordinate i + H / 2.

    The half-split layout is Hugging Face's: its weights need no permutation.

    Args:
      x_btnh: queries or keys, (B, T, heads, H).
      turns: those of the tokens.
    """
    cos_bt1h, sin_bt1h = turns.cos_bth[:, :, None], turns.sin_bth[:, :, None]
    first, second = jnp.split(x_btnh.astype(jnp.float32), 2, axis=-1)
    turned = (
        first * cos_bt1h - second * sin_bt1h,
        second * cos_bt1h + first * sin_bt1h,
    )
    return jnp.concatenate(turned, axis=-1).astype(x_btnh.dtype)
