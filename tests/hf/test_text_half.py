"""The text half of Gemma 3 as it is published: its config, its tensors, what is left.

That its logits, tokens and exported folder are those of transformers is told by the
tests of every family, of which it is one.
"""

import dataclasses
import json
import math
import pathlib

import jax
import numpy as np
import peft
import pytest
import safetensors.numpy
import torch
import transformers

from tests.hf import tiny_models
from xinst_jax.config import LoraConfig, MeshConfig
from xinst_jax.errors import UserError
from xinst_jax.hf import adapter, importable, mapping, text_half
from xinst_jax.hf import config as config_lib
from xinst_jax.hf import folder as folder_lib
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import presets
from xinst_jax.train import lora as lora_lib

RULES = ShardingRules()
WEIGHTS = "model.safetensors"

_SIGLIP = {
    "hidden_size": 1152,
    "image_size": 896,
    "intermediate_size": 4304,
    "model_type": "siglip_vision_model",
    "num_attention_heads": 16,
    "num_hidden_layers": 27,
    "patch_size": 14,
    "vision_use_head": False,
}
_LINEAR = {"factor": 8.0, "rope_type": "linear"}
PUBLISHED = {
    "4b": {
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "model_type": "gemma3_text",
        "num_hidden_layers": 34,
        "rope_scaling": _LINEAR,
        "sliding_window": 1024,
    },
    "12b": {
        "hidden_size": 3840,
        "intermediate_size": 15360,
        "model_type": "gemma3_text",
        "num_attention_heads": 16,
        "num_hidden_layers": 48,
        "num_key_value_heads": 8,
        "rope_scaling": _LINEAR,
        "sliding_window": 1024,
    },
    "27b": {
        "head_dim": 128,
        "hidden_size": 5376,
        "intermediate_size": 21504,
        "model_type": "gemma3_text",
        "num_attention_heads": 32,
        "num_hidden_layers": 62,
        "num_key_value_heads": 16,
        "query_pre_attn_scalar": 168,
        "rope_scaling": _LINEAR,
        "sliding_window": 1024,
    },
}
"""`text_config` of google/gemma-3-{4b,12b,27b}-it, with no key that they leave out."""

OF_KERAS = {"4b": 3_880_099_328, "12b": 11_765_788_416, "27b": 27_009_002_240}
"""Parameters of the text halves as KerasHub publishes them (gemma3_presets.py), where
the embedding has 262,144 rows; the safetensors' has 64 more, for images."""

TOTAL_SIZE = 8_600_158_944
"""Bytes of google/gemma-3-4b-it, bfloat16, by its model.safetensors.index.json."""


def whole_config(size: str) -> dict:
    """A config.json with the published keys of a Gemma 3 with vision."""
    return {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "boi_token_index": 255999,
        "eoi_token_index": 256000,
        "eos_token_id": [1, 106],
        "image_token_index": 262144,
        "initializer_range": 0.02,
        "mm_tokens_per_image": 256,
        "model_type": "gemma3",
        "text_config": PUBLISHED[size],
        "torch_dtype": "bfloat16",
        "transformers_version": "4.50.0.dev0",
        "vision_config": _SIGLIP,
    }


def configured(folder: pathlib.Path, record: dict) -> pathlib.Path:
    (folder / "config.json").write_text(json.dumps(record))
    return folder


@pytest.mark.parametrize("size", PUBLISHED)
def test_a_published_config_reads_as_its_text_model_of_transformers(size, tmp_path):
    found = config_lib.read(configured(tmp_path, whole_config(size)))
    theirs = transformers.Gemma3Config.from_pretrained(tmp_path)
    theirs.text_config.save_pretrained(tmp_path / "text")
    assert config_lib.read(tmp_path / "text") == found
    counted = sum(map(math.prod, mapping.expected_shapes(found).values()))
    assert counted == OF_KERAS[size] + 64 * found.embed_dim


def test_the_preset_is_the_text_half_of_the_published_4b(tmp_path):
    folder = configured(tmp_path, whole_config("4b"))
    assert config_lib.read(folder) == presets.published("gemma_3_4b")


