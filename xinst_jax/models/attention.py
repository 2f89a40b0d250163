"""Grouped-query attention: its weights, its masks and the dense reference."""

import jax
import jax.numpy as jnp
from flax import nnx

from xinst_jax.config import ModelConfig
from xinst_jax.mesh import ShardingRules
from xinst_jax.models.layers import (
    RMSNorm,
    leading_spec,
    multiply,
    normal,
    weight,
    whole,
    zeros,
)
from xinst_jax.models.product import product
from xinst_jax.models.rotary import rotate


class Attention(nnx.Module):
    """Queries, keys and values of heads, and the way back to the model's width.

    Ainslie et al., arXiv 2305.13245; agrees with LlamaAttention, with `qkv_bias` with
    Qwen2Attention, with `qk_norm` with Qwen3Attention (Henry et al., arXiv 2010.04245)
    and, under other settings, with Gemma's.
    """

    def __init__(self, config: ModelConfig, rules: ShardingRules, *, rngs: nnx.Rngs):
        self.config, self.rules = config, rules
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
        if config.qkv_bias:
            of_n = ((count, heads, head), ("layers", "heads", "head_dim"))
            of_k = ((count, groups, head), ("layers", "kv_heads", "head_dim"))
            self.query_bias_lnh = weight(config, rules, rngs, *of_n, zeros)
            self.key_bias_lkh = weight(config, rules, rngs, *of_k, zeros)
            self.value_bias_lkh = weight(config, rules, rngs, *of_k, zeros)
        if config.qk_norm:
            self.query_norm = RMSNorm(config, rules, "lh", rngs=rngs)
            self.key_norm = RMSNorm(config, rules, "lh", rngs=rngs)

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
        if self.config.qkv_bias:
            q_bnth += self._bias(self.query_bias_lnh, q_bnth)
            k_bkth += self._bias(self.key_bias_lkh, k_bkth)
            v_bkth += self._bias(self.value_bias_lkh, v_bkth)
        if self.config.qk_norm:
            q_bnth, k_bkth = self.query_norm(q_bnth), self.key_norm(k_bkth)
        return rotate(q_bnth, angles_bth), rotate(k_bkth, angles_bth), v_bkth

    def attend(
        self,
        q_bnth: jax.Array,
        k_bksh: jax.Array,
        v_bksh: jax.Array,
        mask_bts: jax.Array,
    ) -> jax.Array:
        """Contexts (B, N, T, H) of queries over the keys that the mask shows them."""
        config = self.config
        return dense_attention(
            q_bnth,
            k_bksh,
            v_bksh,
            mask_bts,
            self.rules,
            scale=(config.query_pre_attn_scalar or config.head_dim) ** -0.5,
            soft_cap=config.attention_soft_cap,
        )

    def back(self, context_bnth: jax.Array) -> jax.Array:
        """Maps the heads' contexts (B, N, T, H) to the model's width, (B, T, D)."""
        batch, _, length = leading_spec(context_bnth, 3)
        spec = jax.P(batch, length, self.rules.act_embed)
        return multiply("bnth,nhd->btd", context_bnth, self.out_lnhd, self.rules, spec)

    def _bias(self, param: nnx.Param, like: jax.Array) -> jax.Array:
        """One block's bias of heads, (heads, 1, H), in the dtype of what it is for."""
        return whole(param, self.rules, like.dtype)[:, None]


def segment_mask(
    query_segments_bt: jax.Array, key_segments_bs: jax.Array, window: int = 0
) -> jax.Array:
    """Which keys a query of a packed row sees: earlier ones of its own segment.

    Args:
      query_segments_bt: int32 segment of each query; 0 is padding.
      key_segments_bs: int32 segment of each key of the same rows.
      window: tokens that a query sees at most, its own included; 0 sets no limit.

    Returns:
      Booleans (B, T, S); a padding query sees nothing.
    """
    lengths = query_segments_bt.shape[1], key_segments_bs.shape[1]
    queries_t1, keys_1s = jnp.arange(lengths[0])[:, None], jnp.arange(lengths[1])[None]
    causal_ts = queries_t1 >= keys_1s
    if window:
        causal_ts &= queries_t1 - keys_1s < window
    same_bts = query_segments_bt[:, :, None] == key_segments_bs[:, None]
    return causal_ts & same_bts & (key_segments_bs != 0)[:, None]


def cache_mask(
    valid_bs: jax.Array, column: jax.Array | int, length: int, window: int = 0
) -> jax.Array:
    """Which cache columns the `length` queries written from `column` on see.

    Args:
      valid_bs: booleans (B, S), false where a column holds no token of the row.
      column: cache column of the first query.
      length: queries T.
      window: tokens that a query sees at most, its own included; 0 sets no limit. A
        row's tokens are counted, not its columns: one without a token takes no place.

    Returns:
      Booleans (B, T, S): column s for query t if it is valid and s <= column + t.
    """
    causal_ts = (
        jnp.arange(valid_bs.shape[1])[None] <= column + jnp.arange(length)[:, None]
    )
    seen_bts = causal_ts & valid_bs[:, None]
    if not window:
        return seen_bts
    # A key is as far away as the row has tokens after it, up to the query's own: the
    # columns of a shorter prompt's gap count for nothing.
    tokens_bs = jnp.cumsum(valid_bs, axis=1, dtype=jnp.int32)
    upto_bt = jnp.sum(seen_bts, axis=2, dtype=jnp.int32)
    return seen_bts & (upto_bt[:, :, None] - tokens_bs[:, None] < window)


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
