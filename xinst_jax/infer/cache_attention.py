"""Attention of one new token a row over the cache of decode slots."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from xinst_jax.config import ModelConfig
from xinst_jax.infer import cache_mosaic, cache_numba, cache_triton
from xinst_jax.infer.cache import Cache, Layout, Store, filled, kept, store_specs
from xinst_jax.mesh import ShardingRules, platform
from xinst_jax.models.cached import Attend
from xinst_jax.models.product import wide_product

_LOWEST = -1e30
"""Score of a key that is not seen: finite, so that differences are numbers."""


def attention(
    model: ModelConfig,
    rules: ShardingRules,
    shape: Layout,
    position_b: jax.Array,
    live_b: jax.Array,
) -> Attend[Cache]:
    """The attention of each row's token at `position_b`, for `cached.read_token`.

    Softmax and sums are float32, block by block as in Rabe and Staats, arXiv
    2112.05682; a block that a row sees nothing of leaves its sums bit for bit.

    Args:
      model: the decoder's shape.
      rules: how arrays are divided.
      shape: the cache's.
      position_b: int32 position of the token.
      live_b: booleans; the result of a row that is not is of no meaning.
    """
    specs, rows = store_specs(rules, shape), rules.spec("batch")
    scale = (model.query_pre_attn_scalar or model.head_dim) ** -0.5
    q_spec = rules.spec("batch", "heads", None, "head_dim")
    k_spec = rules.spec("batch", "kv_heads", None, "head_dim")

    def attend(
        cache: Cache,
        windowed: bool,
        number: jax.Array | int,
        q_bn1h: jax.Array,
        k_bk1h: jax.Array,
        v_bk1h: jax.Array,
    ) -> tuple[jax.Array, Cache]:
        def on_device(
            store: Store,
            number: jax.Array,
            q_bn1h: jax.Array,
            k_bk1h: jax.Array,
            v_bk1h: jax.Array,
            position_b: jax.Array,
            live_b: jax.Array,
        ) -> tuple[jax.Array, Store]:
            batch, heads, _, width = q_bn1h.shape
            q_bn1h, k_bk1h, v_bk1h = (
                filled(a, shape.width) for a in (q_bn1h, k_bk1h, v_bk1h)
            )
            store = _added(store, number, position_b, k_bk1h, v_bk1h)
            groups = k_bk1h.shape[1]
            q_bkgh = (q_bn1h * jnp.asarray(scale, q_bn1h.dtype)).reshape(
                batch, groups, heads // groups, shape.width
            )
            context_bkgh = _attention_of(store)(
                store,
                number,
                q_bkgh,
                jnp.where(live_b, position_b, -1),
                model.window if windowed else 0,
                model.attention_soft_cap,
            )
            context_bn1h = context_bkgh.astype(q_bn1h.dtype).reshape(q_bn1h.shape)
            return context_bn1h[..., :width], store

        store = cache.windowed if windowed else cache.full
        assert store is not None
        context_bn1h, store = jax.shard_map(
            on_device,
            in_specs=(specs, jax.P(), q_spec, k_spec, k_spec, rows, rows),
            out_specs=(q_spec, specs),
            check_vma=False,
        )(store, jnp.asarray(number), q_bn1h, k_bk1h, v_bk1h, position_b, live_b)
        if windowed:
            return context_bn1h, cache._replace(windowed=store)
        return context_bn1h, cache._replace(full=store)

    return attend


def _attention_of(store: Store) -> Callable[..., jax.Array]:
    """The attention for the devices of the mesh that is set."""
    if platform() == "cpu":
        return cache_numba.attend
    if platform() == "gpu" and cache_triton.can_compute(store):
        return cache_triton.attend
    if platform() == "tpu" and cache_mosaic.can_compute(store):
        return cache_mosaic.attend
    return attend_blocks


def _added(
    store: Store,
    number: jax.Array,
    position_b: jax.Array,
    k_bk1h: jax.Array,
    v_bk1h: jax.Array,
) -> Store:
    """The store with one token more in every row, in one block of the decoder."""
    k_bk1h, k_scale_bk1 = kept(k_bk1h, store.k_lcbksh.dtype)
    v_bk1h, v_scale_bk1 = kept(v_bk1h, store.v_lcbksh.dtype)
    tokens = Store(k_bk1h, v_bk1h, k_scale_bk1, v_scale_bk1)
    if store.k_scale_lcbks is None:
        tokens = tokens._replace(k_scale_lcbks=None, v_scale_lcbks=None)
    if platform() == "tpu" and cache_mosaic.can_compute(store):
        return cache_mosaic.added(store, number, position_b, tokens)
    return added(store, number, position_b, tokens)


def added(
    store: Store, number: jax.Array, position_b: jax.Array, tokens: Store
) -> Store:
    """The store with one token more in every row, on one device.

    Args:
      store: where they go.
      number: the block's number in the store.
      position_b: int32 position of the token.
      tokens: keys and values (B, K, 1, H) and their scales (B, K, 1), as the store
        keeps them.
    """
    blocks, block = store.v_lcbksh.shape[1], store.v_lcbksh.shape[4]
    place_b = position_b // block % blocks, jnp.arange(len(position_b))
    column_b = position_b % block

    return jax.tree.map(
        lambda a, new: a.at[number, *place_b, :, column_b].set(new[:, :, 0]),
        store,
        tokens,
    )


def attend_blocks(
    store: Store,
    number: jax.Array,
    q_bkgh: jax.Array,
    last_b: jax.Array,
    window: int,
    soft_cap: float,
) -> jax.Array:
    """Contexts (B, K, G, H) float32 of the tokens at positions `last_b`.

    Args:
      store: keys and values, the tokens' own included.
      number: the block's number in the store.
      q_bkgh: queries in their K groups, scaled.
      last_b: int32; -1 sees nothing.
      window: tokens that a query sees; 0 sets no limit.
      soft_cap: of the scores; 0 leaves them.
    """
    block = store.v_lcbksh.shape[4]
    columns = store.v_lcbksh.shape[1] * block

    def add(
        index: jax.Array, sums: tuple[jax.Array, jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        context_bkgh, highest_bkg, sum_bkg = sums
        start = index * block
        k_bksh = store.k_lcbksh[number, index].astype(q_bkgh.dtype)
        v_bksh = store.v_lcbksh[number, index].astype(q_bkgh.dtype)
        scores_bkgs = wide_product("bkgh,bksh->bkgs", q_bkgh, k_bksh)
        if store.k_scale_lcbks is not None:
            scores_bkgs *= store.k_scale_lcbks[number, index][:, :, None]
        if soft_cap:
            scores_bkgs = soft_cap * jnp.tanh(scores_bkgs / soft_cap)
        # The position in a column is the last that fell there.
        age_bs = (last_b[:, None] - start - jnp.arange(block)) % columns
        seen_bs = age_bs <= last_b[:, None]
        if window:
            seen_bs &= age_bs < window
        seen_bkgs = seen_bs[:, None, None]
        scores_bkgs = jnp.where(seen_bkgs, scores_bkgs, _LOWEST)
        higher_bkg = jnp.maximum(highest_bkg, scores_bkgs.max(axis=-1))
        weights_bkgs = jnp.exp(scores_bkgs - higher_bkg[..., None])
        weights_bkgs = jnp.where(seen_bkgs, weights_bkgs, 0)
        shrink_bkg = jnp.exp(highest_bkg - higher_bkg)
        sum_bkg = sum_bkg * shrink_bkg + weights_bkgs.sum(axis=-1)
        if store.v_scale_lcbks is not None:
            weights_bkgs *= store.v_scale_lcbks[number, index][:, :, None]
        more_bkgh = wide_product(
            "bkgs,bksh->bkgh", weights_bkgs.astype(q_bkgh.dtype), v_bksh
        )
        return context_bkgh * shrink_bkg[..., None] + more_bkgh, higher_bkg, sum_bkg

    zero_bkgh = jnp.zeros(q_bkgh.shape, jnp.float32)
    zero_bkg = zero_bkgh[..., 0]
    used = jnp.minimum(jnp.max(last_b) + 1, columns)
    context_bkgh, _, sum_bkg = jax.lax.fori_loop(
        0, (used + block - 1) // block, add, (zero_bkgh, zero_bkg + _LOWEST, zero_bkg)
    )
    return context_bkgh / jnp.maximum(sum_bkg, jnp.finfo(jnp.float32).tiny)[..., None]
