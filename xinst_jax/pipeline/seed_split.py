"""Which seed pairs are held out, and which of the others may be trained on."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from xinst_jax.config import DecontaminationConfig
from xinst_jax.pipeline.corpus import decontamination
from xinst_jax.pipeline.rejects import Dropped
from xinst_jax.pipeline.seed_pairs import Pair

TRAIN, HELD_OUT = "train", "held_out"


def held_out(pairs: Sequence[Pair], share: float) -> list[Pair]:
    """The pairs of a language whose digest is small, in their order.

    The digest is of the instruction, which so falls on the same side in every language:
    none that is trained on in one is held out in another. Only where chance holds none
    out of two or more pairs is the smallest digest taken, whatever others do with it.

    Args:
      pairs: of one language.
      share: of all pairs that are held out, about.
    """
    found = [pair for pair in pairs if place(pair.instruction) < share]
    if not found and share and len(pairs) > 1:
        found = [min(pairs, key=lambda pair: place(pair.instruction))]
    return found


def place(instruction: str) -> float:
    """Where the instruction's digest lies in [0, 1)."""
    digest = hashlib.sha256(instruction.casefold().encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def index(
    held_out: Mapping[str, Iterable[Pair]], lengths: DecontaminationConfig
) -> decontamination.Index:
    """What no response that is trained on may have: pieces of held-out responses.

    Of one that is too short to be looked for inside texts ("Yes.", a number) nothing is
    looked for: it answers many instructions, and to have learnt it elsewhere is not to
    have read the pair.

    Args:
      held_out: by language, the pairs that are held out.
      lengths: of an n-gram, and of shorter responses that are looked for as a whole.
    """
    responses = {
        code: [pair.output for pair in pairs] for code, pairs in held_out.items()
    }
    return decontamination.index(responses.items(), lengths, alone=False)


def readable(pair: Pair, index: decontamination.Index) -> Pair | Dropped:
    """A pair to train on, unless its response has a piece of a held-out one."""
    flaw = index.find(pair.output)
    if flaw is None:
        return pair
    none = "no n-gram of a held-out response"
    return Dropped(pair.id, HELD_OUT, flaw.value, none, pair.output)
