"""config.json of either generation of transformers, of every family."""

import dataclasses
import json
import pathlib

import pytest
import transformers

from xinst_jax.config import FAMILIES, ModelConfig
from xinst_jax.errors import UserError
from xinst_jax.hf import config as config_lib
from xinst_jax.hf.config import SpecialIds
from xinst_jax.hf.families import CONVENTIONS
from xinst_jax.models import presets

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


def write(folder, record):
    (folder / "config.json").write_text(json.dumps(record))
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


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", None])
def test_every_dtype_of_weights_may_be_named_by_either_key_or_none(tmp_path, dtype):
    expected = config_lib.read(write(tmp_path, without("torch_dtype")))
    for names in (["torch_dtype"], ["dtype"], ["torch_dtype", "dtype"]):
        record = without("torch_dtype") | dict.fromkeys(names, dtype)
        assert config_lib.read(write(tmp_path, record)) == expected


LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
LINEAR = {"rope_type": "linear", "factor": 8.0}
SIX = ["sliding_attention"] * 5 + ["full_attention"]


def of(family: str, *names: str, **changes) -> dict:
    """OLD as a family's: without Llama's keys, and with these."""
    return without("hidden_act", "rope_scaling", *names, model_type=family) | changes


def test_a_scaled_base_reads_the_same_in_both_spellings(tmp_path):
    old = without(rope_scaling=LLAMA3)
    new = without("rope_theta", rope_parameters=LLAMA3 | {"rope_theta": 500000.0})
    found = config_lib.read(write(tmp_path, old))
    assert config_lib.read(write(tmp_path, new)) == found
    assert config_lib.read(write(tmp_path, old | new)) == found
    assert (found.rope_scaling, found.rope_factor) == ("llama3", 8.0)


