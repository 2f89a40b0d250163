"""Root verb and object noun of an English instruction, to count how varied they are.

The tagger is textblob's port of the pattern library: its lexicon comes in the package,
so nothing is downloaded. It knows words better than sentences; verbs that it takes for
nouns when they open a sentence ("List seven things") are named here.
"""

import collections
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_AUXILIARIES = _words("""
    be am is are was were been being do does did doing done have has had having can
    could may might must shall should will would let please 's 're 'm 've 'd
    according based following given including provided regarding
""")
"""Verbs that are never the root; the last line's are prepositions in instructions."""

_LEADING = _words("help need want like love try go start")
"""Verbs that only lead to the one that is meant: help me *write* a letter."""

_IMPERATIVES = _words("""
    answer arrange brainstorm categorize classify compare compose convert describe
    design detail draft edit estimate explain group highlight identify judge label
    list map mention model name note order outline paraphrase pitch plan program quote
    rank rate recommend report research review rewrite script share sketch solve sort
    state suggest summarise summarize tag teach test title trace translate
""")
"""What the tagger may take for a noun or a name, though a sentence opens with it, or it
follows a pronoun or *to*."""

_BREAKS = frozenset((".", "!", "?", ";"))


def verb_noun(instruction: str) -> tuple[str, str] | None:
    """The root verb and the noun that follows it, in lower case; None if there is none.

    The rule: the first verb that is no auxiliary, then the first noun after it in the
    same sentence, in the singular; a sentence without both passes to the next one.

        verb_noun("Could you describe the causes of the war?")  # ('describe', 'cause')
        verb_noun("What is the capital of Finland?")            # None

    Args:
      instruction: English text.
    """
    for sentence in _sentences(instruction):
        root = _root(sentence)
        if root is None:
            continue
        for word, tag in sentence[root + 1 :]:
            if tag.startswith("NN"):
                return sentence[root][0], _singular(word, tag)
    return None


def root_verb(instruction: str) -> str | None:
    """The root verb, in lower case, of the first sentence that has one; None if none.

    root_verb("Write about the war.")             # 'write'
    root_verb("What is the capital of Finland?")  # None
    """
    for sentence in _sentences(instruction):
        root = _root(sentence)
        if root is not None:
            return sentence[root][0]
    return None


def _root(sentence: Sequence[tuple[str, str]]) -> int | None:
    """Where a sentence's first verb is that is no auxiliary and does not only lead."""
    verbs = [i for i, (_, tag) in enumerate(sentence) if tag.startswith("VB")]
    if not verbs:
        return None
    leads = sentence[verbs[0]][0] in _LEADING and len(verbs) > 1
    return verbs[1] if leads else verbs[0]


def count_pairs(instructions: Iterable[str]) -> collections.Counter[tuple[str, str]]:
    """How many of the instructions have each (verb, noun)."""
    pairs = (verb_noun(instruction) for instruction in instructions)
    return collections.Counter(pair for pair in pairs if pair is not None)


def distinct_pairs(instructions: Iterable[str]) -> int:
    """How many different (verb, noun) pairs the instructions have."""
    return len(count_pairs(instructions))


def top_verbs(
    counts: Mapping[tuple[str, str], int], verbs: int = 16, nouns: int = 4
) -> list[tuple[str, int, list[tuple[str, int]]]]:
    """The commonest verbs, each with its commonest nouns; ties by the alphabet.

    The default numbers are those of the picture in Li et al. (2024): sixteen verbs with
    four nouns.

        top_verbs({("write", "poem"): 2, ("write", "news"): 3, ("tell", "joke"): 1})
        # [('write', 5, [('news', 3), ('poem', 2)]), ('tell', 1, [('joke', 1)])]

    Args:
      counts: instructions by (verb, noun).
      verbs: most verbs returned.
      nouns: most nouns returned of each verb.

    Returns:
      Rows of (verb, instructions with it, [(noun, instructions with both), ...]).
    """
    by_verb: dict[str, dict[str, int]] = collections.defaultdict(dict)
    for (verb, noun), count in counts.items():
        by_verb[verb][noun] = count
    totals = {verb: sum(of_verb.values()) for verb, of_verb in by_verb.items()}
    return [
        (verb, total, _commonest(by_verb[verb])[:nouns])
        for verb, total in _commonest(totals)[:verbs]
    ]


def _commonest(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _sentences(text: str) -> Iterator[list[tuple[str, str]]]:
    """Yields each sentence's (lower-case word, tag), auxiliaries tagged 'AUX'."""
    sentence: list[tuple[str, str]] = []
    for word, tag in _tag()(text):
        lower = word.lower()
        if lower in _BREAKS:
            yield sentence
            sentence = []
            continue
        opens = all(tag == "AUX" for _, tag in sentence)
        expected = opens or sentence[-1][1] in ("PRP", "TO")
        if lower in _AUXILIARIES:
            tag = "AUX"
        elif expected and lower in _IMPERATIVES:
            tag = "VB"
        sentence.append((lower, tag))
    yield sentence


def _singular(noun: str, tag: str) -> str:
    if tag not in ("NNS", "NNPS"):
        return noun
    from textblob.en.inflect import singularize

    return str(singularize(noun))


@functools.cache
def _tag() -> Callable[[str], list[tuple[str, str]]]:
    # Imported late: the tagger's package takes seconds to import.
    from textblob.en import tag

    return tag
