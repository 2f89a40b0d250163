"""Texts that are nearly one: MinHash signatures and locality-sensitive hashing.

A signature is cut into bands of values, 14 of 8 as FineWeb-2's; of the texts that agree
in a band, pairs are compared by their whole signatures, and what is linked by such
pairs, however indirectly, is one cluster.
"""

import functools
import sys

import numpy as np
import regex
import rensa

from xinst_jax.config import DuplicatesConfig

DEFAULT = DuplicatesConfig()

_HASH_SEED = 1
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")


def signatures(texts: list[str], config: DuplicatesConfig = DEFAULT) -> np.ndarray:
    """The MinHash signatures, (texts, values) uint32, of texts' character n-grams.

    The share of places in which two signatures agree estimates the Jaccard similarity
    of the two sets of n-grams, with a standard deviation of at most 0.047 for 14 x 8
    values (A. Broder, On the resemblance and containment of documents, 1997). Case,
    punctuation and spacing do not count; marks do. Which texts come together makes no
    difference.

    Args:
      texts: cleaned.
      config: characters of an n-gram, and bands and values of a band.
    """
    values = config.bands * config.band_rows
    if not texts:
        return np.zeros((0, values), np.uint32)
    codes, lengths_n = _words([text.casefold() for text in texts])
    hashes, offsets = _shingle_hashes(codes, lengths_n, config.shingle_chars)
    matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(
        hashes, offsets, values, _HASH_SEED
    )
    return np.array(matrix.to_rows(), np.uint32)


def _words(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Texts as their runs of letters, marks and digits, a space between two.

    Returns:
      Code points of all the texts, uint64, one behind the other; and how many of them
      each text has.
    """
    encoded = [text.encode("utf-32-le", "surrogatepass") for text in texts]
    ends_n = np.cumsum([len(one) // 4 for one in encoded])
    codes = np.frombuffer(b"".join(encoded), np.uint32).astype(np.uint64)
    inside = _in_words()[codes]
    # How many word characters come before each place, and before each text.
    before = np.concatenate([[0], np.cumsum(inside)])
    starts_n = np.concatenate([[0], ends_n[:-1]])
    first = np.repeat(before[starts_n], ends_n - starts_n)
    follows = np.append(inside[1:], False) if len(inside) else inside
    follows[ends_n[ends_n > 0] - 1] = False
    gap = ~inside & follows & (before[:-1] > first)
    kept = inside | gap
    codes[gap] = ord(" ")
    kept_before = np.concatenate([[0], np.cumsum(kept)])
    return codes[kept], kept_before[ends_n] - kept_before[starts_n]


@functools.cache
def _in_words() -> np.ndarray:
    """Of every code point, whether it is a letter, a mark or a digit."""
    table = np.zeros(sys.maxunicode + 1, bool)
    for run in _WORD.finditer("".join(map(chr, range(len(table))))):
        table[run.start() : run.end()] = True
    return table


def _shingle_hashes(
    codes: np.ndarray, lengths_n: np.ndarray, chars: int
) -> tuple[np.ndarray, np.ndarray]:
    """A 64-bit hash of every n-gram of each text; of all of it, if it is shorter.

    Args:
      codes: code points of all the texts, uint64, one behind the other.
      lengths_n: how many of them each text has.
      chars: characters of an n-gram.

    Returns:
      The hashes, and where each text's begin and end among them.
    """
    starts_n = np.concatenate([[0], np.cumsum(lengths_n)])
    # A text that is too short has one shingle, its zeros standing for no character.
    short_n = lengths_n < chars
    counts_n = np.where(short_n, 1, lengths_n - chars + 1)
    offsets = np.concatenate([[0], np.cumsum(counts_n)])
    hashes = np.empty(offsets[-1], np.uint64)
    padded = np.concatenate([codes, np.zeros(chars, np.uint64)])
    rolled = np.zeros(len(codes) + 1, np.uint64)
    for place in range(chars):
        rolled = rolled * _MULTIPLIER + padded[place : place + len(rolled)]
        rolled ^= rolled >> _SHIFT
    inside = np.repeat(starts_n[:-1] - offsets[:-1], counts_n) + np.arange(offsets[-1])
    hashes[:] = rolled[inside]
    for number in np.flatnonzero(short_n):
        own = codes[starts_n[number] : starts_n[number + 1]]
        value = np.zeros(1, np.uint64)
        for place in range(chars):
            value = value * _MULTIPLIER + (own[place] if place < len(own) else 0)
            value ^= value >> _SHIFT
        hashes[offsets[number]] = value[0]
    return hashes, offsets


def band_keys(
    signatures: list[bytes], config: DuplicatesConfig = DEFAULT
) -> list[list[bytes]]:
    """A key a band for each signature, given as its bytes.

    Texts that agree in all values of a band have its key in common. Keys are 64-bit
    digests behind the band's number: two bands that share one cost a comparison.
    """
    bands, rows = config.bands, config.band_rows
    values = np.frombuffer(b"".join(signatures), np.uint32)
    bands_nbr = values.reshape(len(signatures), bands, rows)
    digests_nb = np.zeros(bands_nbr.shape[:2], np.uint64)
    for row in range(rows):
        digests_nb = (digests_nb ^ bands_nbr[:, :, row]) * _MULTIPLIER
        digests_nb ^= digests_nb >> _SHIFT
    numbers = [bytes([number]) for number in range(bands)]
    width = digests_nb.itemsize
    return [
        [
            number + row[at : at + width]
            for number, at in zip(numbers, range(0, bands * width, width), strict=True)
        ]
        for row in map(np.ndarray.tobytes, digests_nb)
    ]


def similarity(one: bytes, other: bytes) -> float:
    """The estimated Jaccard similarity of two texts by their signatures' bytes."""
    pair = [np.frombuffer(signature, np.uint32) for signature in (one, other)]
    return float(np.mean(pair[0] == pair[1]))
