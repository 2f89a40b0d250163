"""Grouped-query attention: its weights, and what is made of them."""

import functools

import jax
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
        q_bnth = self._heads(x_btd, "bnth", self.query_ldnh, q_spec, "query")
        k_bkth = self._heads(x_btd, "bkth", self.key_ldkh, k_spec, "key")
        v_bkth = self._heads(x_btd, "bkth", self.value_ldkh, k_spec, "value")
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
        batch, _, length = leading_spec(context_bnth, 3)
        spec = jax.P(batch, length, self.rules.act_embed)
        return multiply(
            "bnth,nhd->btd", context_bnth, self.out_lnhd, self.rules, spec, "out"
        )

    def _heads(
        self, x_btd: jax.Array, result: str, param: nnx.Param, spec: jax.P, name: str
    ) -> jax.Array:
        """Heads, such as 'bnth', of activations."""
        equation = f"btd,d{result[1]}h->{result}"
        return multiply(equation, x_btd, param, self.rules, spec, name)

    def _bias(self, param: nnx.Param, like: jax.Array) -> jax.Array:
        """One block's bias of heads, (heads, 1, H), in the dtype of what it is for."""
        return whole(param, self.rules, like.dtype)[:, None]
