"""Ways in which a good pair is spoilt, each with a name, to teach the rater by.

A corruption is a function of a pair, a pool of others and a PRNG keyed by the pair; it
returns the spoilt (instruction, response), or None where it cannot be carried out. What
it puts in is as long as what it replaces (`matching`), so that length tells nothing.
"""

from collections.abc import Callable

import numpy as np
import regex

from xinst_jax.pipeline import endings, matching, segment
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
_DONORS = 16
_LINES = 400
_TRIES = 8
_LONGEST_WORD = 20
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
    for same_language in (True, False):
        others = pool.unrelated(index, rng, same_language)
        texts = (pool.pairs[other].instruction for other in others)
        text = matching.first(texts, len(pair.instruction))
        if text is not None:
            return text, pair.output
    return None


def wrong_language(
    index: int, pool: Pool, rng: np.random.Generator
) -> tuple[str, str] | None:
    """A response in another of the run's languages.

    It is the response to something else, of about the same length, or the beginning of
    a longer one, up to the end of a sentence. With one language in the run, sentences
    in English, Spanish, French or Russian are strung together.
    """
    pair = pool.pairs[index]
    others = [pool.pairs[other] for other in pool.unrelated(index, rng, False)]
    if not pool.has_others(pair.lang):
        groups = list(FOREIGN_SENTENCES.values())
        sentences = part(groups[int(rng.integers(len(groups)))], pool.held_out)
        shuffled = [sentences[place] for place in rng.permutation(len(sentences))]
        text = matching.joined(shuffled, " ", len(pair.output))
    else:
        chars = len(pair.output)
        text = matching.first((other.output for other in others), chars)
        longer = [other for other in others if len(other.output) > chars][:_DONORS]
        if text is None:
            most = int(chars * (1 + matching.TOLERANCE))
            starts = (
                segment.shorten(one.output, pool.languages[one.lang], most, pool.texts)
                for one in longer
            )
            text = matching.first((start for start in starts if start), chars)
    return None if text is None else (pair.instruction, text)


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
    following = [*lines[start:], *lines[:start]][:_LINES]
    text = matching.joined(following, "\n", len(pair.output))
    return None if text is None else (pair.instruction, text)


def instruction_echo(
    index: int, pool: Pool, rng: np.random.Generator
) -> tuple[str, str] | None:
    """English in place of the response: the instruction again, then other ones."""
    pair = pool.pairs[index]
    others = pool.unrelated(index, rng, True) + pool.unrelated(index, rng, False)
    rest = [pool.pairs[other].instruction for other in others] or [pair.instruction]
    pieces = [pair.instruction, *rest]
    text = matching.joined(pieces, " ", len(pair.output), fixed=1)
    return None if text is None else (pair.instruction, text)


# Fair: a response of some use, or an instruction that asks for something near.


def neighbour_instruction(
    index: int, pool: Pool, rng: np.random.Generator
) -> tuple[str, str] | None:
    """One of the most similar instructions, of a pair that still asks another thing."""
    pair = pool.pairs[index]
    others = [*pool.neighbours(index, True), *pool.neighbours(index, False)]
    texts = (pool.pairs[other].instruction for other in others)
    text = matching.first(texts, len(pair.instruction))
    return None if text is None else (text, pair.output)


def cut_response(
    index: int, pool: Pool, rng: np.random.Generator
) -> tuple[str, str] | None:
    """The response broken off between two words, as long as the one that ends.

    Only where something followed the response (`Pair.rest`): a beginning of both that
    ends in the sentence before the response's end, or in the one behind it. Where a
    response is shown up to the end of "Moi vaan.", followed by "Menen nyt kotiin.",
    it may become "Moi" or "Moi vaan. Menen nyt".
    """
    pair = pool.pairs[index]
    end = len(pair.output)
    reach = min(len(pair.rest), end // 2) // 2
    if not pair.rest or end < _SHORTEST_CUT:
        return None
    language = pool.languages[pair.lang]
    text = pair.output + pair.rest
    for _ in range(_TRIES):
        place = end + round(rng.uniform(-reach, reach))
        cut = text[: _word_end(text, place, language.spaced)]
        if not endings.is_finished(cut, language) or _inside(text, len(cut)):
            cut = regex.sub(r"[\p{P}\p{Z}\s]+$", "", cut)
            if cut != pair.output and matching.is_near(len(cut), end):
                return pair.instruction, cut
    return None


def generic_instruction(
    index: int, pool: Pool, rng: np.random.Generator
) -> tuple[str, str] | None:
    """An instruction that any text would answer: "Write a text."."""
    return _composed(GENERIC_INSTRUCTIONS, index, pool, rng)


def missing_input(
    index: int, pool: Pool, rng: np.random.Generator
) -> tuple[str, str] | None:
    """An instruction about a text that it does not give: "Summarize this article."."""
    return _composed(MISSING_INPUT_INSTRUCTIONS, index, pool, rng)


def over_specific_instruction(
    index: int, pool: Pool, rng: np.random.Generator
) -> tuple[str, str] | None:
    """The instruction with a demand for its end that the response does not meet.

    "Explain how bread is made in small towns." may become "Explain how bread is made,
    as a letter to Mozart.": the response answers the first half.
    """
    pair = pool.pairs[index]
    whole = pair.instruction.rstrip(" .?!")
    seams = [seam.start() for seam in _SEAM.finditer(whole)]
    late = [seam for seam in seams[-_LAST_SEAMS:] if 2 * seam >= len(whole)]
    beginnings = [whole[:seam] for seam in late] + [whole]
    entries = part(OVER_SPECIFIC_DEMANDS, pool.held_out)
    mark = pair.instruction.rstrip()[len(whole) :][:1] or "."
    texts = [f"{start}, {demand}{mark}" for start in beginnings for demand in entries]
    shuffled = (texts[place] for place in rng.permutation(len(texts)))
    text = matching.first(shuffled, len(pair.instruction))
    return None if text is None else (text, pair.output)


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


def _composed(
    registry: tuple[str, ...], index: int, pool: Pool, rng: np.random.Generator
) -> tuple[str, str] | None:
    """An entry of the registry in place of the instruction, with wishes of style."""
    pair = pool.pairs[index]
    entries, wishes = (part(one, pool.held_out) for one in (registry, STYLE_WISHES))
    text = matching.composed(entries, wishes, len(pair.instruction), rng)
    return None if text is None else (text, pair.output)


def _word_end(text: str, place: int, spaced: bool) -> int:
    """The end of a word near `place`; where words are not spaced, of a character.

    _word_end("Moi vaan, sanoi hän.", 11, True)    # 9: 'Moi vaan,'
    """
    spaces = (text.rfind(" ", 0, place + 1), text.find(" ", place))
    found = min((s for s in spaces if s > 0), key=lambda s: abs(s - place), default=0)
    if spaced and found and abs(found - place) <= _LONGEST_WORD:
        return found
    return next(m.start() for m in regex.finditer(r"\X|$", text) if m.start() >= place)


def _inside(text: str, place: int) -> bool:
    """Whether letters go on at `place`."""
    return bool(regex.match(r"[\p{L}\p{M}]", text[place : place + 1]))


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
