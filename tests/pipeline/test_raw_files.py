"""What lies outside a workdir is known by digests that any change of it changes."""

import functools

import numpy as np
import pytest
import safetensors.numpy

from tests.hf import tiny_models
from xinst_jax import run_file
from xinst_jax.pipeline import raw_files

MIB = 2**20


@pytest.fixture
def folder(tmp_path):
    return tiny_models.qwen3_folder(tmp_path / "Qwen3-0")


@pytest.mark.parametrize("changed", ["start", "middle"])
def test_weights_of_which_one_tensor_was_trained_are_others(tmp_path, changed):
    """As LoRA leaves them: embedding and head, at the file's ends, stay as they are."""
    rng = np.random.default_rng(0)
    tensors = {
        name: rng.normal(size=size).astype(np.float32)
        for name, size in (("a", MIB), ("b", MIB // 2), ("c", MIB))
    }
    of = raw_files._digest_of_parts
    path, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    safetensors.numpy.save_file(tensors, path)
    safetensors.numpy.save_file(tensors, other)
    assert of(path) == of(other)
    tensors["b"][{"start": 1, "middle": MIB // 4}[changed]] += 1
    safetensors.numpy.save_file(tensors, other)
    assert path.stat().st_size == other.stat().st_size
    for end in (slice(MIB), slice(-MIB, None)):
        assert path.read_bytes()[end] == other.read_bytes()[end]
    assert of(path) != of(other)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "new.json"])
def test_an_opponent_or_judge_is_its_settings_and_tokenizer_too(folder, name):
    ask = functools.partial(raw_files.folder_digests.__wrapped__, (str(folder),))
    before = ask()
    path = folder / name
    path.write_text((path.read_text() if path.exists() else "{}") + "\n")
    after = ask()
    assert {key for key in after if after[key] != before.get(key)} == {
        f"{folder}/{name}"
    }


def test_an_export_depends_on_what_the_base_folder_says_of_its_licence(folder):
    run = run_file.load("gin/runs/from_hf.gin", [f"BASE_MODEL={str(folder)!r}"])
    ask = functools.partial(raw_files.licence_digests.__wrapped__, run)
    found = [ask()]
    for name in ("LICENSE", "README.md", "NOTICE.txt"):
        (folder / name).write_text("license: other\n")
        found.append(ask())
        assert found[-1].keys() - found[-2].keys() == {f"licence/{name}"}
    scratch = run_file.load("gin/runs/quickstart.gin", [])
    assert raw_files.licence_digests(scratch) == {}
