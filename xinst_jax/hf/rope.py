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
from xinst_jax.hf.families import CONVENTIONS

_FULL, _LOCAL = "full_attention", "sliding_attention"
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
_UNSCALED: dict[str, Any] = {
    "rope_scaling": "none",
    "rope_factor": 1.0,
    "rope_low_freq_factor": 1.0,
    "rope_high_freq_factor": 4.0,
    "rope_original_length": 8192,
}
_NEUTRAL = {"partial_rotary_factor": 1.0, "attention_factor": 1.0}


def read(record: Mapping[str, Any], family: str, path: pathlib.Path) -> dict[str, Any]:
    """The fields of `ModelConfig` about rotary positions.

    Args:
      record: a config.json.
      family: its family.
      path: what errors call it.

    Raises:
      UserError: a scaling that the decoder does not compute, or two spellings that
        disagree.
    """
    local_base = CONVENTIONS[family].local_base
    new, old = record.get("rope_parameters") or {}, record.get("rope_scaling") or {}
    if local_base and new and not new.keys() <= {_FULL, _LOCAL}:
        raise UserError(
            f"{path}: rope_parameters has the keys {', '.join(sorted(new))}; expected "
            f"{_FULL} and {_LOCAL}."
        )
    new_full = (new.get(_FULL) or {}) if local_base else new
    found = _agreed(
        {
            "rope_parameters": _fields(new_full, "rope_parameters", path),
            "rope_scaling": _fields(old, "rope_scaling", path),
            "rope_theta": _theta(record.get("rope_theta")),
        },
        path,
    )
    found.setdefault("rope_theta", 1e6 if local_base else 10000.0)
    fields = _UNSCALED | {"local_rope_theta": 0.0}
    if local_base:
        fields["local_rope_theta"] = _local_theta(record, new.get(_LOCAL) or {}, path)
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
        record["rope_parameters"] = {_FULL: full, _LOCAL: local}
        record["rope_local_base_freq"] = theta
    return record


def _theta(value: Any) -> dict[str, Any]:
    return {} if value is None else {"rope_theta": float(value)}


def _fields(
    scaling: Mapping[str, Any], name: str, path: pathlib.Path
) -> dict[str, Any]:
    """The fields that one dictionary of rotary settings says something about."""
    if not scaling:
        return {}
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    if kind not in _NEEDED:
        raise UserError(
            f"{path}: {name} asks for rotary positions scaled as {kind!r}; supported: "
            f"{', '.join(_NEEDED)}."
        )
    lacking = [key for key in _NEEDED[kind] if scaling.get(key) is None]
    if lacking:
        raise UserError(f"{path}: {name} of type {kind!r} lacks {', '.join(lacking)}.")
    known = {"rope_type", "type", "rope_theta", "factor", *_LLAMA3}
    unknown = [
        f"{key} = {value!r}"
        for key, value in scaling.items()
        if key not in known and value not in (None, _NEUTRAL.get(key))
    ]
    if unknown:
        raise UserError(
            f"{path}: {name} has {', '.join(unknown)}, which is not supported."
        )
    fields = _theta(scaling.get("rope_theta"))
    if kind == "default":
        return fields | {"rope_scaling": "none"}
    fields |= {"rope_scaling": kind, "rope_factor": float(scaling["factor"])}
    if kind == "llama3":
        fields |= {ours: scaling[key] for key, ours in _LLAMA3.items()}
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
    name = f"rope_parameters.{_LOCAL}"
    fields = _fields(new, name, path)
    if fields.pop("rope_scaling", "none") != "none":
        raise UserError(
            f"{path}: {name} scales the positions of windowed blocks, which is not "
            "supported."
        )
    old = _theta(record.get("rope_local_base_freq"))
    found = _agreed({name: fields, "rope_local_base_freq": old}, path)
    return found.get("rope_theta", 10000.0)
