"""What transformers calls each family, and what it takes an absent key for."""

import dataclasses
from collections.abc import Mapping
from typing import Any

_PLAIN: dict[str, Any] = {"hidden_act": "silu", "tie_word_embeddings": False}
_QWEN = _PLAIN | {"use_sliding_window": False, "sliding_window": 4096}
_GEMMA: dict[str, Any] = {
    "hidden_activation": "gelu_pytorch_tanh",
    "head_dim": 256,
    "tie_word_embeddings": True,
}


@dataclasses.dataclass(frozen=True)
class Convention:
    """How a family's config.json is read and written.

    Attributes:
      architecture: the class of transformers that computes it.
      defaults: values of keys that a config.json may leave out, by its class.
      capped: whether the config has the keys of Gemma 2 and 3 on attention scores.
      local_base: whether windowed blocks have a rotary base of their own.
    """

    architecture: str
    defaults: Mapping[str, Any]
    capped: bool = False
    local_base: bool = False


CONVENTIONS = {
    "llama": Convention("LlamaForCausalLM", _PLAIN),
    "mistral": Convention("MistralForCausalLM", _PLAIN | {"sliding_window": 4096}),
    "gemma": Convention(
        "GemmaForCausalLM",
        {key: value for key, value in _GEMMA.items() if key != "hidden_activation"}
        | {"hidden_act": "gelu_pytorch_tanh"},
    ),
    "gemma2": Convention(
        "Gemma2ForCausalLM",
        _GEMMA
        | {
            "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0,
            "query_pre_attn_scalar": 256,
            "sliding_window": 4096,
        },
        capped=True,
    ),
    "gemma3_text": Convention(
        "Gemma3ForCausalLM",
        _GEMMA
        | {
            "attn_logit_softcapping": None,
            "final_logit_softcapping": None,
            "max_position_embeddings": 131072,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "query_pre_attn_scalar": 256,
            "rms_norm_eps": 1e-6,
            "sliding_window": 4096,
            "vocab_size": 262208,
        },
        capped=True,
        local_base=True,
    ),
    "qwen2": Convention("Qwen2ForCausalLM", _QWEN),
    "qwen3": Convention("Qwen3ForCausalLM", _QWEN | {"head_dim": 128}),
}
"""Of each family, by `ModelConfig.family`.

Sources: the configuration classes of transformers 4.57 and 5.23.
"""
