"""A base model that also reads images, through the pipeline: in, and out as text."""

import json
import pathlib
import shutil

import numpy as np
import pyarrow as pa
import pytest
import safetensors.numpy
import tokenizers

from xinst_jax import run_file, shards
from xinst_jax.__main__ import main
from xinst_jax.hf import adapter, mapping, text_half
from xinst_jax.hf import config as hf_config
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.models import presets
from xinst_jax.pipeline import publish
from xinst_jax.pipeline.make import models
from xinst_jax.pipeline.workspace import Workspace

_GIN = "gin/runs/small_cpu.gin"
_VISION = {"vision_tower.a.weight": (3, 5), "multi_modal_projector.b": (7,)}
_MODEL = presets.tiny_of("gemma3_text", vocab_size=40, max_length=4096)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> pathlib.Path:
    """A Gemma 3 with vision as it is published, of 40 tokens and one for images."""
    folder = tmp_path_factory.mktemp("models") / "gemma-3-tiny"
    folder.mkdir()
    special = hf_config.SpecialIds(1, (2,), None)
    text = hf_config.config_record(_MODEL, 40, special, "float32", {})
    record = {"model_type": "gemma3", "text_config": text, "vision_config": {}}
    record |= {"eos_token_id": [2], "image_token_index": 40}
    (folder / "config.json").write_text(json.dumps(record))
    shapes = {
        text_half.PUBLISHED.name(name): shape
        for name, shape in mapping.expected_shapes(_MODEL).items()
    }
    rng = np.random.default_rng(0)
    tensors = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in (shapes | _VISION).items()
    }
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    words = {f"w{index}": index for index in range(40)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="w0"))
    tokenizer.add_special_tokens(["<image_soft_token>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    image = {"image_token": "<image_soft_token>"}
    config = {"eos_token": "w2", "extra_special_tokens": image}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    stops = {"eos_token_id": [2, 3]}
    (folder / "generation_config.json").write_text(json.dumps(stops))
    return folder


def _overrides(base: pathlib.Path) -> list[str]:
    return [
        "LANGUAGES=('fi',)",
        "CORPUS='data/sample/corpus/{lang}.jsonl'",
        "SEED_PAIRS='data/sample/seed/{lang}.jsonl'",
        "BATCH=8",
        f"RunConfig.base_model='{base}'",
    ]


@pytest.fixture(scope="module")
def imported(base, tmp_path_factory) -> tuple[pathlib.Path, str]:
    """A workdir with the stages 'tokenizer' and 'base', and what was printed."""
    workdir = tmp_path_factory.mktemp("run") / "work"
    printed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(workdir / ".programs"))
        patch.setattr(
            "rich.console.Console.print",
            lambda self, *told, **how: printed.extend(map(str, told)),
        )
        for verb in ("tokenizer", "import-hf"):
            command = [verb, "--workdir", str(workdir), "--gin_file", _GIN]
            command += [f"--gin.{override}" for override in _overrides(base)]
            assert main(command) == 0
    return workdir, "\n".join(printed)


def test_the_import_says_what_it_leaves_out(imported):
    workdir, printed = imported
    told = "left out: 2 tensors of multi_modal_projector and vision_tower, 0.00 GB"
    assert told in printed
    record = json.loads((workdir / "base" / "manifest.json").read_bytes())
    notes = record["counts"]["all"]["notes"]
    assert (notes["left_out_tensors"], notes["left_out_bytes"]) == (2, 4 * (15 + 7))


@pytest.fixture(scope="module")
def finished(imported, base) -> Workspace:
    """The same with a tuned model, which is the base, a seed and a dataset."""
    workdir, _ = imported
    shutil.copytree(workdir / "base", workdir / "model")
    (workdir / "model" / "manifest.json").unlink()
    notes: dict[str, float | int | str] = {"loss": 1.5}
    StageDirectory(workdir / "model", "model", {}, {}).finish(
        {"all": Counts(notes=notes)}, "digest"
    )
    for stage, column in (("dataset", "id"), ("seed", "split")):
        schema = pa.schema([(column, pa.string())])
        shards.write_shards(workdir / stage / "fi", [{column: "train"}], schema, 4)
    StageDirectory(workdir / "dataset", "dataset", {}, {}).finish({})
    return Workspace(run_file.load(_GIN, _overrides(base)), workdir)


def test_what_is_exported_is_a_text_model_with_the_bases_text_tensors(finished, base):
    stage = StageDirectory(finished.path("hf_model"), "hf_model", {}, {})
    models.hf_model(finished, stage)
    record = json.loads((stage.path / "config.json").read_bytes())
    assert record["architectures"] == ["Gemma3ForCausalLM"]
    assert not {"text_config", "vision_config", "image_token_index"} & record.keys()
    assert hf_config.read(stage.path) == hf_config.read(base)
    card = " ".join((stage.path / "README.md").read_text().split())
    assert "left out of the tuning (2 tensors of multi_modal_projector and" in card
    assert "this is its language model alone" in card
    name = "tokenizer.json"
    assert (stage.path / name).read_bytes() == (base / name).read_bytes()
    found = safetensors.numpy.load_file(stage.path / "model.safetensors")
    assert found.keys() == mapping.expected_shapes(_MODEL).keys()
    theirs = safetensors.numpy.load_file(base / "model.safetensors")
    for name, tensor in found.items():
        expected = theirs[text_half.PUBLISHED.name(name)].astype(tensor.dtype)
        np.testing.assert_array_equal(tensor, expected)
    for name in ("config.json", "generation_config.json"):
        stops = json.loads((stage.path / name).read_bytes())["eos_token_id"]
        assert stops == [2, 3], name


def test_weights_are_divided_into_files_of_at_most_the_configured_size(
    finished, base, tmp_path
):
    assert finished.run.export.shard_gigabytes == 5.0
    limit = 40_000
    smaller = [*_overrides(base), f"ExportConfig.shard_gigabytes={limit / 10**9}"]
    stage = StageDirectory(tmp_path / "hf_model", "hf_model", {}, {})
    workspace = Workspace(run_file.load(_GIN, smaller), finished.workdir)
    models.hf_model(workspace, stage)
    files = [safetensors.numpy.load_file(f) for f in stage.path.glob("*.safetensors")]
    assert {name for held in files for name in held} == {
        *mapping.expected_shapes(_MODEL)
    }
    sizes = [[tensor.nbytes for tensor in held.values()] for held in files]
    assert len(sizes) > 1
    assert all(sum(held) <= limit or len(held) == 1 for held in sizes)
    assert max(map(len, sizes)) > 1


def test_an_adapters_card_leaves_the_base_whole(finished):
    card = " ".join(publish.model_card(finished, "", adapter=True).split())
    assert "the adapter changes its language model alone." in card
    assert adapter.CONFIG not in card
