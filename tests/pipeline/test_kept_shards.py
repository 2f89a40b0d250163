"""What other settings leave of a job's shards: all that they change no row of."""

import contextlib
import dataclasses
import fnmatch
import io
import pathlib
import shutil

import numpy as np
import pytest
import rich.console

from tests.pipeline.test_generate import _writer
from tests.pipeline.test_rate import _Rater
from xinst_jax import manifest, shards
from xinst_jax.config import (
    DecodeConfig,
    DecontaminationConfig,
    LoraConfig,
    PromptConfig,
    RateConfig,
    RunConfig,
)
from xinst_jax.data import prompts
from xinst_jax.pipeline import generate, levels, rate, runner, seed, stages, trial
from xinst_jax.pipeline.corpus import stage as corpus
from xinst_jax.pipeline.make import answers
from xinst_jax.pipeline.rejects import REJECTED
from xinst_jax.pipeline.signals import Signals
from xinst_jax.pipeline.workspace import Workspace

RUN = RunConfig(
    name="t",
    languages=("fi", "sw"),
    rounds=3,
    generate=DecodeConfig(batch_rows=2, shard_rows=3),
    rate=RateConfig(shard_rows=3, min_score=0.0),
)
_ROWS = 8  # of each language, in shards of three


@dataclasses.dataclass
class _Job:
    """A run whose models are plain to predict, and how many rows they were asked for.

    Attributes:
      path: the workdir.
      stops_after: calls of a model until the process is stopped.
    """

    path: pathlib.Path
    stops_after: int = 1000
    rows: int = 0
    calls: int = 0

    def make(
        self, verb: str, run: RunConfig = RUN, fresh: bool = False, redo: bool = False
    ) -> int:
        """Makes the first stage of a verb; how many rows a model was asked for."""
        self.rows = self.calls = 0
        stage = _stage(run, verb)
        workspace = Workspace(run, self.path)
        directory = runner.stage_directory(workspace, stage)
        if fresh:
            shutil.rmtree(directory.path)
        console = rich.console.Console(file=io.StringIO())
        together = contextlib.nullcontext
        runner.make(workspace, stage, directory, redo, console, together)
        assert directory.finished()
        return self.rows

    def stop(self, verb: str, run: RunConfig = RUN, *, after: int) -> None:
        """Begins a stage, and is stopped after so many calls of a model."""
        self.stops_after = after
        with pytest.raises(KeyboardInterrupt):
            self.make(verb, run)
        self.stops_after = 1000

    def asked(self, rows: int) -> None:
        self.calls += 1
        if self.calls > self.stops_after:
            raise KeyboardInterrupt
        self.rows += rows

    def bytes(self, name: str, part: str = "") -> dict[str, bytes]:
        """The shards of a stage, or of a directory in it, by path."""
        directory = self.path / name
        return {
            path.relative_to(directory).as_posix(): path.read_bytes()
            for path in sorted((directory / part).rglob("part-*"))
        }

    def files(self, name: str) -> set[str]:
        record = manifest.read(self.path / name)
        assert record is not None
        return set(record["files"])


@pytest.fixture
def job(tmp_path: pathlib.Path, monkeypatch) -> _Job:
    job = _Job(tmp_path / "run")
    for code in RUN.languages:
        texts = [
            {"id": f"{code}{n}", "lang": code, "text": f"Teksti {n}. " * 9}
            for n in range(_ROWS)
        ]
        shards.write_shards(job.path / "corpus" / code, texts, corpus.SCHEMA, 100)
        shards.write_shards(job.path / "seed" / code, [], seed.SCHEMA, 100)
    shards.write_shards(job.path / "rater/round-1/levels", [], levels.SCHEMA, 100)

    def writer(workspace: Workspace, number: int) -> generate.Writer:
        longest = workspace.run.generate.prompt_buckets[-1]
        plain = _writer([], longest, says="Describe the lake {} of Finland.")

        def write(rows, ids):
            job.asked(len(ids))
            return plain.generate(rows, ids)

        return dataclasses.replace(plain, generate=write, wording=workspace.run.prompts)

    def signals(workspace: Workspace, number: int) -> Signals:
        plain = _Rater()

        def read(pairs) -> np.ndarray:
            job.asked(len(pairs))
            return plain(pairs)

        return Signals(read)

    monkeypatch.setattr(answers, "writer", writer)
    monkeypatch.setattr(answers, "signals", signals)
    return job


def _stage(run: RunConfig, verb: str) -> runner.Stage:
    return next(stage for stage in stages.graph(run) if stage.verb == verb)


def _decoding(**changed) -> RunConfig:
    return dataclasses.replace(
        RUN, generate=dataclasses.replace(RUN.generate, **changed)
    )


def _rating(**changed) -> RunConfig:
    return dataclasses.replace(RUN, rate=dataclasses.replace(RUN.rate, **changed))


