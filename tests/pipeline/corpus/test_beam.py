"""Apache Beam makes of a corpus what the local processes make of it, byte for byte.

Run where requirements-beam.txt is installed:

    make beam
"""

import importlib.util
import json
import os
import pathlib
import time
import warnings

import pyarrow.parquet as pq
import pytest

from xinst_jax import shards
from xinst_jax.config import CorpusConfig
from xinst_jax.errors import UserError
from xinst_jax.languages import BUILT_IN
from xinst_jax.manifest import StageDirectory
from xinst_jax.pipeline.corpus import stage
from xinst_jax.pipeline.executors.executor import Keyed

SAMPLE = pathlib.Path(__file__).parents[3] / "data" / "sample" / "corpus"
LANGUAGES = {code: BUILT_IN[code] for code in ("fi", "th", "ur")}
INSTALLED = importlib.util.find_spec("apache_beam") is not None
if not INSTALLED:
    warnings.warn(
        "Apache Beam is not installed (make beam): that it makes the same corpus as "
        "the local executor is NOT tested here.",
        stacklevel=1,
    )


TWO_PROCESSES = (
    "--runner=FnApiRunner",
    "--direct_running_mode=multi_processing",
    "--direct_num_workers=2",
)
beam = pytest.mark.skipif(not INSTALLED, reason="Apache Beam is not installed")


def made(path: pathlib.Path, executor: str, **settings) -> dict[pathlib.Path, bytes]:
    evaluated = path.parent / "quiz.jsonl"
    first = (SAMPLE / "fi.jsonl").read_text("utf-8").splitlines()[0]
    evaluated.write_text(first, "utf-8")
    config = CorpusConfig(
        path=f"{SAMPLE}/{{lang}}.jsonl",
        executor=executor,
        workers=1,
        evaluation_sets=(str(evaluated),),
        **settings,
    )
    stage.run(StageDirectory(path, "corpus", {}, {}), config, LANGUAGES)
    return {f.relative_to(path): f.read_bytes() for f in shards.each_file(path)}


@beam
def test_beam_makes_the_same_files(tmp_path):
    local = made(tmp_path / "local", "local")
    assert made(tmp_path / "beam", "beam") == local and len(local) == 10
    elsewhere = tmp_path / "elsewhere"
    spread = made(
        tmp_path / "spread",
        "beam",
        beam_options=TWO_PROCESSES,
        beam_scratch=str(elsewhere),
    )
    assert spread == local and not list(elsewhere.iterdir())
    rejected = (tmp_path / "local" / "rejected" / "fi").iterdir()
    reasons = [r for f in rejected for r in pq.read_table(f)["reason"].to_pylist()]
    assert "contaminated" in reasons


@beam
def test_ids_that_files_gave_to_several_rows_are_told_apart_alike(tmp_path):
    lines = (SAMPLE / "fi.jsonl").read_text("utf-8").splitlines()
    texts = [row["text"] for row in map(json.loads, lines) if not row["planted"]][:4]
    rows = zip(("x", "x", "x~2", "x~2"), texts, strict=True)
    (tmp_path / "fi.jsonl").write_text(
        "".join(json.dumps({"id": id, "text": text}) + "\n" for id, text in rows)
    )
    for executor in ("local", "beam"):
        config = CorpusConfig(
            path=f"{tmp_path}/fi.jsonl", executor=executor, workers=1, max_chars=10_000
        )
        out = tmp_path / executor
        languages = {"fi": LANGUAGES["fi"]}
        stage.run(StageDirectory(out, "corpus", {}, {}), config, languages)
        ids = [row["id"] for row in shards.read_rows(out / "fi")]
        assert ids == ["x", "x~2", "x~2~1", "x~2~2"]


@beam
def test_a_place_that_is_cleared_already_is_left_alone(tmp_path):
    from xinst_jax.pipeline.executors import beam

    place = tmp_path / "scratch"
    executor = beam.Beam(str(place))
    executor.put(range(9), "numbers")
    for _ in range(2):
        executor.clear()
        assert not place.exists()


def by_process(rows):
    for row in rows:
        time.sleep(0.001)
        yield row, os.getpid()


def pairs(rows):
    yield from ((b"%02d" % (number % 7), row) for row in rows for number in row[:1])


def counted(key, values):
    numbers = [number for number, _ in values]
    assert numbers == sorted(numbers)
    yield from ((b"%05d" % number, (len(numbers), os.getpid())) for number in numbers)


def first(row):
    return row[0]


def shard(key):
    return key[:3]


@beam
def test_workers_write_what_they_make_in_many_files(tmp_path, monkeypatch):
    from xinst_jax.pipeline.executors import beam, beam_files

    monkeypatch.setattr(beam_files, "_SHARD_BYTES", 2000)
    with beam.Beam(str(tmp_path), TWO_PROCESSES) as executor:
        executor.put(range(5000), "numbers")
        assert len(list(tmp_path.glob("numbers/rows-*"))) > 3
        executor.save(
            executor.map("by process", by_process, executor.read("numbers")), "made"
        )
        written = list(tmp_path.glob("made/rows-*"))
        rows = [row for path in written for row in beam_files.rows(str(path))]
        assert executor.saved("made") and len(written) > 1
        processes = {process for _, process in rows}
        assert len(processes) == 2 and os.getpid() not in processes
        grouped = executor.group(
            "counting", counted, Keyed(executor.read("made"), pairs), by=first
        )
        found = list(executor.ordered(grouped, shard))
        assert [key for key, _ in found] == [b"%05d" % n for n in range(5000)]
        assert {count for _, (count, _) in found} == {714, 715}
        executor.remove("made")
        assert not executor.saved("made")
        executor.clear()
    assert not tmp_path.exists()


@pytest.mark.skipif(INSTALLED, reason="Apache Beam is installed")
def test_without_beam_the_error_says_what_to_install(tmp_path):
    with pytest.raises(UserError, match=r"requirements-beam\.txt"):
        made(tmp_path / "beam", "beam")
