"""What transformers calls each family, and what it takes an absent key for."""

import dataclasses
from collections.abc import Mapping
from typing import Any


def _sizes(
    vocab: int,
    layers: int,
    widths: tuple[int, int],
    heads: tuple[int, ...],
    length: int,
) -> dict[str, Any]:
    """Sizes of a family's class: widths are (D, F), heads (N, K, H).

    Heads that are not given follow from the others: K is N, and H is D / N.
    """
    of_heads = ("num_attention_heads", "num_key_value_heads", "head_dim")
    return {
        "vocab_size": vocab,
        "num_hidden_layers": layers,
        "hidden_size": widths[0],
        "intermediate_size": widths[1],
        **dict(zip(of_heads, heads, strict=False)),
        "max_position_embeddings": length,
        "rms_norm_eps": 1e-6,
    }


_PLAIN: dict[str, Any] = {"hidden_act": "silu", "tie_word_embeddings": False}
_QWEN = _PLAIN | {"use_sliding_window": False, "sliding_window": 4096}
_GEMMA: dict[str, Any] = {"tie_word_embeddings": True}
_LATER_GEMMA = _GEMMA | {
    "hidden_activation": "gelu_pytorch_tanh",
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
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
    "llama": Convention(
        "LlamaForCausalLM", _PLAIN | _sizes(32000, 32, (4096, 11008), (32,), 2048)
    ),
    "mistral": Convention(
        "MistralForCausalLM",
        _PLAIN
        | _sizes(32000, 32, (4096, 14336), (32, 8), 131072)
        | {"sliding_window": 4096},
    ),
    "gemma": Convention(
        "GemmaForCausalLM",
        _GEMMA
        | _sizes(256000, 28, (3072, 24576), (16, 16, 256), 8192)
        | {"hidden_act": "gelu_pytorch_tanh"},
    ),
    "gemma2": Convention(
        "Gemma2ForCausalLM",
        _LATER_GEMMA
        | _sizes(256000, 26, (2304, 9216), (8, 4, 256), 8192)
        | {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0},
        capped=True,
    ),
    "gemma3_text": Convention(
        "Gemma3ForCausalLM",
        _LATER_GEMMA
        | _sizes(262208, 26, (2304, 9216), (8, 4, 256), 131072)
        | {"attn_logit_softcapping": None, "final_logit_softcapping": None},
        capped=True,
        local_base=True,
    ),
    "qwen2": Convention(
        "Qwen2ForCausalLM", _QWEN | _sizes(151936, 32, (4096, 22016), (32, 32), 32768)
    ),
    "qwen3": Convention(
        "Qwen3ForCausalLM",
        _QWEN | _sizes(151936, 32, (4096, 22016), (32, 32, 128), 32768),
    ),
}
"""Of each family, by `ModelConfig.family`.

Sources: the configuration classes of transformers 4.57 and 5.23.
"""
