"""Every family, there and back: held against transformers of both generations."""

import copy
import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import torch
import transformers

from tests.hf import tiny_models
from tests.hf.tiny_models import LENGTH, VOCAB, WINDOW
from xinst_jax.config import DecodeConfig, MeshConfig, ModelConfig
from xinst_jax.hf import config as config_lib
from xinst_jax.hf import folder as folder_lib
from xinst_jax.infer.engine import Engine
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import decoder as decoder_lib

RULES = ShardingRules()
ROOT = pathlib.Path(__file__).parents[2]
TRANSFORMERS4 = ROOT / ".venv" / "transformers4"


def one_device() -> jax.sharding.Mesh:
    return make_mesh(MeshConfig(), jax.devices()[:1])


def eight_devices() -> jax.sharding.Mesh:
    return make_mesh(MeshConfig(fsdp=4, tensor=2))


def float32(folder: pathlib.Path) -> ModelConfig:
    return dataclasses.replace(config_lib.read(folder), compute_dtype="float32")


def imported(folder: pathlib.Path, mesh: jax.sharding.Mesh) -> decoder_lib.Params:
    return folder_lib.import_params(folder, float32(folder), RULES, mesh)


def export(folder: pathlib.Path, out: pathlib.Path, dtype: str) -> pathlib.Path:
    """Import and export of a folder without a change."""
    folder_lib.export_folder(
        out,
        imported(folder, one_device()),
        config_lib.read(folder),
        dtype=dtype,
        vocab_size=VOCAB,
        special=tiny_models.SPECIAL,
        tokenizer=tiny_models.tokenizer_files(),
        card="card",
        shard_bytes=10**9,
        base=folder,
    )
    return out


@pytest.fixture(scope="session")
def make_export(make_tiny, tmp_path_factory):
    @functools.cache
    def make(family: str) -> pathlib.Path:
        out = tmp_path_factory.mktemp(f"{family}-export") / "model"
        return export(make_tiny(family).folder, out, "float32")

    return make


@pytest.fixture(scope="session")
def exported(tiny_model, make_export) -> pathlib.Path:
    return make_export(tiny_model.family)


def tensors(folder: pathlib.Path) -> dict[str, np.ndarray]:
    return safetensors.numpy.load_file(folder / "model.safetensors")


def padded_rows() -> tuple[np.ndarray, np.ndarray]:
    """Tokens and mask of four rows: full, padded on the left, on the right, on both."""
    tokens_bt = np.random.default_rng(5).integers(0, VOCAB, (4, LENGTH))
    mask_bt = np.ones((4, LENGTH), np.int32)
    mask_bt[1, :17], mask_bt[2, -23:] = 0, 0
    mask_bt[3, :5], mask_bt[3, -9:] = 0, 0
    return tokens_bt, mask_bt


def their_logits(model, tokens_bt: np.ndarray, **arguments: np.ndarray) -> np.ndarray:
    given = {name: torch.tensor(value) for name, value in arguments.items()}
    with torch.no_grad():
        return model(torch.tensor(tokens_bt), **given).logits.numpy()


@pytest.mark.family_table("import")
def test_every_tensor_becomes_a_parameter_once(tiny_model):
    params = imported(tiny_model.folder, one_device())
    theirs = dict(tiny_model.text.named_parameters())
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == sum(
        parameter.numel() for parameter in theirs.values()
    )
    ours = sum(float(jnp.sum(jnp.abs(leaf))) for leaf in jax.tree.leaves(params))
    expected = sum(float(value.abs().sum()) for value in theirs.values())
    assert ours == pytest.approx(expected, rel=1e-5)


@pytest.mark.family_table("forward")
def test_logits_equal_transformers_with_padding_on_either_side(tiny_model):
    """On eight devices, fsdp x tensor; decoding below is on one."""
    model, mesh = float32(tiny_model.folder), eight_devices()
    params = imported(tiny_model.folder, mesh)
    tokens_bt, mask_bt = padded_rows()
    positions_bt = np.maximum(mask_bt.cumsum(1) - 1, 0)

    @jax.jit
    def read(params, *rows):
        decoder = decoder_lib.bind(model, RULES, params)
        return decoder.logits(decoder(*rows))

    with jax.set_mesh(mesh):
        logits_btv = np.asarray(
            read(params, *map(jnp.asarray, (tokens_bt, mask_bt, positions_bt)))
        )
    expected_btv = their_logits(
        tiny_model.model, tokens_bt, attention_mask=mask_bt, position_ids=positions_bt
    )
    seen_bt = mask_bt.astype(bool)
    assert seen_bt.sum(1).min() > 10 * WINDOW
    assert np.std(expected_btv[seen_bt]) > 0.3
    np.testing.assert_allclose(
        logits_btv[seen_bt], expected_btv[seen_bt], atol=1e-4, rtol=0
    )


