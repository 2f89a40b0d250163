"""Grouped-query attention: its weights, its masks and the dense reference."""

import jax
import jax.numpy as jnp
from flax import nnx

from xinst_jax.config import ModelConfig
from xinst_jax.mesh import ShardingRules
from xinst_jax.models.layers import leading_spec, multiply, normal, rotate, weight
from xinst_jax.models.product import product


class Attention(nnx.Module):
    """Queries, keys and values of heads, and the way back to the model's width.

    Ainslie et al., arXiv 2305.13245; agrees with LlamaAttention.
    """

    def __init__(self, config: ModelConfig, rules: ShardingRules, *, rngs: nnx.Rngs):
        self.rules = rules
        count, width = config.num_layers, config.embed_dim
        heads, groups, head = config.num_heads, config.num_kv_heads, config.head_dim
        into = normal(width**-0.5)
        query = ((count, width, heads, head), ("layers", "embed", "heads", "head_dim"))
        key = (
            (count, width, groups, head),
            ("layers", "embed", "kv_heads", "head_dim"),
        )
        out = ((count, heads, head, width), ("layers", "heads", "head_dim", "embed"))
        self.query_ldnh = weight(config, rules, rngs, *query, into)
        self.key_ldkh = weight(config, rules, rngs, *key, into)
        self.value_ldkh = weight(config, rules, rngs, *key, into)
        self.out_lnhd = weight(
            config, rules, rngs, *out, normal((2 * count * heads * head) ** -0.5)
        )

    def project(
        self, x_btd: jax.Array, angles_bth: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Queries (B, N, T, H), keys and values (B, K, T, H); the first two rotated."""
        rules = self.rules
        batch, length = leading_spec(x_btd, 2)
        q_spec = jax.P(batch, rules.heads, length, rules.head_dim)
        k_spec = jax.P(batch, rules.kv_heads, length, rules.head_dim)
        q_bnth = multiply("btd,dnh->bnth", x_btd, self.query_ldnh, rules, q_spec)
        k_bkth = multiply("btd,dkh->bkth", x_btd, self.key_ldkh, rules, k_spec)
        v_bkth = multiply("btd,dkh->bkth", x_btd, self.value_ldkh, rules, k_spec)
        return rotate(q_bnth, angles_bth), rotate(k_bkth, angles_bth), v_bkth

    def back(self, context_bnth: jax.Array) -> jax.Array:
        """Maps the heads' contexts (B, N, T, H) to the model's width, (B, T, D)."""
        batch, _, length = leading_spec(context_bnth, 3)
        spec = jax.P(batch, length, self.rules.act_embed)
        return multiply("bnth,nhd->btd", context_bnth, self.out_lnhd, self.rules, spec)


def segment_mask(query_segments_bt: jax.Array, key_segments_bs: jax.Array) -> jax.Array:
    """Which keys a query of a packed row sees: earlier ones of its own segment.

    Args:
      query_segments_bt: int32 segment of each query; 0 is padding.
      key_segments_bs: int32 segment of each key of the same rows.

    Returns:
      Booleans (B, T, S); a padding query sees nothing.
    """
    lengths = query_segments_bt.shape[1], key_segments_bs.shape[1]
    causal_ts = jnp.arange(lengths[0])[:, None] >= jnp.arange(lengths[1])[None]
    same_bts = query_segments_bt[:, :, None] == key_segments_bs[:, None]
    return causal_ts & same_bts & (key_segments_bs != 0)[:, None]


def cache_mask(valid_bs: jax.Array, column: jax.Array | int, length: int) -> jax.Array:
    """Which cache columns the `length` queries written from `column` on see.

    Args:
      valid_bs: booleans (B, S), false where a column holds no token of the row.
      column: cache column of the first query.
      length: queries T.

    Returns:
      Booleans (B, T, S): column s for query t if it is valid and s <= column + t.
    """
    causal_ts = (
        jnp.arange(valid_bs.shape[1])[None] <= column + jnp.arange(length)[:, None]
    )
    return causal_ts & valid_bs[:, None]


def dense_attention(
    q_bnth: jax.Array,
    k_bksh: jax.Array,
    v_bksh: jax.Array,
    mask_bts: jax.Array,
    rules: ShardingRules,
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
        q_bkgth * jnp.asarray(width**-0.5, q_bnth.dtype),
        k_bksh,
        grouped,
        jnp.float32,
    )
    lowest = jnp.finfo(jnp.float32).min
    scores_bkgts = jnp.where(mask_bts[:, None, None], scores_bkgts, lowest)
    weights_bkgts = jax.nn.softmax(scores_bkgts, axis=-1).astype(q_bnth.dtype)
    context_bkgth = product("bkgts,bksh->bkgth", weights_bkgts, v_bksh, grouped)
    return jnp.reshape(
        context_bkgth,
        q_bnth.shape,
        out_sharding=jax.P(rows, rules.heads, columns, rules.head_dim),
    )
