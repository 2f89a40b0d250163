"""Ways in which a good pair is spoilt, each with a name, to teach the rater by.

A corruption is a function of a pair, a pool of others and a PRNG keyed by the pair; it
returns the spoilt (instruction, response), or None where it cannot be carried out. What
it adds is brought to the length of what it replaces, so that length tells nothing.
"""

import itertools
import unicodedata
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import regex

from xinst_jax.pipeline.corruption_texts import (
    FOREIGN_SENTENCES,
    GENERIC_INSTRUCTIONS,
    MISSING_INPUT_INSTRUCTIONS,
    OVER_SPECIFIC_DEMANDS,
    STYLE_WISHES,
)
from xinst_jax.pipeline.pair_pool import WORD, Pool, part

_SHORTEST_CUT = 60
# As many as a demand may take the place of; a long instruction has thousands.
_LAST_SEAMS = 12
_LINKS = (
    "about|after|and|as|at|because|before|but|by|during|for|from|if|in|into|of|on|or"
    "|so|that|using|when|where|which|while|who|with|without"
)
_SEAM = regex.compile(rf"(?<!\b(?:{_LINKS}|is|not|terms))[,;:]?\s+(?=(?:{_LINKS})\b)")


# Bad: the response does not answer the instruction.


def random_instruction(
    index: int, pool: Pool, rng: np.random.Generator
) -> tuple[str, str] | None:
    """The instruction of another pair, on something else; of the language if it can."""
    pair = pool.pairs[index]
    others = pool.unrelated(index, rng, True) or pool.unrelated(index, rng, False)
    texts = [pool.pairs[other].instruction for other in others[:4]]
    return (_nearest_length(texts, pair.instruction), pair.output) if texts else None


def wrong_language(
    index: int, pool: Pool, rng: np.random.Generator
) -> tuple[str, str] | None:
    """A response in another of the run's languages.

    It is the response to something else, of about the same length. With one language
    in the run, sentences in English, Spanish, French or Russian are strung together.
    """
    pair = pool.pairs[index]
    others = pool.unrelated(index, rng, False)[:8]
    if others:
        texts = [pool.pairs[other].output for other in others]
        return pair.instruction, _nearest_length(texts, pair.output)
    groups = list(FOREIGN_SENTENCES.values())
    sentences = part(groups[int(rng.integers(len(groups)))], pool.held_out)
    shuffled = [sentences[place] for place in rng.permutation(len(sentences))]
    text = _joined(itertools.cycle(shuffled), " ", len(pair.output))
    return pair.instruction, text


def boilerplate_response(
    index: int, pool: Pool, rng: np.random.Generator
) -> tuple[str, str] | None:
    """A menu or a notice: lines that were rejected from the corpus, if the pool has
    any, or else scraps of the response's own words in short lines."""
    pair = pool.pairs[index]
    lines = pool.lines(pair.lang) or _menu(pair.output, rng)
    if not lines:
        return None
    start = int(rng.integers(len(lines)))
    following = (lines[(start + step) % len(lines)] for step in itertools.count())
    return pair.instruction, _joined(following, "\n", len(pair.output))


def instruction_echo(
    index: int, pool: Pool, rng: np.random.Generator
) -> tuple[str, str] | None:
    """English in place of the response: the instruction again, then other ones."""
    pair = pool.pairs[index]
    others = pool.unrelated(index, rng, True) + pool.unrelated(index, rng, False)
    rest = [pool.pairs[other].instruction for other in others] or [pair.instruction]
    pieces = itertools.chain([pair.instruction], itertools.cycle(rest))
    return pair.instruction, _joined(pieces, " ", len(pair.output))


# Fair: a response of some use, or an instruction that asks for something near.


def neighbour_instruction(
    index: int, pool: Pool, rng: np.random.Generator
) -> tuple[str, str] | None:
    """One of the most similar instructions, of a pair that still asks another thing."""
    pair = pool.pairs[index]
    others = pool.neighbours(index, True) or pool.neighbours(index, False)
    texts = [pool.pairs[other].instruction for other in others]
    return (_nearest_length(texts, pair.instruction), pair.output) if texts else None


def cut_response(
    index: int, pool: Pool, rng: np.random.Generator
) -> tuple[str, str] | None:
    """The response up to somewhere in its middle, between two words."""
    pair = pool.pairs[index]
    if len(pair.output) < _SHORTEST_CUT:
        return None
    place = int(len(pair.output) * rng.uniform(0.4, 0.8))
    cut = _cut_at(pair.output, place)
    return (pair.instruction, cut) if cut else None


