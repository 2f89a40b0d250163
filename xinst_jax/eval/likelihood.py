"""How likely a model finds responses that people wrote, in units that compare.

Loss per token depends on the tokenizer and on how well it knows the language; per
character it does not, so the latter compares languages and models, the former training
runs of one model.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from xinst_jax.errors import UserError

ResponseLogprobs = Callable[
    [Sequence[str], Sequence[str]], tuple[np.ndarray, np.ndarray]
]
"""(prompts, responses) -> (log probabilities in nats, summed over a response's tokens;
number of those tokens), two arrays of shape (rows,)."""


@dataclasses.dataclass(frozen=True)
class Likelihood:
    """The loss of one model on the responses of one language.

    Attributes:
      responses: how many were scored.
      tokens: tokens predicted, end tokens included.
      characters: Unicode characters of the responses.
      loss_per_token: nats.
      loss_per_character: nats.
      bits_per_character: bits.
    """

    responses: int
    tokens: int
    characters: int
    loss_per_token: float
    loss_per_character: float
    bits_per_character: float


def likelihood(
    logprobs_n: np.ndarray, tokens_n: np.ndarray, characters_n: np.ndarray
) -> Likelihood:
    """The mean losses of n responses, each token weighing the same.

    Example: two responses of log probability -6 and -2 nats, 3 and 1 tokens, 8 and 8
    characters give 8/4 = 2 nats a token and 8/16 = 0.5 nats, or 0.72 bits, a character.

    Args:
      logprobs_n: log probability of each response given its prompt, in nats.
      tokens_n: tokens of each response.
      characters_n: characters of each response.

    Raises:
      UserError: there is nothing to average over, or a log probability is not finite.
    """
    if not np.isfinite(logprobs_n).all():
        row = int(np.flatnonzero(~np.isfinite(logprobs_n))[0])
        raise UserError(
            f"Held-out response {row} has log probability {logprobs_n[row]}; expected "
            "a finite number. The model's weights are damaged or its training "
            "diverged: see its metrics.jsonl."
        )
    tokens, characters = int(tokens_n.sum()), int(characters_n.sum())
    if not tokens or not characters:
        raise UserError("No held-out response with any token to score.")
    nats = -float(logprobs_n.sum(dtype=np.float64))
    return Likelihood(
        responses=len(logprobs_n),
        tokens=tokens,
        characters=characters,
        loss_per_token=nats / tokens,
        loss_per_character=nats / characters,
        bits_per_character=nats / characters / math.log(2),
    )
