"""config.json of either generation of transformers."""

import json

import pytest
import transformers

from xinst_jax.config import ModelConfig
from xinst_jax.errors import UserError
from xinst_jax.hf import config as config_lib
from xinst_jax.hf.config import SpecialIds

OLD = {
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": 64,
    "intermediate_size": 96,
    "max_position_embeddings": 4096,
    "num_attention_heads": 8,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "rope_theta": 500000.0,
    "rope_scaling": None,
    "torch_dtype": "bfloat16",
    "vocab_size": 500,
    "eos_token_id": 2,
}


def write(folder, record, name="config.json"):
    (folder / name).write_text(json.dumps(record))
    return folder


def without(*names: str, **changes) -> dict:
    return {k: v for k, v in OLD.items() if k not in names} | changes


def test_old_and_new_keys_read_the_same(tmp_path):
    new = without(
        "rope_theta",
        "torch_dtype",
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
        dtype="bfloat16",
    )
    expected = ModelConfig(
        vocab_size=500,
        num_layers=3,
        embed_dim=64,
        mlp_dim=96,
        num_heads=8,
        num_kv_heads=2,
        head_dim=8,
        max_length=4096,
        rope_theta=500000.0,
        norm_eps=1e-6,
        tie_embeddings=False,
    )
    assert config_lib.read(write(tmp_path, OLD)) == expected
    assert config_lib.read(write(tmp_path, new)) == expected


def test_absent_keys_mean_what_transformers_takes_them_for(tmp_path):
    record = without("num_key_value_heads", "rope_theta", "hidden_act")
    write(tmp_path, record)
    found = config_lib.read(tmp_path)
    theirs = transformers.LlamaConfig.from_pretrained(tmp_path)
    assert found.num_kv_heads == theirs.num_key_value_heads == 8
    assert found.head_dim == theirs.head_dim == 8
    assert found.rope_theta == theirs.rope_parameters["rope_theta"]
    assert found.tie_embeddings == theirs.tie_word_embeddings


@pytest.mark.parametrize(
    ("record", "named"),
    [
        (without("model_type"), "model_type = None"),
        (without(model_type="gpt2"), "model_type = 'gpt2'"),
        (without(hidden_act="gelu"), "hidden_act = 'gelu'"),
        (without(attention_bias=True), "attention_bias = True"),
        (without(mlp_bias=True), "mlp_bias = True"),
        (without(rope_scaling={"type": "yarn", "factor": 2.0}), "scaled as 'yarn'"),
        (without(rope_parameters={"rope_type": "llama3"}), "lacks factor, low_freq"),
        (without(rope_parameters={"rope_theta": 1e4}), "disagree"),
        (without("vocab_size"), "lacks vocab_size"),
        ([1], "not a JSON object"),
    ],
)
def test_what_the_decoder_does_not_compute_is_refused(tmp_path, record, named):
    with pytest.raises(UserError, match=named):
        config_lib.read(write(tmp_path, record))


def test_special_ids_come_from_the_generation_config_first(tmp_path):
    write(tmp_path, OLD)
    assert config_lib.read_special_ids(tmp_path) == SpecialIds(None, (2,), None)
    generation = {"eos_token_id": [2, 9], "bos_token_id": 1, "pad_token_id": None}
    write(tmp_path, generation, "generation_config.json")
    assert config_lib.read_special_ids(tmp_path) == SpecialIds(1, (2, 9), None)


def test_a_model_that_cannot_stop_is_refused(tmp_path):
    write(tmp_path, without("eos_token_id"))
    with pytest.raises(UserError, match="eos_token_id"):
        config_lib.read_special_ids(tmp_path)


def test_a_base_models_other_keys_are_kept_but_not_its_name():
    base = {"_name_or_path": "x", "custom": 5, "rope_theta": 1.0, "vocab_size": 9}
    record = config_lib.config_record(
        ModelConfig(), 500, SpecialIds(1, (2,), 0), "bfloat16", base
    )
    assert record["custom"] == 5
    assert record["rope_theta"] == 10000.0
    assert record["vocab_size"] == 500
    assert record["eos_token_id"] == 2
    assert "_name_or_path" not in record
