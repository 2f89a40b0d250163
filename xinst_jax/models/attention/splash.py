"""Splash attention, the TPU's kernel for causal masks over packed rows.

`jax.experimental.pallas.ops.tpu.splash_attention`: forward and backward never hold a
row of scores, and blocks above the diagonal or before the window are not visited.
"""

import functools
import math
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_kernel,
    splash_attention_mask,
)
from jax.sharding import NamedSharding

from xinst_jax.errors import UserError
from xinst_jax.mesh import ShardingRules, devices
from xinst_jax.models.attention.blocks import filled
from xinst_jax.models.attention.masks import PackedRows
from xinst_jax.models.layers import CONTEXT, leading_spec

_LANES = 128
"""Places of a block are a multiple of this: the width of the TPU's vector registers."""

_BLOCKS = {"TPU v6": 1024, "TPU7": 1024}
_OTHER_BLOCK = 512
"""Queries and keys of a block at most, by the start of `device_kind`: what the scoped
vector memory of a chip holds without a compiler flag."""

_MOST_BRANCHES = 1 << 16
"""Branches of a segment are numbered below this."""


def splash_attention(
    q_bnth: jax.Array,
    k_bksh: jax.Array,
    v_bksh: jax.Array,
    seen: PackedRows,
    rules: ShardingRules,
    *,
    scale: float,
    soft_cap: float = 0.0,
    window: int = 0,
    interpret: bool = False,
) -> jax.Array:
    """Causal attention over packed rows, equal to `dense_attention` under their mask.

    The N query heads fall into K groups that share a key/value head, which is never
    repeated. Padding sees padding, which nobody reads.

    Args:
      q_bnth: queries, as `rules` divide them.
      k_bksh: keys, not divided along S, which is as long as all queries of a row.
      v_bksh: values, likewise.
      seen: what the queries see; where segments fork, the window must not be shorter
        than the row, and there is no gradient.
      rules: how arrays are divided.
      scale: what scores are multiplied by.
      soft_cap: c, where a score s becomes c * tanh(s / c); 0 leaves them.
      window: what `seen.window` is where it is not 0 and only known when it runs.
      interpret: runs the kernel's program in JAX operations, on any device.

    Returns:
      Contexts (B, N, T, H) in the queries' dtype.

    Raises:
      UserError: a device's share of a divided length is not a multiple of 128.
    """
    q_bnth = q_bnth * jnp.asarray(scale, q_bnth.dtype)
    arrays = (q_bnth, k_bksh, v_bksh, seen.query_segments_bt, seen.key_segments_bs)
    attend = functools.partial(
        _under_window, rules=rules, soft_cap=soft_cap, interpret=interpret
    )
    if seen.branches is not None:
        # No token is further from another than a row is long.
        assert not 0 < window < k_bksh.shape[2]
        return attend(0, *arrays, seen.branches.query_ids_bt, seen.branches.key_ids_bs)
    if isinstance(seen.window, int):
        return attend(seen.window, *arrays)
    return jax.lax.cond(
        seen.window > 0,
        functools.partial(attend, window),
        functools.partial(attend, 0),
        *arrays,
    )


