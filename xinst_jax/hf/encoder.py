"""A sentence encoder from a Hugging Face folder, and the vectors it gives to texts."""

import functools
import importlib.resources
import importlib.util
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import tokenizers
from jax.sharding import NamedSharding

from xinst_jax import distributed
from xinst_jax.errors import UserError
from xinst_jax.hf import mapping
from xinst_jax.hf.mapping import Row
from xinst_jax.hf.safetensors import Weights
from xinst_jax.models import encoder as encoder_lib
from xinst_jax.models.encoder import EncoderConfig

LENGTHS = (32, 64, 128, 256, 512)
"""Lengths, in tokens, that texts are padded to: one compiled program each."""

_PACKAGE = "package:"
_BLOCK = "encoder.layer.{layer}."
_BATCH = ("slice", "fsdp")

BERT: tuple[Row, ...] = (
    Row("embeddings.word_embeddings.weight", "token_vd", "vd"),
    Row("embeddings.position_embeddings.weight", "position_sd", "sd"),
    Row("embeddings.token_type_embeddings.weight", "type_cd", "cd"),
    Row("embeddings.LayerNorm.weight", "scale_d", "d"),
    Row("embeddings.LayerNorm.bias", "shift_d", "d"),
    Row(f"{_BLOCK}attention.self.query.weight", "blocks/query_ldnh", "(nh)d"),
    Row(f"{_BLOCK}attention.self.query.bias", "blocks/query_bias_lnh", "(nh)"),
    Row(f"{_BLOCK}attention.self.key.weight", "blocks/key_ldnh", "(nh)d"),
    Row(f"{_BLOCK}attention.self.key.bias", "blocks/key_bias_lnh", "(nh)"),
    Row(f"{_BLOCK}attention.self.value.weight", "blocks/value_ldnh", "(nh)d"),
    Row(f"{_BLOCK}attention.self.value.bias", "blocks/value_bias_lnh", "(nh)"),
    Row(f"{_BLOCK}attention.output.dense.weight", "blocks/out_lnhd", "d(nh)"),
    Row(f"{_BLOCK}attention.output.dense.bias", "blocks/out_bias_ld", "d"),
    Row(f"{_BLOCK}attention.output.LayerNorm.weight", "blocks/attention_scale_ld", "d"),
    Row(f"{_BLOCK}attention.output.LayerNorm.bias", "blocks/attention_shift_ld", "d"),
    Row(f"{_BLOCK}intermediate.dense.weight", "blocks/up_ldf", "fd"),
    Row(f"{_BLOCK}intermediate.dense.bias", "blocks/up_bias_lf", "f"),
    Row(f"{_BLOCK}output.dense.weight", "blocks/down_lfd", "df"),
    Row(f"{_BLOCK}output.dense.bias", "blocks/down_bias_ld", "d"),
    Row(f"{_BLOCK}output.LayerNorm.weight", "blocks/mlp_scale_ld", "d"),
    Row(f"{_BLOCK}output.LayerNorm.bias", "blocks/mlp_shift_ld", "d"),
)
"""BertModel; mean pooling leaves its pooler, and the saved position ids, unused."""

_UNUSED = ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")


def load_encoder(
    source: str,
) -> tuple[EncoderConfig, dict[str, Any], tokenizers.Tokenizer]:
    """An encoder's shape, its parameters (float32, on the host) and its tokenizer.

    Args:
      source: a Hugging Face folder, or 'package:MODULE/FOLDER' for one that comes in an
        installed Python package.

    Raises:
      UserError: no such folder or package, or not a BERT with mean pooling.
    """
    folder = locate(source)
    config = _read_config(folder)
    weights = Weights(folder)
    shapes = mapping.leaves(encoder_lib.abstract_params(config))
    rows = [row for row in BERT if row.path in shapes]
    expected = {
        name: row.tensor_shape(row.sizes(shapes[row.path].shape))
        for row in rows
        for name in row.names(shapes[row.path].shape)
    }
    found = {name: weights.shape(name) for name in weights.files if name not in _UNUSED}
    advice = f"Compare {folder / 'config.json'} with the weights."
    mapping.check(expected, found, weights.listed, advice, weights.files)
    params: dict[str, Any] = {}
    for row in rows:
        *keys, last = row.path.split("/")
        node = params
        for key in keys:
            node = node.setdefault(key, {})
        node[last] = _leaf(row, shapes[row.path].shape, weights)
    return config, params, _tokenizer(folder, config)


