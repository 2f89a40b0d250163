"""Pallas' fused attention for NVIDIA GPUs, over packed rows.

`jax.experimental.pallas.ops.gpu.attention.mha`, compiled by Triton: it knows segments
and the diagonal, but neither windows nor soft caps, and one key head a query head.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.gpu import attention as pallas_attention

from xinst_jax.mesh import ShardingRules
from xinst_jax.models.attention.blocks import filled
from xinst_jax.models.attention.masks import PackedRows
from xinst_jax.models.layers import leading_spec

_BLOCK = 64


def triton_attention(
    q_bnth: jax.Array,
    k_bksh: jax.Array,
    v_bksh: jax.Array,
    seen: PackedRows,
    rules: ShardingRules,
    *,
    scale: float,
    soft_cap: float = 0.0,
    interpret: bool = False,
) -> jax.Array:
    """Causal attention over packed rows, equal to `dense_attention` under their mask.

    Padding sees padding, which nobody reads.

    Args:
      q_bnth: queries, on each device whole along T.
      k_bksh: keys, as long as the queries.
      v_bksh: values, likewise.
      seen: what the queries see, without a window.
      rules: how arrays are divided.
      scale: what scores are multiplied by.
      soft_cap: 0.
      interpret: runs the kernel's program in JAX operations, on any device.

    Returns:
      Contexts (B, N, T, H) in the queries' dtype.
    """
    assert not soft_cap
    places = q_bnth.shape[2]
    shared = q_bnth.shape[1] // k_bksh.shape[1]
    rows, heads, length, width = leading_spec(q_bnth, 4)
    blocks = pallas_attention.BlockSizes(*[_BLOCK] * 6)
    q_spec = jax.P(rows, heads, length, width)
    k_spec = jax.P(rows, rules.kv_heads, None, width)

    @functools.partial(
        jax.shard_map,
        in_specs=(q_spec, k_spec, k_spec, jax.P(rows, None)),
        out_specs=q_spec,
        check_vma=False,
    )
    def on_device(
        q_bnth: jax.Array, k_bksh: jax.Array, v_bksh: jax.Array, segments_bs: jax.Array
    ) -> jax.Array:
        heads = (q_bnth, *(jnp.repeat(a, shared, axis=1) for a in (k_bksh, v_bksh)))
        context_btnh = pallas_attention.mha(
            *(jnp.swapaxes(filled(a, 2, _BLOCK), 1, 2) for a in heads),
            filled(segments_bs, 1, _BLOCK),
            sm_scale=scale,
            causal=True,
            block_sizes=blocks,
            interpret=interpret,
        )
        return jnp.swapaxes(context_btnh, 1, 2)[:, :, :places]

    return on_device(q_bnth, k_bksh, v_bksh, seen.key_segments_bs)
