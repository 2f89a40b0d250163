import json
import pathlib

import pytest

from xinst_jax import manifest, shards
from xinst_jax.errors import UserError


def _stage(path: pathlib.Path, **changes) -> manifest.StageDirectory:
    told = {"config": {"steps": 3, "rate": {"share": 0.5}}, "inputs": {"seed": "abc"}}
    return manifest.StageDirectory(path=path, stage="rate", **(told | changes))


def _finish(stage: manifest.StageDirectory) -> None:
    stage.begin()
    shards.write_bytes(stage.path / "fi" / "rows.txt", b"rows")
    counts = manifest.Counts(rows_in=3, rows_out=2)
    counts.drop("too_short")
    stage.finish({"fi": counts})


def test_a_finished_stage_is_up_to_date_until_config_or_input_changes(tmp_path):
    stage = _stage(tmp_path / "rate")
    assert not stage.finished()
    _finish(stage)
    assert stage.finished()
    changed = _stage(stage.path, config={"steps": 3, "rate": {"share": 0.6}})
    assert not changed.finished()
    assert "rate.share 0.5 -> 0.6" in changed.why_stale()
    other_input = _stage(stage.path, inputs={"seed": "abd"})
    assert not other_input.finished()
    assert other_input.why_stale() == "input changed: seed"


def test_two_makings_of_the_same_have_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        _finish(_stage(tmp_path / name))
    for file in ("manifest.json", "fi/rows.txt"):
        assert (tmp_path / "a" / file).read_bytes() == (
            tmp_path / "b" / file
        ).read_bytes()
    assert not (tmp_path / "a" / "started.json").exists()


def test_a_half_done_stage_goes_on_and_keeps_its_files(tmp_path):
    stage = _stage(tmp_path / "rate")
    assert stage.begin() is False
    (stage.path / "part").write_text("done")
    assert stage.begin() is True
    assert (stage.path / "part").exists()


def test_a_half_done_stage_of_another_config_starts_from_nothing(tmp_path):
    stage = _stage(tmp_path / "rate")
    stage.begin()
    (stage.path / "part").write_text("done")
    assert _stage(stage.path, config={"steps": 4}).begin() is False
    assert not (stage.path / "part").exists()


def _keyed(path: pathlib.Path, **changes) -> manifest.StageDirectory:
    """A stage with shards of keyed jobs, among other files."""
    stage = _stage(path, keyed=("fi", "rejected/fi"), **changes)
    for name in ("fi/part", "sw/part", "rejected/fi/part", "rejected/sw/part", "left"):
        shards.write_bytes(path / name, b"rows")
    return stage


def _left(path: pathlib.Path) -> set[str]:
    files = (each.relative_to(path).as_posix() for each in shards.each_file(path))
    return {*files} - {"started.json"}


@pytest.mark.parametrize("finished", [True, False])
def test_of_another_config_only_the_shards_of_keyed_jobs_are_left(tmp_path, finished):
    stage = _keyed(tmp_path / "rate")
    stage.begin()
    _keyed(stage.path)
    if finished:
        stage.finish({"fi": manifest.Counts()})
    changed = _stage(stage.path, config={"steps": 4}, keyed=stage.keyed)
    assert changed.begin()
    assert _left(stage.path) == {"fi/part", "rejected/fi/part"}
    assert not (stage.path / "sw").exists()
    assert not changed.finished() and not stage.finished()
    changed.finish({"fi": manifest.Counts()})
    assert set(manifest.read(stage.path)["files"]) == {"fi/part", "rejected/fi/part"}


def test_a_redone_stage_goes_on_with_its_keyed_shards_alone(tmp_path):
    stage = _keyed(tmp_path / "rate")
    assert stage.begin(redo=True) is True
    left = _left(stage.path)
    assert left == {"fi/part", "rejected/fi/part"}


def test_a_removal_that_was_stopped_leaves_no_stage_with_keyed_shards(
    tmp_path, monkeypatch
):
    stage = _keyed(tmp_path / "rate")
    stage.begin()
    _keyed(stage.path)
    stage.finish({"fi": manifest.Counts()})
    changed = _stage(stage.path, config={"steps": 4}, keyed=stage.keyed)
    monkeypatch.setattr(pathlib.Path, "iterdir", _stop)
    with pytest.raises(KeyboardInterrupt):
        changed.begin()
    monkeypatch.undo()
    assert not stage.finished() and not changed.finished()
    changed.begin()
    assert _left(stage.path) == {"fi/part", "rejected/fi/part"}


def _stop(*given):
    raise KeyboardInterrupt


def test_a_key_has_each_setting_and_input_by_its_path(tmp_path):
    stage = _stage(tmp_path)
    assert stage.key(()) == {
        "config/steps": 3,
        "config/rate/share": 0.5,
        "inputs/seed": "abc",
    }
    assert stage.key(("config/rate/*", "inputs/s*")) == {"config/steps": 3}


def test_counts_and_files_are_in_the_manifest(tmp_path):
    stage = _stage(tmp_path / "rate")
    _finish(stage)
    record = manifest.read(stage.path)
    assert record is not None
    assert record["counts"]["fi"]["dropped"] == {"too_short": 1}
    assert set(record["files"]) == {"fi/rows.txt"}


def test_a_damaged_manifest_says_what_to_do(tmp_path):
    stage = _stage(tmp_path / "rate")
    _finish(stage)
    (stage.path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="Remove the directory"):
        stage.finished()


def test_what_is_left_of_a_removal_that_was_stopped_is_no_stage(tmp_path, monkeypatch):
    stage = _stage(tmp_path / "rate")
    _finish(stage)

    def stopped(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(manifest.shutil, "rmtree", stopped)
    with pytest.raises(KeyboardInterrupt):
        stage.begin(redo=True)
    monkeypatch.undo()
    assert (stage.path / "fi" / "rows.txt").exists()
    assert not stage.finished()
    assert stage.begin() is False
    assert not (stage.path / "fi").exists()


def test_a_stage_stopped_just_before_its_end_goes_on(tmp_path, monkeypatch):
    stage = _stage(tmp_path / "rate")
    stage.begin()
    monkeypatch.setattr(pathlib.Path, "replace", _stop_at(pathlib.Path.replace))
    with pytest.raises(KeyboardInterrupt):
        stage.finish({"fi": manifest.Counts()})
    monkeypatch.undo()
    assert not stage.finished()
    assert stage.begin() is True
    stage.finish({"fi": manifest.Counts()})
    assert stage.finished()
    assert [path.name for path in stage.path.iterdir()] == ["manifest.json"]


def _stop_at(replace):
    def stopping(self, target):
        if pathlib.Path(target).name == "manifest.json":
            raise KeyboardInterrupt
        return replace(self, target)

    return stopping


@pytest.mark.parametrize("note", [b"{", b"[]", b"{}", b'{"key": 1}', b'{"key": {}}'])
def test_keyed_shards_beside_a_damaged_note_are_nobodys(tmp_path, note):
    stage = _keyed(tmp_path / "rate")
    whole = json.dumps({"key": stage.key(())}).encode()
    shards.write_bytes(stage.path / "fi" / manifest.JOB, whole)
    assert stage.keyed_alike((), ())
    shards.write_bytes(stage.path / "fi" / manifest.JOB, note)
    assert not stage.keyed_alike((), ())
