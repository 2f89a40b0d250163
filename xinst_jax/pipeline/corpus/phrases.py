"""Many phrases, looked for in texts: exact, and small enough to have millions at hand.

Phrases are pieces of texts that overlap, so each text is there once, and a phrase is a
place in one, behind its hash. They are arrays, which processes of a machine can share.
"""

import array
import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

_MULTIPLIER = 0x9E3779B97F4A7C15
_INVERSE = pow(_MULTIPLIER, -1, 2**64)
_SHIFT = np.uint64(29)


class Window(NamedTuple):
    """Where a phrase begins and ends in a text, in characters; and its first unit."""

    start: int
    end: int
    unit: int


class Units:
    """A text as words or letters, and the hashes of any number of them in a row.

    A hash is a polynomial of the characters modulo 2^64, taken from sums of the text's
    first ones (R. Karp and M. Rabin, 1987), and mixed: texts can be made that have one
    in common, so what is found by it has to be compared.
    """

    def __init__(self, units: Sequence[str], joint: str):
        """Of words with a joint between two, or of letters without one."""
        self.text = joint.join(units)
        codes_k = np.frombuffer(self.text.encode("utf-32-le"), np.uint32)
        lengths_u = np.ones(len(units), np.int64)
        if joint:
            lengths_u = np.fromiter(map(len, units), np.int64, len(units))
        self.ends_u = np.cumsum(lengths_u + len(joint)) - len(joint)
        self.starts_u = self.ends_u - lengths_u
        powers_k, self._inverse_k = _powers(1 << len(codes_k).bit_length())
        mixed_k = _mixed(codes_k.astype(np.uint64) + np.uint64(1))
        self._sums_k = np.zeros(len(codes_k) + 1, np.uint64)
        np.cumsum(mixed_k * powers_k[: len(codes_k)], out=self._sums_k[1:])
        self._codes_k = codes_k

    def windows(self, units: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Each so many units in a row; all of them, if there are fewer.

        Returns:
          Where they begin and end in the text, int64, in characters, and their hashes,
          uint64: (windows,) each.
        """
        units = min(units, len(self.starts_u))
        last = max(units - 1, 0)
        starts_w = self.starts_u[: len(self.starts_u) - last]
        ends_w = self.ends_u[last:]
        sums_w = self._sums_k[ends_w] - self._sums_k[starts_w]
        return starts_w, ends_w, _mixed(sums_w * self._inverse_k[starts_w])

    def bytes_before(self) -> np.ndarray:
        """How many bytes of UTF-8 come before each character, and before the end."""
        codes_k = self._codes_k
        sizes_k = 1 + (codes_k > 0x7F) + (codes_k > 0x7FF) + (codes_k > 0xFFFF)
        return np.concatenate([[0], np.cumsum(sizes_k)])


@dataclasses.dataclass(frozen=True)
class Phrases:
    """Phrases, each with the number of the set that had it first.

    Attributes:
      hashes_p: of the phrases, uint64, sorted.
      starts_p: where each begins in the text, uint64, in bytes.
      sizes_p: how many bytes it has, uint32.
      text_k: the texts that have them, one behind the other, in UTF-8, uint8.
      sets_s: where each set's texts begin there, uint64.
      filter_b: a bit for each beginning of a hash, set where a phrase has it, uint8: 8
        to 16 for each phrase, so that most of what is none needs no search.
    """

    hashes_p: np.ndarray
    starts_p: np.ndarray
    sizes_p: np.ndarray
    text_k: np.ndarray
    sets_s: np.ndarray
    filter_b: np.ndarray

    def __len__(self) -> int:
        """How many there are, each counted once."""
        return len(self.hashes_p)

    @property
    def nbytes(self) -> int:
        """Bytes of all that is held."""
        return sum(vars(self)[field.name].nbytes for field in dataclasses.fields(self))

    def find(self, units: Units, length: int) -> Iterator[tuple[Window, int]]:
        """What a text has of them that is so many units long, in order.

        Yields:
          Where, and the number of the set.
        """
        starts_w, ends_w, hashes_w = units.windows(length)
        bytes_w, bits_w = _slots(hashes_w, 8 * len(self.filter_b))
        likely_m = np.flatnonzero(self.filter_b[bytes_w] & bits_w)
        places_m = np.searchsorted(self.hashes_p, hashes_w[likely_m])
        for unit, place in zip(likely_m.tolist(), places_m.tolist(), strict=True):
            start, end = int(starts_w[unit]), int(ends_w[unit])
            phrase = units.text[start:end].encode()
            while place < len(self) and self.hashes_p[place] == hashes_w[unit]:
                if _piece(self, place) == phrase:
                    found = int(self.starts_p[place])
                    number = int(np.searchsorted(self.sets_s, found, "right")) - 1
                    yield Window(start, end, unit), number
                    break
                place += 1


class Builder:
    """Gathers phrases, a set's behind another's."""

    def __init__(self) -> None:
        """Of no set yet."""
        self._hashes = array.array("Q")
        self._starts = array.array("Q")
        self._sizes = array.array("I")
        self._text = bytearray()
        self._sets: list[int] = []
        self._seen: set[tuple[int, bytes]] = set()

    def add(self, units: Units, length: int, number: int) -> None:
        """Adds what of a text is so many units long; sets come by their numbers."""
        while len(self._sets) <= number:
            self._sets.append(len(self._text))
        content = units.text.encode()
        # A text that came before has the same phrases.
        digest = hashlib.blake2b(content, digest_size=16).digest()
        if (length, digest) in self._seen:
            return
        self._seen.add((length, digest))
        starts_w, ends_w, hashes_w = units.windows(length)
        before_k = units.bytes_before()
        places_w = (before_k[starts_w] + len(self._text)).astype(np.uint64)
        sizes_w = (before_k[ends_w] - before_k[starts_w]).astype(np.uint32)
        self._hashes.frombytes(hashes_w.tobytes())
        self._starts.frombytes(places_w.tobytes())
        self._sizes.frombytes(sizes_w.tobytes())
        self._text += content

    def build(self) -> Phrases:
        """The phrases, each once."""
        hashes_p = np.frombuffer(self._hashes, np.uint64)
        # Of equal hashes the one of the first text comes first.
        order_p = np.argsort(hashes_p, kind="stable")
        found = Phrases(
            hashes_p[order_p],
            np.frombuffer(self._starts, np.uint64)[order_p],
            np.frombuffer(self._sizes, np.uint32)[order_p],
            np.frombuffer(bytes(self._text), np.uint8),
            np.array(self._sets, np.uint64),
            np.zeros(0, np.uint8),
        )
        once_p = np.ones(len(found), bool)
        same_p = found.hashes_p[1:] == found.hashes_p[:-1]
        for place in map(int, np.flatnonzero(same_p) + 1):
            phrase, other = _piece(found, place), place - 1
            while other >= 0 and found.hashes_p[other] == found.hashes_p[place]:
                if _piece(found, other) == phrase:
                    once_p[place] = False
                    break
                other -= 1
        filter_b = np.zeros(1 << len(found).bit_length(), np.uint8)
        bytes_p, bits_p = _slots(found.hashes_p, 8 * len(filter_b))
        np.bitwise_or.at(filter_b, bytes_p, bits_p)
        return dataclasses.replace(
            found,
            filter_b=filter_b,
            hashes_p=found.hashes_p[once_p],
            starts_p=found.starts_p[once_p],
            sizes_p=found.sizes_p[once_p],
        )


def _piece(phrases: Phrases, place: int) -> bytes:
    start = int(phrases.starts_p[place])
    return phrases.text_k[start : start + int(phrases.sizes_p[place])].tobytes()


def _slots(hashes: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """By the beginning of each hash, a byte of so many bits, and one bit of it."""
    slots = hashes >> np.uint64(64 - (bits.bit_length() - 1))
    return slots >> np.uint64(3), np.uint8(1) << (slots & np.uint64(7)).astype(np.uint8)


def _mixed(values: np.ndarray) -> np.ndarray:
    values = (values ^ (values >> _SHIFT)) * np.uint64(_MULTIPLIER)
    return values ^ (values >> _SHIFT)


@functools.lru_cache(4)
def _powers(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Powers of the multiplier from 0 on, and their inverses, modulo 2^64."""
    tables = []
    for base in (_MULTIPLIER, _INVERSE):
        factors = np.full(count, base, np.uint64)
        factors[:1] = 1
        tables.append(np.cumprod(factors))
    return tables[0], tables[1]
