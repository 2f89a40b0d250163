"""`config.json` and `generation_config.json`, read and written for old and new readers.

transformers 5 renamed keys: `rope_theta` and `rope_scaling` became `rope_parameters`,
`torch_dtype` became `dtype`. Version 4 ignores the new names in silence (and then turns
positions by the wrong base), so both families are written, with equal values, and
either is read.
"""

import dataclasses
import json
import pathlib
import re
import typing
from collections.abc import Mapping
from typing import Any

from xinst_jax.config import ModelConfig
from xinst_jax.errors import UserError
from xinst_jax.hf import dtypes, keys, rope, text_half, windows
from xinst_jax.hf.families import CONVENTIONS
from xinst_jax.models.presets import SWITCHES

CONFIG = "config.json"
GENERATION = "generation_config.json"

_ACTIVATIONS = {"silu": "silu", "gelu_pytorch_tanh": "gelu_tanh"}
_OFF = {
    "attention_bias": False,
    "auto_map": None,
    "mlp_bias": False,
    "num_experts": None,
    "num_local_experts": None,
    "partial_rotary_factor": 1.0,
    "quantization_config": None,
    "use_bidirectional_attention": False,
}
"""Keys of what no family of ours does, and the value that says so."""

_WHY = {
    "auto_map": "the folder brings code of its own, which is never run",
    "quantization_config": "a quantised model cannot be trained; use the original one",
}

_DROPPED = ("_name_or_path", "auto_map", "transformers_version")
"""Keys of a base model's config.json that are not true of a model made from it."""

_SIZES = {
    "vocab_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "embed_dim": "hidden_size",
    "mlp_dim": "intermediate_size",
    "num_heads": "num_attention_heads",
    "num_kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "max_length": "max_position_embeddings",
    "norm_eps": "rms_norm_eps",
    "tie_embeddings": "tie_word_embeddings",
}

_CAPS = {
    "query_pre_attn_scalar": "query_pre_attn_scalar",
    "attention_soft_cap": "attn_logit_softcapping",
    "final_soft_cap": "final_logit_softcapping",
}

_KINDS = typing.get_type_hints(ModelConfig)
_KEYS = {**_SIZES, **_CAPS, **rope.KEYS, "window": "sliding_window"}
"""Where a field of `ModelConfig` stands, where its key has another name."""


@dataclasses.dataclass(frozen=True)
class SpecialIds:
    """The ids of tokens that are not text.

    Attributes:
      bos: put before every text, or None.
      stops: each ends a generated text; the first is the EOS of training.
      pad: fills rows of unequal length, or None.
    """

    bos: int | None
    stops: tuple[int, ...]
    pad: int | None


def read(folder: pathlib.Path) -> ModelConfig:
    """The shape of a folder's model; how it is computed is left at our defaults.

    Of a model that also reads images it is the text half's.

    Args:
      folder: a Hugging Face folder.

    Raises:
      UserError: no config.json, a model that our decoder does not compute, or a value
        that no model has.
    """
    path = folder / CONFIG
    whole = _read(path)
    if text_half.is_whole(whole):
        _check_off(whole, path)
        dtypes.check(whole, path)
    record, path = text_half.of_config(whole, path)
    fields = _fields(record, path)
    try:
        return ModelConfig(**fields)
    except UserError as error:
        raise UserError(f"{path}: {_by_key(str(error))}") from error


def _by_key(told: str) -> str:
    """What `ModelConfig` tells of its fields, told of the keys; gin's line goes."""
    told = told.partition("\n")[0].replace("ModelConfig.", "")
    return re.sub(r"\w+", lambda word: _KEYS.get(word[0], word[0]), told)


def _fields(record: dict[str, Any], path: pathlib.Path) -> dict[str, Any]:
    """Every field of `ModelConfig` that a config.json settles."""
    family = _family(record, path)
    _check_off(record, path)
    dtypes.check(record, path)
    record = {**CONVENTIONS[family].defaults, **record}
    fields = _sizes(record, family, path)
    if CONVENTIONS[family].capped:
        for ours, theirs in _CAPS.items():
            fields[ours] = keys.value(record, theirs, float, path) or 0
    else:
        fields |= dict.fromkeys(_CAPS, 0.0)
    fields |= windows.read(record, family, path) | rope.read(record, family, path)
    if not fields["window"]:
        fields["local_rope_theta"] = 0.0
    activation = _activation(record, family, path)
    return {**SWITCHES[family], "family": family, "activation": activation, **fields}


def _check_off(record: Mapping[str, Any], path: pathlib.Path) -> None:
    for key, value in _OFF.items():
        if record.get(key) not in (value, None):
            why = _WHY.get(key, f"supported: {value!r}")
            raise UserError(f"{path}: {key} = {record[key]!r}; {why}.")


def _family(record: Mapping[str, Any], path: pathlib.Path) -> str:
    family = record.get("model_type")
    if not isinstance(family, str) or family not in CONVENTIONS:
        raise UserError(
            f"{path}: model_type = {family!r}; supported: {', '.join(CONVENTIONS)}, "
            f"and the text half of {', '.join(text_half.FAMILIES)}."
        )
    return family