def test_gemma_3_reads_the_same_in_both_spellings(tmp_path):
    sizes = of("gemma3_text", "rope_theta", num_hidden_layers=12, sliding_window=512)
    old = sizes | {
        "rope_theta": 1e6,
        "rope_local_base_freq": 10000.0,
        "rope_scaling": LINEAR,
        "sliding_window_pattern": 6,
    }
    new = sizes | {
        "rope_parameters": {
            "full_attention": LINEAR | {"rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
        "layer_types": SIX * 2,
    }
    found = config_lib.read(write(tmp_path, old))
    assert config_lib.read(write(tmp_path, new)) == found
    assert config_lib.read(write(tmp_path, old | new)) == found
    assert (found.window, found.full_every, found.local_rope_theta) == (512, 6, 10000.0)


@pytest.mark.parametrize(
    ("record", "window", "full_every"),
    [
        (of("mistral"), 4096, 0),
        (of("mistral", sliding_window=None), 0, 0),
        (of("gemma2", sliding_window=8), 8, 2),
        (of("gemma3_text", num_hidden_layers=7), 4096, 6),
        (of("gemma3_text", sliding_window=None), 0, 0),
        (of("qwen2", sliding_window=8), 0, 0),
        (of("qwen3", sliding_window=8, use_sliding_window=True), 0, 0),
        (
            of("qwen2", sliding_window=8, use_sliding_window=True, max_window_layers=0),
            8,
            0,
        ),
        (without(sliding_window=8), 0, 0),
    ],
)
def test_which_blocks_are_windowed_is_what_transformers_takes_it_for(
    tmp_path, record, window, full_every
):
    found = config_lib.read(write(tmp_path, record))
    assert (found.window, found.full_every) == (window, full_every)
    theirs = transformers.AutoConfig.from_pretrained(tmp_path)
    if hasattr(theirs, "layer_types") and theirs.sliding_window:
        expected = tuple(kind == "sliding_attention" for kind in theirs.layer_types)
        assert found.windowed_layers == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_defaults_are_those_of_the_familys_class(family):
    theirs = transformers.AutoConfig.for_model(family)
    for key, value in CONVENTIONS[family].defaults.items():
        if key == "sliding_window" and family.startswith("qwen"):
            assert theirs.sliding_window is None  # 4096 until it is switched on
        else:
            assert getattr(theirs, key) == value, key
    architectures = transformers.models.auto.modeling_auto
    names = architectures.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    assert CONVENTIONS[family].architecture == names[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_config_of_nothing_but_its_family_is_its_classes_own(tmp_path, family):
    found = config_lib.read(write(tmp_path, {"model_type": family}))
    transformers.AutoConfig.for_model(family).save_pretrained(tmp_path)
    assert config_lib.read(tmp_path) == found


@pytest.mark.parametrize("family", ["mistral", "qwen2", "qwen3"])
def test_null_key_heads_are_as_many_as_query_heads(tmp_path, family):
    """What transformers 4 takes them for; 5 refuses them."""
    record = of(family, num_key_value_heads=None)
    assert config_lib.read(write(tmp_path, record)).num_kv_heads == 8


@pytest.mark.parametrize("name", presets.PUBLISHED)
def test_a_presets_config_reads_back_as_the_preset(tmp_path, name):
    model = presets.published(name)
    special = SpecialIds(1, (2,), 0)
    record = config_lib.config_record(model, model.vocab_size, special, "bfloat16", {})
    assert config_lib.read(write(tmp_path, record)) == model
    theirs = transformers.AutoConfig.from_pretrained(tmp_path)
    assert theirs.head_dim == model.head_dim
    assert theirs.model_type == model.family


def test_a_folder_settles_every_field_but_how_the_model_is_computed():
    """What a run file binds must not leak into the shape of a model that is read."""
    settled = set(config_lib._fields(dict(OLD), pathlib.Path("config.json")))
    assert {field.name for field in dataclasses.fields(ModelConfig)} - settled == {
        "attention",
        "compute_dtype",
        "param_dtype",
        "remat",
        "unroll",
    }


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"window": 8}, "'llama' has no config.json that says window = 8, so"),
        ({"qk_norm": True}, "qk_norm = True, so"),
        ({"activation": "gelu_tanh", "embedding_scale": True}, "activation = 'gelu_ta"),
        ({"family": "qwen2"}, "qkv_bias = False, so .* Set qkv_bias = True"),
        ({"family": "gemma2", "activation": "gelu_tanh"}, "norm_offset = False"),
        ({"final_soft_cap": 2.0}, "final_soft_cap = 2.0"),
    ],
)
def test_what_a_familys_config_cannot_say_is_not_written(changes, named):
    model = dataclasses.replace(ModelConfig(), **changes)
    with pytest.raises(UserError, match=named):
        config_lib.check_said(model)
    with pytest.raises(UserError, match=named):
        config_lib.config_record(model, 500, SpecialIds(1, (2,), 0), "bfloat16", {})