def generic_instruction(
    index: int, pool: Pool, rng: np.random.Generator
) -> tuple[str, str] | None:
    """An instruction that any text would answer: "Write a text."."""
    pair = pool.pairs[index]
    entries = part(GENERIC_INSTRUCTIONS, pool.held_out)
    return _composed(entries, len(pair.instruction), pool.held_out, rng), pair.output


def missing_input(
    index: int, pool: Pool, rng: np.random.Generator
) -> tuple[str, str] | None:
    """An instruction about a text that it does not give: "Summarize this article."."""
    pair = pool.pairs[index]
    entries = part(MISSING_INPUT_INSTRUCTIONS, pool.held_out)
    return _composed(entries, len(pair.instruction), pool.held_out, rng), pair.output


def over_specific_instruction(
    index: int, pool: Pool, rng: np.random.Generator
) -> tuple[str, str] | None:
    """The instruction with a demand for its end that the response does not meet.

    "Explain how bread is made in small towns." may become "Explain how bread is made,
    as a letter to Mozart.": the response answers the first half. None where what
    results would be longer or shorter than the instruction by more than a quarter.
    """
    pair = pool.pairs[index]
    whole = pair.instruction.rstrip(" .?!")
    seams = [seam.start() for seam in _SEAM.finditer(whole)]
    late = [seam for seam in seams[-_LAST_SEAMS:] if 2 * seam >= len(whole)]
    beginnings = [whole[:seam] for seam in late] + [whole]
    entries = part(OVER_SPECIFIC_DEMANDS, pool.held_out)
    drawn = [entries[place] for place in rng.permutation(len(entries))[:8]]
    mark = pair.instruction.rstrip()[len(whole) :][:1] or "."
    texts = [f"{start}, {demand}{mark}" for start in beginnings for demand in drawn]
    text = _nearest_length(texts, pair.instruction)
    off = abs(len(text) - len(pair.instruction))
    return (text, pair.output) if 4 * off <= len(pair.instruction) else None


Corruption = Callable[[int, Pool, np.random.Generator], tuple[str, str] | None]

BAD: dict[str, Corruption] = {
    "random_instruction": random_instruction,
    "wrong_language": wrong_language,
    "boilerplate_response": boilerplate_response,
    "instruction_echo": instruction_echo,
}
FAIR: dict[str, Corruption] = {
    "neighbour_instruction": neighbour_instruction,
    "cut_response": cut_response,
    "generic_instruction": generic_instruction,
    "missing_input": missing_input,
    "over_specific_instruction": over_specific_instruction,
}


def _nearest_length(texts: Sequence[str], like: str) -> str:
    return min(texts, key=lambda text: abs(len(text) - len(like)))


def _joined(pieces: Iterable[str], joint: str, chars: int) -> str:
    """Pieces joined as long as each brings the length nearer to `chars` characters.

    _joined(["one", "two", "three"], " ", 8)   # 'one two'
    """
    chosen: list[str] = []
    length = -len(joint)
    for piece in pieces:
        longer = length + len(joint) + len(piece)
        if chosen and abs(longer - chars) >= abs(length - chars):
            break
        chosen.append(piece)
        length = longer
    return joint.join(chosen)


def _composed(
    entries: Sequence[str], chars: int, held_out: bool, rng: np.random.Generator
) -> str:
    """One of the entries, with wishes of style added up to about `chars` characters."""
    drawn = [entries[place] for place in rng.permutation(len(entries))[:4]]
    text = min(drawn, key=lambda entry: abs(len(entry) - chars))
    wishes = part(STYLE_WISHES, held_out)
    shuffled = (wishes[place] for place in rng.permutation(len(wishes)))
    return _joined(itertools.chain([text], shuffled), " ", chars)


def _cut_at(text: str, place: int) -> str:
    """The text up to the last space before `place`, or to a whole character there.

    _cut_at("Moi vaan, sanoi hän.", 12)    # 'Moi vaan'
    """
    space = max(text.rfind(mark, 0, place) for mark in (" ", "\n"))
    if space < place - 40:
        while place and unicodedata.category(text[place])[0] in "MC":
            place -= 1
        space = place
    return regex.sub(r"[\p{P}\p{Z}\s]+$", "", text[:space])


def _menu(text: str, rng: np.random.Generator) -> list[str]:
    """Short lines of a few words of the text; long unspaced words are broken up."""
    words = [
        piece
        for word in WORD.findall(text)
        for piece in regex.findall(r"\X{1,12}", word)
        if len(word) > 2
    ]
    lines = []
    for _ in range(min(len(words), 40)):
        count = int(rng.integers(1, 4))
        chosen = [words[int(place)] for place in rng.integers(len(words), size=count)]
        lines.append((" | " if rng.random() < 0.3 else " ").join(chosen).capitalize())
    return lines
