"""The dtype that a config.json names, under the keys of both generations.

It says in what the weights were saved, and nothing of how a model is computed: that is
the run's to say. What a tensor is stored in, its own file says.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from xinst_jax.errors import UserError
from xinst_jax.hf import keys, safetensors

_KEYS = ("torch_dtype", "dtype")
"""Of transformers 4, and of 5."""

_KNOWN = tuple(kind.name for kind in safetensors.FLOATS.values())


def check(record: Mapping[str, Any], path: pathlib.Path) -> None:
    """Checks that a config.json names a dtype in which weights can be read, or none.

    Args:
      record: a config.json.
      path: what errors call it.

    Raises:
      UserError: it names another, or two.
    """
    said = {key: keys.value(record, key, str, path) for key in _KEYS}
    found = {key: dtype for key, dtype in said.items() if dtype is not None}
    for key, dtype in found.items():
        if dtype not in _KNOWN:
            raise UserError(
                f"{path}: {key} = {dtype!r}; supported: {', '.join(_KNOWN)}."
            )
    if len(set(found.values())) > 1:
        both = " and ".join(f"{key} = {dtype!r}" for key, dtype in found.items())
        raise UserError(
            f"{path}: {both} disagree. Keep the one that the weights were saved in."
        )


def write(dtype: str) -> dict[str, str]:
    """Both keys.

    Args:
      dtype: of the written weights, 'bfloat16' or 'float32'.
    """
    return dict.fromkeys(_KEYS, dtype)
