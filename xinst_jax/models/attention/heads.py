"""Grouped-query attention: its weights, and what is made of them."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from xinst_jax.config import ModelConfig
from xinst_jax.mesh import ShardingRules
from xinst_jax.models.attention.choice import attention_over
from xinst_jax.models.attention.masks import PackedRows
from xinst_jax.models.layers import (
    RMSNorm,
    leading_spec,
    multiply,
    normal,
    weight,
    whole,
    zeros,
)
from xinst_jax.models.rotary import Rotation, rotate


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
        self, x_btd: jax.Array, turns: Rotation
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Queries (B, N, T, H), keys and values (B, K, T, H); the first two rotated."""
        rules = self.rules
        batch, length = leading_spec(x_btd, 2)
        q_spec = jax.P(batch, length, rules.heads, rules.head_dim)
        k_spec = jax.P(batch, length, rules.kv_heads, rules.head_dim)
        into = ("btd,dnh->btnh", x_btd)
        q_btnh = multiply(*into, self.query_ldnh, rules, q_spec, "query")
        k_btkh = multiply(*into, self.key_ldkh, rules, k_spec, "key")
        v_btkh = multiply(*into, self.value_ldkh, rules, k_spec, "value")
        if self.config.qkv_bias:
            q_btnh += whole(self.query_bias_lnh, rules, q_btnh.dtype)
            k_btkh += whole(self.key_bias_lkh, rules, k_btkh.dtype)
            v_btkh += whole(self.value_bias_lkh, rules, v_btkh.dtype)
        if self.config.qk_norm:
            q_btnh, k_btkh = self.query_norm(q_btnh), self.key_norm(k_btkh)
        rotated = rotate(q_btnh, turns), rotate(k_btkh, turns), v_btkh
        q_bnth, k_bkth, v_bkth = (jnp.swapaxes(heads, 1, 2) for heads in rotated)
        return q_bnth, k_bkth, v_bkth

    def attend(
        self,
        q_bnth: jax.Array,
        k_bksh: jax.Array,
        v_bksh: jax.Array,
        seen: PackedRows | jax.Array,
    ) -> jax.Array:
        """Contexts (B, N, T, H) of queries over the keys that they see.

        Args:
          q_bnth: queries.
          k_bksh: keys.
          v_bksh: values.
          seen: a mask (B, T, S) of booleans, or what the masks of packed rows follow
            from.
        """
        config = self.config
        attend = functools.partial(
            attention_over(config, self.rules, seen),
            scale=(config.query_pre_attn_scalar or config.head_dim) ** -0.5,
            soft_cap=config.attention_soft_cap,
        )
        return attend(q_bnth, k_bksh, v_bksh, seen, self.rules)

    def back(self, context_bnth: jax.Array) -> jax.Array:
        """Maps the heads' contexts (B, N, T, H) to the model's width, (B, T, D)."""
        context_btnh = jnp.swapaxes(context_bnth, 1, 2)
        spec = jax.P(*leading_spec(context_btnh, 2), self.rules.act_embed)
        return multiply(
            "btnh,nhd->btd", context_btnh, self.out_lnhd, self.rules, spec, "out"
        )
