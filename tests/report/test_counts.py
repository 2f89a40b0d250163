import shutil

import pytest

from xinst_jax.errors import UserError
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.report import counts
from xinst_jax.report.counts import StageCounts


def test_rounds_are_those_that_the_names_say():
    names = ["base", "ratings/round-2", "ratings/round-10", "rater/round-3"]
    assert counts.rounds(names) == [2, 10]
    assert counts.rounds(["base"]) == []


def _made(workdir, name, config=0, **inputs):
    """Makes a stage; returns the digest of what it made."""
    stage = StageDirectory(workdir / name, name, {"value": config}, inputs)
    stage.begin()
    return stage.finish({"all": Counts(1, 1)})


def test_a_stage_is_outdated_once_what_it_was_made_from_is_another(tmp_path):
    names = ["model", "evaluation", "judgments", "hf_model"]

    def outdated(names):
        stages = counts.stage_counts(tmp_path, names)
        return [stage.name for stage in stages if stage.outdated]

    model = _made(tmp_path, "model")
    evaluation = _made(tmp_path, "evaluation", model=model, questions="a digest")
    _made(tmp_path, "judgments", evaluation=evaluation)
    assert outdated(names) == []
    again = _made(tmp_path, "model", config=1)
    _made(tmp_path, "hf_model", model=again)
    # The judgments' own input is as it was, but that is outdated itself.
    assert outdated(names) == ["evaluation", "judgments"]
    shutil.rmtree(tmp_path / "model")
    assert outdated(names) == ["evaluation", "judgments", "hf_model"]
    assert outdated(["evaluation", "judgments"]) == []


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
    total = StageCounts("corpus", True, by_language, None, False, False).total
    assert (total.rows_in, total.rows_out) == (15, 8)
    assert total.dropped == {"short": 6, "copy": 1}


def test_the_way_shows_the_last_finished_round_only(workdir):
    stages = counts.stage_counts(workdir.path, workdir.stages)
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


def test_reasons_rank_by_rows_then_by_the_alphabet():
    dropped = {"b": 2, "a": 2, "c": 9, "none": 0}
    assert counts.top_reasons(dropped, 2) == [("c", 9), ("a", 2)]
    assert counts.top_reasons(dropped) == [("c", 9), ("a", 2), ("b", 2)]
