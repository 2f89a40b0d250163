"""Import and export of a model's folder, held against transformers."""

import dataclasses
import errno
import json
import os
import pathlib
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import tokenizers
import torch
import transformers

from xinst_jax.config import MeshConfig, ModelConfig
from xinst_jax.errors import UserError
from xinst_jax.hf import config as config_lib
from xinst_jax.hf import folder as folder_lib
from xinst_jax.hf import header, mapping
from xinst_jax.hf.config import SpecialIds
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import decoder as decoder_lib

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


@pytest.fixture(scope="module", params=[False, True], ids=["untied", "tied"])
def llama(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama") / "model"
    return folder, save_llama(folder, request.param)


def float32(folder: pathlib.Path, **changes) -> ModelConfig:
    model = config_lib.read(folder)
    return dataclasses.replace(model, compute_dtype="float32", **changes)


def one_device() -> jax.sharding.Mesh:
    return make_mesh(MeshConfig(), jax.devices()[:1])


def eight_devices() -> jax.sharding.Mesh:
    return make_mesh(MeshConfig(fsdp=4, tensor=2))


def forward(model: ModelConfig, mesh: jax.sharding.Mesh):
    @jax.jit
    def run(params, tokens_bt, segments_bt, positions_bt):
        decoder = decoder_lib.bind(model, RULES, params)
        return decoder.logits(decoder(tokens_bt, segments_bt, positions_bt))

    def call(params, *arrays):
        with jax.set_mesh(mesh):
            return np.asarray(run(params, *map(jnp.asarray, arrays)))

    return call


def padded_rows() -> tuple[np.ndarray, np.ndarray]:
    """Tokens and mask of four rows: full, padded on the left, on the right, on both."""
    tokens_bt = np.random.default_rng(5).integers(0, VOCAB, (4, 64))
    mask_bt = np.ones((4, 64), np.int32)
    mask_bt[1, :17], mask_bt[2, -23:] = 0, 0
    mask_bt[3, :5], mask_bt[3, -9:] = 0, 0
    return tokens_bt, mask_bt


@pytest.mark.parametrize("mesh", [one_device, eight_devices])
def test_logits_equal_transformers_with_padding_on_either_side(llama, mesh):
    folder, theirs = llama
    model = float32(folder)
    params = folder_lib.import_params(folder, model, RULES, mesh())
    tokens_bt, mask_bt = padded_rows()
    positions_bt = np.maximum(mask_bt.cumsum(1) - 1, 0)
    logits_btv = forward(model, mesh())(params, tokens_bt, mask_bt, positions_bt)
    with torch.no_grad():
        expected_btv = theirs(
            torch.tensor(tokens_bt),
            attention_mask=torch.tensor(mask_bt),
            position_ids=torch.tensor(positions_bt),
        ).logits.numpy()
    seen_bt = mask_bt.astype(bool)
    assert seen_bt.sum() > 200
    assert np.std(expected_btv[seen_bt]) > 0.3
    np.testing.assert_allclose(logits_btv[seen_bt], expected_btv[seen_bt], atol=1e-4)


def test_greedy_tokens_equal_transformers(llama):
    folder, theirs = llama
    model, mesh = float32(folder), one_device()
    params = folder_lib.import_params(folder, model, RULES, mesh)
    call = forward(model, mesh)
    tokens_bt = np.zeros((2, 44), np.int64)
    tokens_bt[:, :12] = np.random.default_rng(6).integers(0, VOCAB, (2, 12))
    expected_bt = theirs.generate(
        torch.tensor(tokens_bt[:, :12]),
        attention_mask=torch.ones(2, 12),
        generation_config=transformers.GenerationConfig(
            do_sample=False, max_new_tokens=32, eos_token_id=None, pad_token_id=0
        ),
    ).numpy()
    ones_bt = np.ones((2, 44), np.int32)
    positions_bt = np.tile(np.arange(44), (2, 1))
    for column in range(12, 44):
        logits_btv = call(params, tokens_bt, ones_bt, positions_bt)
        tokens_bt[:, column] = logits_btv[:, column - 1].argmax(1)
    np.testing.assert_array_equal(tokens_bt, expected_bt)


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


@pytest.mark.parametrize("shard_bytes", [10**9, 40_000], ids=["one", "many"])
@pytest.mark.parametrize("rows", [VOCAB, 512], ids=["exact", "padded"])
def test_export_is_the_folder_that_was_imported(llama, tmp_path, rows, shard_bytes):
    folder, theirs = llama
    model, mesh = float32(folder, vocab_size=rows), eight_devices()
    params = folder_lib.import_params(folder, model, RULES, mesh)
    assert params["embedding"]["table_vd"].shape == (rows, 32)
    out = export(params, model, tmp_path / "out", shard_bytes=shard_bytes)
    expected, found = all_tensors(folder), all_tensors(out)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor, err_msg=name)
    assert (len(list(out.glob("*.safetensors"))) > 1) == (shard_bytes < 10**9)
    again = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    tokens_bt = torch.tensor(padded_rows()[0])
    with torch.no_grad():
        assert torch.equal(again(tokens_bt).logits, theirs(tokens_bt).logits)


