"""Tiny random transformers models of every family: the oracle of import and export.

`FAMILIES` names them and `build` makes one; the session fixture `tiny_model` of
tests/hf gives each as a saved folder together with the model. A test that says
something about every family takes that fixture, and one whose claim is a column of the
table in docs/families.md is marked `@pytest.mark.family_table("column")`.
"""

import dataclasses
import json
import pathlib
from typing import Any

import tokenizers
import torch
import transformers

from tests.hf import tokenizer_kinds
from xinst_jax.hf.config import SpecialIds

VOCAB = 500
WINDOW = 16
LENGTH = 200
SPECIAL = SpecialIds(bos=1, stops=(2,), pad=0)

_SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 72,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "bos_token_id": SPECIAL.bos,
    "eos_token_id": SPECIAL.stops[0],
    "pad_token_id": SPECIAL.pad,
}
_BASE_500K: dict[str, Any] = {"rope_type": "default", "rope_theta": 500000.0}
_GEMMA3: dict[str, Any] = {
    "num_hidden_layers": 7,
    "sliding_window": WINDOW,
    "query_pre_attn_scalar": 24,
    "rope_parameters": {
        "full_attention": {
            "rope_type": "linear",
            "rope_theta": 500000.0,
            "factor": 8.0,
        },
        "sliding_attention": {"rope_type": "default", "rope_theta": 20000.0},
    },
}
_VISION = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}


@dataclasses.dataclass(frozen=True)
class Family:
    """How a family's tiny model is made.

    Attributes:
      title: the row's name in docs/families.md.
      config: a class of transformers.
      settings: what differs from `_SHAPE`.
      whole: a class of transformers whose `text_config` they are, and its other
        settings; None where the family's model is one of text alone.
    """

    title: str
    config: type[transformers.PretrainedConfig]
    settings: dict[str, Any]
    whole: tuple[type[transformers.PretrainedConfig], dict[str, Any]] | None = None

    def make_config(self) -> transformers.PretrainedConfig:
        """The configuration of the model as it is published."""
        text = _SHAPE | self.settings
        if self.whole is None:
            return self.config(**text)
        kind, rest = self.whole
        return kind(text_config=text, **rest)


FAMILIES = {
    "llama2": Family(
        "Llama 2",
        transformers.LlamaConfig,
        {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
    ),
    "llama3": Family(
        "Llama 3", transformers.LlamaConfig, {"rope_parameters": _BASE_500K}
    ),
    "llama3_scaled": Family(
        "Llama 3.1 and 3.2",
        transformers.LlamaConfig,
        {
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
    ),
    "mistral": Family(
        "Mistral with a window",
        transformers.MistralConfig,
        {"sliding_window": WINDOW, "rope_parameters": _BASE_500K},
    ),
    "mistral_full": Family(
        "Mistral without",
        transformers.MistralConfig,
        {"sliding_window": None, "rope_parameters": _BASE_500K},
    ),
    "gemma": Family(
        "Gemma 1",
        transformers.GemmaConfig,
        {"hidden_act": "gelu_pytorch_tanh", "rope_parameters": _BASE_500K},
    ),
    "gemma2": Family(
        "Gemma 2",
        transformers.Gemma2Config,
        {
            "num_hidden_layers": 3,
            "sliding_window": WINDOW,
            "query_pre_attn_scalar": 24,
            "attn_logit_softcapping": 3.0,
            "final_logit_softcapping": 2.0,
            "rope_parameters": _BASE_500K,
        },
    ),
    "gemma3": Family(
        "Gemma 3 (text)",
        transformers.Gemma3TextConfig,
        _GEMMA3,
    ),
    "gemma3_whole": Family(
        "Gemma 3 with vision, its text half",
        transformers.Gemma3TextConfig,
        _GEMMA3,
        whole=(
            transformers.Gemma3Config,
            {"vision_config": _VISION, "mm_tokens_per_image": 4},
        ),
    ),
    "qwen2": Family(
        "Qwen 2.5",
        transformers.Qwen2Config,
        {"tie_word_embeddings": True, "rope_parameters": _BASE_500K},
    ),
    "qwen3": Family(
        "Qwen 3", transformers.Qwen3Config, {"rope_parameters": _BASE_500K}
    ),
}
"""By the name that tests give them."""


@dataclasses.dataclass(frozen=True)
class TinyModel:
    """A family's tiny model, in memory and as a folder.

    Attributes:
      family: a key of `FAMILIES`.
      folder: what `save_pretrained` wrote, float32, with the files of a tokenizer.
      model: of transformers, float32, eager attention.
      text: its language model, with the same weights; `model` where that is one.
    """

    family: str
    folder: pathlib.Path
    model: transformers.PreTrainedModel
    text: transformers.PreTrainedModel


def build(family: str) -> transformers.PreTrainedModel:
    """A model of the family with random weights, of biases and norms too."""
    config = FAMILIES[family].make_config()
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(
        config, attn_implementation="eager"
    ).eval()
    generator = torch.Generator().manual_seed(list(FAMILIES).index(family))
    for name, parameter in model.named_parameters():
        # Blocks move the residual stream far from the embedding, which Gemma scales
        # up, so that greedy text does not stick to one token.
        std = 1.0 if "norm" in name else 0.5
        if "q_proj" in name or "k_proj" in name:
            # Softmax of large scores would make much of the two libraries' rounding.
            std = 0.2
        if "embed" in name or "lm_head" in name:
            std = 0.08 if family.startswith("gemma") else 0.2
        torch.nn.init.normal_(parameter, std=std, generator=generator)
        parameter.requires_grad_(False)
    return model


def save(family: str, folder: pathlib.Path) -> TinyModel:
    """Builds a family's model and writes its folder."""
    model = build(family)
    model.save_pretrained(folder)
    for name, content in tokenizer_files().items():
        (folder / name).write_bytes(content)
    return TinyModel(family, folder, model, text_half(model))


def text_half(model: transformers.PreTrainedModel) -> transformers.PreTrainedModel:
    """The language model of one that also reads images; another is given back."""
    if not hasattr(model.config, "text_config"):
        return model
    text = transformers.AutoModelForCausalLM.from_config(
        model.config.text_config, attn_implementation="eager"
    ).eval()
    text.model, text.lm_head = model.model.language_model, model.lm_head
    return text


def tokenizer_files() -> dict[str, bytes]:
    """A tokenizer of VOCAB words: w0, w1, ..."""
    vocabulary = {f"w{index}": index for index in range(VOCAB)}
    words = tokenizers.models.WordLevel(vocabulary, unk_token="w0")
    tokenizer = tokenizers.Tokenizer(words)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    special = {"bos_token": "w1", "eos_token": "w2", "pad_token": "w0"}
    config = special | {"tokenizer_class": "PreTrainedTokenizerFast"}
    return {
        "tokenizer.json": tokenizer.to_str().encode(),
        "tokenizer_config.json": json.dumps(config).encode(),
    }


def qwen3_folder(path: pathlib.Path) -> pathlib.Path:
    """A small random Qwen 3 with a tokenizer, saved as its publisher would."""
    folder = tokenizer_kinds.make("qwen", path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.Qwen3Config(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    transformers.Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder
