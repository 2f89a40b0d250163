"""What a run says of itself to others: licence, base model, lineage."""

import json
import pathlib

import huggingface_hub
import pyarrow as pa
import pytest

from xinst_jax import run_file, shards
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.pipeline import publish
from xinst_jax.pipeline.workspace import Workspace

_IDS = pa.schema([("id", pa.string())])
_SPLITS = pa.schema([("split", pa.string()), ("license", pa.string())])
_LICENCES = pa.schema([("license", pa.string())])
_NOTES = {"loss": 1.5, "held_out_loss_before": 3.25, "held_out_loss": 2.125}


def workspace(workdir: pathlib.Path, *overrides: str) -> Workspace:
    settings = ["LANGUAGES=('fi', 'th')", *overrides]
    return Workspace(run_file.load("gin/runs/quickstart.gin", settings), workdir)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> pathlib.Path:
    """A dataset of 5 and 0 pairs, a seed with 2 pairs for training, a tuned model."""
    path = tmp_path_factory.mktemp("run")
    for code, pairs in (("fi", 5), ("th", 0)):
        rows = [{"id": str(number)} for number in range(pairs)]
        shards.write_shards(path / "dataset" / code, rows, _IDS, 4)
        splits = [
            {"split": name, "license": "CC BY-SA 4.0"}
            for name in ("train", "held_out", "train")
        ]
        shards.write_shards(path / "seed" / code, splits, _SPLITS, 4)
        texts = [{"license": "CC0-1.0"}, {"license": ""}] if code == "fi" else []
        shards.write_shards(path / "corpus" / code, texts, _LICENCES, 4)
    StageDirectory(path / "dataset", "dataset", {}, {}).finish({})
    StageDirectory(path / "model", "model", {"k": 1}, {}).finish(
        {"all": Counts(notes=dict(_NOTES))}, "digest of the weights"
    )
    return path


def base(path: pathlib.Path, card: str = "") -> str:
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    if card:
        (path / "README.md").write_text(card)
    return f"base_model='{path}'"


def read(text: str) -> dict:
    return huggingface_hub.ModelCard(text).data.to_dict()


def test_the_lineage_is_that_of_the_finished_stages(workdir):
    found = publish.lineage(workspace(workdir))
    stages = {
        name: json.loads((workdir / name / "manifest.json").read_bytes())
        for name in ("dataset", "model")
    }
    assert found["dataset"] == stages["dataset"]["fingerprint"]
    assert found["training_run"] == stages["model"]["fingerprint"]
    assert found["weights"] == "digest of the weights"
    assert found["rows"] == {"fi": 7, "th": 2}
    assert found["training"] == _NOTES
    assert found["base_model"] == ""
    assert json.loads(json.dumps(found)) == found


def test_a_card_tells_lineage_rows_and_losses(workdir):
    text = publish.model_card(workspace(workdir), "PROMPT {instruction}")
    record = publish.lineage(workspace(workdir))
    for part in ("dataset", "training_run", "weights"):
        assert record[part][:16] in text
    assert "| Finnish | 7 |" in text
    assert "| held-out loss before tuning | 3.250 |" in text
    assert "| held-out loss | 2.125 |" in text
    assert "PROMPT {instruction}" in text
    assert read(text)["license"] == "apache-2.0"


def test_the_dataset_is_linked_where_its_name_is_given(workdir):
    named = workspace(workdir, "ExportConfig.dataset_name='org/pairs'")
    assert read(publish.model_card(named, ""))["datasets"] == ["org/pairs"]
    assert "datasets" not in read(publish.model_card(workspace(workdir), ""))


@pytest.mark.parametrize(
    ("folder", "given", "expected"),
    [
        ("models--org--Llama-3-8B/snapshots/12ab", "", "org/Llama-3-8B"),
        ("llama-3", "", "llama-3"),
        ("llama-3", "org/name", "org/name"),
    ],
)
def test_a_base_model_is_called_as_configured_as_cached_or_as_its_folder(
    workdir, tmp_path, folder, given, expected
):
    where = base(tmp_path / folder)
    space = workspace(
        workdir, f"RunConfig.{where}", f"ExportConfig.base_name='{given}'"
    )
    assert publish.base_name(space) == expected
    found = tmp_path / folder if expected == "llama-3" else expected
    assert publish.adapter_base(space.run) == str(found)


def test_a_bases_licence_wins_and_its_wishes_are_told(workdir, tmp_path, capsys):
    where = base(tmp_path / "llama", "---\nlicense: llama3\n---\n")
    space = workspace(workdir, f"RunConfig.{where}", "ExportConfig.license='mit'")
    text = publish.model_card(space, "")
    assert read(text)["license"] == "llama3"
    assert "Built with Meta Llama 3" in text
    output = " ".join(capsys.readouterr().out.split())
    assert "begin with 'Llama 3', and 'quickstart' does not" in output


def test_a_base_without_a_licence_takes_the_given_one_or_none(
    workdir, tmp_path, capsys
):
    settings = [f"RunConfig.{base(tmp_path / 'unknown')}", "ExportConfig.license=''"]
    silent = publish.model_card(workspace(workdir, *settings), "")
    assert (read(silent)["license"], read(silent)["license_name"]) == (
        "other",
        "unknown",
    )
    assert "set ExportConfig.license" in " ".join(capsys.readouterr().out.split())
    given = workspace(workdir, settings[0], "ExportConfig.license='mit'")
    assert read(publish.model_card(given, ""))["license"] == "mit"
    assert not capsys.readouterr().out


def test_a_model_from_scratch_has_the_given_licence_or_none_and_its_texts_are_told(
    workdir, capsys
):
    silent = publish.model_card(workspace(workdir, "ExportConfig.license=''"), "")
    assert (read(silent)["license"], read(silent)["license_name"]) == (
        "other",
        "unknown",
    )
    assert "trained from scratch" in silent
    output = " ".join(capsys.readouterr().out.split())
    assert "pairs: CC BY-SA 4.0, CC0-1.0. " in output
    assert "set ExportConfig.license" in output
    given = workspace(workdir, "ExportConfig.license='cc-by-sa-4.0'")
    assert read(publish.model_card(given, ""))["license"] == "cc-by-sa-4.0"
    assert not capsys.readouterr().out