def test_gemmas_first_configs_mean_the_tanh_form_and_are_written_so(tmp_path):
    record = of("gemma", hidden_act="gelu", head_dim=16)
    model = config_lib.read(write(tmp_path, record))
    assert model.activation == "gelu_tanh"
    special = SpecialIds(1, (2,), 0)
    written = config_lib.config_record(model, 500, special, "bfloat16", record)
    assert written["hidden_act"] == written["hidden_activation"] == "gelu_pytorch_tanh"


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
        (without(vocab_size=None), "vocab_size = None; expected a whole number"),
        (without(torch_dtype="int8"), "torch_dtype = 'int8'; supported: bfloat16, "),
        (without("torch_dtype", dtype="auto"), "dtype = 'auto'; supported: bfloat16, "),
        (without(torch_dtype=[1]), r"torch_dtype = \[1\]; expected a string"),
        (
            without(dtype="float16"),
            "torch_dtype = 'bfloat16' and dtype = 'float16' disagree",
        ),
        (without(model_type="mixtral"), "model_type = 'mixtral'"),
        (without(model_type="llava", text_config={}), "the text half of gemma3"),
        (without(auto_map={"AutoModel": "m.M"}), "code of its own"),
        (without(quantization_config={"bits": 4}), "quantised model"),
        (without(num_local_experts=8), "num_local_experts = 8"),
        (without(partial_rotary_factor=0.5), "partial_rotary_factor = 0.5"),
        (without(rope_scaling=LLAMA3 | {"mrope_section": [1]}), "mrope_section"),
        (of("qwen3", attention_bias=True), "attention_bias = True"),
        (of("gemma2", hidden_activation="gelu"), "hidden_activation = 'gelu'"),
        (of("gemma3_text", use_bidirectional_attention=True), "use_bidirectional"),
        (of("gemma3_text", rope_parameters=LINEAR), "expected full_attention and"),
        (
            of("gemma3_text", rope_parameters={"sliding_attention": LINEAR}),
            "windowed blocks, which is not supported",
        ),
        (of("gemma2", layer_types=["chunked_attention"] * 3), "chunked_attention"),
        (of("gemma2", layer_types=SIX), "layer_types has 6 entries"),
        (
            of("gemma2", layer_types=["full_attention", *SIX[-2:]]),
            r"blocks \[2\] of 3 are windowed",
        ),
        (of("qwen2", layer_types=SIX[-3:]), "no sliding_window in use"),
        ([1], "not a JSON object"),
        (without(num_hidden_layers="2"), "num_hidden_layers = '2'; expected a whole"),
        (without(num_hidden_layers=True), "num_hidden_layers = True"),
        (without(hidden_size=-32), "hidden_size = -32"),
        (without(head_dim=15), "head_dim = 15 is odd"),
        (without(rms_norm_eps=0), "rms_norm_eps = 0; expected a number above 0"),
        (without(rms_norm_eps=float("nan")), "rms_norm_eps = nan"),
        (without(num_key_value_heads=3), "num_attention_heads = 8 is not a multiple"),
        (of("gemma", num_key_value_heads=None), "num_key_value_heads = None"),
        (without(tie_word_embeddings="no"), "tie_word_embeddings = 'no'"),
        (without(rope_theta="abc"), "rope_theta = 'abc'; expected a number above 0"),
        (without(rope_scaling=[1]), r"rope_scaling = \[1\]; expected an object"),
        (without(rope_parameters={"rope_type": ["x"]}), "rope_parameters.rope_type ="),
        (without(rope_scaling=LINEAR | {"factor": "x"}), "rope_scaling.factor = 'x'"),
        (without(rope_scaling=LINEAR | {"factor": 0.5}), "rope_scaling.factor = 0.5"),
        (
            without(rope_scaling=LLAMA3 | {"high_freq_factor": 0.5}),
            "high_freq_factor must be greater than low_freq_factor",
        ),
        (
            without(rope_scaling=LLAMA3 | {"original_max_position_embeddings": "8k"}),
            "rope_scaling.original_max_position_embeddings = '8k'",
        ),
        (
            of("gemma3_text", rope_parameters={"full_attention": 3}),
            "rope_parameters.full_attention = 3",
        ),
        (of("gemma3_text", rope_local_base_freq=0), "rope_local_base_freq = 0"),
        (of("gemma3_text", sliding_window_pattern="6"), "sliding_window_pattern = '6'"),
        (of("gemma2", layer_types=3), "layer_types = 3; expected a list"),
        (of("gemma2", layer_types=[[1], None, 2]), r"of the kinds 2, None, \[1\]"),
        (of("gemma2", attn_logit_softcapping="x"), "attn_logit_softcapping = 'x'"),
        (of("gemma2", attn_logit_softcapping=-1), "attn_logit_softcapping must not be"),
        (of("gemma2", query_pre_attn_scalar=[]), "query_pre_attn_scalar = "),
        (of("mistral", sliding_window="x"), "sliding_window = 'x'; expected a whole"),
        (of("mistral", sliding_window=-8), "sliding_window = -8"),
        (of("qwen2", use_sliding_window="no"), "use_sliding_window = 'no'"),
        (
            of("qwen2", use_sliding_window=True, max_window_layers="0"),
            "max_window_layers = '0'",
        ),
    ],
)
def test_what_the_decoder_does_not_compute_is_refused(tmp_path, record, named):
    with pytest.raises(UserError, match=named) as refused:
        config_lib.read(write(tmp_path, record))
    told = str(refused.value)
    assert told.startswith(f"{tmp_path / 'config.json'}") and "\n" not in told


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
