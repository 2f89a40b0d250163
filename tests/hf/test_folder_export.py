"""Export of a model's folder, held against the folder that was imported."""

import errno
import functools
import json
import math
import os
import shutil
import subprocess

import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers

from tests.hf.tiny_llama import (
    RULES,
    SPECIAL,
    VOCAB,
    all_tensors,
    eight_devices,
    export,
    float32,
    one_device,
    padded_rows,
    save_llama,
    tokenizer_files,
)
from xinst_jax.errors import UserError
from xinst_jax.hf import config as config_lib
from xinst_jax.hf import folder as folder_lib
from xinst_jax.hf import header, safetensors
from xinst_jax.hf.config import SpecialIds


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


def as_float16(write, path, tensors, parts):
    write(path, {name: ("F16", shape) for name, (_, shape) in tensors.items()}, parts)


def without_the_last_bytes(write, path, tensors, parts):
    write(path, tensors, parts)
    os.truncate(path, path.stat().st_size - 2)


def without_a_tensor(write, path, tensors, parts):
    norm = "model.norm.weight"
    kept = {name: entry for name, entry in tensors.items() if name != norm}
    if kept.keys() == tensors.keys():
        write(path, tensors, parts)
        return
    written = np.concatenate([part.reshape(-1) for part in parts])
    counts = {name: math.prod(shape) for name, (_, shape) in tensors.items()}
    starts = dict(zip(counts, np.cumsum([0, *counts.values()]), strict=False))
    write(path, kept, (written[starts[n] : starts[n] + counts[n]] for n in kept))


def turned(write, path, tensors, parts):
    turned = {name: (dtype, shape[::-1]) for name, (dtype, shape) in tensors.items()}
    write(path, turned, parts)


@pytest.mark.parametrize(
    ("faulty", "told"),
    [
        (as_float16, "model.embed_tokens.weight.* not written as bfloat16"),
        (without_the_last_bytes, "safetensors is not a whole safetensors file"),
        (without_a_tensor, "Missing tensors: model.norm.weight. Left over: none"),
        (turned, r"embed_tokens.weight has shape \(32, 500\), expected \(500, 32\)"),
    ],
)
def test_what_was_not_written_as_it_should_be_leaves_no_folder(
    llama, tmp_path, monkeypatch, faulty, told
):
    folder, _ = llama
    model = float32(folder)
    params = folder_lib.import_params(folder, model, RULES, one_device())
    write = functools.partial(faulty, safetensors.write_parts)
    monkeypatch.setattr(safetensors, "write_parts", write)
    with pytest.raises(UserError, match=told):
        export(params, model, tmp_path / "out", dtype="bfloat16")
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
