"""What a row asks and answers, and how that becomes a prompt and a response."""

import dataclasses
from collections.abc import Callable

from xinst_jax.data import fitting
from xinst_jax.data.vocab import Vocabulary


@dataclasses.dataclass(frozen=True)
class Exchange:
    """What a row asks and answers, as text.

    Attributes:
      text: the text inside the prompt that may be cut at its end.
      frame: puts that text into the prompt.
      response: what is to be learnt.
    """

    text: str
    frame: Callable[[str], str]
    response: str


def encode(
    exchange: Exchange, vocabulary: Vocabulary, length: int, reserve: int = 0
) -> tuple[list[int], list[int]]:
    """Token ids of a prompt and a response, without special tokens.

    The prompt, with its begin token, may take what the response leaves of `length`, or
    half of it if that is more; where it is longer, the text inside is cut at its end. A
    prompt whose frame alone is longer stays whole, for the packer to refuse and count.

    Args:
      exchange: what is asked and answered.
      vocabulary: the tokenizer.
      length: tokens of a packed row.
      reserve: tokens at least that the prompt leaves to the response.
    """
    response = vocabulary.encode(exchange.response)
    begin = int(vocabulary.bos_id is not None)
    answer = max(reserve, min(len(response), length // 2))
    fitted = fitting.fit(
        exchange.text, exchange.frame, vocabulary.encode, length - begin - answer
    )
    if fitted is None:
        return vocabulary.encode(exchange.frame(exchange.text)), response
    return fitted.ids, response
