"""Attention with all scores in memory: the reference, and that of short rows."""

import jax
import jax.numpy as jnp

from xinst_jax.mesh import ShardingRules
from xinst_jax.models.layers import leading_spec
from xinst_jax.models.product import product


def dense_attention(
    q_bnth: jax.Array,
    k_bksh: jax.Array,
    v_bksh: jax.Array,
    mask_bts: jax.Array,
    rules: ShardingRules,
    *,
    scale: float = 0.0,
    soft_cap: float = 0.0,
) -> jax.Array:
    """Scaled dot-product attention with all scores in memory: the reference.

    The N query heads fall into K groups that share a key/value head, which is never
    repeated. Scores and softmax are float32. A query that sees nothing gives a finite
    average of all values, which nobody reads.

    Args:
      q_bnth: queries; N is a multiple of K.
      k_bksh: keys, not divided along S.
      v_bksh: values, likewise.
      mask_bts: booleans, which keys a query sees.
      rules: how heads are divided.
      scale: what scores are multiplied by; 0 takes H to the power -1/2.
      soft_cap: c, where a score s becomes c * tanh(s / c), as in Gemma 2 (arXiv
        2408.00118, section 2); 0 leaves them.

    Returns:
      Contexts (B, N, T, H) in the queries' dtype.
    """
    batch, heads, length, width = q_bnth.shape
    groups = k_bksh.shape[1]
    rows, _, columns = leading_spec(q_bnth, 3)
    grouped = jax.P(rows, rules.kv_heads, None, columns, None)
    q_bkgth = jnp.reshape(
        q_bnth,
        (batch, groups, heads // groups, length, width),
        out_sharding=grouped,
    )
    scores_bkgts = product(
        "bkgth,bksh->bkgts",
        q_bkgth * jnp.asarray(scale or width**-0.5, q_bnth.dtype),
        k_bksh,
        grouped,
        jnp.float32,
    )
    if soft_cap:
        scores_bkgts = soft_cap * jnp.tanh(scores_bkgts / soft_cap)
    lowest = jnp.finfo(jnp.float32).min
    scores_bkgts = jnp.where(mask_bts[:, None, None], scores_bkgts, lowest)
    weights_bkgts = jax.nn.softmax(scores_bkgts, axis=-1).astype(q_bnth.dtype)
    context_bkgth = product("bkgts,bksh->bkgth", weights_bkgts, v_bksh, grouped)
    return jnp.reshape(
        context_bkgth,
        q_bnth.shape,
        out_sharding=jax.P(rows, rules.heads, columns, rules.head_dim),
    )