@pytest.mark.family_table("decode")
def test_greedy_tokens_equal_transformers_beyond_the_window(tiny_model):
    rng = np.random.default_rng(6)
    prompts = [rng.integers(0, VOCAB, size).tolist() for size in (5, 24)]
    decode = DecodeConfig(
        max_new_tokens=32, temperature=0, batch_rows=2, prompt_buckets=(24,)
    )
    engine = Engine(
        imported(tiny_model.folder, one_device()),
        float32(tiny_model.folder),
        RULES,
        one_device(),
        decode,
        stop_ids=(),
        vocab_limit=VOCAB,
    )
    generations = engine.generate(prompts, ["a", "b"], seed=0)
    # None as the end token would be filled in from the model: no token is this one.
    settings = transformers.GenerationConfig(
        do_sample=False, max_new_tokens=32, eos_token_id=VOCAB, pad_token_id=0
    )
    for prompt, generation in zip(prompts, generations, strict=True):
        expected_bt = tiny_model.model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt)),
            generation_config=settings,
        )
        assert generation.tokens == expected_bt[0, len(prompt) :].tolist()
        logits_tv = their_logits(tiny_model.model, expected_bt[:, :-1].numpy())[0]
        logprobs_tv = torch.tensor(logits_tv[len(prompt) - 1 :]).log_softmax(-1)
        chosen_t1 = expected_bt[0, len(prompt) :, None]
        logprob = logprobs_tv.gather(1, chosen_t1).sum().item()
        assert abs(generation.logprob - logprob) < 32 * 1e-4
        assert len(set(generation.tokens)) > 4, "the text sticks to a token"


@pytest.mark.family_table("export")
def test_the_written_tensors_are_those_of_save_pretrained(
    tiny_model, exported, tmp_path
):
    tiny_model.text.save_pretrained(tmp_path)
    found, expected = tensors(exported), tensors(tmp_path)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor)


@pytest.mark.family_table("export")
def test_a_bfloat16_folder_comes_back_bit_for_bit(tiny_model, tmp_path):
    narrow = copy.deepcopy(tiny_model.model).to(torch.bfloat16)
    narrow.save_pretrained(tmp_path / "in")
    tiny_models.text_half(narrow).save_pretrained(tmp_path / "text")
    out = export(tmp_path / "in", tmp_path / "out", "bfloat16")
    found, expected = tensors(out), tensors(tmp_path / "text")
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert found[name].tobytes() == tensor.tobytes()


@pytest.mark.family_table("export")
def test_the_written_config_reads_as_the_bases(tiny_model, exported):
    assert config_lib.read(exported) == config_lib.read(tiny_model.folder)
    record = json.loads((exported / "config.json").read_text())
    assert record["architectures"] == [type(tiny_model.text).__name__]
    assert record["dtype"] == record["torch_dtype"] == "float32"


@pytest.mark.family_table("transformers 5")
def test_transformers_5_gives_the_same_logits_from_what_was_written(
    tiny_model, exported
):
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        exported, attn_implementation="eager", output_loading_info=True
    )
    assert not any(report.values())
    tokens_bt, _ = padded_rows()
    np.testing.assert_array_equal(
        their_logits(model.eval(), tokens_bt),
        their_logits(tiny_model.model, tokens_bt),
    )


@pytest.fixture(scope="session")
def transformers4_logits(make_export, tmp_path_factory):
    """Logits of every exported family, by transformers 4 in a process of its own."""
    if not (TRANSFORMERS4 / "transformers").is_dir():
        missing = f"{TRANSFORMERS4} has no transformers 4; `make dev` puts it there."
        if pathlib.Path(sys.prefix).resolve() == (ROOT / ".venv").resolve():
            pytest.fail(missing)
        warnings.warn(missing, stacklevel=1)
        pytest.skip(missing)
    place = tmp_path_factory.mktemp("transformers4")
    np.save(place / "tokens.npy", padded_rows()[0])
    request = {
        "tokens": str(place / "tokens.npy"),
        "folders": {name: str(make_export(name)) for name in tiny_models.FAMILIES},
        "out": str(place / "logits.npz"),
    }
    (place / "request.json").write_text(json.dumps(request))
    script = pathlib.Path(__file__).parent / "transformers4_logits.py"
    done = subprocess.run(
        [sys.executable, script, place / "request.json"],
        env=os.environ
        | {"PYTHONPATH": str(TRANSFORMERS4), "USE_TF": "0", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return np.load(place / "logits.npz")


@pytest.mark.family_table("transformers 4")
def test_transformers_4_gives_the_same_logits_from_what_was_written(
    tiny_model, transformers4_logits
):
    np.testing.assert_array_equal(
        transformers4_logits[tiny_model.family],
        their_logits(tiny_model.model, padded_rows()[0]),
    )
