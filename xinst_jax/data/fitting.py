"""Prompts that are too long: the text inside is cut at its end, never the frame."""

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class FittedPrompt:
    """A prompt that fits.

    Attributes:
      ids: its token ids, as the tokenizer gives them.
      text: the text inside it, as far as it fits.
      cut: whether the text inside lost its end.
    """

    ids: list[int]
    text: str
    cut: bool


def fit(
    text: str,
    frame: Callable[[str], str],
    encode: Callable[[str], list[int]],
    limit: int,
) -> FittedPrompt | None:
    """Encodes `frame(text)`, with `text` cut at its end until that is short enough.

    With `frame=lambda text: f"Text: {text} Instruction:"` and one token a word,

        fit("one two three", frame, encode, limit=4)  ->  Text: one two Instruction:

    The cut is found by bisection over characters, so that what is fed is what the
    tokenizer makes of the cut prompt, not a slice of other tokens.

    Args:
      text: the document or response inside the prompt.
      frame: puts a text into the prompt's template.
      encode: the tokenizer.
      limit: most tokens of the prompt.

    Returns:
      The prompt, or None where not even the frame around an empty text fits.
    """
    ids = encode(frame(text))
    if len(ids) <= limit:
        return FittedPrompt(ids, text, cut=False)
    # Tokens grow with characters closely enough for a first guess near the answer.
    fits, too_long = 0, len(text)
    best, best_text = encode(frame("")), ""
    if len(best) > limit:
        return None
    guess = int(len(text) * limit / len(ids))
    while too_long - fits > 1:
        middle = min(max(guess, fits + 1), too_long - 1)
        shorter = text[:middle].rstrip()
        ids = encode(frame(shorter))
        if len(ids) <= limit:
            fits, best, best_text = middle, ids, shorter
        else:
            too_long = middle
        guess = (fits + too_long) // 2
    return FittedPrompt(best, best_text, cut=True)
