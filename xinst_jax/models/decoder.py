"""The decoder: embedding, scanned blocks, final norm, head."""

import functools
from collections.abc import Callable
from typing import TypeAlias, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from xinst_jax.config import ModelConfig
from xinst_jax.mesh import ShardingRules
from xinst_jax.models.attention.choice import packed_rows
from xinst_jax.models.attention.heads import Attention
from xinst_jax.models.layers import (
    BLOCK,
    MLP,
    RMSNorm,
    leading_spec,
    normal,
    weight,
    whole,
)
from xinst_jax.models.product import product
from xinst_jax.models.remat import rematerialised
from xinst_jax.models.rotary import Rotation
from xinst_jax.models.views import View, Views

Params: TypeAlias = dict[str, "jax.Array | Params"]
Kept = TypeVar("Kept")


_Layer: TypeAlias = tuple[jax.Array | None, nnx.State]


class Block(nnx.Module):
    """One block of the decoder: attention and feed-forward, each normalised before.

    With `post_norms` what each gives is normalised too, as in Gemma 2 and 3.
    """

    def __init__(self, config: ModelConfig, rules: ShardingRules, *, rngs: nnx.Rngs):
        self.config, self.rules = config, rules
        self.attention_norm = RMSNorm(config, rules, "ld", rngs=rngs)
        self.attention = Attention(config, rules, rngs=rngs)
        self.mlp_norm = RMSNorm(config, rules, "ld", rngs=rngs)
        self.mlp = MLP(config, rules, rngs=rngs)
        if config.post_norms:
            self.attention_post_norm = RMSNorm(config, rules, "ld", rngs=rngs)
            self.mlp_post_norm = RMSNorm(config, rules, "ld", rngs=rngs)

    def __call__(self, x_btd: jax.Array, view: View) -> jax.Array:
        """Maps (B, T, D) to (B, T, D), each token attending to those in its view."""
        return self.read(x_btd, view)[0]

    def read(
        self, x_btd: jax.Array, view: View
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        """As `__call__`, and the rotated keys and the values (B, K, T, H), T whole."""

        def attend(
            q_bnth: jax.Array, k_bkth: jax.Array, v_bkth: jax.Array
        ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
            whole_length = self.rules.spec("batch", "kv_heads", None, "head_dim")
            k_bksh = jax.reshard(k_bkth, whole_length)
            v_bksh = jax.reshard(v_bkth, whole_length)
            context_bnth = self.attention.attend(q_bnth, k_bksh, v_bksh, view.seen)
            return context_bnth, (k_bksh, v_bksh)

        return self.through(x_btd, view.turns, attend)

    def through(
        self,
        x_btd: jax.Array,
        turns: Rotation,
        attend: Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, Kept]],
    ) -> tuple[jax.Array, Kept]:
        """The block around an attention of the caller's.

        Args:
          x_btd: activations.
          turns: rotary positions of the tokens.
          attend: from queries (B, N, T, H), keys and values (B, K, T, H), the first two
            rotated, to contexts (B, N, T, H) and what the caller keeps.

        Returns:
          (B, T, D), and what was kept.
        """
        normed_btd = self.attention_norm(x_btd)
        context_bnth, kept = attend(*self.attention.project(normed_btd, turns))
        attended_btd = self.attention.back(context_bnth)
        if self.config.post_norms:
            attended_btd = self.attention_post_norm(attended_btd)
        x_btd = x_btd + attended_btd
        fed_btd = self.mlp(self.mlp_norm(x_btd))
        if self.config.post_norms:
            fed_btd = self.mlp_post_norm(fed_btd)
        return x_btd + fed_btd, kept


