"""What a pair is rated by: the rater's labels, and what the instruction predicts."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from xinst_jax.data.prompts import LABELS
from xinst_jax.errors import UserError

Pair = tuple[str, str, str]
"""(instruction, response, language code)."""


@dataclasses.dataclass
class Reading:
    """How much the signals' models have read.

    Attributes:
      tokens: of prompts and responses, each as often as it was read.
    """

    tokens: int = 0


@dataclasses.dataclass(frozen=True)
class Signals:
    """Two functions of pairs.

    Attributes:
      rater: gives (rows, labels) log-probabilities of `LABELS`.
      pmi: gives (rows,) log p(response | instruction) - log p(response), in nats per
        token of the response; None where that is not asked for.
      reading: to which both add what they read.
      pmi_name: what the model that gives `pmi` is called, for errors.
    """

    rater: Callable[[Sequence[Pair]], np.ndarray]
    pmi: Callable[[Sequence[Pair]], np.ndarray] | None = None
    reading: Reading = dataclasses.field(default_factory=Reading)
    pmi_name: str = "The model"

    def read(
        self, pairs: Sequence[Pair], place: str
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Both signals of some pairs.

        Args:
          pairs: any number of them, also none.
          place: where they are from, for errors.

        Returns:
          (rows, labels) and (rows,) float32; None for a signal not asked for.

        Raises:
          UserError: a model gives no numbers.
        """
        if not pairs:
            none_n = np.zeros(0, np.float32)
            return np.zeros((0, len(LABELS)), np.float32), self.pmi and none_n
        logprobs_nk = self.rater(pairs)
        if logprobs_nk.shape != (len(pairs), len(LABELS)):
            raise ValueError(f"a score of {len(pairs)} rows is {logprobs_nk.shape}")
        _check(
            logprobs_nk,
            pairs,
            f"The rater gives {{}} as log-probabilities of {', '.join(LABELS)}",
            place,
            "its training went wrong. Look at the rater's loss and train it again, "
            "with a lower learning rate",
        )
        if self.pmi is None:
            return logprobs_nk, None
        pmi_n = self.pmi(pairs)
        _check(
            pmi_n[:, None],
            pairs,
            f"{self.pmi_name} gives {{}} as the mutual information",
            place,
            "its weights are damaged or its training diverged. Look at its loss and "
            "make it again, or leave this signal out with RateConfig.pmi_model = "
            "'none'",
        )
        return logprobs_nk, pmi_n


def _check(
    found_nk: np.ndarray, pairs: Sequence[Pair], gives: str, place: str, why: str
) -> None:
    odd_n = np.flatnonzero(~np.isfinite(found_nk).all(axis=1))
    if len(odd_n):
        row = int(odd_n[0])
        raise UserError(
            f"{gives.format(found_nk[row].tolist())} for a pair of {place}, where "
            f"numbers are expected: {why}. The instruction is {pairs[row][0]!r}."
        )
