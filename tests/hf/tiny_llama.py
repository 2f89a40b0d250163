"""A tiny Llama of transformers as a folder, and what import and export of it share."""

import dataclasses
import pathlib

import jax
import numpy as np
import safetensors.numpy
import tokenizers
import torch
import transformers

from xinst_jax.config import MeshConfig, ModelConfig
from xinst_jax.hf import config as config_lib
from xinst_jax.hf import folder as folder_lib
from xinst_jax.hf.config import SpecialIds
from xinst_jax.mesh import ShardingRules, make_mesh

RULES = ShardingRules()
SPECIAL = SpecialIds(bos=1, stops=(2, 3), pad=0)
VOCAB = 500


def save_llama(folder: pathlib.Path, tied: bool, dtype=torch.float32):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=72,
        num_hidden_layers=3,
        num_attention_heads=8,
        num_key_value_heads=2,
        head_dim=8,
        rope_theta=500000.0,
        max_position_embeddings=512,
        rms_norm_eps=1e-5,
        tie_word_embeddings=tied,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, std=0.5 if "norm" in name else 0.2)
    model.to(dtype).save_pretrained(folder)
    return model


def float32(folder: pathlib.Path, **changes) -> ModelConfig:
    model = config_lib.read(folder)
    return dataclasses.replace(model, compute_dtype="float32", **changes)


def one_device() -> jax.sharding.Mesh:
    return make_mesh(MeshConfig(), jax.devices()[:1])


def eight_devices() -> jax.sharding.Mesh:
    return make_mesh(MeshConfig(fsdp=4, tensor=2))


def tokenizer_files(size: int = VOCAB) -> dict[str, bytes]:
    vocabulary = {f"w{index}": index for index in range(size)}
    model = tokenizers.models.WordLevel(vocabulary, unk_token="w0")
    return {
        "tokenizer.json": tokenizers.Tokenizer(model).to_str().encode(),
        "tokenizer_config.json": b'{"pad_token": "w7"}',
    }


def export(params, model, folder: pathlib.Path, **changes) -> pathlib.Path:
    settings = {
        "dtype": "float32",
        "vocab_size": VOCAB,
        "special": SPECIAL,
        "tokenizer": tokenizer_files(),
        "card": "# card\n",
        "shard_bytes": 10**9,
    }
    folder_lib.export_folder(folder, params, model, **settings | changes)
    return folder


def all_tensors(folder: pathlib.Path) -> dict[str, np.ndarray]:
    files = sorted(folder.glob("*.safetensors"))
    return {k: v for f in files for k, v in safetensors.numpy.load_file(f).items()}


def padded_rows() -> tuple[np.ndarray, np.ndarray]:
    """Tokens and mask of four rows: full, padded on the left, on the right, on both."""
    tokens_bt = np.random.default_rng(5).integers(0, VOCAB, (4, 64))
    mask_bt = np.ones((4, 64), np.int32)
    mask_bt[1, :17], mask_bt[2, -23:] = 0, 0
    mask_bt[3, :5], mask_bt[3, -9:] = 0, 0
    return tokens_bt, mask_bt
