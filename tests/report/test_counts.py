import json

import pytest

from xinst_jax.config import RateConfig, RunConfig
from xinst_jax.errors import UserError
from xinst_jax.manifest import Counts
from xinst_jax.report import counts
from xinst_jax.report.counts import StageCounts


def test_stages_come_in_the_pipelines_order_with_every_round(workdir):
    assert counts.stage_names(workdir.path) == [
        *("corpus", "seed", "tokenizer", "base"),
        *("generator/round-1", "candidates/round-1", "rater/round-1"),
        *("ratings/round-1", "generator/round-2", "candidates/round-2"),
        *("rater/round-2", "ratings/round-2", "diverse", "dataset", "model"),
        *("hf_model", "evaluation"),
    ]


def test_one_round_is_expected_where_none_has_begun(tmp_path):
    assert counts.rounds(tmp_path) == [1]


def test_stage_names_are_those_of_the_pipelines_graph():
    pytest.importorskip("xinst_jax.pipeline.seed")
    from xinst_jax.pipeline import stages

    graph = stages.graph(RunConfig(name="run", languages=("fi",), rounds=1))
    made = [stage.name for stage in graph if stage.name != "report"]
    names = [*counts._BEFORE, *(f"{part}/round-1" for part in counts._ROUND)]
    assert made == [*names, *counts._AFTER]


@pytest.mark.parametrize("pmi_model", ["base", "none"])
def test_a_run_without_followers_has_none_among_its_stages(workdir, pmi_model):
    from xinst_jax.pipeline import stages

    rate = RateConfig(pmi_model=pmi_model)
    graph = stages.graph(RunConfig(name="run", languages=("fi",), rounds=2, rate=rate))
    made = [stage.name for stage in graph if stage.name != "report"]
    assert made == counts.stage_names(workdir.path)


def test_the_last_making_of_a_stage_gives_its_seconds(workdir):
    seed, dataset = counts.stage_counts(workdir.path, ["seed", "dataset"])
    assert seed.seconds == 7.25
    assert not seed.resumed
    assert dataset.resumed


def test_totals_add_up_over_languages():
    by_language = {
        "fi": Counts(10, 7, {"short": 2, "copy": 1}),
        "ur": Counts(5, 1, {"short": 4}),
    }
    total = StageCounts("corpus", True, by_language, None, False).total
    assert (total.rows_in, total.rows_out) == (15, 8)
    assert total.dropped == {"short": 6, "copy": 1}


def test_the_way_shows_the_last_finished_round_only(workdir):
    stages = counts.stage_counts(workdir.path, counts.stage_names(workdir.path))
    steps = counts.flow(stages, ["fi", "ur"])
    assert [(step.stage, step.rows["ur"]) for step in steps] == [
        ("corpus", 44),
        ("corpus", 40),
        ("candidates/round-2", 40),
        ("ratings/round-2", 24),
        ("diverse", 16),
        ("dataset", 16),
    ]
    assert steps[1].dropped["fi"] == {"too_short": 2, "near_duplicate": 2}


def test_a_damaged_manifest_is_a_clear_error(tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "manifest.json").write_text('{"cou')
    with pytest.raises(UserError, match="is damaged"):
        counts.stage_counts(tmp_path, ["corpus"])


def test_a_line_cut_short_is_ignored(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text(json.dumps({"a": 1}) + '\n{"a": 2')
    assert counts.json_lines(path) == [{"a": 1}]
    assert counts.json_lines(tmp_path / "missing") == []


def test_reasons_rank_by_rows_then_by_the_alphabet():
    dropped = {"b": 2, "a": 2, "c": 9, "none": 0}
    assert counts.top_reasons(dropped, 2) == [("c", 9), ("a", 2)]
    assert counts.top_reasons(dropped) == [("c", 9), ("a", 2), ("b", 2)]