def embed(
    encoder: tuple[EncoderConfig, Mapping[str, Any], tokenizers.Tokenizer],
    texts: Sequence[str],
    mesh: jax.sharding.Mesh,
    batch_rows: int,
) -> np.ndarray:
    """The vectors of texts, in order.

    Texts of like length share a batch, padded to one of `LENGTHS`; a text's vector does
    not depend on its batch mates (but for rounding).

    Args:
      encoder: what `load_encoder` gives.
      texts: any texts; longer ones are cut at the encoder's longest.
      mesh: the devices that batches are divided over.
      batch_rows: texts of the shortest length run together; a batch of longer ones
        has as many tokens. Rounded up to a multiple of those devices.

    Returns:
      (N, E) float32, each row of length 1.
    """
    config, params, tokenizer = encoder
    tokens = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    devices = mesh.shape["slice"] * mesh.shape["fsdp"]
    counts = [len(ids) for ids in tokens]
    sharding = NamedSharding(mesh, jax.P(_BATCH, None))
    vectors_ne = np.zeros((len(tokens), config.embed_dim), np.float32)
    with jax.set_mesh(mesh):
        placed = jax.device_put(params, NamedSharding(mesh, jax.P()))
        for numbers, rows, length in _batches(counts, batch_rows, devices):
            tokens_bt = np.zeros((rows, length), np.int32)
            mask_bt = np.zeros((rows, length), bool)
            for row, number in enumerate(numbers):
                count = len(tokens[number])
                tokens_bt[row, :count], mask_bt[row, :count] = tokens[number], True
            batch = jax.device_put((tokens_bt, mask_bt), sharding)
            vectors_be = distributed.to_host(encoder_lib.encode(config, placed, *batch))
            vectors_ne[numbers] = vectors_be[: len(numbers)]
    return vectors_ne


def _batches(
    counts: Sequence[int], batch_rows: int, devices: int
) -> list[tuple[list[int], int, int]]:
    """Which texts run together: their numbers, and the rows and length of their batch.

    Example: token counts [3, 40, 5] with 2 rows on 1 device give [([0, 2], 2, 32),
    ([1], 1, 64)].
    """
    by_length: dict[int, list[int]] = {}
    for number, count in enumerate(counts):
        length = next(length for length in LENGTHS if count <= length)
        by_length.setdefault(length, []).append(number)
    batches = []
    for length, numbers in sorted(by_length.items()):
        rows = max(1, batch_rows * LENGTHS[0] // length)
        rows = -(-rows // devices) * devices
        for start in range(0, len(numbers), rows):
            batches.append((numbers[start : start + rows], rows, length))
    return batches


def locate(source: str) -> pathlib.Path:
    """The folder of an encoder; `source` as for `load_encoder`.

    Raises:
      UserError: there is no such folder or package.
    """
    if not source.startswith(_PACKAGE):
        folder = pathlib.Path(source)
        if not (folder / "config.json").is_file():
            raise UserError(
                f"DiversifyConfig.encoder = {source!r} is not a Hugging Face folder: "
                "there is no config.json in it."
            )
        return folder
    package, _, inside = source.removeprefix(_PACKAGE).partition("/")
    if importlib.util.find_spec(package) is None:
        raise UserError(
            f"DiversifyConfig.encoder = {source!r} names the Python package {package}, "
            "which is not installed. Install requirements-encoder.txt, or name a "
            "Hugging Face folder."
        )
    return pathlib.Path(str(importlib.resources.files(package) / inside))


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({error}). A sentence encoder is a Hugging Face "
            "folder with config.json, tokenizer.json and model.safetensors."
        ) from error


def _read_config(folder: pathlib.Path) -> EncoderConfig:
    record = _read_json(folder / "config.json")
    pooling_path = folder / "1_Pooling" / "config.json"
    pooling = _read_json(pooling_path) if pooling_path.is_file() else {}
    sentence_path = folder / "sentence_bert_config.json"
    sentence = _read_json(sentence_path) if sentence_path.is_file() else {}
    wanted = {
        "model_type is bert": record.get("model_type") == "bert",
        "hidden_act is gelu": record.get("hidden_act") == "gelu",
        "position_embedding_type is absolute": record.get(
            "position_embedding_type", "absolute"
        )
        == "absolute",
        "1_Pooling says pooling_mode_mean_tokens": pooling.get(
            "pooling_mode_mean_tokens", True
        ),
    }
    broken = [rule for rule, holds in wanted.items() if not holds]
    if broken:
        raise UserError(
            f"{folder} is not a sentence encoder of the kind that is supported, of "
            f"which this must hold: {'; '.join(broken)}."
        )
    positions = record["max_position_embeddings"]
    return EncoderConfig(
        vocab_size=record["vocab_size"],
        num_layers=record["num_hidden_layers"],
        embed_dim=record["hidden_size"],
        mlp_dim=record["intermediate_size"],
        num_heads=record["num_attention_heads"],
        positions=positions,
        token_types=record["type_vocab_size"],
        max_tokens=min(
            sentence.get("max_seq_length", positions), positions, LENGTHS[-1]
        ),
        norm_eps=record["layer_norm_eps"],
    )


def _leaf(row: Row, shape: tuple[int, ...], weights: Weights) -> np.ndarray:
    sizes = row.sizes(shape)
    everything = {letter: slice(0, size) for letter, size in sizes.items()}
    parts = [
        row.from_tensor(functools.partial(weights.read, name), everything, sizes)
        for name in row.names(shape)
    ]
    whole = np.stack(parts) if row.stacked else parts[0]
    return np.ascontiguousarray(whole, np.float32)


def _tokenizer(folder: pathlib.Path, config: EncoderConfig) -> tokenizers.Tokenizer:
    record = _read_json(folder / "tokenizer.json")
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(record))
    tokenizer.no_padding()
    tokenizer.enable_truncation(config.max_tokens)
    return tokenizer
