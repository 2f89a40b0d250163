"""Texts that end a row: where the first of them is complete, the row is cut."""

from collections.abc import Callable, Sequence


def cut(
    tokens: Sequence[int],
    strings: Sequence[str],
    text_of: Callable[[Sequence[int]], str],
) -> tuple[int, str] | None:
    """What is left of a row before the stop string that is complete first.

    That rule makes the cut the same however many tokens later it is looked for.

    Example: with a token a letter, 'one. two' and the strings ('two', '. ') leave three
    tokens and 'one'.

    Args:
      tokens: generated ids.
      strings: the stop strings.
      text_of: the text of ids.

    Returns:
      How many tokens are kept, the fewest whose text holds all that is left, and the
      text that is left, without anything of the stop string; None without one.
    """
    text = text_of(tokens)
    found = [(text.index(one) + len(one), one) for one in strings if one in text]
    if not found:
        return None
    end, string = min(found, key=lambda place: (place[0], -len(place[1])))
    left = text[: end - len(string)]
    count = next(
        count
        for count in range(len(tokens) + 1)
        if text_of(tokens[:count]).startswith(left)
    )
    return count, left
