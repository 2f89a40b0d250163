"""Texts that are nearly one: MinHash signatures and locality-sensitive hashing."""

import functools

import numpy as np
import regex
import rensa

_SHINGLE_CHARS = 5
_PERMUTATIONS = 256
_HASH_SEED = 1
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MIN_RECALL = 0.99
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")


def signature(text: str) -> np.ndarray:
    """The MinHash signature, 256 uint32, of a text's character 5-grams.

    The share of places in which two signatures agree estimates the Jaccard similarity
    of the two sets of 5-grams, with a standard deviation of at most 0.03 (A. Broder,
    On the resemblance and containment of documents, 1997). Case, punctuation and
    spacing do not count; marks do.
    """
    words = " ".join(_WORD.findall(text.casefold()))
    hashes_n = _shingle_hashes(words)
    matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(
        hashes_n, [0, len(hashes_n)], _PERMUTATIONS, _HASH_SEED
    )
    return np.array(matrix.to_rows()[0], np.uint32)


def _shingle_hashes(words: str) -> np.ndarray:
    """A 64-bit hash, uint64, of every 5 characters in a row; of all, if fewer."""
    codes_n = np.frombuffer(words.encode("utf-32-le"), np.uint32).astype(np.uint64)
    count = max(1, len(codes_n) - _SHINGLE_CHARS + 1)
    hashes_n = np.zeros(count, np.uint64)
    for offset in range(min(_SHINGLE_CHARS, len(codes_n))):
        hashes_n = hashes_n * _MULTIPLIER + codes_n[offset : offset + count]
        hashes_n ^= hashes_n >> np.uint64(29)
    return hashes_n


class NearDuplicates:
    """The signatures of the texts kept so far, and which of them a new text repeats.

    A signature is cut into bands; only texts that agree in a whole band are compared.
    The bands are as narrow as it takes to compare 99% of the pairs whose similarity is
    just the threshold (J. Leskovec et al., Mining of Massive Datasets, section 3.4.2).
    About 5 kB of memory are held a text.
    """

    def __init__(self, threshold: float):
        """Starts with no text.

        Args:
          threshold: estimated Jaccard similarity from which two texts are one.
        """
        self._threshold = threshold
        self._rows = band_rows(threshold)
        self._signatures: list[np.ndarray] = []
        self._first_with: dict[tuple[int, bytes], int] = {}

    def add(self, signature: np.ndarray) -> tuple[int, float] | None:
        """Keeps a text's signature, unless it repeats one that is kept.

        Args:
          signature: as `signature` makes it.

        Returns:
          None for a text that is kept, numbered from 0 in order of `add`; otherwise the
          number of the most similar kept text that was compared, and the similarity.
        """
        keys = [
            (start, signature[start : start + self._rows].tobytes())
            for start in range(0, _PERMUTATIONS - self._rows + 1, self._rows)
        ]
        found = {self._first_with[key] for key in keys if key in self._first_with}
        similar = [
            (float(np.mean(self._signatures[number] == signature)), -number)
            for number in found
        ]
        if similar and max(similar)[0] >= self._threshold:
            similarity, number = max(similar)
            return -number, similarity
        for key in keys:
            self._first_with.setdefault(key, len(self._signatures))
        self._signatures.append(signature)
        return None


@functools.cache
def band_rows(threshold: float) -> int:
    """Rows of a band: the most that still compare 99% of pairs at the threshold."""
    for rows in range(32, 1, -1):
        if 1 - (1 - threshold**rows) ** (_PERMUTATIONS // rows) >= _MIN_RECALL:
            return rows
    return 1
