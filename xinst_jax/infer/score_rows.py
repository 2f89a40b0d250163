"""The program that scores targets in one batch of packed rows."""

import functools

import jax
import jax.numpy as jnp

from xinst_jax.config import ModelConfig
from xinst_jax.infer.sample import greedy
from xinst_jax.mesh import ShardingRules
from xinst_jax.models.decoder import Decoder, Params, bind


@functools.partial(jax.jit, static_argnames=("model", "rules", "chunk"))
def score_rows(
    params: Params,
    tokens_bt: jax.Array,
    segment_ids_bt: jax.Array,
    positions_bt: jax.Array,
    branch_ids_bt: jax.Array | None,
    columns_bm: jax.Array,
    targets_bm: jax.Array,
    chunks: jax.Array,
    *,
    model: ModelConfig,
    rules: ShardingRules,
    chunk: int,
) -> tuple[jax.Array, jax.Array]:
    """Log-probabilities of targets in packed rows; see `packs.Rows`.

    Args:
      params: the weights.
      tokens_bt: int32 token ids.
      segment_ids_bt: int32 segments; 0 is padding.
      positions_bt: int32 positions in the segments.
      branch_ids_bt: int32 branches, or None where no segment forks.
      columns_bm: int32 column of the hidden state that predicts each target.
      targets_bm: int32 token ids.
      chunks: int32 scalar, how many times `chunk` targets of every row are computed.
      model: the decoder's shape.
      rules: how arrays are divided.
      chunk: targets of a row whose logits exist at once; M is a multiple of it.

    Returns:
      On every device, (B, M) float32 log-probabilities and booleans, whether greedy
      decoding takes the target; zeros behind the chunks that are computed.
    """
    decoder = bind(model, rules, params)
    x_btd = decoder(tokens_bt, segment_ids_bt, positions_bt, branch_ids_bt)
    x_btd = jax.reshard(x_btd, rules.spec("batch", None, "act_embed"))
    rows = rules.spec("batch", None)
    columns_bm, targets_bm = (jax.reshard(a, rows) for a in (columns_bm, targets_bm))

    def score(
        number: jax.Array, made: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        first = number * chunk
        columns_bc, targets_bc = (
            jax.lax.dynamic_slice_in_dim(a, first, chunk, axis=1)
            for a in (columns_bm, targets_bm)
        )
        x_bcd = jnp.take_along_axis(x_btd, columns_bc[..., None], axis=1)
        x_bcd = jax.reshard(x_bcd, rules.spec("batch", "length", "act_embed"))
        logprobs_bm, best_bm = (
            jax.lax.dynamic_update_slice_in_dim(
                whole_bm, jax.reshard(part_bc, rows), first, axis=1
            )
            for whole_bm, part_bc in zip(
                made, _scored(decoder, x_bcd, targets_bc), strict=True
            )
        )
        return logprobs_bm, best_bm

    nothing = (
        jnp.zeros(targets_bm.shape, jnp.float32, out_sharding=rows),
        jnp.zeros(targets_bm.shape, jnp.bool, out_sharding=rows),
    )
    made = jax.lax.fori_loop(0, chunks, score, nothing)
    logprobs_bm, best_bm = (jax.reshard(a, jax.P()) for a in made)
    return logprobs_bm, best_bm


def _scored(
    decoder: Decoder, x_bcd: jax.Array, targets_bc: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Log-probability of each target, and whether greedy decoding takes it."""
    logits_bcv = decoder.logits(x_bcd)
    spec = jax.P(*jax.typeof(logits_bcv).sharding.spec[:2])
    targets_bc = jax.reshard(targets_bc, spec)
    hit_bcv = jnp.arange(logits_bcv.shape[-1]) == targets_bc[..., None]
    logit_bc = jnp.sum(jnp.where(hit_bcv, logits_bcv, 0), axis=-1)
    logprobs_bc = logit_bc - jax.nn.logsumexp(logits_bcv, axis=-1)
    return logprobs_bc, greedy(logits_bcv) == targets_bc
