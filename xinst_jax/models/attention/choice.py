"""Which attention computes packed rows: by what is asked for, and by the devices."""

import functools
from collections.abc import Callable

import jax

from xinst_jax.config import ModelConfig
from xinst_jax.errors import UserError
from xinst_jax.mesh import ShardingRules, devices, platform
from xinst_jax.models.attention.blockwise import blockwise_attention
from xinst_jax.models.attention.dense import dense_attention
from xinst_jax.models.attention.masks import Branches, PackedRows, segment_mask
from xinst_jax.models.attention.splash import splash_attention
from xinst_jax.models.attention.triton import triton_attention

_PLATFORMS = {"splash": "tpu", "triton": "gpu"}
"""Where a kernel runs; dense and blockwise attention run everywhere."""

_SHORT = 64
"""Positions of a row up to which 'auto' holds all scores at once off a TPU."""

_GPU_BLOCK = 512
"""Places of blockwise attention's blocks on a GPU, which a small block leaves idle."""


def packed_rows(
    config: ModelConfig,
    rules: ShardingRules,
    segment_ids_bt: jax.Array,
    positions_bt: jax.Array,
    branch_ids_bt: jax.Array | None = None,
) -> Callable[[int], PackedRows | jax.Array]:
    """What the queries of packed rows see under a window of so many tokens, 0 for none.

    Args:
      config: says which attention is taken.
      rules: how rows are divided.
      segment_ids_bt: int32; 0 is padding.
      positions_bt: int32 position of each token in its segment.
      branch_ids_bt: int32 branch of each token where segments fork (see `Branches`).

    Returns:
      A function to a mask of booleans (B, T, T) for dense attention, and for any other
      to the `PackedRows` themselves.

    Raises:
      UserError: the attention that is asked for cannot compute this model here.
    """

    def both(a_bt: jax.Array) -> tuple[jax.Array, jax.Array]:
        """As the queries' and as the keys'."""
        queries, keys = rules.spec("batch", "length"), rules.spec("batch", None)
        return jax.reshard(a_bt, queries), jax.reshard(a_bt, keys)

    branches = None
    if branch_ids_bt is not None:
        ids, positions = both(branch_ids_bt), both(positions_bt)
        branches = Branches(*ids, *positions)
    forked = branches is not None
    dense = kernel(config, rules, segment_ids_bt.shape[1], forked) == "dense"
    see: Callable[..., PackedRows | jax.Array] = segment_mask if dense else PackedRows
    segments = both(segment_ids_bt)
    return lambda window: see(*segments, window, branches)


def attention_over(
    config: ModelConfig, rules: ShardingRules, seen: PackedRows | jax.Array
) -> Callable[..., jax.Array]:
    """The attention for what queries see: `dense_attention` if that is a mask."""
    if not isinstance(seen, PackedRows):
        return dense_attention
    forked = seen.branches is not None
    name = kernel(config, rules, seen.key_segments_bs.shape[1], forked)
    if name == "splash":
        return functools.partial(splash_attention, window=config.window)
    if name == "triton":
        return triton_attention
    if platform() == "gpu":
        return functools.partial(blockwise_attention, block=_GPU_BLOCK)
    return blockwise_attention


def kernel(
    config: ModelConfig, rules: ShardingRules, length: int, forked: bool = False
) -> str:
    """The name of the attention over packed rows, on the mesh that is set.

    Where segments fork, dense attention stands in for the kernels that cannot compute
    it: triton, and splash under a window that is shorter than the row.

    Args:
      config: says 'auto', or the name.
      rules: how rows are divided.
      length: positions of a whole row.
      forked: whether segments fork into branches.

    Raises:
      UserError: the attention that is asked for cannot compute this model here.
    """
    if config.attention != "auto":
        _check(config, rules)
        name = config.attention
    elif platform() == "tpu":
        name = "splash"
    elif length <= _SHORT:
        name = "dense"
    elif platform() == "gpu" and not (
        forked or any(_beyond_triton(config, rules).values())
    ):
        name = "triton"
    else:
        name = "blockwise"
    windowed = 0 < config.window < length
    if forked and (name == "triton" or (name == "splash" and windowed)):
        return "dense"
    return name


def _check(config: ModelConfig, rules: ShardingRules) -> None:
    """Raises UserError if the attention asked for by name cannot be taken."""
    name, kind = config.attention, platform()
    if _PLATFORMS.get(name, kind) != kind:
        raise UserError(
            f"ModelConfig.attention = {name!r} runs on a {_PLATFORMS[name].upper()}, "
            f"and the mesh's devices are of the kind {kind!r}. Set it to 'auto'."
        )
    if name != "triton":
        return
    for what, found in _beyond_triton(config, rules).items():
        if found:
            raise UserError(
                f"ModelConfig.attention = 'triton' knows no {what}, found {found}; "
                "set it to 'auto' or 'blockwise'."
            )


def _beyond_triton(config: ModelConfig, rules: ShardingRules) -> dict[str, float]:
    """What the kernel for NVIDIA GPUs does not know, and how much there is of it."""
    return {
        "ModelConfig.window": config.window,
        "ModelConfig.attention_soft_cap": config.attention_soft_cap,
        "division of the length": devices(rules.length) - 1,
    }