def _sizes(
    record: Mapping[str, Any], family: str, path: pathlib.Path
) -> dict[str, Any]:
    """The fields of `_SIZES`; heads that are not given follow from the others."""
    heads = keys.positive(record, "num_attention_heads", int, path)
    width = keys.positive(record, "hidden_size", int, path)
    given = {key: value for key, value in record.items() if value is not None}
    follow = {"head_dim": width // heads}
    if not family.startswith("gemma"):
        follow["num_key_value_heads"] = heads
    given = follow | given
    tied = _SIZES["tie_embeddings"]
    return {
        ours: keys.positive(given, theirs, _KINDS[ours], path)
        for ours, theirs in _SIZES.items()
        if theirs != tied
    } | {"tie_embeddings": bool(keys.value(given, tied, bool, path))}


def _activation(record: Mapping[str, Any], family: str, path: pathlib.Path) -> str:
    """The gate's activation, by our name.

    Gemma's oldest configurations say 'gelu', by mistake, and have no other key: the
    models were trained with its tanh form, as Google's code and transformers' warning
    say.
    """
    key = "hidden_activation" if record.get("hidden_activation") else "hidden_act"
    found = record.get(key)
    if family == "gemma" and key == "hidden_act" and found == "gelu":
        return "gelu_tanh"
    ours = _ACTIVATIONS.get(found) if isinstance(found, str) else None
    if ours is None or ours != SWITCHES[family]["activation"]:
        expected = [
            theirs
            for theirs, ours in _ACTIVATIONS.items()
            if ours == SWITCHES[family]["activation"]
        ]
        raise UserError(f"{path}: {key} = {found!r}; supported: {expected[0]!r}.")
    return ours


def config_record(
    model: ModelConfig,
    vocab_size: int,
    special: SpecialIds,
    dtype: str,
    base: Mapping[str, Any],
) -> dict[str, Any]:
    """The config.json of a model, ready for JSON.

    Args:
      model: the decoder's shape.
      vocab_size: rows of the written embedding: the tokenizer's size, without padding.
      special: the special ids.
      dtype: of the written weights, 'bfloat16' or 'float32'.
      base: the base model's own config.json, whose other keys are kept; or empty.

    Raises:
      UserError: see `check_said`.
    """
    check_said(model)
    eos = list(special.stops) if len(special.stops) > 1 else special.stops[0]
    return {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "use_cache": True,
        **{key: value for key, value in base.items() if key not in _DROPPED},
        **_shape(_explicit(model)),
        **dtypes.write(dtype),
        "architectures": [CONVENTIONS[model.family].architecture],
        "bos_token_id": special.bos,
        "eos_token_id": eos,
        "pad_token_id": special.pad,
        "vocab_size": vocab_size,
    }


def check_said(model: ModelConfig) -> None:
    """Raises UserError unless a config.json of the family says all that the model is.

    Such a model could be trained, and not be exported.
    """
    model = _explicit(model)
    usual = dataclasses.replace(model, **SWITCHES[model.family])  # type: ignore[arg-type]
    said = _fields(_shape(usual), pathlib.Path(CONFIG))
    lost = [name for name, value in said.items() if getattr(model, name) != value]
    if lost:
        found = ", ".join(f"{name} = {getattr(model, name)!r}" for name in lost)
        kept = ", ".join(f"{name} = {said[name]!r}" for name in lost)
        raise UserError(
            f"ModelConfig.family = {model.family!r} has no config.json that says "
            f"{found}, so the model could not be exported. Set {kept}, or the family "
            "that has it (docs/families.md)."
        )


def _explicit(model: ModelConfig) -> ModelConfig:
    """The model with the scale of its queries as the families that have one say it."""
    if CONVENTIONS[model.family].capped and not model.query_pre_attn_scalar:
        return dataclasses.replace(model, query_pre_attn_scalar=float(model.head_dim))
    return model


def _shape(model: ModelConfig) -> dict[str, Any]:
    """The keys about the decoder's shape."""
    return {
        **{theirs: getattr(model, ours) for ours, theirs in _SIZES.items()},
        **_of_family(model),
        **rope.write(model),
        **windows.write(model),
        "model_type": model.family,
    }


def _of_family(model: ModelConfig) -> dict[str, Any]:
    """The keys that only some families have, apart from positions and windows."""
    theirs = {ours: theirs for theirs, ours in _ACTIVATIONS.items()}[model.activation]
    record: dict[str, Any] = {"hidden_act": theirs}
    if model.family.startswith("gemma"):
        record["hidden_activation"] = theirs
    if model.family == "llama":
        record["mlp_bias"] = False
    if CONVENTIONS[model.family].capped:
        scalar = model.query_pre_attn_scalar
        record["query_pre_attn_scalar"] = int(scalar) if scalar % 1 == 0 else scalar
        record["attn_logit_softcapping"] = model.attention_soft_cap or None
        record["final_logit_softcapping"] = model.final_soft_cap or None
    return record


def generation_record(special: SpecialIds) -> dict[str, Any]:
    """The generation_config.json, ready for JSON: sampling as in the paper's code.

    Source of the numbers: ZNLP/X-Instruction, `utils/inference.py`.
    """
    return {
        "bos_token_id": special.bos,
        "do_sample": True,
        "eos_token_id": list(special.stops),
        "max_new_tokens": 2048,
        "pad_token_id": special.pad,
        "temperature": 0.7,
        "top_p": 0.9,
    }


def read_base(folder: pathlib.Path) -> dict[str, Any]:
    """A folder's config.json as it stands.

    Raises:
      UserError: it is missing or not JSON.
    """
    return _read(folder / CONFIG)


def read_text(folder: pathlib.Path) -> dict[str, Any]:
    """The same; of a model that also reads images, its text half's.

    Raises:
      UserError: it is missing, not JSON, or has no text half.
    """
    path = folder / CONFIG
    return text_half.of_config(_read(path), path)[0]


def _read(path: pathlib.Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(
            f"{path} does not exist. Expected a Hugging Face model folder on this "
            "machine, with config.json, safetensors weights and tokenizer files."
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from error
    if not isinstance(record, dict):
        raise UserError(f"{path} is not a JSON object.")
    return record
