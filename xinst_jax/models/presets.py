"""Models known by name: what each family sets, published sizes, tiny ones for tests."""

import dataclasses
from typing import Any

from xinst_jax.config import ModelConfig

_PLAIN: dict[str, bool | str] = {
    "activation": "silu",
    "norm_offset": False,
    "post_norms": False,
    "qk_norm": False,
    "qkv_bias": False,
    "embedding_scale": False,
}
_GEMMA = _PLAIN | {
    "activation": "gelu_tanh",
    "norm_offset": True,
    "embedding_scale": True,
}

SWITCHES: dict[str, dict[str, bool | str]] = {
    "llama": _PLAIN,
    "mistral": _PLAIN,
    "gemma": _GEMMA,
    "gemma2": _GEMMA | {"post_norms": True},
    "gemma3_text": _GEMMA | {"post_norms": True, "qk_norm": True},
    "qwen2": _PLAIN | {"qkv_bias": True},
    "qwen3": _PLAIN | {"qk_norm": True},
}
"""What the models of a family have in common, by `ModelConfig.family`."""

_DEFAULTS: dict[str, Any] = {
    field.name: field.default for field in dataclasses.fields(ModelConfig)
}


def _model(
    family: str,
    vocab: int,
    layers: int,
    widths: tuple[int, int],
    heads: tuple[int, int, int],
    length: int,
    **rest: Any,
) -> dict[str, Any]:
    """Settings of a model: widths are (D, F), heads (N, K, H)."""
    return {
        **SWITCHES[family],
        "family": family,
        "vocab_size": vocab,
        "num_layers": layers,
        "embed_dim": widths[0],
        "mlp_dim": widths[1],
        "num_heads": heads[0],
        "num_kv_heads": heads[1],
        "head_dim": heads[2],
        "max_length": length,
        "tie_embeddings": False,
        **rest,
    }


_LLAMA_3_8B = _model(
    "llama", 128256, 32, (4096, 14336), (32, 8, 128), 8192, rope_theta=500000.0
)
_LLAMA_3_1 = {
    "max_length": 131072,
    "rope_scaling": "llama3",
    "rope_factor": 8.0,
    "rope_original_length": 8192,
}
_TIED = {"tie_embeddings": True, "norm_eps": 1e-6}
_GEMMA_2 = _TIED | {
    "window": 4096,
    "full_every": 2,
    "query_pre_attn_scalar": 256.0,
    "attention_soft_cap": 50.0,
    "final_soft_cap": 30.0,
}
_GEMMA_3 = _TIED | {
    "full_every": 6,
    "query_pre_attn_scalar": 256.0,
    "rope_theta": 1e6,
    "local_rope_theta": 10000.0,
}
_QWEN = {"norm_eps": 1e-6, "rope_theta": 1e6}

PUBLISHED: dict[str, dict[str, Any]] = {
    "llama_2_7b": _model("llama", 32000, 32, (4096, 11008), (32, 32, 128), 4096),
    "llama_2_13b": _model("llama", 32000, 40, (5120, 13824), (40, 40, 128), 4096),
    "llama_3_8b": _LLAMA_3_8B,
    "llama_3_1_8b": _LLAMA_3_8B | _LLAMA_3_1,
    "llama_3_2_1b": _model(
        "llama", 128256, 16, (2048, 8192), (32, 8, 64), 8192, rope_theta=500000.0
    )
    | _LLAMA_3_1
    | {"rope_factor": 32.0, "tie_embeddings": True},
    "mistral_7b_v0_1": _model(
        "mistral", 32000, 32, (4096, 14336), (32, 8, 128), 32768, window=4096
    ),
    "mistral_7b_v0_3": _model(
        "mistral", 32768, 32, (4096, 14336), (32, 8, 128), 32768, rope_theta=1e6
    ),
    "gemma_2b": _model("gemma", 256000, 18, (2048, 16384), (8, 1, 256), 8192, **_TIED),
    "gemma_7b": _model(
        "gemma", 256000, 28, (3072, 24576), (16, 16, 256), 8192, **_TIED
    ),
    "gemma_2_2b": _model(
        "gemma2", 256000, 26, (2304, 9216), (8, 4, 256), 8192, **_GEMMA_2
    ),
    "gemma_2_9b": _model(
        "gemma2", 256000, 42, (3584, 14336), (16, 8, 256), 8192, **_GEMMA_2
    ),
    "gemma_3_1b": _model(
        "gemma3_text", 262144, 26, (1152, 6912), (4, 1, 256), 32768, **_GEMMA_3
    )
    | {"window": 512},
    "gemma_3_4b": _model(
        "gemma3_text", 262208, 34, (2560, 10240), (8, 4, 256), 131072, **_GEMMA_3
    )
    | {"window": 1024, "rope_scaling": "linear", "rope_factor": 8.0},
    "qwen_2_5_0_5b": _model(
        "qwen2", 151936, 24, (896, 4864), (14, 2, 64), 32768, **_QWEN
    )
    | {"tie_embeddings": True},
    "qwen_2_5_7b": _model(
        "qwen2", 152064, 28, (3584, 18944), (28, 4, 128), 131072, **_QWEN
    ),
    "qwen3_0_6b": _model(
        "qwen3", 151936, 28, (1024, 3072), (16, 8, 128), 40960, **_QWEN
    )
    | {"tie_embeddings": True},
    "qwen3_8b": _model(
        "qwen3", 151936, 36, (4096, 12288), (32, 8, 128), 40960, **_QWEN
    ),
}
"""Settings of published models, from their own config.json; dtypes are our defaults.

Gemma 3 4B is the text half of the published model.
"""


def published(name: str) -> ModelConfig:
    """A published model's shape; the names are the keys of `PUBLISHED`."""
    return ModelConfig(**(_DEFAULTS | PUBLISHED[name]))


def tiny(vocab_size: int = 128, **overrides: int | float | str | bool) -> ModelConfig:
    """A float32 model of two blocks for tests, with four query heads to a key head.

    Args:
      vocab_size: rows of the embedding.
      **overrides: other fields of `ModelConfig`.
    """
    config = ModelConfig(
        vocab_size=vocab_size,
        num_layers=2,
        embed_dim=32,
        mlp_dim=48,
        num_heads=8,
        num_kv_heads=2,
        head_dim=8,
        max_length=256,
        rope_theta=500000.0,
        compute_dtype="float32",
    )
    return dataclasses.replace(config, **overrides)  # type: ignore[arg-type]


_TINY: dict[str, dict[str, Any]] = {
    "mistral": {"window": 5},
    "gemma": {"head_dim": 12},
    "gemma2": {
        "num_layers": 3,
        "window": 5,
        "full_every": 2,
        "query_pre_attn_scalar": 12.0,
        "attention_soft_cap": 2.0,
        "final_soft_cap": 3.0,
    },
    "gemma3_text": {
        "num_layers": 7,
        "window": 5,
        "full_every": 6,
        "query_pre_attn_scalar": 12.0,
        "local_rope_theta": 1000.0,
        "rope_scaling": "linear",
        "rope_factor": 4.0,
    },
}


def tiny_of(family: str, **overrides: int | float | str | bool) -> ModelConfig:
    """`tiny` with all that sets the family apart, windows within a few tokens."""
    settings = SWITCHES[family] | _TINY.get(family, {}) | overrides
    return tiny(family=family, **settings)
