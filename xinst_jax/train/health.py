"""Which updates are not to be believed: those with a loss that is none, or explodes."""

import dataclasses

import jax
import jax.numpy as jnp

WINDOW = 64
"""Good steps whose median loss a step is held against."""

FEWEST = 16
"""Good steps before which no loss counts as exploding."""

_LEAST_MEDIAN = 1.0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Health:
    """What is known of the steps so far; part of the state, so that a resume is exact.

    Attributes:
      bad_steps: int32 scalar, steps that were bad and changed nothing else.
      losses_w: float32 (`WINDOW`,), the losses of the last good steps, as a ring; NaN
        where there is none yet.
    """

    bad_steps: jax.Array
    losses_w: jax.Array


def begin() -> Health:
    """Before the first step."""
    return Health(jnp.int32(0), jnp.full(WINDOW, jnp.nan, jnp.float32))


def judge(
    health: Health,
    step: jax.Array,
    loss: jax.Array,
    grad_norm: jax.Array,
    max_ratio: float,
) -> tuple[jax.Array, jax.Array, Health]:
    """Whether a step is bad, and what is known after it.

    A step is bad if its loss or gradient norm is not finite, or its loss is above
    `max_ratio` times the median of the last `WINDOW` good steps, once there are
    `FEWEST`. A median below one nat counts as one: where a loss has come close to 0,
    as a rater's of few labels does, a single hard batch is many times the median.

    Args:
      health: before the step.
      step: int32 scalar, steps before this one, bad ones too.
      loss: float32 scalar, nats a token.
      grad_norm: float32 scalar.
      max_ratio: 0 for no limit on finite losses.

    Returns:
      bool scalar (bad), float32 scalar (the highest loss that is not bad, infinity for
      no limit), and the new `Health`.
    """
    limit = jnp.float32(jnp.inf)
    if max_ratio:
        known = jnp.sum(~jnp.isnan(health.losses_w))
        median = jnp.maximum(_median(health.losses_w, known), _LEAST_MEDIAN)
        limit = jnp.where(known >= FEWEST, max_ratio * median, limit)
    bad = ~(jnp.isfinite(loss) & jnp.isfinite(grad_norm) & (loss <= limit))
    place = (step - health.bad_steps) % WINDOW
    here_w = (jnp.arange(WINDOW) == place) & ~bad
    losses_w = jnp.where(here_w, loss, health.losses_w)
    return bad, limit, Health(health.bad_steps + bad, losses_w)


def _median(losses_w: jax.Array, known: jax.Array) -> jax.Array:
    """The median of the `known` values that are no NaN, of which there is one at least.

    By comparison and not by index, which arrays on an explicit mesh want placed.
    """
    sorted_w = jnp.sort(losses_w)  # NaN last
    place_w = jnp.arange(losses_w.size)
    middle_w = (place_w == (known - 1) // 2) | (place_w == known // 2)
    return jnp.sum(jnp.where(middle_w, sorted_w, 0)) / jnp.sum(middle_w)