def test_padding_rows_of_the_embedding_are_zero(llama):
    folder, _ = llama
    model = float32(folder, vocab_size=512)
    params = folder_lib.import_params(folder, model, RULES, eight_devices())
    table_vd = np.asarray(params["embedding"]["table_vd"])
    assert (table_vd[VOCAB:] == 0).all()
    assert (table_vd[:VOCAB] != 0).all()


@pytest.mark.parametrize("tied", [False, True])
def test_bfloat16_comes_back_bit_for_bit(tied, tmp_path):
    save_llama(tmp_path / "in", tied, torch.bfloat16)
    model = float32(tmp_path / "in")
    params = folder_lib.import_params(tmp_path / "in", model, RULES, eight_devices())
    out = export(params, model, tmp_path / "out", dtype="bfloat16")
    expected, found = all_tensors(tmp_path / "in"), all_tensors(out)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype == jnp.bfloat16
        np.testing.assert_array_equal(
            found[name].view(np.uint16), tensor.view(np.uint16)
        )


def test_float32_is_rounded_to_the_nearest_even_bfloat16(llama, tmp_path):
    folder, _ = llama
    model = float32(folder)
    params = folder_lib.import_params(folder, model, RULES, one_device())
    found = all_tensors(export(params, model, tmp_path / "out", dtype="bfloat16"))
    for name, tensor in all_tensors(folder).items():
        expected = torch.tensor(tensor).to(torch.bfloat16).view(torch.uint16).numpy()
        np.testing.assert_array_equal(found[name].view(np.uint16), expected)


def test_every_way_to_shard_gives_the_same_parameters(llama):
    folder, _ = llama
    model = float32(folder)
    expected = folder_lib.import_params(folder, model, RULES, one_device())
    odd = dataclasses.replace(RULES, heads=None, kv_heads=None, head_dim="tensor")
    for rules, config in (
        (RULES, MeshConfig(slice=2, fsdp=2, tensor=2)),
        (odd, MeshConfig(tensor=4, fsdp=2)),
    ):
        mesh = make_mesh(config)
        params = folder_lib.import_params(folder, model, rules, mesh)
        abstract = decoder_lib.abstract_params(model, rules, mesh)
        for path, leaf in mapping.leaves(params).items():
            wanted = mapping.leaves(expected)[path]
            np.testing.assert_array_equal(leaf, wanted, err_msg=path)
            assert leaf.sharding == mapping.leaves(abstract)[path].sharding


