"""The README's walk: from a Hugging Face folder to one that transformers runs."""

import ast
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import unittest.mock

import numpy as np
import peft
import pytest
import torch
import transformers

from tests.hf import tiny_models
from xinst_jax import __main__ as command_line
from xinst_jax import run_file, shards
from xinst_jax.config import PROJECTIONS
from xinst_jax.data import loader
from xinst_jax.hf import adapter, mapping
from xinst_jax.hf import folder as folder_lib
from xinst_jax.pipeline import training
from xinst_jax.pipeline.workspace import Workspace

_GIN = "gin/runs/from_hf.gin"
_README = pathlib.Path(__file__).parents[1] / "README.md"
_SECTION = "### From a Hugging Face folder to a Hugging Face folder"

_REDUCED = [
    "LANGUAGES=('fi', 'th')",
    "ROUNDS=1",
    "STEPS=4",
    "RANK=4",
    "TrainConfig.eval_every=4",
    "TrainConfig.length=512",
    "TrainConfig.eval_rows=8",
    "DecodeConfig.prompt_buckets=(384,)",
    "DecodeConfig.batch_rows=8",
    "generate/DecodeConfig.max_new_tokens=16",
    "answer/DecodeConfig.max_new_tokens=8",
    "EvaluateConfig.max_questions=2",
    "RateConfig.min_score=0.0",
    "RateConfig.min_instruction_chars=1",
]


def _block(language: str) -> str:
    """The README's one block in this language of the section on this walk."""
    section = _README.read_text().split(f"{_SECTION}\n")[1].split("\n##")[0]
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    (found,) = [text for named, text in blocks if named == language]
    return found


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> pathlib.Path:
    """A small random Qwen 3 with a tokenizer, saved as its publisher would."""
    return tiny_models.qwen3_folder(tmp_path_factory.mktemp("models") / "Qwen3-0")


@pytest.fixture(scope="module")
def workdir(base, tmp_path_factory) -> pathlib.Path:
    """What the README's command makes, reduced, of another base."""
    workdir = tmp_path_factory.mktemp("runs") / "from_hf"
    told = _block("").replace("\\\n", " ")
    for named, place in (
        ("--workdir runs/from_hf", f"--workdir {workdir}"),
        ("models/Llama-3.2-1B", str(base)),
    ):
        assert told.count(named) == 1, told
        told = told.replace(named, place)
    python, *command = shlex.split(told)
    assert python == "python"
    command = [sys.executable, *command]
    command += [f"--gin.{override}" for override in _REDUCED]
    done = subprocess.run(
        command,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return workdir


def test_the_readmes_lines_print_an_answer_of_the_tuned_folder(
    workdir, tmp_path, monkeypatch, capsys
):
    """Run as they stand; the folder alone asks for fewer and for certain tokens."""
    folder = tmp_path / "runs" / "from_hf" / "hf_model"
    shutil.copytree(workdir / "hf_model", folder)
    path = folder / "generation_config.json"
    settings = json.loads(path.read_bytes())
    path.write_text(json.dumps(settings | {"max_new_tokens": 12, "do_sample": False}))
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    variables: dict = {}
    exec(_block("python"), variables)
    answer = ast.literal_eval(capsys.readouterr().out.splitlines()[-1])
    assert answer["role"] == "assistant" and answer["content"]
    assert variables["question"] == [{"role": "user", "content": "Describe the sea."}]
    assert variables["answering"].model.name_or_path == "runs/from_hf/hf_model"


def test_the_tuned_folder_keeps_what_the_base_is(base, workdir):
    before = json.loads((base / "config.json").read_bytes())
    after = json.loads((workdir / "hf_model" / "config.json").read_bytes())
    for key in ("architectures", "model_type", "vocab_size", "eos_token_id"):
        assert after[key] == before[key], key
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        assert (workdir / "hf_model" / name).read_bytes() == (base / name).read_bytes()
    lineage = json.loads((workdir / "hf_model" / "xinst_run.json").read_bytes())
    assert lineage["base_model"] == "Qwen3-0"


def test_only_adapters_were_trained_and_the_model_is_another(base, workdir):
    kept = json.loads((workdir / "model" / "manifest.json").read_bytes())
    assert kept["counts"]["all"]["notes"]["steps"] == 4
    old = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    new = transformers.AutoModelForCausalLM.from_pretrained(
        workdir / "hf_model", dtype=torch.float32
    )
    changed = {
        name.split(".")[-2]
        for (name, was), (_, now) in zip(
            old.named_parameters(), new.named_parameters(), strict=True
        )
        if not torch.equal(was.to(torch.bfloat16), now.to(torch.bfloat16))
    }
    projections = {"q_proj", "k_proj", "v_proj", "o_proj"}
    assert changed == projections | {"gate_proj", "up_proj", "down_proj"}


def _verb(verb: str, workdir: pathlib.Path, overrides: list[str]) -> None:
    """Runs one verb of the reduced run in this process."""
    command = [verb, "--gin_file", _GIN, "--workdir", str(workdir)]
    command += [f"--gin.{override}" for override in [*_REDUCED, *overrides]]
    with unittest.mock.patch.dict(os.environ):
        assert command_line.main(command) == 0


@pytest.fixture(scope="module")
def exported(base, workdir, tmp_path_factory) -> dict[str, pathlib.Path]:
    """The tuned model's folder in float32, merged and as an adapter."""
    run = tmp_path_factory.mktemp("exports") / "run"
    shutil.copytree(workdir, run)
    given = f"BASE_MODEL={str(base)!r}"
    _verb("export-hf", run, [given, "ExportConfig.weights='adapter'"])
    laid_over = (run / "hf_model").rename(run.parent / "adapter")
    _verb("export-hf", run, [given, "ExportConfig.dtype='float32'"])
    return {"adapter": laid_over, "merged": run / "hf_model"}


def _logits(model: torch.nn.Module) -> np.ndarray:
    tokens_bt = np.random.default_rng(3).integers(0, 200, (2, 48))
    with torch.no_grad():
        return model(torch.tensor(tokens_bt)).logits.numpy()


def _load(folder: pathlib.Path) -> torch.nn.Module:
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32
    )