def test_text_half_and_what_is_left_out_are_all_that_the_published_4b_has(tmp_path):
    """Counted by transformers from the published values, on no device."""
    config = transformers.Gemma3Config.from_dict(whole_config("4b"))
    with torch.device("meta"):
        whole = transformers.Gemma3ForConditionalGeneration(config)
    whole.tie_weights()
    shapes = {name: tuple(value.shape) for name, value in whole.named_parameters()}
    layout = text_half.MODULES
    left_out = {name for name in shapes if layout.leaves_out(name)}
    expected = mapping.expected_shapes(presets.published("gemma_3_4b"))
    assert {layout.name(name) for name in expected} == shapes.keys() - left_out
    assert all(shapes[layout.name(name)] == shape for name, shape in expected.items())
    counted = {name: math.prod(shape) for name, shape in shapes.items()}
    assert 2 * sum(counted.values()) == TOTAL_SIZE
    assert sum(counted[name] for name in left_out) == 419_816_304


@pytest.fixture
def whole(make_tiny) -> tiny_models.TinyModel:
    return make_tiny("gemma3_whole")


@pytest.fixture(params=["published", "modules"])
def folder(request, whole, tmp_path) -> pathlib.Path:
    """The tiny model in both ways to name its tensors."""
    as_published = request.param == "published"
    out = tmp_path / request.param
    whole.model.save_pretrained(out, save_original_format=as_published)
    begin = "language_model.model." if as_published else "model.language_model."
    names = safetensors.numpy.load_file(out / WEIGHTS)
    assert f"{begin}norm.weight" in names
    return out


def imported(folder: pathlib.Path):
    model = dataclasses.replace(config_lib.read(folder), compute_dtype="float32")
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    return folder_lib.import_params(folder, model, RULES, mesh)


def test_either_layout_gives_the_text_models_parameters(folder, whole, tmp_path):
    whole.text.save_pretrained(tmp_path / "text")
    expected = mapping.leaves(imported(tmp_path / "text"))
    found = mapping.leaves(imported(folder))
    assert found.keys() == expected.keys()
    for path, leaf in expected.items():
        np.testing.assert_array_equal(found[path], leaf, err_msg=path)
    assert importable.left_out(tmp_path / "text") is None


def test_what_is_left_out_is_counted_and_is_the_vision_half(folder, whole):
    theirs = dict(whole.model.named_parameters())
    text = {id(parameter) for parameter in whole.text.parameters()}
    rest = [value for value in theirs.values() if id(value) not in text]
    found = importable.left_out(folder)
    assert found.parts == ("multi_modal_projector", "vision_tower")
    assert (found.tensors, found.size) == (
        len(rest),
        4 * sum(value.numel() for value in rest),
    )
    assert str(found).startswith(f"{len(rest)} tensors of multi_modal_projector and ")


def rewrite(folder: pathlib.Path, change) -> None:
    tensors = safetensors.numpy.load_file(folder / WEIGHTS)
    change(tensors)
    safetensors.numpy.save_file(tensors, folder / WEIGHTS)


@pytest.mark.parametrize(
    "name",
    [
        "audio_tower.weight",
        "vision_towers.weight",
        "model.norm.weight",
        "language_model.norm.weight",
        "x.vision_tower.weight",
    ],
)
def test_a_tensor_of_neither_half_is_refused_by_its_own_name(folder, name):
    rewrite(folder, lambda tensors: tensors.update({name: np.ones(2, np.float32)}))
    with pytest.raises(UserError, match=rf"Missing tensors: none\. Left over: {name}"):
        imported(folder)


def test_a_tensor_of_the_text_half_is_missed_by_the_folders_name(folder):
    model = config_lib.read(folder)
    names = safetensors.numpy.load_file(folder / WEIGHTS)
    (norm,) = [name for name in names if name.endswith("model.norm.weight")]
    rewrite(folder, lambda tensors: tensors.pop(norm))
    with pytest.raises(UserError, match=rf"Missing tensors: {norm}\. Left over: none"):
        importable.check(folder, model)
    rewrite(folder, lambda tensors: tensors.update({norm: np.ones(7, np.float32)}))
    with pytest.raises(UserError, match=rf"{norm} has shape \(7,\), expected"):
        importable.check(folder, model)


