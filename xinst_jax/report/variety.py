"""How varied instructions are, before and after they are drawn from the clusters."""

import collections
import dataclasses
import functools
import random
from collections.abc import Mapping, Sequence

from xinst_jax.pipeline import verbs

_DRAWS = 20


@dataclasses.dataclass(frozen=True)
class Variety:
    """Distinct (verb, noun) pairs of instructions.

    Attributes:
      before: instructions that were kept.
      after: instructions of the dataset.
      distinct_before: distinct pairs of the first.
      distinct_random: distinct pairs of as many of the first as there are of the
        second, drawn by chance; mean of 20 draws.
      distinct_after: distinct pairs of the second.
      counts: how many of the second have each pair.
    """

    before: int
    after: int
    distinct_before: int
    distinct_random: float
    distinct_after: int
    counts: Mapping[tuple[str, str], int]


def variety(before: Sequence[str], after: Sequence[str]) -> Variety | None:
    """Compares the instructions of the dataset with those that it was drawn from.

    Args:
      before: instructions that were kept.
      after: those of them in the dataset; None is returned where there are none.
    """
    if not after:
        return None
    of_before = [_verb_noun(instruction) for instruction in before]
    of_after = [_verb_noun(instruction) for instruction in after]
    chance = random.Random(0)
    size = min(len(after), len(before))
    draws = [_distinct(chance.sample(of_before, size)) for _ in range(_DRAWS)]
    return Variety(
        before=len(before),
        after=len(after),
        distinct_before=_distinct(of_before),
        distinct_random=sum(draws) / _DRAWS,
        distinct_after=_distinct(of_after),
        counts=collections.Counter(pair for pair in of_after if pair is not None),
    )


def _distinct(pairs: Sequence[tuple[str, str] | None]) -> int:
    return len(set(pairs) - {None})


@functools.lru_cache(maxsize=1 << 16)
def _verb_noun(instruction: str) -> tuple[str, str] | None:
    return verbs.verb_noun(instruction)