def test_equal_weights_give_equal_bytes(llama, tmp_path):
    folder, _ = llama
    model = float32(folder)
    once, twice = (
        export(
            folder_lib.import_params(folder, model, RULES, mesh),
            model,
            tmp_path / name,
            dtype="bfloat16",
            shard_bytes=40_000,
        )
        for name, mesh in (("once", one_device()), ("twice", eight_devices()))
    )
    names = sorted(path.name for path in once.iterdir())
    assert names == sorted(path.name for path in twice.iterdir())
    for name in names:
        assert (once / name).read_bytes() == (twice / name).read_bytes(), name


def test_blocks_fetched_one_by_one_as_from_accelerators_give_equal_bytes(
    llama, tmp_path, monkeypatch
):
    folder, _ = llama
    model = float32(folder)
    params = folder_lib.import_params(folder, model, RULES, eight_devices())
    once = export(params, model, tmp_path / "once")
    monkeypatch.setattr(folder_lib, "_of_cpu", lambda leaf: False)
    twice = export(params, model, tmp_path / "twice")
    name = "model.safetensors"
    assert (once / name).read_bytes() == (twice / name).read_bytes()


def test_weights_that_are_not_finite_are_refused_and_leave_no_folder(llama, tmp_path):
    folder, _ = llama
    model = float32(folder)
    params = folder_lib.import_params(folder, model, RULES, one_device())
    params["final_norm"]["scale_d"] = params["final_norm"]["scale_d"] * jnp.nan
    with pytest.raises(UserError, match=r"model\.norm\.weight"):
        export(params, model, tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_a_full_disk_leaves_the_folder_as_it_was(llama, tmp_path, monkeypatch):
    folder, _ = llama
    model = float32(folder)
    params = folder_lib.import_params(folder, model, RULES, one_device())
    out = export(params, model, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on the disk"):
        export(params, model, out, dtype="bfloat16")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    "changes",
    [
        {"tokenizer": tokenizer_files(VOCAB + 1)},
        {"special": SpecialIds(bos=1, stops=(2, VOCAB), pad=0)},
        {"special": SpecialIds(bos=1, stops=(2,), pad=VOCAB + 9)},
    ],
)
def test_a_tokenizer_larger_than_the_model_is_refused(llama, tmp_path, changes):
    folder, _ = llama
    model = float32(folder)
    params = folder_lib.import_params(folder, model, RULES, one_device())
    with pytest.raises(UserError, match="do not belong together"):
        export(params, model, tmp_path / "out", **changes)
    assert not any(tmp_path.iterdir())


def test_exported_configs_say_the_same_to_old_and_new_readers(llama, tmp_path):
    folder, _ = llama
    model = float32(folder)
    params = folder_lib.import_params(folder, model, RULES, one_device())
    legal = ("LICENSE", "LICENSE.txt", "LICENSE-GEMMA", "USE_POLICY.md", "NOTICE")
    for name in legal:
        (folder / name).write_text(f"{name} of the base\n")
    out = export(params, model, tmp_path / "out", dtype="bfloat16", base=folder)
    record = json.loads((out / "config.json").read_bytes())
    assert record["rope_theta"] == record["rope_parameters"]["rope_theta"] == 500000.0
    assert record["torch_dtype"] == record["dtype"] == "bfloat16"
    assert config_lib.read(out) == config_lib.read(folder)
    assert (record["bos_token_id"], record["pad_token_id"]) == (
        SPECIAL.bos,
        SPECIAL.pad,
    )
    assert record["eos_token_id"] == list(SPECIAL.stops)
    generation = transformers.GenerationConfig.from_pretrained(out)
    assert (generation.temperature, generation.top_p) == (0.7, 0.9)
    assert (generation.max_new_tokens, generation.eos_token_id) == (2048, [2, 3])
    for name in legal:
        assert (out / name).read_text() == f"{name} of the base\n"
    assert (out / "README.md").read_text() == "# card\n"


def test_the_folder_says_what_the_model_was_made_from_and_what_is_large(
    llama, tmp_path
):
    folder, _ = llama
    model = float32(folder)
    params = folder_lib.import_params(folder, model, RULES, one_device())
    lineage = {"run": "x", "base_model": None, "dataset": "0a1b"}
    out = export(params, model, tmp_path / "out", lineage=lineage, shard_bytes=40_000)
    assert json.loads((out / "xinst_run.json").read_bytes()) == lineage
    subprocess.run(["git", "init", "-q", out], check=True)
    names = [path.name for path in out.iterdir()]
    found = subprocess.run(
        ["git", "-C", out, "check-attr", "filter", *names],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    large = {line.split(":")[0] for line in found.splitlines() if line.endswith("lfs")}
    shards = {path.name for path in out.glob("*.safetensors")}
    assert large == {"tokenizer.json"} | shards


def test_an_index_gives_the_totals_and_the_order_is_that_of_the_model(llama, tmp_path):
    folder, theirs = llama
    model = float32(folder, vocab_size=512)
    params = folder_lib.import_params(folder, model, RULES, eight_devices())
    changes = {"dtype": "bfloat16", "shard_bytes": 20_000}
    out = export(params, model, tmp_path / "out", **changes)
    record = json.loads((out / "model.safetensors.index.json").read_bytes())
    parameters = sum(parameter.numel() for parameter in theirs.parameters())
    assert record["metadata"] == {
        "total_size": 2 * parameters,
        "total_parameters": parameters,
    }
    written = [
        name for path in sorted(out.glob("*.safetensors")) for name in header.read(path)
    ]
    layers = [int(n.split(".")[2]) for n in written if n.startswith("model.layers.")]
    head = [] if model.tie_embeddings else ["lm_head.weight"]
    assert written[0] == "model.embed_tokens.weight"
    assert layers == sorted(layers) and len(layers) == 3 * 9
    assert written[1 + 3 * 9 :] == ["model.norm.weight", *head]


def test_a_number_too_large_for_bfloat16_is_refused_by_name(llama, tmp_path):
    folder, _ = llama
    model = float32(folder)
    params = folder_lib.import_params(folder, model, RULES, one_device())
    for value in (3.4e38, -3.4e38):
        gate_ldf = np.array(params["layers"]["mlp"]["gate_ldf"])
        gate_ldf[1, 3, 5] = value
        mlp = params["layers"]["mlp"] | {"gate_ldf": jnp.array(gate_ldf)}
        changed = params | {"layers": params["layers"] | {"mlp": mlp}}
        with pytest.raises(UserError, match=r"layers\.1\.mlp\.gate_proj\.weight"):
            export(changed, model, tmp_path / "out", dtype="bfloat16")
        export(changed, model, tmp_path / "out")
        shutil.rmtree(tmp_path / "out")


def test_padding_that_no_one_names_is_the_tokenizers(llama, tmp_path):
    folder, _ = llama
    model = float32(folder)
    params = folder_lib.import_params(folder, model, RULES, one_device())
    special = SpecialIds(bos=1, stops=(2,), pad=None)
    out = export(params, model, tmp_path / "out", special=special)
    for name in ("config.json", "generation_config.json"):
        assert json.loads((out / name).read_bytes())["pad_token_id"] == 7


@pytest.mark.parametrize(
    ("licence", "own", "expected"),
    [
        ("llama3", None, "Meta Llama 3 Community License"),
        ("gemma", None, "Gemma Terms of Use"),
        ("other\nlicense_name: qwen-research", None, "Qwen RESEARCH LICENSE AGREEMENT"),
        ("llama3", "Ours.", "Ours."),
        ("apache-2.0", None, None),
    ],
)
def test_the_notice_that_a_licence_wants_is_there(tmp_path, licence, own, expected):
    (tmp_path / "README.md").write_text(f"---\nlicense: {licence}\n---\n")
    if own:
        (tmp_path / "NOTICE").write_text(own)
    files = folder_lib.legal_files(tmp_path)
    if expected:
        assert expected in files["NOTICE"].decode()
    else:
        assert not files
