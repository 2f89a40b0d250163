"""The keys of config.json about which blocks see only a window of the text.

Newer configurations list every block's kind in `layer_types`; older ones have a rule of
their family: all blocks (Mistral), every other one (Gemma 2), all but every sixth
(Gemma 3), those from a number on (Qwen).
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from xinst_jax.config import ModelConfig
from xinst_jax.errors import UserError
from xinst_jax.hf import keys

FULL, LOCAL = "full_attention", "sliding_attention"
"""Kinds of blocks, as `layer_types` and `rope_parameters` name them."""


def read(record: Mapping[str, Any], family: str, path: pathlib.Path) -> dict[str, int]:
    """The fields `window` and `full_every` of `ModelConfig`.

    Args:
      record: a config.json, with the family's defaults in place of absent keys.
      family: its family.
      path: what errors call it.

    Raises:
      UserError: kinds of blocks, or an order of them, that the decoder does not have;
        or a value of another type.
    """
    count = keys.positive(record, "num_hidden_layers", int, path)
    kinds = keys.value(record, "layer_types", list, path)
    window = _window(record, family, path)
    if kinds is None:
        flags = [window > 0 and flag for flag in _by_rule(record, family, count, path)]
    else:
        named = {str(kind) for kind in kinds}
        if named - {FULL, LOCAL} or len(kinds) != count:
            raise UserError(
                f"{path}: layer_types has {len(kinds)} entries of the kinds "
                f"{', '.join(sorted(named))}; expected {count}, each {FULL} or {LOCAL}."
            )
        flags = [kind == LOCAL for kind in kinds]
    if not any(flags):
        return {"window": 0, "full_every": 0}
    if not window:
        raise UserError(
            f"{path}: layer_types has windowed blocks, but the model no sliding_window "
            "in use."
        )
    for every in (0, *range(2, count + 1)):
        if flags == [not (every and n % every == 0) for n in range(1, count + 1)]:
            return {"window": window, "full_every": every}
    raise UserError(
        f"{path}: blocks {[n for n, flag in enumerate(flags, 1) if flag]} of {count} "
        "are windowed; supported: all, or all but every n-th."
    )


def write(model: ModelConfig) -> dict[str, Any]:
    """The keys, in every spelling that a reader of this family knows."""
    family, flags = model.family, model.windowed_layers
    if family in ("llama", "gemma"):
        return {}
    record: dict[str, Any] = {"sliding_window": model.window or None}
    if family == "mistral":
        return record
    record["layer_types"] = [LOCAL if flag else FULL for flag in flags]
    if family.startswith("qwen"):
        record["use_sliding_window"] = any(flags)
        record["max_window_layers"] = 0 if any(flags) else model.num_layers
    if family == "gemma3_text":
        record["sliding_window_pattern"] = model.full_every or model.num_layers + 1
    return record


def _window(record: Mapping[str, Any], family: str, path: pathlib.Path) -> int:
    """Tokens of a window, 0 where the family has none or it is off."""
    if family in ("llama", "gemma"):
        return 0
    switch = "use_sliding_window"
    if family.startswith("qwen") and not keys.value(record, switch, bool, path):
        return 0
    if not record.get("sliding_window"):
        return 0
    window: int = keys.positive(record, "sliding_window", int, path)
    return window


def _by_rule(
    record: Mapping[str, Any], family: str, count: int, path: pathlib.Path
) -> list[bool]:
    """Whether each block is windowed, where nothing lists them."""
    if family == "gemma2":
        return [n % 2 == 1 for n in range(1, count + 1)]
    if family == "gemma3_text":
        names = ("sliding_window_pattern", "_sliding_window_pattern")
        said = (keys.value(record, name, int, path) for name in names)
        every = next(filter(None, said), 6)
        return [n % every != 0 for n in range(1, count + 1)]
    if family.startswith("qwen"):
        first = keys.value(record, "max_window_layers", int, path)
        first = 28 if first is None else first
        return [n >= first for n in range(count)]
    return [True] * count
