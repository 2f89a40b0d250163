import pathlib
import re

import pytest

from xinst_jax import run_file
from xinst_jax.config import RunConfig, SeedConfig, as_record
from xinst_jax.errors import UserError
from xinst_jax.pipeline import stages

_RUNS = sorted((run_file.PROJECT / "gin" / "runs").glob("*.gin"))


@pytest.fixture
def gin_path(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "run.gin"
    path.write_text(
        "STEPS = 7\n"
        "RunConfig.name = 'test'\n"
        "RunConfig.languages = ('fi', 'th')\n"
        "TrainConfig.steps = %STEPS\n"
        "sft/TrainConfig.steps = 11\n"
    )
    return path


@pytest.mark.parametrize("path", _RUNS, ids=lambda p: p.stem)
def test_every_run_file_builds_a_run_and_is_a_lab_note(path: pathlib.Path):
    required = re.findall(r"^(\w+) = %gin\.REQUIRED", path.read_text(), re.MULTILINE)
    run = run_file.load(str(path), [f"{name}='given'" for name in required])
    assert isinstance(run, RunConfig)
    # Of one that includes another: its own, or, to go on with its workdir, that one's.
    goes_on = re.search(r"^include 'gin/runs/(\w+)\.gin'", path.read_text(), re.M)
    assert run.name in (path.stem, goes_on and goes_on[1])
    for word in ("Goal", "Command", "Hardware", "Expect"):
        assert word in path.read_text()


@pytest.mark.parametrize("path", _RUNS, ids=lambda p: p.stem)
def test_bad_steps_can_be_skipped_from_the_command_line_without_a_new_start(path):
    required = re.findall(r"^(\w+) = %gin\.REQUIRED", path.read_text(), re.MULTILINE)
    given = [f"{name}='given'" for name in required]
    run, skipping = (
        run_file.load(str(path), [*given, f"SKIP_BAD_STEPS={count}"])
        for count in (0, 3)
    )
    names = ("base", "generator", "rater", "follower", "sft")
    assert [getattr(skipping, name).skip_bad_steps for name in names] == [3] * 5
    for name in names:
        assert as_record(getattr(skipping, name)) == as_record(getattr(run, name))


@pytest.mark.parametrize(
    "path",
    [path for path in _RUNS if "EVALUATION_SETS" in path.read_text()],
    ids=lambda p: p.stem,
)
def test_questions_and_evaluation_sets_are_macros_of_run_files_for_own_text(path):
    required = re.findall(r"^(\w+) = %gin\.REQUIRED", path.read_text(), re.MULTILINE)
    given = [f"{name}='given'" for name in required]
    run = run_file.load(str(path), [*given, "QUESTIONS='q/{lang}.jsonl'"])
    assert run.evaluate.questions == "q/{lang}.jsonl"
    sets = ("q/{lang}.jsonl",) if path.stem != "small_cpu" else ()
    assert run.corpus.evaluation_sets == run.seed_pairs.evaluation_sets == sets
    run = run_file.load(str(path), [*given, "EVALUATION_SETS=('a.jsonl', 'b.jsonl')"])
    assert run.corpus.evaluation_sets == ("a.jsonl", "b.jsonl")
    assert run.seed_pairs.evaluation_sets == ("a.jsonl", "b.jsonl")


def test_a_judges_key_does_not_go_to_the_stub_that_is_an_opponent():
    run = run_file.load("gin/runs/evaluate.gin", ["KEY_VARIABLE='JUDGE_KEY'"])
    assert run.judge.endpoint.key_variable == "JUDGE_KEY"
    assert run.evaluate.endpoint.key_variable == ""


def test_a_translator_has_room_for_a_translation_unless_it_is_told_otherwise():
    def most(*overrides):
        run = run_file.load("gin/runs/quickstart.gin", list(overrides))
        translator, judge = run.seed_pairs.translate.endpoint, run.judge.endpoint
        return translator.max_tokens, translator.timeout_seconds, judge.max_tokens

    assert most() == (4096, 300.0, 256)
    assert most("EndpointConfig.max_tokens=512") == (512, 300.0, 512)
    assert most("translator/EndpointConfig.max_tokens=64") == (64, 300.0, 256)
    assert most("judge/EndpointConfig.timeout_seconds=9.0") == (4096, 300.0, 256)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ((), r"TranslateConfig\.path = 'en\.jsonl' needs translator/EndpointConfig"),
        (("judge/EndpointConfig.url='http://h'",), r"needs translator/EndpointConfig"),
        (("EndpointConfig.url='http://h'",), r"without EndpointConfig\.model"),
        (("translator/EndpointConfig.url='h'",), r"EndpointConfig\.url = 'h'; .* URL"),
    ],
)
def test_a_translator_that_cannot_be_is_told_before_work_starts(overrides, told):
    given = ["TranslateConfig.path='en.jsonl'", *overrides]
    with pytest.raises(UserError, match=told):
        run_file.load("gin/runs/quickstart.gin", given)


