"""No run of n tokens twice: the tokens that would complete one are not drawn."""

import jax
import jax.numpy as jnp

from xinst_jax.mesh import ShardingRules


def without_repeats(
    logits_bv: jax.Array,
    history_bs: jax.Array,
    length_b: jax.Array,
    size: int,
    rules: ShardingRules,
) -> jax.Array:
    """Scores with -inf for every token that would repeat a run of `size` tokens.

    Agrees with transformers' NoRepeatNGramLogitsProcessor for one row without padding:
    runs of the prompt count. The paper's released inference uses a `size` of 6.

    Example: of the history (5, 7, 5) and size 2, token 7 is ruled out: 5 7 was there.

    Args:
      logits_bv: float32 scores, not divided along V.
      history_bs: int32 tokens of each row, its prompt's first.
      length_b: int32 how many they are.
      size: tokens of a run; at least 2.
      rules: how arrays are divided.
    """

    if history_bs.shape[1] < size:
        return logits_bv

    def of_row(history_s: jax.Array, length: jax.Array) -> tuple[jax.Array, jax.Array]:
        before = size - 1
        newest = jax.lax.dynamic_slice(history_s, [length - before], [before])
        starts = len(history_s) - before
        same = jnp.arange(starts) + before < length
        for place in range(before):
            same &= history_s[place : place + starts] == newest[place]
        return same, history_s[before:]

    def on_device(
        logits_bv: jax.Array, history_bs: jax.Array, length_b: jax.Array
    ) -> jax.Array:
        same_bs, next_bs = jax.vmap(of_row)(history_bs, length_b)
        vocab, row_b1 = logits_bv.shape[1], jnp.arange(len(logits_bv))[:, None]
        # Runs seldom repeat, and a scatter is dear.
        return jax.lax.cond(
            jnp.any(same_bs),
            lambda: logits_bv.at[row_b1, jnp.where(same_bs, next_bs, vocab)].set(
                -jnp.inf, mode="drop"
            ),
            lambda: logits_bv,
        )

    rows, row = rules.spec("batch", None), rules.spec("batch")
    return jax.shard_map(
        on_device, in_specs=(rows, rows, row), out_specs=rows, check_vma=False
    )(logits_bv, history_bs, length_b)
