"""What the backward pass keeps of a block, and what it computes again."""

from collections.abc import Callable
from typing import Any

import jax

from xinst_jax.models.layers import BLOCK, CONTEXT, LOW_RANK, PRODUCTS

_OFFLOADED = (BLOCK, "query", "key", "value", "out")


def rematerialised(step: Callable[..., Any], policy: str) -> Callable[..., Any]:
    """A step of the scan over blocks, differentiated under a policy.

    Args:
      step: maps (activations, a block's weights) to (activations, None).
      policy: a value of `ModelConfig.remat`.
    """
    if policy == "none":
        return step
    policies = jax.checkpoint_policies
    chosen = {
        "minimal": policies.save_only_these_names(*PRODUCTS, LOW_RANK, CONTEXT),
        "offload": policies.save_and_offload_only_these_names(
            names_which_can_be_saved=[LOW_RANK],
            names_which_can_be_offloaded=list(_OFFLOADED),
            offload_src="device",
            offload_dst="pinned_host",
        ),
        "full": policies.nothing_saveable,
    }
    return jax.checkpoint(step, policy=chosen[policy], prevent_cse=False)
