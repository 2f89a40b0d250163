"""The sentence encoder: a BERT whose mean token makes a unit vector of a text.

Devlin et al., arXiv 1810.04805, with the mean pooling of Reimers and Gurevych,
arXiv 1908.10084; agrees with transformers' BertModel and sentence-transformers' pooling
and normalisation. All of it is float32: it is small, and its cosines decide which
instructions count as the same.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """The encoder's shape.

    Attributes:
      vocab_size: rows of the token embedding.
      num_layers: blocks.
      embed_dim: width D, also that of a text's vector.
      mlp_dim: feed-forward width F.
      num_heads: attention heads N.
      positions: rows of the position embedding.
      token_types: rows of the token type embedding, of which the first is used.
      max_tokens: longest text, in tokens; a longer one is cut at its end.
      norm_eps: added to the variance in layer normalisation.
    """

    vocab_size: int
    num_layers: int
    embed_dim: int
    mlp_dim: int
    num_heads: int
    positions: int
    token_types: int
    max_tokens: int
    norm_eps: float

    @property
    def head_dim(self) -> int:
        """Width H of a head."""
        return self.embed_dim // self.num_heads


def layer_norm(
    x_btd: jax.Array, scale_d: nnx.Param, bias_d: nnx.Param, eps: float
) -> jax.Array:
    """Normalises each vector to mean 0 and variance 1, then scales and shifts it.

    Ba et al., arXiv 1607.06450, equation 4.
    """
    centred_btd = x_btd - jnp.mean(x_btd, axis=-1, keepdims=True)
    variance_bt1 = jnp.mean(jnp.square(centred_btd), axis=-1, keepdims=True)
    normed_btd = centred_btd * jax.lax.rsqrt(variance_bt1 + eps)
    return normed_btd * scale_d[...] + bias_d[...]


class Block(nnx.Module):
    """Self-attention and a feed-forward layer, each normalised after its residual.

    A weight's leading axis L stacks the blocks; inside the scan it is gone.
    """

    def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
        layers, width, inner = config.num_layers, config.embed_dim, config.mlp_dim
        heads, head = config.num_heads, config.head_dim

        def weight(*shape: int) -> nnx.Param:
            return nnx.Param(0.02 * jax.random.normal(rngs.params(), shape))

        def bias(*shape: int) -> nnx.Param:
            return nnx.Param(jnp.zeros(shape))

        def scale(*shape: int) -> nnx.Param:
            return nnx.Param(jnp.ones(shape))

        self.eps = config.norm_eps
        self.query_ldnh = weight(layers, width, heads, head)
        self.query_bias_lnh = bias(layers, heads, head)
        self.key_ldnh = weight(layers, width, heads, head)
        self.key_bias_lnh = bias(layers, heads, head)
        self.value_ldnh = weight(layers, width, heads, head)
        self.value_bias_lnh = bias(layers, heads, head)
        self.out_lnhd = weight(layers, heads, head, width)
        self.out_bias_ld = bias(layers, width)
        self.attention_scale_ld = scale(layers, width)
        self.attention_shift_ld = bias(layers, width)
        self.up_ldf = weight(layers, width, inner)
        self.up_bias_lf = bias(layers, inner)
        self.down_lfd = weight(layers, inner, width)
        self.down_bias_ld = bias(layers, width)
        self.mlp_scale_ld = scale(layers, width)
        self.mlp_shift_ld = bias(layers, width)

    def __call__(self, x_btd: jax.Array, mask_bt: jax.Array) -> jax.Array:
        """Maps (B, T, D) to (B, T, D); padding is never attended to."""
        x_btd = layer_norm(
            x_btd + self._attend(x_btd, mask_bt),
            self.attention_scale_ld,
            self.attention_shift_ld,
            self.eps,
        )
        inner_btf = jnp.einsum("btd,df->btf", x_btd, self.up_ldf[...])
        inner_btf = jax.nn.gelu(inner_btf + self.up_bias_lf[...], approximate=False)
        update_btd = jnp.einsum("btf,fd->btd", inner_btf, self.down_lfd[...])
        update_btd = update_btd + self.down_bias_ld[...]
        scale, shift = self.mlp_scale_ld, self.mlp_shift_ld
        return layer_norm(x_btd + update_btd, scale, shift, self.eps)

    def _attend(self, x_btd: jax.Array, mask_bt: jax.Array) -> jax.Array:
        def heads(weight: nnx.Param, bias: nnx.Param) -> jax.Array:
            return jnp.einsum("btd,dnh->bnth", x_btd, weight[...]) + bias[...][:, None]

        q_bnth = heads(self.query_ldnh, self.query_bias_lnh)
        k_bnsh = heads(self.key_ldnh, self.key_bias_lnh)
        v_bnsh = heads(self.value_ldnh, self.value_bias_lnh)
        scale = q_bnth.shape[-1] ** -0.5
        scores_bnts = jnp.einsum("bnth,bnsh->bnts", q_bnth * scale, k_bnsh)
        lowest = jnp.finfo(jnp.float32).min
        scores_bnts = jnp.where(mask_bt[:, None, None], scores_bnts, lowest)
        weights_bnts = jax.nn.softmax(scores_bnts, axis=-1)
        context_bnth = jnp.einsum("bnts,bnsh->bnth", weights_bnts, v_bnsh)
        update_btd = jnp.einsum("bnth,nhd->btd", context_bnth, self.out_lnhd[...])
        return update_btd + self.out_bias_ld[...]


class SentenceEncoder(nnx.Module):
    """Token, position and type embeddings, blocks, mean pooling."""

    def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
        def table(rows: int) -> nnx.Param:
            shape = (rows, config.embed_dim)
            return nnx.Param(0.02 * jax.random.normal(rngs.params(), shape))

        self.token_vd = table(config.vocab_size)
        self.position_sd = table(config.positions)
        self.type_cd = table(config.token_types)
        self.scale_d = nnx.Param(jnp.ones(config.embed_dim))
        self.shift_d = nnx.Param(jnp.zeros(config.embed_dim))
        self.eps = config.norm_eps
        self.blocks = Block(config, rngs=rngs)

    def __call__(self, tokens_bt: jax.Array, mask_bt: jax.Array) -> jax.Array:
        """Embeds texts.

        Args:
          tokens_bt: int32 tokens, with the tokenizer's special ones.
          mask_bt: booleans, false on padding.

        Returns:
          Vectors (B, E) float32 of length 1; a row without tokens gives zeros.
        """
        with jax.default_matmul_precision("highest"):
            return self._embed(tokens_bt, mask_bt)

    def _embed(self, tokens_bt: jax.Array, mask_bt: jax.Array) -> jax.Array:
        rows = jax.typeof(tokens_bt).sharding.spec
        spec = jax.P(*rows, *(None,) * (3 - len(rows)))
        token_btd = self.token_vd[...].at[tokens_bt].get(out_sharding=spec)
        position_td = self.position_sd[...][: tokens_bt.shape[1]]
        x_btd = token_btd + position_td + self.type_cd[...][0]
        x_btd = layer_norm(x_btd, self.scale_d, self.shift_d, self.eps)
        graph, blocks = nnx.split(self.blocks)

        def block(x_btd: jax.Array, weights: nnx.State) -> tuple[jax.Array, None]:
            return nnx.merge(graph, weights)(x_btd, mask_bt), None

        x_btd, _ = jax.lax.scan(block, x_btd, blocks)
        mask_bt = mask_bt.astype(jnp.float32)
        sum_be = jnp.einsum("btd,bt->bd", x_btd, mask_bt)
        count_b1 = jnp.sum(mask_bt, axis=1, keepdims=True)
        mean_be = sum_be / jnp.maximum(count_b1, 1e-9)
        length_b1 = jnp.linalg.norm(mean_be, axis=1, keepdims=True)
        return mean_be / jnp.maximum(length_b1, 1e-12)


@functools.cache
def _graph(config: EncoderConfig) -> tuple[nnx.GraphDef, nnx.State]:
    encoder = nnx.eval_shape(lambda: SentenceEncoder(config, rngs=nnx.Rngs(0)))
    return nnx.split(encoder)


def abstract_params(config: EncoderConfig) -> dict[str, Any]:
    """Shapes and dtypes of the parameters: nested dictionaries of ShapeDtypeStruct."""
    return nnx.to_pure_dict(_graph(config)[1])


@functools.partial(jax.jit, static_argnums=0)
def encode(
    config: EncoderConfig,
    params: dict[str, Any],
    tokens_bt: jax.Array,
    mask_bt: jax.Array,
) -> jax.Array:
    """Runs the encoder whose parameters these are; see `SentenceEncoder.__call__`."""
    graph, _ = _graph(config)
    return nnx.merge(graph, params)(tokens_bt, mask_bt)
