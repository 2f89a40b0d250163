"""A keyed permutation of [0, n): shuffling by arithmetic, without a list."""

import numpy as np

_ROUNDS = 8
_LEAST_HALF_BITS = 2
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def permute(index: np.ndarray, n: int, *key: int) -> np.ndarray:
    """Where a permutation of [0, n), chosen by `key`, sends each index.

    A Feistel network permutes the least even power of two that holds n numbers; an
    image outside [0, n) is permuted again until it falls inside (Black and Rogaway,
    *Ciphers with arbitrary finite domains*, CT-RSA 2002, section 3).

    `permute(np.arange(5), 5, seed, epoch)` holds each of 0..4 once, in an order that
    differs with seed and epoch.

    Args:
      index: integers in [0, n), of any shape.
      n: size of the domain, at least 1.
      key: integers; any difference in one gives an unrelated permutation.

    Returns:
      int64, of the shape of `index`.

    Raises:
      ValueError: an index outside [0, n).
    """
    values = np.asarray(index, np.int64)
    if values.size and not 0 <= values.min() <= values.max() < n:
        raise ValueError(f"an index outside [0, {n})")
    half = max(_LEAST_HALF_BITS, -(-(n - 1).bit_length() // 2))
    round_keys = _round_keys(key)
    flat = values.astype(np.uint64).ravel()
    pending = np.arange(flat.size)
    while pending.size:
        flat[pending] = _feistel(flat[pending], half, round_keys)
        pending = pending[flat[pending] >= n]
    return flat.astype(np.int64).reshape(values.shape)


def _feistel(value: np.ndarray, half: int, round_keys: np.ndarray) -> np.ndarray:
    bits, mask = np.uint64(half), np.uint64((1 << half) - 1)
    left, right = value >> bits, value & mask
    for round_key in round_keys:
        left, right = right, left ^ (_scramble(right ^ round_key) & mask)
    return (left << bits) | right


def _round_keys(key: tuple[int, ...]) -> np.ndarray:
    state = np.zeros(1, np.uint64)
    for part in key:
        state = _scramble(state + _GOLDEN ^ np.uint64(part % (1 << 64)))
    return _scramble(state + _GOLDEN * np.arange(1, _ROUNDS + 1, dtype=np.uint64))


def _scramble(value: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea and Flood, OOPSLA 2014, figure 16)."""
    value = (value ^ (value >> np.uint64(30))) * _MIX[0]
    value = (value ^ (value >> np.uint64(27))) * _MIX[1]
    return value ^ (value >> np.uint64(31))
