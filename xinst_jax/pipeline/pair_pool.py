"""Good pairs, and the pool of others that a pair's corruptions draw from."""

import dataclasses
import functools
import hashlib
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import regex

from xinst_jax.config import TextConfig
from xinst_jax.languages import BUILT_IN, Language
from xinst_jax.pipeline.rules.english import ENGLISH_WORDS

DEFAULT_TEXT = TextConfig()

WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")
"""A word in any script, combining marks included."""

_PLAIN = ENGLISH_WORDS | {"a", "an", "at", "by", "i", "if", "in", "it", "on", "to"}


@dataclasses.dataclass(frozen=True)
class Pair:
    """A pair taken for good.

    Attributes:
      id: the pair's id.
      lang: language code of the response.
      instruction: in English.
      output: the response.
      split: 'train' or 'held_out'.
      rest: what followed the response and was left off, so that one which breaks off
        need not be shorter; empty where the response is whole.
    """

    id: str
    lang: str
    instruction: str
    output: str
    split: str
    rest: str = ""


@dataclasses.dataclass(frozen=True)
class Nearness:
    """What a cosine similarity of two instructions means.

    Attributes:
      unrelated: below it, one does not answer for the other.
      related: from it on, they are about neighbouring things.
      same: from it on, a response to one may be a response to the other.
    """

    unrelated: float
    related: float
    same: float


NGRAM_NEARNESS = Nearness(unrelated=0.12, related=0.2, same=0.4)
"""For `ngram_features`. Among the sample's 140 seed instructions three quarters of the
pairs lie below 0.12, and the same question asked twice mostly above 0.4."""


ENCODER_NEARNESS = Nearness(unrelated=0.2, related=0.35, same=0.7)
"""For embeddings by all-MiniLM-L6-v2. Among the same instructions three quarters of the
pairs lie below 0.17, and the same question asked twice above 0.7."""


def generator(seed: int, *names: str) -> np.random.Generator:
    """A PRNG that depends on its arguments alone."""
    text = "\x1f".join((str(seed), *names))
    key = hashlib.sha256(text.encode()).digest()[:16]
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "big")))


def ngram_features(texts: Sequence[str], width: int = 512, size: int = 4) -> np.ndarray:
    """Hashed character n-grams, weighted by rarity: embeddings for want of an encoder.

    Words that many instructions share (*what*, *explain*, *list*) are left out.

    Args:
      texts: English instructions.
      width: columns that n-grams are hashed into.
      size: characters of an n-gram.

    Returns:
      Array of shape (texts, width), float32, rows of unit length.
    """
    grams_te = np.zeros((len(texts), width), np.float32)
    for row, text in enumerate(texts):
        words = [word for word in WORD.findall(text.casefold()) if word not in _PLAIN]
        line = f" {' '.join(words)} "
        grams = {line[i : i + size] for i in range(max(1, len(line) - size + 1))}
        grams_te[row, [zlib.crc32(gram.encode()) % width for gram in grams]] = 1
    rarity_e = np.log((2 + len(texts)) / (1 + grams_te.sum(axis=0)))
    grams_te *= rarity_e
    return grams_te / np.maximum(np.linalg.norm(grams_te, axis=1, keepdims=True), 1e-9)


class Pool:
    """The pairs of one split, from which a pair's corruptions draw."""

    _DRAWN = 64
    _BLOCK = 4096
    _NEAREST = 64

    def __init__(
        self,
        pairs: Sequence[Pair],
        features_pe: np.ndarray,
        nearness: Nearness,
        boilerplate: Mapping[str, Sequence[str]],
        held_out: bool,
        languages: Mapping[str, Language] = BUILT_IN,
        texts: TextConfig = DEFAULT_TEXT,
    ) -> None:
        """Args:
        pairs: the split's pairs.
        features_pe: float32, unit rows: the instructions' embeddings.
        nearness: what the embeddings' cosines mean.
        boilerplate: texts of menus and notices by language; may be empty.
        held_out: whether the part of each registry is used that training never sees.
        languages: the pairs' languages by code.
        texts: which marks end a sentence, where a response is cut.
        """
        self.pairs = pairs
        self.features_pe = features_pe
        self.nearness = nearness
        self.held_out = held_out
        self.languages = languages
        self.texts = texts
        self._boilerplate = boilerplate
        self._lines: dict[str, list[str]] = {}
        codes = np.array([pair.lang for pair in pairs])
        self._members = {
            str(lang): np.flatnonzero(codes == lang) for lang in np.unique(codes)
        }
        self._others = {lang: np.flatnonzero(codes != lang) for lang in self._members}

    def unrelated(
        self, index: int, rng: np.random.Generator, same_language: bool
    ) -> list[int]:
        """Numbers of randomly drawn pairs whose instructions ask for something else."""
        members = self._within(index, same_language)
        if not len(members):
            return []
        places = rng.integers(len(members), size=self._DRAWN)
        chosen = members[list(dict.fromkeys(places.tolist()))]
        cosines = self.features_pe[chosen] @ self.features_pe[index]
        near = (cosines >= self.nearness.unrelated) | (chosen == index)
        return [int(other) for other in chosen[~near]]

    def has_others(self, lang: str) -> bool:
        """Whether the pool has pairs of another language."""
        return bool(len(self._others[lang]))

    def neighbours(self, index: int, same_language: bool) -> list[int]:
        """Numbers of the pairs whose instructions are most alike, yet not the same.

        The most similar come first. In a large pool they are looked for among the few
        thousand that lie around the pair in the order of the pool.
        """
        members = self._within(index, same_language)
        start = int(np.searchsorted(members, index)) - self._BLOCK // 2
        block = members[max(0, start) : max(0, start) + self._BLOCK]
        cosines = self._of(block) @ self.features_pe[index]
        cosines[(block == index) | (cosines >= self.nearness.same)] = -1
        nearest = np.argsort(-cosines, kind="stable")[: self._NEAREST]
        return [int(block[n]) for n in nearest if cosines[n] >= self.nearness.related]

    def lines(self, lang: str) -> list[str]:
        """Lines of menus and notices found in this split's part of the boilerplate."""
        if lang not in self._lines:
            texts = part(tuple(self._boilerplate.get(lang, ())), self.held_out)
            split = (line.strip() for text in texts for line in text.splitlines())
            self._lines[lang] = [line for line in split if line]
        return self._lines[lang]

    def _of(self, block: np.ndarray) -> np.ndarray:
        """The features of ascending pair numbers, without a copy if they are a run."""
        if len(block) and block[-1] - block[0] + 1 == len(block):
            return self.features_pe[block[0] : block[-1] + 1]
        return self.features_pe[block]

    def _within(self, index: int, same_language: bool) -> np.ndarray:
        groups = self._members if same_language else self._others
        return groups[self.pairs[index].lang]


@functools.cache
def part(entries: tuple[str, ...], held_out: bool) -> tuple[str, ...]:
    """The entries of a registry for one split: one in four is kept from training."""
    return tuple(
        entry for entry in entries if (zlib.crc32(entry.encode()) % 4 == 0) == held_out
    )
