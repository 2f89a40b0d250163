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

CONFIG = "config.json"
GENERATION = "generation_config.json"

_FIXED: dict[str, tuple[Any, ...]] = {
    "model_type": ("llama",),
    "hidden_act": ("silu", None),
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
}
"""What the Llama decoder leaves no choice of; None where the key may be absent."""

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
    record = _read(path)
    for key, allowed in _FIXED.items():
        if record.get(key) not in allowed:
            raise UserError(
                f"{path}: {key} = {record.get(key)!r}; supported: "
                f"{', '.join(repr(value) for value in allowed if value is not None)}."
            )
    heads, width = record.get("num_attention_heads"), record.get("hidden_size")
    if isinstance(heads, int) and isinstance(width, int) and heads > 0:
        record.setdefault("num_key_value_heads", heads)
        record["head_dim"] = record.get("head_dim") or width // heads
    record.setdefault("tie_word_embeddings", False)
    missing = sorted(name for name in _SIZES.values() if record.get(name) is None)
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}.")
    sizes = {ours: record[theirs] for ours, theirs in _SIZES.items()}
    return ModelConfig(**sizes, rope_theta=_rope_theta(record, path))


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
    """
    eos = list(special.stops) if len(special.stops) > 1 else special.stops[0]
    sizes = {theirs: getattr(model, ours) for ours, theirs in _SIZES.items()}
    return {
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "use_cache": True,
        **{key: value for key, value in base.items() if key not in _DROPPED},
        **sizes,
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "bos_token_id": special.bos,
        "dtype": dtype,
        "eos_token_id": eos,
        "hidden_act": "silu",
        "mlp_bias": False,
        "model_type": "llama",
        "pad_token_id": special.pad,
        "rope_parameters": {
            "rope_theta": model.rope_theta,
            "rope_type": "default",
        },
        "rope_scaling": None,
        "rope_theta": model.rope_theta,
        "torch_dtype": dtype,
        "vocab_size": vocab_size,
    }


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


def _rope_theta(record: Mapping[str, Any], path: pathlib.Path) -> float:
    """The rotary base, which either generation of transformers may have written."""
    new = record.get("rope_parameters")
    old = record.get("rope_scaling")
    for name, scaling in (("rope_parameters", new), ("rope_scaling", old)):
        kind = (scaling or {}).get("rope_type") or (scaling or {}).get("type")
        if kind not in (None, "default"):
            raise UserError(
                f"{path}: {name} asks for rotary positions scaled as {kind!r}, which "
                "is not supported."
            )
    thetas = {
        float(theta)
        for theta in ((new or {}).get("rope_theta"), record.get("rope_theta"))
        if theta is not None
    }
    if len(thetas) > 1:
        raise UserError(
            f"{path}: rope_theta and rope_parameters disagree: {sorted(thetas)}. Keep "
            "the one the model was trained with."
        )
    return thetas.pop() if thetas else 10000.0


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