def test_a_scope_overrides_one_training_run(gin_path):
    run = run_file.load(str(gin_path), [])
    assert (run.generator.steps, run.sft.steps) == (7, 11)


def test_overrides_reach_macros_and_fields(gin_path):
    run = run_file.load(str(gin_path), ["STEPS=9", "rater/TrainConfig.length=64"])
    assert (run.generator.steps, run.rater.length, run.sft.length) == (9, 64, 2048)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("STEPSS=9", "STEPS"),
        ("TrainConfig.stepz=9", "stepz"),
        ("TrianConfig.steps=9", "TrianConfig"),
        ("genrator/TrainConfig.steps=9", "genrator"),
        ("generate/TrainConfig.steps=9", "generate/TrainConfig"),
        ("RunConfig.languages=('fi', 'zz')", "zz"),
        ("STEPS", "NAME=VALUE"),
        ("STEPS=-1", "steps"),
    ],
)
def test_a_name_that_does_not_exist_is_an_error(gin_path, override, told):
    with pytest.raises(UserError, match=told):
        run_file.load(str(gin_path), [override])


def test_a_value_that_only_the_command_line_can_give_is_asked_for(gin_path):
    gin_path.write_text(gin_path.read_text() + "CORPUS = %gin.REQUIRED\n")
    with pytest.raises(UserError, match=r"--gin\.CORPUS=VALUE"):
        run_file.load(str(gin_path), [])


def test_a_missing_gin_file_is_named():
    with pytest.raises(UserError, match=r"nowhere\.gin"):
        run_file.load("nowhere.gin", [])


def test_a_language_beyond_the_ten_is_a_config_line(gin_path):
    gin_path.write_text(
        gin_path.read_text()
        + "RunConfig.extra_languages = [@xh/LanguageConfig()]\n"
        + "xh/LanguageConfig.code = 'xh'\nxh/LanguageConfig.name = 'Xhosa'\n"
    )
    run = run_file.load(str(gin_path), ["RunConfig.languages=('xh',)"])
    assert run.language_table["xh"].name == "Xhosa"


def test_a_run_leaves_nothing_behind_in_gin():
    run = run_file.load("gin/runs/quickstart.gin", ["SeedConfig.held_out_share=0.3"])
    assert run.seed_pairs.held_out_share == 0.3
    assert SeedConfig().held_out_share == 0.1


@pytest.mark.parametrize(
    ("overrides", "kept"),
    [
        (["ModelConfig.remat='full'", "ModelConfig.attention='dense'"], True),
        (["TrainConfig.microbatches=2", "TrainConfig.logit_chunk=64"], True),
        (["TrainConfig.checkpoint_every=5", "TrainConfig.eval_every=5"], True),
        (["ModelConfig.norm_eps=1e-4"], False),
        (["TrainConfig.global_batch=64"], False),
    ],
)
def test_how_the_devices_go_about_it_is_no_part_of_what_a_stage_is_made_from(
    overrides, kept
):
    assert (_recorded(overrides) == _recorded([])) == kept


def test_when_checkpoints_are_written_counts_where_the_best_is_handed_on():
    best = ["TrainConfig.final='best'"]
    rarer = [*best, "TrainConfig.checkpoint_every=40"]
    assert _recorded(rarer) != _recorded(best)


def _recorded(overrides):
    given = [*overrides, "BASE_MODEL='given'"]
    run = run_file.load("gin/runs/from_hf.gin", given)
    return {stage.name: as_record(stage.config) for stage in stages.graph(run)}
