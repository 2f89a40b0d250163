"""From token ids of a prompt and a response to one training example."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Pair(NamedTuple):
    """A prompt and a response as token ids, and where their text is found.

    Attributes:
      prompt_ids: without special tokens.
      response_ids: without special tokens.
      id: the row's id in the directory that it was read from.
      lang: the row's language code.
    """

    prompt_ids: Sequence[int]
    response_ids: Sequence[int]
    id: str = ""
    lang: str = ""


class RefusedExample(ValueError):
    """A pair that leaves nothing to learn from; the message is the reason."""


@dataclasses.dataclass(frozen=True)
class Example:
    """One prompt and response as a decoder is trained on it.

    Attributes:
      tokens_t: int32, what the model reads.
      targets_t: int32, what it should say next at each position.
      loss_weights_t: float32, 1 where the target belongs to the response or ends it,
        else 0.
      cut: tokens of the response, its end token included, that did not fit.
    """

    tokens_t: np.ndarray
    targets_t: np.ndarray
    loss_weights_t: np.ndarray
    cut: int


def example(
    prompt_ids: Sequence[int],
    response_ids: Sequence[int],
    bos: int | None,
    eos: int,
    length: int,
) -> Example:
    """The training example of a prompt and its response.

    `example([11, 12], [21, 22], bos=1, eos=2, length=8)` is

        tokens        1  11  12  21  22
        targets      11  12  21  22   2
        loss_weights  0   0   1   1   1

    and with `length=3` the response is cut at its end, by 22 and the end token: no end
    is learnt where the text does not end.

        tokens        1  11  12
        targets      11  12  21
        loss_weights  0   0   1

    An empty prompt gives plain language modelling of the response.

    Args:
      prompt_ids: the prompt's token ids, without special tokens.
      response_ids: the response's token ids, without special tokens.
      bos: id that begins a sequence; None for a tokenizer that has none.
      eos: id that ends a response.
      length: most tokens that the model reads at once.

    Raises:
      RefusedExample: no token of the response would be predicted, because there is none
        or because the prompt takes up the whole length.
    """
    if not len(response_ids):
        raise RefusedExample("empty response")
    head = [*([] if bos is None else [bos]), *prompt_ids]
    whole = [*head, *response_ids, eos]
    kept = np.array(whole[: length + 1], np.int32)
    predicted_from = max(len(head), 1)
    if len(kept) <= predicted_from:
        raise RefusedExample("prompt too long")
    weights_t = np.zeros(len(kept) - 1, np.float32)
    weights_t[predicted_from - 1 :] = 1
    return Example(kept[:-1], kept[1:], weights_t, cut=len(whole) - len(kept))
