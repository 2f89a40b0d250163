"""What the queries of a block see and how they are turned: blocks may differ in it."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xinst_jax.config import ModelConfig
from xinst_jax.models.attention.masks import PackedRows
from xinst_jax.models.rotary import Rotation, rotation


class View(NamedTuple):
    """How one block looks at a batch.

    Attributes:
      turns: rotary positions of the tokens.
      seen: the keys that a query sees, as booleans (B, T, S) or, without that many, as
        the segments and the window that they follow from.
    """

    turns: Rotation
    seen: PackedRows | jax.Array


class Views:
    """The view of every block: one for all, or one of two that the scan picks from.

    Attributes:
      windowed_l: booleans, scanned over beside the blocks; None where all are alike.
    """

    def __init__(
        self,
        config: ModelConfig,
        positions_bt: jax.Array,
        seen: Callable[[int], PackedRows | jax.Array],
    ):
        """Prepares them outside of the scan.

        Args:
          config: the decoder's shape.
          positions_bt: int32 position of each token in its own sequence.
          seen: what is seen under a window of so many tokens, 0 for none.
        """
        flags = config.windowed_layers
        local_base = config.local_rope_theta > 0
        self._views: dict[bool, View] = {}
        for windowed in sorted(set(flags)):
            if windowed and not local_base and self._views:
                turns = self._views[False].turns
            else:
                turns = rotation(positions_bt, config, windowed=windowed and local_base)
            window = config.window if windowed else 0
            self._views[windowed] = View(turns, seen(window))
        self.windowed_l = jnp.asarray(flags) if len(self._views) == 2 else None

    def of(self, windowed: jax.Array | None) -> View:
        """The view of a block, by its entry of `windowed_l`."""
        if windowed is None:
            (view,) = self._views.values()
            return view
        full, local = self._views[False], self._views[True]
        return jax.tree.map(
            lambda one, other: one if one is other else jnp.where(windowed, one, other),
            local,
            full,
        )