@pytest.mark.parametrize(
    "changed",
    [
        {"batch_rows": 1},
        {"prefill_columns": 512},
        {"pack_prompts": False},
        {"placement": "host"},
        {"unstacked": "no"},
        {"prompt_buckets": (2048,)},
    ],
    ids=str,
)
def test_how_rows_are_batched_leaves_half_done_candidates_as_they_are(job, changed):
    job.stop("generate", after=2)
    before = job.bytes("candidates/round-1")
    assert len(before) == 4  # two shards, each with its rejected rows
    assert job.make("generate", _decoding(**changed)) == 2 * _ROWS - 6
    after = job.bytes("candidates/round-1")
    assert before.items() < after.items()
    assert job.make("generate", RUN) == 0
    assert job.bytes("candidates/round-1") == after


def test_the_candidates_are_those_of_a_run_that_was_never_changed(job):
    job.stop("generate", after=2)
    job.make("generate", _decoding(batch_rows=1))
    files = job.bytes("candidates/round-1")
    job.make("generate", _decoding(batch_rows=1), fresh=True)
    assert job.bytes("candidates/round-1") == files


@pytest.mark.parametrize(
    "changed",
    [
        {"temperature": 0.5},
        {"cache_dtype": "int8"},
        {"max_new_tokens": 64},
        {"prompt_buckets": (256, 1024)},
    ],
    ids=str,
)
def test_what_changes_rows_makes_all_candidates_again(job, changed):
    job.stop("generate", after=2)
    assert job.make("generate", _decoding(**changed)) == 2 * _ROWS
    assert job.make("generate", _decoding(**changed), fresh=True) == 2 * _ROWS


def test_a_change_that_is_stopped_half_way_never_mixes_what_is_finished(job):
    job.make("generate")
    warm = _decoding(temperature=0.5)
    job.stop("generate", warm, after=2)
    assert manifest.read(job.path / "candidates/round-1") is None
    assert job.make("generate", warm) == 2 * _ROWS - 6
    mixed = job.bytes("candidates/round-1")
    job.make("generate", warm, fresh=True)
    assert job.bytes("candidates/round-1") == mixed


def test_other_cuts_languages_and_rejected_shards_leave_no_trace(job):
    job.make("generate")
    stale = "rejected/fi/part-00007-of-00009.parquet"
    empty = REJECTED.empty_table()
    shards.write_table(job.path / "candidates/round-1" / stale, empty)
    progress = job.path / "candidates/round-1/fi/00002-of-00004.progress.json"
    progress.write_text("{}")
    one = dataclasses.replace(_decoding(shard_rows=4), languages=("fi",))
    assert job.make("generate", one) == _ROWS
    cut = [f"fi/part-0000{n}-of-00002.parquet" for n in range(2)]
    assert job.files("candidates/round-1") == {
        *cut,
        *(f"rejected/{name}" for name in cut),
        "fi/job.json",
    }
    assert not (job.path / "candidates/round-1/sw").exists()
    assert not progress.exists()


def test_another_quota_reads_no_pair_of_a_half_done_rating_again(job):
    job.make("generate")
    job.stop("rate", after=2)
    assert len(job.bytes("ratings/round-1")) == 2
    few = _rating(keep_share=0.25)
    assert job.make("rate", few) == 2 * _ROWS - 6
    changed = job.bytes("ratings/round-1")
    assert job.make("rate", few, fresh=True) == 2 * _ROWS
    assert job.bytes("ratings/round-1") == changed


@pytest.mark.parametrize("verb", ["generate", "rate"])
def test_an_input_that_was_made_again_the_same_costs_no_row(job, verb):
    job.make("generate")
    job.make(verb)
    assert job.make(verb, redo=True) == 0


def test_another_quota_reads_no_pair_of_a_finished_rating_again(job):
    job.make("generate")
    assert job.make("rate") == 2 * _ROWS
    kept = {}
    for share in (0.25, 0.75):
        few = _rating(keep_share=share, min_score_of=(("sw", 0.9),))
        assert job.make("rate", few) == 0
        rows = shards.read_rows(job.path / "ratings/round-1/fi")
        kept[share] = sum(row["kept"] for row in rows)
    assert kept == {0.25: 2, 0.75: 6}
    assert job.make("rate", _rating(batch_rows=64)) == 0
    assert job.make("rate", _decoding(prompt_buckets=(64, 2048))) == 0


@pytest.mark.parametrize(
    "changed",
    [{"min_instruction_chars": 5}, {"pmi_model": "none"}, {"shard_rows": 2}],
    ids=str,
)
def test_what_changes_scores_makes_all_of_them_again(job, changed):
    job.make("generate")
    job.stop("rate", after=2)
    assert job.make("rate", _rating(**changed)) == 2 * _ROWS


def test_another_model_or_another_prompt_makes_the_scores_again(job, monkeypatch):
    job.make("generate")
    job.make("rate")
    for name in ("rater/round-1", "follower/round-1", "tokenizer"):
        manifest.StageDirectory(job.path / name, name, {}, {}).finish({})
        assert job.make("rate") == 2 * _ROWS
    based, alone = _rating(pmi_model="base"), _rating(pmi_model="none")
    for name, run in (("rate", alone), ("answer", RUN), ("pair", based)):
        job.make("rate", run)
        with monkeypatch.context() as patch:
            patch.setattr(prompts, name, lambda *given, **also: f"Other: {given}")
            assert job.make("rate", run) == 2 * _ROWS
    given = dataclasses.replace(RUN, prompts=PromptConfig(reverse="Ask:\n{response}\n"))
    job.make("rate")
    assert job.make("rate", given) == 2 * _ROWS
    assert job.make("rate", given) == 0


def test_other_candidates_are_scored_again_where_their_language_has_any(job):
    job.make("generate")
    job.make("rate")
    path = job.path / "candidates/round-1/fi"
    rows = shards.read_rows(path)
    rows[4]["instruction"] = "Describe the sea."
    shards.write_shards(path, rows, generate.SCHEMA, 3)
    manifest.StageDirectory(job.path / "candidates/round-1", "other", {}, {}).finish({})
    assert job.make("rate") == _ROWS


def _full_run() -> RunConfig:
    """A run of which every stage records all that it can."""
    lora = dataclasses.replace(RUN.generator, lora=LoraConfig(rank=2))
    return dataclasses.replace(
        RUN,
        generator=lora,
        rater=lora,
        follower=lora,
        prompts=PromptConfig(
            reverse="R {response}",
            answer="A {instruction} {request}",
            rate="T {response} {instruction} {request}",
        ),
        corpus=dataclasses.replace(
            RUN.corpus, decontamination=DecontaminationConfig(gram_words=9)
        ),
        rate=dataclasses.replace(
            RUN.rate,
            keep_share_of=(("sw", 0.1),),
            min_score_of=(("sw", 0.1),),
            rules=dataclasses.replace(RUN.rate.rules, prompt_words=3),
        ),
    )


_BOTH = {
    "config/xinst_jax",
    "config/languages",
    "config/model/*",
    "config/template",
    "inputs/tokenizer",
    "inputs/base",
}
_ROWS_DEPEND_ON = {
    **dict.fromkeys(
        ["generate"],
        {*_BOTH}
        | {f"config/{name}" for name in ("seed", "round", "evaluation_sets")}
        | {"config/decontamination/*", "inputs/seed", "inputs/generator/*"}
        | {
            f"config/generate/{name}"
            for name in (
                *("max_new_tokens", "temperature", "top_p", "top_k", "min_p"),
                *("no_repeat_ngram", "stop_strings", "cache_dtype", "shard_rows"),
            )
        },
    ),
    **dict.fromkeys(
        ["rate"],
        {*_BOTH}
        | {"config/prompts/*", "inputs/rater/*", "inputs/follower/*"}
        | {
            f"config/rate/{name}"
            for name in (
                *("min_instruction_chars", "max_instruction_chars", "rules*"),
                *("max_copied_share", "pmi_model", "shard_rows"),
            )
        },
    ),
}


@pytest.mark.parametrize(
    ("verb", "changes_nothing", "fields"),
    [
        ("generate", generate.CHANGES_NO_ROW, DecodeConfig),
        ("rate", rate.CHANGES_NO_SCORE, RateConfig),
    ],
)
def test_of_each_setting_and_input_it_is_known_whether_rows_depend_on_it(
    verb, changes_nothing, fields, tmp_path
):
    """A new one must be put into one of the lists."""
    run = _full_run()
    workspace = Workspace(run, tmp_path)
    graph = stages.graph(run)
    last = [stage for stage in graph if stage.verb == verb][-1]
    tried = [one for one in trial.graph(workspace, graph, verb, 5) if one.verb == verb]
    names = {f"config/{verb}/{field.name}" for field in dataclasses.fields(fields)}
    for stage in (last, tried[-1]):
        directory = runner.stage_directory(workspace, stage)
        names |= set(directory.key(()))
        in_key = set(directory.key(changes_nothing))
        assert in_key == {
            name for name in directory.key(()) if _in(name, _ROWS_DEPEND_ON[verb])
        }
    for name in sorted(names):
        known = _in(name, changes_nothing) + _in(name, _ROWS_DEPEND_ON[verb])
        assert known == 1, f"{name} is in {known} lists"
    for pattern in (*changes_nothing, *_ROWS_DEPEND_ON[verb]):
        assert fnmatch.filter(names, pattern), f"{pattern} is nothing that there is"


def _in(name: str, patterns) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
