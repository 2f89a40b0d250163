"""TPU slices by the number in their names: how many chips, and in what shape.

As Google Cloud hands them out: cloud.google.com/tpu/docs, the page of each version.
"""

CORES = {"v4": 2, "v5e": 1, "v5p": 2, "v6e": 1}
"""What a chip counts for in a slice's name: v4 and v5p count TensorCores."""

_FLAT: dict[int, tuple[int, ...]] = {
    1: (1, 1),
    4: (2, 2),
    8: (2, 4),
    16: (4, 4),
    32: (4, 8),
    64: (8, 8),
    128: (8, 16),
    256: (16, 16),
}
_CUBIC: dict[int, tuple[int, ...]] = {
    4: (2, 2, 1),
    8: (2, 2, 2),
    16: (2, 2, 4),
    32: (2, 4, 4),
    64: (4, 4, 4),
    128: (4, 4, 8),
    256: (4, 8, 8),
    512: (8, 8, 8),
    1024: (8, 8, 16),
    2048: (8, 16, 16),
}


def shapes(version: str) -> dict[int, tuple[int, ...]]:
    """A version's slices: the shape by the number in the name.

    >>> shapes("v5e")[64], shapes("v5p")[64]
    ((8, 8), (2, 4, 4))
    """
    cores = CORES[version]
    by_chips = _CUBIC if cores == 2 else _FLAT
    return {chips * cores: shape for chips, shape in by_chips.items()}
