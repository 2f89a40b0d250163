"""`config.json` and `generation_config.json`, read and written for old and new readers.

transformers 5 renamed keys: `rope_theta` and `rope_scaling` became `rope_parameters`,
`torch_dtype` became `dtype`. Version 4 ignores the new names in silence (and then turns
positions by the wrong base), so both families are written, with equal values, and
either is read.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from xinst_jax.config import ModelConfig
from xinst_jax.errors import UserError
from xinst_jax.hf import rope, windows
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
    """The shape of a folder's model; dtypes and rematerialisation are our defaults.

    Args:
      folder: a Hugging Face folder.

    Raises:
      UserError: no config.json, or a model that our decoder does not compute.
    """
    path = folder / CONFIG
    return ModelConfig(**_fields(_read(path), path))


def _fields(record: dict[str, Any], path: pathlib.Path) -> dict[str, Any]:
    """Every field of `ModelConfig` that a config.json settles."""
    family = _family(record, path)
    for key, value in _OFF.items():
        if record.get(key) not in (value, None):
            why = _WHY.get(key, f"supported: {value!r}")
            raise UserError(f"{path}: {key} = {record[key]!r}; {why}.")
    record = {**CONVENTIONS[family].defaults, **record}
    heads, width = record.get("num_attention_heads"), record.get("hidden_size")
    if isinstance(heads, int) and isinstance(width, int) and heads > 0:
        if family == "llama":
            record.setdefault("num_key_value_heads", heads)
        record["head_dim"] = record.get("head_dim") or width // heads
    missing = sorted(name for name in _SIZES.values() if record.get(name) is None)
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}.")
    fields = {ours: record[theirs] for ours, theirs in _SIZES.items()}
    if CONVENTIONS[family].capped:
        fields |= {ours: record[theirs] or 0 for ours, theirs in _CAPS.items()}
    else:
        fields |= dict.fromkeys(_CAPS, 0.0)
    fields |= windows.read(record, family, path) | rope.read(record, family, path)
    if not fields["window"]:
        fields["local_rope_theta"] = 0.0
    activation = _activation(record, family, path)
    return {**SWITCHES[family], "family": family, "activation": activation, **fields}


def _family(record: Mapping[str, Any], path: pathlib.Path) -> str:
    family = record.get("model_type")
    if family == "gemma3":
        raise UserError(
            f"{path}: model_type = 'gemma3' is a model of texts and images, of which "
            "only the language model (gemma3_text) is computed here. Save that on its "
            "own first; docs/families.md has the five lines that do it."
        )
    if not isinstance(family, str) or family not in CONVENTIONS:
        raise UserError(
            f"{path}: model_type = {family!r}; supported: {', '.join(CONVENTIONS)}."
        )
    return family


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


def read_special_ids(folder: pathlib.Path) -> SpecialIds:
    """The special ids that a folder names; generation_config.json comes first.

    Raises:
      UserError: no config.json, or neither file names an EOS token.
    """
    record = _read(folder / CONFIG)
    if (folder / GENERATION).is_file():
        generation = _read(folder / GENERATION)
        record |= {key: value for key, value in generation.items() if value is not None}
    eos = record.get("eos_token_id")
    stops = tuple(eos) if isinstance(eos, list) else (eos,)
    if not stops or not all(isinstance(stop, int) for stop in stops):
        raise UserError(
            f"{folder / CONFIG} has no eos_token_id; a model must be able to stop."
        )
    return SpecialIds(record.get("bos_token_id"), stops, record.get("pad_token_id"))


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
      UserError: a setting that the family's config.json cannot say.
    """
    if CONVENTIONS[model.family].capped and not model.query_pre_attn_scalar:
        model = dataclasses.replace(model, query_pre_attn_scalar=float(model.head_dim))
    eos = list(special.stops) if len(special.stops) > 1 else special.stops[0]
    sizes = {theirs: getattr(model, ours) for ours, theirs in _SIZES.items()}
    record = {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "use_cache": True,
        **{key: value for key, value in base.items() if key not in _DROPPED},
        **sizes,
        **_of_family(model),
        **rope.write(model),
        **windows.write(model),
        "architectures": [CONVENTIONS[model.family].architecture],
        "bos_token_id": special.bos,
        "dtype": dtype,
        "eos_token_id": eos,
        "model_type": model.family,
        "pad_token_id": special.pad,
        "torch_dtype": dtype,
        "vocab_size": vocab_size,
    }
    said = _fields(record, pathlib.Path(CONFIG)) | {"vocab_size": model.vocab_size}
    lost = [name for name, value in said.items() if getattr(model, name) != value]
    if lost:
        raise UserError(
            f"A config.json of the family {model.family!r} cannot say that "
            + ", ".join(f"{name} is {getattr(model, name)!r}" for name in lost)
            + ". Choose the family that has it."
        )
    return record


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
