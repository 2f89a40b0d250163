"""The loss on held-out rows: of all, and of each language."""

import dataclasses
from collections.abc import Callable, Iterable

import jax
import numpy as np

from xinst_jax.train.step import Batch

LOSS = "eval_loss"
"""The loss over all rows; `eval_loss/fi` is that of Finnish."""


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """What a training is evaluated on.

    Attributes:
      batches: gives the batches, the same at every call, and beside each the language
        of every row, int32 (B,), as a place in `languages`.
      languages: language codes; one without a name where they are not told apart.
    """

    batches: Callable[[], Iterable[tuple[Batch, jax.Array]]]
    languages: tuple[str, ...] = ("",)

    def names(self) -> tuple[str, ...]:
        """The losses that come of it, by name."""
        return (LOSS, *(f"{LOSS}/{code}" for code in self.languages if code))


def losses(
    evaluate: Callable[[Batch, jax.Array], tuple[jax.Array, jax.Array]],
    held_out: HeldOut,
) -> dict[str, float]:
    """Losses per unit of weight over all batches, by name; none of what weighs nothing.

    Args:
      evaluate: a batch and its rows' languages to sums of loss and weight by language.
      held_out: the rows.
    """
    sums = [jax.device_get(evaluate(*batch)) for batch in held_out.batches()]
    loss_bg, weight_bg = (
        np.array(sums, np.float64).reshape(len(sums), 2, -1).swapaxes(0, 1)
    )
    loss_g, weight_g = loss_bg.sum(axis=0), weight_bg.sum(axis=0)
    if not weight_g.any():
        return {}
    found = {LOSS: float(loss_g.sum() / weight_g.sum())}
    for code, loss, weight in zip(held_out.languages, loss_g, weight_g, strict=True):
        if code and weight:
            found[f"{LOSS}/{code}"] = float(loss / weight)
    return found
