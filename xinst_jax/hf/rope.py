"""The keys of config.json about rotary positions, in both of their spellings.

transformers 4 has `rope_theta` and `rope_scaling`, and for Gemma 3 the base of windowed
blocks in `rope_local_base_freq`. Version 5 has `rope_parameters`, and for Gemma 3 one
such dictionary for each kind of block inside it.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from xinst_jax.config import ModelConfig
from xinst_jax.errors import UserError
from xinst_jax.hf import keys
from xinst_jax.hf.families import CONVENTIONS
from xinst_jax.hf.windows import FULL, LOCAL

_LLAMA3 = {
    "low_freq_factor": "rope_low_freq_factor",
    "high_freq_factor": "rope_high_freq_factor",
    "original_max_position_embeddings": "rope_original_length",
}
_NEEDED: dict[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", *_LLAMA3),
}
KEYS = {ours: theirs for theirs, ours in _LLAMA3.items()} | {
    "local_rope_theta": "rope_local_base_freq",
    "rope_factor": "factor",
}
"""Where a field of `ModelConfig` stands, where its key has another name."""

_UNSCALED: dict[str, Any] = {
    "rope_scaling": "none",
    "rope_factor": 1.0,
    "rope_low_freq_factor": 1.0,
    "rope_high_freq_factor": 4.0,
    "rope_original_length": 8192,
}
_NAMES = ("rope_type", "type")
_NEUTRAL = {"partial_rotary_factor": 1.0, "attention_factor": 1.0}


def read(record: Mapping[str, Any], family: str, path: pathlib.Path) -> dict[str, Any]:
    """The fields of `ModelConfig` about rotary positions.

    Args:
      record: a config.json.
      family: its family.
      path: what errors call it.

    Raises:
      UserError: a scaling that the decoder does not compute, two spellings that
        disagree, or a value of another type.
    """
    local_base = CONVENTIONS[family].local_base
    new = keys.value(record, "rope_parameters", dict, path) or {}
    old = keys.value(record, "rope_scaling", dict, path) or {}
    if local_base and new and not new.keys() <= {FULL, LOCAL}:
        raise UserError(
            f"{path}: rope_parameters has the keys {', '.join(sorted(new))}; expected "
            f"{FULL} and {LOCAL}."
        )
    new_full = new_local = new
    if local_base:
        new_full, new_local = (
            keys.value(new, kind, dict, path, "rope_parameters.") or {}
            for kind in (FULL, LOCAL)
        )
    found = _agreed(
        {
            "rope_parameters": _fields(new_full, "rope_parameters", path),
            "rope_scaling": _fields(old, "rope_scaling", path),
            "rope_theta": _theta(record, "rope_theta", path),
        },
        path,
    )
    found.setdefault("rope_theta", 1e6 if local_base else 10000.0)
    fields = _UNSCALED | {"local_rope_theta": 0.0}
    if local_base:
        fields["local_rope_theta"] = _local_theta(record, new_local, path)
    return fields | found


def write(model: ModelConfig) -> dict[str, Any]:
    """The keys for both readers, with equal values."""
    scaling: dict[str, Any] | None = None
    if model.rope_scaling != "none":
        scaling = {"rope_type": model.rope_scaling, "factor": model.rope_factor}
        if model.rope_scaling == "llama3":
            scaling |= {key: getattr(model, ours) for key, ours in _LLAMA3.items()}
    full = {"rope_type": "default", **(scaling or {}), "rope_theta": model.rope_theta}
    record: dict[str, Any] = {
        "rope_parameters": full,
        "rope_scaling": scaling,
        "rope_theta": model.rope_theta,
    }
    if CONVENTIONS[model.family].local_base:
        theta = model.local_rope_theta or 10000.0
        local = {"rope_type": "default", "rope_theta": theta}
        record["rope_parameters"] = {FULL: full, LOCAL: local}
        record["rope_local_base_freq"] = theta
    return record


def _theta(
    record: Mapping[str, Any], key: str, path: pathlib.Path, within: str = ""
) -> dict[str, Any]:
    if record.get(key) is None:
        return {}
    return {"rope_theta": float(keys.positive(record, key, float, path, within))}


def _fields(
    scaling: Mapping[str, Any], name: str, path: pathlib.Path
) -> dict[str, Any]:
    """The fields that one dictionary of rotary settings says something about."""
    if not scaling:
        return {}
    within = f"{name}."
    named = (keys.value(scaling, key, str, path, within) for key in _NAMES)
    kind = next(filter(None, named), "default")
    if kind not in _NEEDED:
        raise UserError(
            f"{path}: {name} asks for rotary positions scaled as {kind!r}; supported: "
            f"{', '.join(_NEEDED)}."
        )
    lacking = [key for key in _NEEDED[kind] if scaling.get(key) is None]
    if lacking:
        raise UserError(f"{path}: {name} of type {kind!r} lacks {', '.join(lacking)}.")
    known = {*_NAMES, "rope_theta", "factor", *_LLAMA3}
    unknown = [
        f"{key} = {value!r}"
        for key, value in scaling.items()
        if key not in known and value not in (None, _NEUTRAL.get(key))
    ]
    if unknown:
        raise UserError(
            f"{path}: {name} has {', '.join(unknown)}, which is not supported."
        )
    fields = _theta(scaling, "rope_theta", path, within)
    if kind == "default":
        return fields | {"rope_scaling": "none"}
    factor = float(keys.positive(scaling, "factor", float, path, within))
    if factor < 1:
        raise UserError(f"{path}: {name}.factor = {factor}; expected 1 or more.")
    fields |= {"rope_scaling": kind, "rope_factor": factor}
    if kind == "llama3":
        for key, ours in _LLAMA3.items():
            number = int if ours == "rope_original_length" else float
            fields[ours] = keys.positive(scaling, key, number, path, within)
    return fields


def _agreed(
    spellings: Mapping[str, Mapping[str, Any]], path: pathlib.Path
) -> dict[str, Any]:
    """The union of what several keys say, of which none may contradict another."""
    found: dict[str, tuple[str, Any]] = {}
    for key, fields in spellings.items():
        for name, value in fields.items():
            before, other = found.setdefault(name, (key, value))
            if other != value:
                raise UserError(
                    f"{path}: {before} and {key} disagree on {name}: {other!r} and "
                    f"{value!r}. Keep what the model was trained with."
                )
    return {name: value for name, (_, value) in found.items()}


def _local_theta(
    record: Mapping[str, Any], new: Mapping[str, Any], path: pathlib.Path
) -> float:
    """The base of windowed blocks, whose frequencies nothing scales."""
    name = f"rope_parameters.{LOCAL}"
    fields = _fields(new, name, path)
    if fields.pop("rope_scaling", "none") != "none":
        raise UserError(
            f"{path}: {name} scales the positions of windowed blocks, which is not "
            "supported."
        )
    old = _theta(record, "rope_local_base_freq", path)
    found = _agreed({name: fields, "rope_local_base_freq": old}, path)
    return found.get("rope_theta", 10000.0)
