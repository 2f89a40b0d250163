"""Texts chosen, or put together, to be as long as the text whose place they take.

Where none is near enough the answer is None, so that what is put in never shows by its
length.
"""

import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np

TOLERANCE = 0.06
"""By what share of its length a text may differ from what it replaces."""

_LEAST_CHARS = 2
_LAST_PIECES = 16
_GIVEN_UP = 3


def is_near(found: int, chars: int) -> bool:
    """Whether a length is near enough to another, both in characters.

    >>> is_near(105, 100), is_near(110, 100), is_near(12, 10)
    (True, False, True)
    """
    return abs(found - chars) <= max(_LEAST_CHARS, TOLERANCE * chars)


def first(texts: Iterable[str], chars: int) -> str | None:
    """The first text that is about `chars` characters long."""
    return next((text for text in texts if is_near(len(text), chars)), None)


def joined(pieces: Sequence[str], joint: str, chars: int, fixed: int = 0) -> str | None:
    """Pieces joined in their order, the last ones chosen for the length of the whole.

    Pieces are taken in order, over again where they are too few, as long as they fit;
    then one or two of the last may be left out, and one or two others added, whatever
    brings the whole nearest to `chars` characters.

        joined(["one", "two", "three"], " ", 9)   # 'one three'

    Args:
      pieces: texts, none of them empty.
      joint: what stands between two.
      chars: how long the whole should be, in characters.
      fixed: how many pieces at the beginning are always taken, and only once.

    Returns:
      The text; None if it would not be near enough.
    """
    chosen = list(pieces[:fixed])
    others = list(pieces[fixed:])
    width = sum(map(len, chosen)) + len(joint) * len(chosen)
    whole = chars + len(joint)
    rounds = math.ceil(whole / max(1, sum(map(len, others)))) if others else 0
    rest = iter(others * max(1, rounds))
    for piece in rest:
        if width + len(piece) + len(joint) > whole:
            break
        chosen.append(piece)
        width += len(piece) + len(joint)
    starts = [(width, chosen)]
    while len(chosen) > fixed and len(starts) < _GIVEN_UP:
        width -= len(chosen[-1]) + len(joint)
        chosen = chosen[:-1]
        starts.append((width, chosen))
    last = list(dict.fromkeys(others))[-_LAST_PIECES:]
    ends = [(), *((one,) for one in last), *itertools.combinations(last, 2)]
    widths = [sum(len(piece) + len(joint) for piece in end) for end in ends]
    _, start, end = min(
        (
            (abs(before + after - whole), start, end)
            for before, start in starts
            for after, end in zip(widths, ends, strict=True)
            if not start or start[-1] not in end
        ),
        key=lambda option: option[0],
    )
    text = joint.join((*start, *end))
    return text if text and is_near(len(text), chars) else None


def composed(
    entries: Sequence[str], wishes: Sequence[str], chars: int, rng: np.random.Generator
) -> str | None:
    """An entry with wishes added, about `chars` characters long; None if none can be.

    The entries and wishes are tried in a random order.

    Args:
      entries: the texts to begin with.
      wishes: sentences that may follow, each once.
      chars: how long the whole should be, in characters.
      rng: for the order.
    """
    for place in rng.permutation(len(entries)):
        shuffled = [wishes[number] for number in rng.permutation(len(wishes))]
        text = joined([entries[place], *shuffled], " ", chars, fixed=1)
        if text is not None and _once_each(text, wishes):
            return text
    return None


def _once_each(text: str, wishes: Sequence[str]) -> bool:
    return all(text.count(wish) <= 1 for wish in wishes)