def _under_window(
    window: int,
    q_bnth: jax.Array,
    k_bksh: jax.Array,
    v_bksh: jax.Array,
    query_segments_bt: jax.Array,
    key_segments_bs: jax.Array,
    *branch_ids: jax.Array,
    rules: ShardingRules,
    soft_cap: float,
    interpret: bool,
) -> jax.Array:
    """Contexts under a window; `branch_ids` are the queries' and the keys'."""
    rows, heads, length, width = leading_spec(q_bnth, 4)
    count, places = q_bnth.shape[1:3]
    parts = devices(length)
    if parts > 1 and places % (_LANES * parts):
        raise UserError(
            f"Rows of {places} tokens divided over {parts} devices (mesh axis "
            f"{length}): splash attention takes a multiple of {_LANES} on each. Set "
            f"TrainConfig.length to a multiple of {_LANES * parts}, or "
            "ModelConfig.attention to 'blockwise'."
        )
    kernel = _kernel(
        count,
        math.ceil(places / _LANES) * _LANES,
        window,
        shards=(devices(heads), parts),
        soft_cap=soft_cap,
        normalisers=bool(branch_ids),
        interpret=interpret,
    )
    mesh = jax.sharding.get_abstract_mesh()
    kernel_spec = kernel.manual_sharding_spec(NamedSharding(mesh, jax.P(heads, length)))
    q_spec = jax.P(rows, heads, length, width)
    k_spec = jax.P(rows, rules.kv_heads, None, width)
    segments = jax.P(rows, length), jax.P(rows, None)
    forks = segments if branch_ids else ()

    @functools.partial(
        jax.shard_map,
        in_specs=(kernel_spec, q_spec, k_spec, k_spec, *segments, *forks),
        out_specs=q_spec,
        check_vma=False,
    )
    def on_device(
        kernel: splash_attention_kernel.SplashAttentionKernel,
        q_bnth: jax.Array,
        k_bksh: jax.Array,
        v_bksh: jax.Array,
        query_segments_bt: jax.Array,
        key_segments_bs: jax.Array,
        *branch_ids: jax.Array,
    ) -> jax.Array:
        def attend(queries_bt: jax.Array, keys_bs: jax.Array) -> Any:
            ids = splash_attention_kernel.SegmentIds(queries_bt, keys_bs)
            return jax.vmap(kernel)(q_bnth, k_bksh, v_bksh, ids)

        segments = query_segments_bt, key_segments_bs
        if not branch_ids:
            return cast(jax.Array, attend(*segments))
        trunk, own = _trunk_and_own(segments, branch_ids)
        return _joined(attend(*trunk), attend(*own))

    arrays = (q_bnth, k_bksh, v_bksh, query_segments_bt, key_segments_bs, *branch_ids)
    fitted = (filled(a, 2 if a.ndim == 4 else 1, _LANES) for a in arrays)
    return on_device(jax.tree.map(jax.reshard, kernel, kernel_spec), *fitted)[
        :, :, :places
    ]


_Pair = tuple[jax.Array, jax.Array]


def _trunk_and_own(
    segments: _Pair, branch_ids: tuple[jax.Array, ...]
) -> tuple[_Pair, _Pair]:
    """Ids of queries and keys under which a query sees its trunk, and its own branch.

    The kernel compares ids for equality, so that what a query of a branch sees takes
    two calls.
    """
    (queries_bt, keys_bs), (query_ids_bt, key_ids_bs) = segments, branch_ids
    trunk = queries_bt, jnp.where(key_ids_bs == 0, keys_bs, -1)
    own = (
        jnp.where(query_ids_bt == 0, -1, queries_bt * _MOST_BRANCHES + query_ids_bt),
        jnp.where(key_ids_bs == 0, -2, keys_bs * _MOST_BRANCHES + key_ids_bs),
    )
    return trunk, own


def _joined(one: Any, other: Any) -> jax.Array:
    """Attention over two sets of keys, from that over each and its log normalisers."""
    (one_bnth, (log_bnt,)), (other_bnth, (other_log_bnt,)) = one, other
    share_bnt1 = jax.nn.sigmoid(log_bnt - other_log_bnt)[..., None]
    context_bnth = share_bnt1 * one_bnth.astype(jnp.float32)
    context_bnth += (1 - share_bnt1) * other_bnth.astype(jnp.float32)
    return context_bnth.astype(one_bnth.dtype)


def _kernel(
    heads: int,
    length: int,
    window: int,
    *,
    shards: tuple[int, int],
    soft_cap: float,
    normalisers: bool,
    interpret: bool,
) -> splash_attention_kernel.SplashAttentionKernel:
    """The kernel of all heads and a whole row; shards are those of heads and length.

    With `normalisers` it gives the logarithm of each query's, and has no gradient.
    """
    shape = (length, length)
    mask: splash_attention_mask.Mask = splash_attention_mask.CausalMask(shape)
    if window:
        mask = splash_attention_mask.LocalMask(shape, (window - 1, 0), offset=0)
    block = _block(length // shards[1])
    return splash_attention_kernel.make_splash_mha(
        splash_attention_mask.MultiHeadMask([mask] * heads),
        block_sizes=splash_attention_kernel.BlockSizes(
            block_q=block,
            block_kv=block,
            block_q_dkv=block,
            block_kv_dkv=block,
            block_q_dq=block,
            block_kv_dq=block,
        ),
        save_residuals=normalisers,
        head_shards=shards[0],
        q_seq_shards=shards[1],
        attn_logits_soft_cap=soft_cap or None,
        residual_checkpoint_name=CONTEXT,
        interpret=interpret,
    )


def _block(length: int) -> int:
    """The largest block for the mesh's chips that a device's queries fall into."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    kind = device.device_kind if device else ""
    most = next(
        (size for name, size in _BLOCKS.items() if kind.startswith(name)), _OTHER_BLOCK
    )
    fitting = range(_LANES, min(most, length) + 1, _LANES)
    return max(size for size in fitting if length % size == 0)