class Decoder(nnx.Module):
    """A decoder of any family, its blocks stacked on a leading axis and scanned.

    Touvron et al., arXiv 2302.13971, section 2.2, and 2307.09288 (grouped queries);
    agrees with transformers' LlamaForCausalLM, and under the settings that
    `ModelConfig` documents with the causal models of Mistral, Gemma 1 to 3 and Qwen 2.5
    and 3.

    Made and called under `jax.set_mesh`; `rules` divide weights and activations.
    """

    def __init__(self, config: ModelConfig, rules: ShardingRules, *, rngs: nnx.Rngs):
        self.config, self.rules = config, rules
        table = ((config.vocab_size, config.embed_dim), ("vocab", "embed"))
        self.embedding = nnx.Dict(
            table_vd=weight(config, rules, rngs, *table, normal(0.02))
        )
        self.layers = Block(config, rules, rngs=rngs)
        self.final_norm = RMSNorm(config, rules, "d", rngs=rngs)
        if not config.tie_embeddings:
            self.head = nnx.Dict(
                table_vd=weight(config, rules, rngs, *table, normal(0.02))
            )

    def __call__(
        self,
        tokens_bt: jax.Array,
        segment_ids_bt: jax.Array,
        positions_bt: jax.Array,
        branch_ids_bt: jax.Array | None = None,
    ) -> jax.Array:
        """Reads packed rows.

        Args:
          tokens_bt: int32 token ids.
          segment_ids_bt: int32; a token sees the earlier tokens of its own segment, and
            0 is padding.
          positions_bt: int32 position of each token in its segment.
          branch_ids_bt: int32, where a segment is a text (branch 0) with several
            continuations, one after another: each sees the text and itself, and its
            positions go on where the text ends. None where no segment forks.

        Returns:
          Final-normed hidden states (B, T, D) in the compute dtype.
        """
        rows = self.rules.spec("batch", "length")
        tokens_bt = jax.reshard(tokens_bt, rows)
        seen = packed_rows(
            self.config, self.rules, segment_ids_bt, positions_bt, branch_ids_bt
        )
        views = Views(self.config, jax.reshard(positions_bt, rows), seen)
        graphdef, stacked = nnx.split(self.layers)

        def step(x_btd: jax.Array, block: _Layer) -> tuple[jax.Array, None]:
            windowed, state = block
            x_btd = checkpoint_name(x_btd, BLOCK)
            return nnx.merge(graphdef, state)(x_btd, views.of(windowed)), None

        saving = rematerialised(step, self.config.remat)
        blocks = (views.windowed_l, stacked)
        x_btd, _ = jax.lax.scan(
            saving, self.embed(tokens_bt), blocks, unroll=self.config.unroll
        )
        return self.final_norm(x_btd)

    def logits(self, x_btd: jax.Array) -> jax.Array:
        """Scores of the next token, (B, T, V) float32, for hidden states (B, T, D)."""
        table_vd = whole(self._head().table_vd, self.rules, x_btd.dtype)
        spec = jax.P(*leading_spec(x_btd, 2), self.rules.vocab)
        logits_btv = product("btd,vd->btv", x_btd, table_vd, spec, jnp.float32)
        cap = self.config.final_soft_cap
        return cap * jnp.tanh(logits_btv / cap) if cap else logits_btv

    def head_table(self) -> jax.Array:
        """The output head (V, D) as it is kept; logits are products with its rows."""
        return self._head().table_vd[...]

    def _head(self) -> nnx.Dict:
        return self.embedding if self.config.tie_embeddings else self.head

    def embed(self, tokens_bt: jax.Array) -> jax.Array:
        """Activations (B, T, D), in the compute dtype, of int32 token ids (B, T)."""
        dtype = jnp.dtype(self.config.compute_dtype)
        table_vd = whole(self.embedding.table_vd, self.rules, dtype)
        spec = jax.P(*leading_spec(tokens_bt, 2), self.rules.act_embed)
        x_btd = table_vd.at[tokens_bt].get(out_sharding=spec)
        if self.config.embedding_scale:
            # Rounded to the compute dtype first, as in GemmaModel: 55.5 for a D of 3072
            # in bfloat16.
            x_btd = x_btd * jnp.asarray(self.config.embed_dim**0.5, dtype)
        return x_btd


@functools.cache
def graph(config: ModelConfig, rules: ShardingRules) -> nnx.GraphDef:
    """The decoder without its weights; called under `jax.set_mesh`."""
    decoder = nnx.eval_shape(lambda: Decoder(config, rules, rngs=nnx.Rngs(0)))
    return nnx.split(decoder)[0]


def bind(config: ModelConfig, rules: ShardingRules, params: Params) -> Decoder:
    """The decoder with these weights, for use inside `jax.jit`."""
    return nnx.merge(graph(config, rules), params)


def init_params(
    config: ModelConfig, rules: ShardingRules, mesh: jax.sharding.Mesh, key: jax.Array
) -> Params:
    """Random weights, made where they live; the same numbers on every mesh.

    Raises:
      UserError: a weight does not divide over the mesh.
    """
    with jax.set_mesh(mesh):
        return _make(config, rules, key)


def abstract_params(
    config: ModelConfig, rules: ShardingRules, mesh: jax.sharding.Mesh
) -> Params:
    """Shapes, dtypes and shardings of the weights, as `jax.ShapeDtypeStruct`s.

    Raises:
      UserError: a weight does not divide over the mesh.
    """
    with jax.set_mesh(mesh):
        # The key is made inside: a mesh of devices that are not attached holds nothing.
        made = jax.eval_shape(lambda: _make(config, rules, jax.random.key(0)))
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            leaf.shape,
            leaf.dtype,
            sharding=jax.sharding.NamedSharding(mesh, leaf.sharding.spec),
        ),
        made,
    )


def compute_params(
    config: ModelConfig, rules: ShardingRules, mesh: jax.sharding.Mesh, params: Params
) -> Params:
    """The weights as inference multiplies them: matrices already in the compute dtype.

    Hidden states are those of the weights as kept, since each matrix is cast before it
    is multiplied anyway; norms stay as they are. Weights that are so already, divided
    by these rules, are returned without a copy. Rules whose `embed` is None keep
    matrices whole along the model's width: a step of decoding gathers nothing.
    """
    return jax.tree.map(
        lambda leaf, to: jax.device_put(leaf, to.sharding).astype(to.dtype),
        params,
        abstract_compute_params(config, rules, mesh),
    )


def abstract_compute_params(
    config: ModelConfig, rules: ShardingRules, mesh: jax.sharding.Mesh
) -> Params:
    """What `compute_params` gives, as `jax.ShapeDtypeStruct`s with shardings."""
    with jax.set_mesh(mesh):
        made = nnx.eval_shape(lambda: Decoder(config, rules, rngs=nnx.Rngs(0)))

    def target(param: nnx.Param) -> jax.ShapeDtypeStruct:
        axes = param.get_metadata("axes")
        sharding = jax.sharding.NamedSharding(mesh, rules.spec(*axes))
        dtype = config.compute_dtype if "embed" in axes else param.dtype
        return jax.ShapeDtypeStruct(param.shape, dtype, sharding=sharding)

    state = nnx.split(made)[1]
    return nnx.to_pure_dict(
        jax.tree.map(target, state, is_leaf=lambda node: isinstance(node, nnx.Param))
    )


@functools.partial(jax.jit, static_argnums=(0, 1))
def _make(config: ModelConfig, rules: ShardingRules, key: jax.Array) -> Params:
    decoder = Decoder(config, rules, rngs=nnx.Rngs(key))
    return nnx.to_pure_dict(nnx.split(decoder)[1])
