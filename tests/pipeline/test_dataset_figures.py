"""What is told of a dataset: its figures, its card, its lineage, its licence."""

import json
import pathlib

import huggingface_hub
import numpy as np
import pytest

from tests.pipeline import small_dataset
from xinst_jax import shards
from xinst_jax.errors import UserError
from xinst_jax.pipeline import assemble, dataset_statistics, verbs


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> pathlib.Path:
    return small_dataset.workdir_in(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def made(workdir) -> tuple[pathlib.Path, dict]:
    return small_dataset.assembled(workdir)


def test_statistics_are_those_of_the_rows(made):
    figures = json.loads((made[0] / assemble.STATISTICS).read_text("utf-8"))
    rows = shards.read_rows(made[0] / "fi")
    of_fi = figures["languages"]["fi"]
    outputs = [len(row["output"]) for row in rows]
    assert of_fi["rows"] == len(rows) == 8
    assert of_fi["output_chars"] == {
        "mean": round(float(np.mean(outputs)), 2),
        "sd": round(float(np.std(outputs)), 2),
    }
    texts = [row["instruction"] for row in rows]
    assert of_fi["distinct_verb_nouns"] == verbs.distinct_pairs(texts) == 8
    assert of_fi["top_verbs"][0]["verb"] == "describe"
    assert of_fi["top_verbs"][0]["count"] == 8
    assert figures["all"]["rows"] == 16
    assert figures["languages"]["ur"]["rows"] == 0


def test_random_samples_come_from_what_was_kept_in_the_same_number(workdir, made):
    ratings = workdir / "ratings/round-2/fi"
    samples = dataset_statistics.compare(workdir / "diverse", ratings, 8, 5).samples
    kept = {small_dataset.instruction_of(number) for number in range(0, 30, 2)}
    for sample in samples:
        assert len(set(sample)) == 8
        assert set(sample) <= kept
    assert len({tuple(sample) for sample in samples}) > 1
    figures = json.loads((made[0] / assemble.STATISTICS).read_text("utf-8"))
    found = figures["languages"]["fi"]["random_distinct_verb_nouns"]
    assert found == [verbs.distinct_pairs(sample) for sample in samples]
    assert max(found) < figures["languages"]["fi"]["distinct_verb_nouns"]


def test_the_draws_figures_stand_beside_those_of_random_samples_and_of_all(made):
    figures = json.loads((made[0] / assemble.STATISTICS).read_text("utf-8"))
    measured = figures["languages"]["fi"]["diversity"]
    assert measured["drawn"]["rows"] == 8 and measured["kept"]["rows"] == 15
    assert figures["languages"]["fi"]["kept_distinct_verb_nouns"] == 8
    card = (made[0] / "README.md").read_text("utf-8")
    for which, part in (("drawn", "drawn"), ("no selection", "kept")):
        row = measured[part]
        cells = f"{row['rows']} | {row['cluster_entropy']:.3f}"
        assert f"| Finnish (fi) | {which} | {cells} | " in card
    assert "| Finnish (fi) | at random | 8 | " in card


def test_a_draw_without_figures_is_a_users_error(tmp_path):
    small_dataset.inputs(tmp_path)
    (tmp_path / "diverse/figures/th.json").unlink()
    with pytest.raises(UserError, match=r"th\.json is missing.*diversify"):
        small_dataset.assembled(tmp_path)


def test_counts_tell_rows_and_variety(made):
    counts = made[1]["fi"]
    assert (counts.rows_in, counts.rows_out, counts.dropped) == (8, 8, {})
    assert counts.notes["distinct_verb_nouns"] == 8
    assert counts.notes["distinct_verb_nouns_at_random"] < 8
    assert made[1]["ur"].rows_out == 0


def test_the_card_names_stages_sources_ratings_and_samples(made):
    card = (made[0] / "README.md").read_text("utf-8")
    assert "menu 10" in card
    assert "site 0 (CC0-1.0)" in card
    for stage in small_dataset.STAGES:
        assert f"| {stage} | 70 | 60 |" in card
    assert "| Finnish (fi) | 5 of 5 | 100%, lifted from 15%: too few verbs |" in card
    assert "| Thai (th) | 0.25 | 50% |" in card
    assert "| fair | cut response | The response broken off" in card
    # Scores are 0.50 to 0.79 in steps of 0.01, in two languages; every fourth is drawn.
    assert "| 0.5 to 0.6 | 20 | 6 |" in card
    assert "| 0.9 to 1.0 | 0 | 0 |" in card
    for number in (28, 12, 0):
        assert f"> {small_dataset.instruction_of(number)}" in card
    assert f"> {small_dataset.instruction_of(20)}" not in card


def test_every_column_is_explained_on_the_card(made):
    card = (made[0] / "README.md").read_text("utf-8")
    for name in assemble.SCHEMA.names:
        assert f"| {name} | " in card


def test_the_lineage_names_run_inputs_and_rows(made):
    record = json.loads((made[0] / "xinst_run.json").read_text("utf-8"))
    made_by = json.loads((made[0] / "manifest.json").read_text("utf-8"))
    assert record["run"] == "quickstart"
    assert record["fingerprint"] == made_by["fingerprint"]
    assert record["inputs"] == made_by["inputs"]
    assert record["config"] == {"seed": 5}
    assert record["rows"] == {"fi": 8, "th": 8, "ur": 0}
    card = (made[0] / "README.md").read_text("utf-8")
    assert record["fingerprint"][:16] in card


@pytest.mark.parametrize(
    ("given", "expected"), [("", "cc0-1.0"), ("cc-by-4.0", "cc-by-4.0")]
)
def test_the_licence_is_the_given_one_or_that_of_the_rows(
    workdir, tmp_path, given, expected
):
    path, _ = small_dataset.assembled(workdir, f"dataset-{expected}", given)
    data = huggingface_hub.DatasetCard.load(path / "README.md").data
    assert data.license == expected