def test_peft_with_the_exported_adapter_answers_as_the_merged_model(base, exported):
    theirs = peft.AutoPeftModelForCausalLM.from_pretrained(
        exported["adapter"], dtype=torch.float32
    )
    found = _logits(theirs)
    record = json.loads((exported["adapter"] / adapter.CONFIG).read_bytes())
    assert record["base_model_name_or_path"] == str(base)
    assert np.abs(found - _logits(_load(base))).max() > 1e-3
    np.testing.assert_allclose(found, _logits(_load(exported["merged"])), atol=1e-5)


def test_base_and_adapter_imported_are_the_merged_model(
    base, workdir, exported, tmp_path
):
    for name in ("corpus", "seed", "tokenizer"):
        shutil.copytree(workdir / name, tmp_path / name)
    shutil.copy(workdir / "run.json", tmp_path)
    overrides = [
        f"BASE_MODEL={str(base)!r}",
        f"RunConfig.base_adapter={str(exported['adapter'])!r}",
    ]
    _verb("import-hf", tmp_path, overrides)
    run = Workspace(run_file.load(_GIN, [*_REDUCED, *overrides]), tmp_path)
    imported = mapping.leaves(training.trained_params(run, "base"))
    plain, merged = (
        mapping.leaves(folder_lib.import_params(folder, run.model, run.rules, run.mesh))
        for folder in (base, exported["merged"])
    )
    changed = set()
    for path, leaf in imported.items():
        np.testing.assert_allclose(leaf, merged[path], atol=1e-7, err_msg=path)
        if not np.array_equal(leaf, plain[path]):
            changed.add(path.rpartition("/")[2].partition("_")[0])
    assert changed == set(PROJECTIONS)
    inputs = json.loads((tmp_path / "base" / "manifest.json").read_bytes())["inputs"]
    assert {f"adapter/{adapter.CONFIG}", f"adapter/{adapter.WEIGHTS}"} < inputs.keys()


def test_the_first_rounds_follower_has_read_the_seed_alone_and_is_rated_by(workdir):
    splits = {}
    for split in ("train", "validation"):
        rows = loader.Rows(workdir / "follower" / "round-1" / "data" / split)
        splits[split] = {
            name for number in range(rows.summary.rows) for name in rows.names(number)
        }
    seed = {"train": set(), "held_out": set()}
    for code in ("fi", "th"):
        for row in shards.read_rows(workdir / "seed" / code):
            seed[row["split"]].add(f"{code}/{row['id']}")
    assert splits["train"] <= seed["train"] and splits["validation"] == seed["held_out"]
    assert splits["train"] and splits["validation"]
    record = json.loads(
        (workdir / "ratings" / "round-1" / "manifest.json").read_bytes()
    )
    assert {"follower/round-1", "rater/round-1", "base"} < record["inputs"].keys()
    rated = shards.read_rows(workdir / "ratings" / "round-1" / "fi")
    assert rated and all(np.isfinite(row["pmi"]) for row in rated)