def test_a_tied_head_may_be_there_as_a_copy_under_the_layouts_name(folder):
    names = safetensors.numpy.load_file(folder / WEIGHTS)
    (table,) = [name for name in names if name.endswith("embed_tokens.weight")]
    head = "language_model.lm_head.weight"
    head = head if table.startswith("language_model.") else "lm_head.weight"
    rewrite(folder, lambda tensors: tensors.update({head: tensors[table].copy()}))
    assert "head" not in imported(folder)
    rewrite(folder, lambda tensors: tensors.update({head: -tensors[table]}))
    with pytest.raises(UserError, match=f"{head} differs from {table}"):
        imported(folder)


def test_a_folder_without_its_vision_half_leaves_nothing_out(folder):
    def without_vision(tensors) -> None:
        for name in [n for n in tensors if "vision" in n or "multi_modal" in n]:
            del tensors[name]

    rewrite(folder, without_vision)
    assert importable.left_out(folder) is None
    imported(folder)


def test_the_exported_config_is_a_text_models_and_names_no_image(whole):
    base = config_lib.read_text(whole.folder)
    model = config_lib.read(whole.folder)
    record = config_lib.config_record(model, 500, tiny_models.SPECIAL, "float32", base)
    assert record["architectures"] == ["Gemma3ForCausalLM"]
    assert record["model_type"] == "gemma3_text"
    assert not [key for key in record if "vision" in key or "image" in key]
    assert not {"text_config", "mm_tokens_per_image", "boi_token_index"} & record.keys()


def changed(**changes) -> dict:
    return whole_config("4b") | changes


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (
            {k: v for k, v in whole_config("4b").items() if k != "text_config"},
            "'gemma3' without text_config",
        ),
        (changed(text_config=[1]), r"text_config = \[1\]; expected an object"),
        (
            changed(text_config={"model_type": "llama"}),
            "text_config.model_type = 'llama'; expected 'gemma3_text'",
        ),
        (
            changed(
                tie_word_embeddings=False, text_config={"tie_word_embeddings": True}
            ),
            "tie_word_embeddings = False, but True in text_config",
        ),
        (changed(quantization_config={"bits": 4}), "a quantised model"),
        (changed(auto_map={"AutoModel": "m.M"}), "code of its own"),
        (changed(torch_dtype="int8"), "torch_dtype = 'int8'; supported"),
        (
            changed(text_config={"dtype": "float8_e4m3fn"}),
            r"config\.json, text_config: dtype = 'float8_e4m3fn'",
        ),
        (
            changed(text_config={"hidden_size": -1}),
            r"config\.json, text_config: hidden_size = -1",
        ),
        (
            changed(text_config={"use_bidirectional_attention": True}),
            r"config\.json, text_config: use_bidirectional_attention",
        ),
    ],
)
def test_a_whole_models_config_that_cannot_be_read_is_refused(tmp_path, record, told):
    with pytest.raises(UserError, match=told) as refused:
        config_lib.read(configured(tmp_path, record))
    assert str(refused.value).startswith(f"{tmp_path / 'config.json'}")


def test_an_untied_head_said_for_the_whole_is_the_text_halfs(tmp_path):
    record = changed(tie_word_embeddings=False)
    assert not config_lib.read(configured(tmp_path, record)).tie_embeddings


def test_an_adapter_is_laid_over_the_text_half_of_the_whole_alone(whole, tmp_path):
    model, lora = config_lib.read(whole.folder), LoraConfig(rank=2, alpha=4.0)
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    adapters = jax.tree.map(
        lambda leaf: jax.device_put(np.ones(leaf.shape, np.float32), leaf.sharding),
        lora_lib.abstract_adapters(model, RULES, mesh, lora),
    )
    adapter.export_adapter(
        tmp_path / "adapter",
        adapters,
        model,
        RULES,
        mesh,
        lora,
        base_name=str(whole.folder),
        files={},
        layout=text_half.modules(config_lib.read_base(whole.folder)),
    )
    theirs = peft.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter")
    laid = [name for name, _ in theirs.named_parameters() if "lora_" in name]
    assert len(laid) == 2 * 7 * model.num_layers
    assert all("model.language_model.layers." in name for name in laid)
    assert all(
        (value == 1).all() for n, value in theirs.named_parameters() if n in laid
    )
