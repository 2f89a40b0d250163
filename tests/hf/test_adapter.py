"""Adapters' folders of every family, held against peft."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import peft
import pytest
import safetensors.numpy
import torch
import transformers

from tests.hf import tiny_models
from tests.hf.tiny_models import LENGTH, VOCAB
from xinst_jax.config import LoraConfig, MeshConfig, ModelConfig
from xinst_jax.errors import UserError
from xinst_jax.hf import adapter, mapping, text_half
from xinst_jax.hf import config as config_lib
from xinst_jax.hf import folder as folder_lib
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.train import lora as lora_lib

RULES = ShardingRules()
LORA = LoraConfig(rank=3, alpha=7.5)


def mesh() -> jax.sharding.Mesh:
    return make_mesh(MeshConfig(fsdp=4, tensor=2))


def float32(folder: pathlib.Path) -> ModelConfig:
    return dataclasses.replace(config_lib.read(folder), compute_dtype="float32")


def random_adapters(model: ModelConfig, lora: LoraConfig = LORA):
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda leaf: jax.device_put(
            rng.normal(0, 0.2, leaf.shape).astype(np.float32), leaf.sharding
        ),
        lora_lib.abstract_adapters(model, RULES, mesh(), lora),
    )


def export(
    out: pathlib.Path, base: pathlib.Path, model: ModelConfig, adapters, lora=LORA
) -> pathlib.Path:
    adapter.export_adapter(
        out,
        adapters,
        model,
        RULES,
        mesh(),
        lora,
        base_name=str(base),
        files={"README.md": b"# card\n"},
        layout=text_half.modules(config_lib.read_base(base)),
    )
    return out


def rows() -> tuple[np.ndarray, np.ndarray]:
    """Tokens and mask of three rows: full, padded on the left, padded on the right."""
    tokens_bt = np.random.default_rng(5).integers(0, VOCAB, (4, LENGTH))
    mask_bt = np.ones((4, LENGTH), np.int32)
    mask_bt[1, :17], mask_bt[2, -23:] = 0, 0
    return tokens_bt, mask_bt


def our_logits(base: pathlib.Path, lora: LoraConfig, adapters) -> np.ndarray:
    """Of the base with the adapters beside it."""
    model, (tokens_bt, mask_bt) = float32(base), rows()
    params = folder_lib.import_params(base, model, RULES, mesh())
    positions_bt = np.maximum(mask_bt.cumsum(1) - 1, 0)

    @jax.jit
    def run(params, adapters, *arrays):
        decoder = lora_lib.bind(model, RULES, lora, params, adapters)
        return decoder.logits(decoder(*arrays))

    with jax.set_mesh(mesh()):
        arrays = map(jnp.asarray, (tokens_bt, mask_bt, positions_bt))
        return np.asarray(run(params, adapters, *arrays))[mask_bt == 1]


def their_logits(model: torch.nn.Module) -> np.ndarray:
    tokens_bt, mask_bt = rows()
    with torch.no_grad():
        logits_btv = model(
            torch.tensor(tokens_bt),
            attention_mask=torch.tensor(mask_bt),
            position_ids=torch.tensor(np.maximum(mask_bt.cumsum(1) - 1, 0)),
        ).logits
    return logits_btv.numpy()[mask_bt == 1]


def load_base(folder: pathlib.Path) -> transformers.PreTrainedModel:
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32
    ).eval()


@pytest.mark.family_table("LoRA")
def test_peft_reads_what_we_write_and_merges_to_what_we_merge_to(tiny_model, tmp_path):
    base = tiny_model.folder
    model = float32(base)
    adapters = random_adapters(model)
    out = export(tmp_path / "adapter", base, model, adapters)
    theirs = peft.PeftModel.from_pretrained(load_base(base), out).eval()
    expected = their_logits(theirs)
    assert np.abs(expected - their_logits(tiny_model.model)).max() > 0.1
    found = our_logits(base, LORA, adapters)
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)
    np.testing.assert_allclose(
        their_logits(load_merged(base, model, out, tmp_path / "merged")),
        expected,
        atol=1e-4,
        rtol=0,
    )
    weights = tiny_models.text_half(theirs.merge_and_unload()).state_dict()
    merged = safetensors.numpy.load_file(tmp_path / "merged" / "model.safetensors")
    for name, tensor in merged.items():
        np.testing.assert_allclose(tensor, weights[name].numpy(), atol=1e-6)
    lora, again = adapter.import_adapter(out, model, RULES, mesh())
    assert lora == LORA
    for path, leaf in mapping.leaves(again).items():
        np.testing.assert_array_equal(leaf, mapping.leaves(adapters)[path])


def load_merged(base, model, laid_over, out) -> transformers.PreTrainedModel:
    """Base and adapter merged and exported by us, opened by transformers."""
    params = folder_lib.import_params(base, model, RULES, mesh())
    folder_lib.export_folder(
        out,
        adapter.merge_folder(laid_over, model, RULES, mesh(), params),
        model,
        dtype="float32",
        vocab_size=VOCAB,
        special=tiny_models.SPECIAL,
        tokenizer=tiny_models.tokenizer_files(),
        card="# card\n",
        shard_bytes=10**9,
        base=base,
    )
    return load_base(out)


@pytest.fixture
def llama(make_tiny) -> tiny_models.TinyModel:
    return make_tiny("llama3")


@pytest.mark.parametrize("stabilised", [False, True])
def test_we_read_what_peft_writes(llama, tmp_path, stabilised):
    torch.manual_seed(0)
    settings = peft.LoraConfig(
        r=4,
        lora_alpha=6,
        target_modules=["q_proj", "o_proj", "down_proj"],
        init_lora_weights=False,
        use_rslora=stabilised,
        task_type="CAUSAL_LM",
    )
    theirs = peft.get_peft_model(load_base(llama.folder), settings).eval()
    theirs.save_pretrained(tmp_path)
    model = float32(llama.folder)
    lora, adapters = adapter.import_adapter(tmp_path, model, RULES, mesh())
    assert (lora.rank, lora.targets) == (4, ("query", "out", "down"))
    assert lora.scale == pytest.approx(6 / 4**0.5 if stabilised else 6 / 4)
    np.testing.assert_allclose(
        our_logits(llama.folder, lora, adapters),
        their_logits(theirs),
        atol=1e-4,
        rtol=0,
    )


@pytest.fixture
def written(llama, tmp_path) -> pathlib.Path:
    model = float32(llama.folder)
    return export(tmp_path / "out", llama.folder, model, random_adapters(model))


def test_equal_adapters_give_equal_bytes_and_no_trace_is_left(written, llama):
    before = {path.name: path.read_bytes() for path in written.iterdir()}
    assert before.keys() == {adapter.CONFIG, adapter.WEIGHTS, "README.md"}
    model = float32(llama.folder)
    export(written, llama.folder, model, random_adapters(model))
    assert before == {path.name: path.read_bytes() for path in written.iterdir()}
    assert [path.name for path in written.parent.iterdir()] == ["out"]


def test_numbers_that_are_not_finite_are_not_written(llama, tmp_path):
    model = float32(llama.folder)
    spoilt = jax.tree.map(lambda leaf: leaf * np.nan, random_adapters(model))
    with pytest.raises(UserError, match=r"layers\.0\.self_attn.* NaN"):
        export(tmp_path / "out", llama.folder, model, spoilt)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("initial", [True, "gaussian", "orthogonal", "eva"])
def test_an_initialisation_that_leaves_the_base_alone_is_read(written, initial):
    reconfigured(written, init_lora_weights=initial)
    assert adapter.check(written)["r"] == LORA.rank


def reconfigured(folder: pathlib.Path, **changes) -> None:
    path = folder / adapter.CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rewritten(folder: pathlib.Path, change) -> None:
    tensors = safetensors.numpy.load_file(folder / adapter.WEIGHTS)
    safetensors.numpy.save_file(change(tensors), folder / adapter.WEIGHTS)


def test_an_adapter_kept_in_bfloat16_is_read_as_those_numbers(written, llama):
    rewritten(
        written, lambda t: {k: t[k].astype(ml_dtypes.bfloat16) for k in sorted(t)}
    )
    model = float32(llama.folder)
    _, found = adapter.import_adapter(written, model, RULES, mesh())
    expected = mapping.leaves(random_adapters(model))
    for path, leaf in mapping.leaves(found).items():
        rounded = np.asarray(expected[path]).astype(ml_dtypes.bfloat16)
        np.testing.assert_array_equal(leaf, rounded.astype(np.float32))


A = "base_model.model.model.layers.1.mlp.up_proj.lora_A.weight"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda f: (f / adapter.CONFIG).unlink(), "expected adapter_config.json"),
        (
            lambda f: (f / adapter.WEIGHTS).rename(f / "adapter_model.bin"),
            "Pickled weights",
        ),
        (lambda f: (f / adapter.CONFIG).write_text("{"), "not the configuration"),
        (lambda f: reconfigured(f, peft_type="IA3"), "peft_type = 'IA3'"),
        (lambda f: reconfigured(f, use_dora=True), "use_dora = True"),
        (lambda f: reconfigured(f, rank_pattern={"up": 2}), "rank_pattern"),
        (lambda f: reconfigured(f, peft_type=None), "peft_type = None"),
        (lambda f: reconfigured(f, init_lora_weights="pissa"), "= 'pissa'"),
        (lambda f: reconfigured(f, init_lora_weights="olora"), "= 'olora'"),
        (
            lambda f: reconfigured(f, alora_invocation_tokens=[1, 2]),
            r"alora_invocation_tokens = \[1, 2\]; supported: none",
        ),
        (lambda f: reconfigured(f, use_qalora=True), "use_qalora = True"),
        (lambda f: reconfigured(f, arrow_config={"a": 1}), "arrow_config"),
        (lambda f: reconfigured(f, r=0), rf"{adapter.CONFIG}: r = 0"),
        (lambda f: reconfigured(f, r=True), "r = True"),
        (lambda f: reconfigured(f, r=2.0), r"r = 2\.0"),
        (lambda f: reconfigured(f, lora_alpha=-3), "lora_alpha = -3"),
        (lambda f: reconfigured(f, lora_alpha=True), "lora_alpha = True"),
        (lambda f: reconfigured(f, lora_alpha=float("nan")), "lora_alpha = nan"),
        (lambda f: reconfigured(f, r=4), r"shape \(3, 32\), expected \(4, 32\)"),
        (
            lambda f: rewritten(f, lambda t: {k: t[k] for k in t if k != A}),
            rf"Missing tensors: {A}.*target_modules in its {adapter.CONFIG}",
        ),
        (
            lambda f: rewritten(f, lambda t: t | {"lm_head.lora_A.weight": t[A]}),
            r"Left over: lm_head\.lora_A\.weight",
        ),
        (
            lambda f: rewritten(f, lambda t: t | {A: t[A].astype(np.int32)}),
            "up_proj.lora_A.weight is of the type int32",
        ),
        (
            lambda f: (f / adapter.WEIGHTS).write_bytes(b"\x10" * 99),
            "not a whole safetensors file",
        ),
    ],
)
def test_a_folder_that_is_not_an_adapter_of_the_model_is_refused(
    written, llama, spoil, told
):
    spoil(written)
    with pytest.raises(UserError, match=told):
        adapter.import_adapter(written, float32(llama.folder), RULES, mesh())
