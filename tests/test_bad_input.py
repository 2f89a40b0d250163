"""What a user can get wrong, through the command line: one clear error each."""

import gzip
import json
import pathlib

import numpy as np
import pytest
import safetensors.numpy
import tokenizers

from xinst_jax.__main__ import main
from xinst_jax.hf import config as hf_config
from xinst_jax.hf import mapping
from xinst_jax.models import presets

_TEXT = (
    "Lapissa revontulet näkyvät parhaiten kirkkaina pakkasöinä kaukana kaupungin "
    "valoista. Ilmiö syntyy, kun auringosta lähteneet hiukkaset törmäävät ilmakehän "
    "yläosiin ja saavat hapen ja typen hehkumaan. Vihreä on yleisin väri, mutta joskus "
    "taivaalla näkyy punaista ja violettia. Katsojan kannattaa pukeutua lämpimästi "
    "ja varata aikaa, sillä revontulet voivat ilmestyä ja kadota muutamassa minuutissa."
)


class _Run:
    """A run on one language, whose files a test may spoil."""

    def __init__(self, folder: pathlib.Path):
        self.workdir = folder / "work"
        self.corpus = folder / "corpus.jsonl"
        self.seed = folder / "seed.jsonl"
        self.write(self.corpus, [{"id": "a", "text": _TEXT}])
        pair = {
            "id": "s",
            "instruction": "Describe the northern lights.",
            "output": _TEXT,
        }
        self.write(self.seed, [pair])

    @staticmethod
    def write(path: pathlib.Path, rows: list[dict]) -> None:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def start(self, *overrides: str, verb: str = "pipeline") -> int:
        return main(
            [
                *verb.split(),
                "--workdir",
                str(self.workdir),
                "--gin_file",
                "gin/runs/small_cpu.gin",
                "--gin.LANGUAGES=('fi',)",
                f"--gin.CORPUS='{self.corpus}'",
                f"--gin.SEED_PAIRS='{self.seed}'",
                "--gin.BATCH=8",
                *(f"--gin.{override}" for override in overrides),
            ]
        )


@pytest.fixture
def run(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> _Run:
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "programs"))
    return _Run(tmp_path)


def _error(capsys: pytest.CaptureFixture) -> str:
    error = capsys.readouterr().err
    assert error.startswith("error: "), error
    assert "Traceback" not in error
    return error


def test_a_missing_corpus_is_named_before_work_starts(run, capsys):
    run.corpus.unlink()
    assert run.start() == 2
    assert "corpus.jsonl" in _error(capsys)
    assert not (run.workdir / "corpus").exists()


def test_an_empty_corpus_is_named_before_work_starts(run, capsys):
    run.corpus.write_text("")
    assert run.start() == 2
    assert "is empty" in _error(capsys)


def test_a_missing_field_says_which_fields_there_are(run, capsys):
    run.write(run.corpus, [{"id": "a", "content": _TEXT}])
    assert run.start() == 2
    error = _error(capsys)
    assert "'text'" in error and "content" in error


def test_a_damaged_archive_is_named(run, capsys):
    run.corpus = run.corpus.with_suffix(".jsonl.gz")
    run.corpus.write_bytes(gzip.compress(b'{"text": "a"}\n' * 9999)[:-40])
    assert run.start() == 2
    assert "corpus.jsonl.gz" in _error(capsys)


@pytest.mark.parametrize(
    ("line", "reason"),
    [(b"{not json}\n", "not_json"), (b'{"text": "\xff\xfe"}\n', "not_utf8")],
)
def test_too_many_bad_rows_stop_the_stage_and_name_the_first(run, capsys, line, reason):
    good = [json.dumps({"id": f"{i}", "text": _TEXT + f" {i}"}) for i in range(20)]
    run.corpus.write_bytes("\n".join(good).encode() + b"\n" + line * 3)
    assert run.start(verb="prepare") == 2
    error = _error(capsys)
    assert reason in error and "corpus.jsonl:21" in error and "max_bad_share" in error


def test_a_single_bad_row_is_rejected_and_counted(run, capsys):
    run.corpus.write_bytes(run.corpus.read_bytes() + b"{not json}\n")
    assert run.start(verb="prepare") == 0
    record = json.loads((run.workdir / "corpus" / "manifest.json").read_bytes())
    assert record["counts"]["fi"]["dropped"] == {"not_json": 1}


_NORM = "model.norm.weight"
_WEIGHTS = "model.safetensors"


@pytest.fixture
def base(tmp_path: pathlib.Path) -> pathlib.Path:
    """A base model's folder without a fault, of 40 tokens, its head tied.

    As Gemma 3's, its tokenizer has one more, that no text becomes.
    """
    folder, special = tmp_path / "base", hf_config.SpecialIds(1, (2,), None)
    folder.mkdir()
    model = presets.tiny(vocab_size=40, max_length=4096)
    record = hf_config.config_record(model, 40, special, "float32", {})
    (folder / "config.json").write_text(json.dumps(record))
    rng = np.random.default_rng(0)
    tensors = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in mapping.expected_shapes(model).items()
    }
    safetensors.numpy.save_file(tensors, folder / _WEIGHTS)
    words = {f"w{index}": index for index in range(40)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="w0"))
    tokenizer.add_special_tokens(["<image>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "w2"}))
    return folder


def _tensors(change):
    def damage(folder: pathlib.Path) -> None:
        tensors = safetensors.numpy.load_file(folder / _WEIGHTS)
        change(tensors)
        safetensors.numpy.save_file(tensors, folder / _WEIGHTS)

    return damage


def _record(file: str, **changes):
    def damage(folder: pathlib.Path) -> None:
        path = folder / file
        record = json.loads(path.read_bytes()) if path.exists() else {}
        path.write_text(json.dumps(record | changes))

    return damage


def _more_words(folder: pathlib.Path) -> None:
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens(["w41"])
    tokenizer.save(str(folder / "tokenizer.json"))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda f: (f / _WEIGHTS).write_bytes(bytes(7)), "is not a whole"),
        (_tensors(lambda t: t.pop(_NORM)), f"Missing tensors: {_NORM}."),
        (_tensors(lambda t: t.update(extra=t[_NORM])), "Left over: extra."),
        (_tensors(lambda t: t.update({_NORM: t[_NORM][:8]})), "expected (32,)"),
        (_tensors(lambda t: t.update({_NORM: np.ones(32, np.int8)})), "type I8"),
        (
            _tensors(lambda t: t.update({"lm_head.weight": np.ones((40, 32), "f4")})),
            "head.weight differs",
        ),
        (_record("config.json", intermediate_size=64), "expected (64, 32)"),
        (_record("config.json", model_type="qwen2"), "self_attn.k_proj.bias"),
        (_record("generation_config.json", eos_token_id=[2, 40]), "the id 40"),
        (_record("tokenizer_config.json", auto_map={"A": "x.Y"}), "auto_map"),
        (_more_words, "tokenizer.json has the id 41"),
        (lambda f: (f / "tokenizer.json").unlink(), "No tokenizer in"),
        (lambda f: (f / "tokenizer.json").write_text("{"), "tokenizer.json cannot"),
    ],
)
def test_a_damaged_base_model_is_told_before_any_stage_begins(
    run, capsys, base, damage, told
):
    damage(base)
    assert run.start(f"RunConfig.base_model='{base}'") == 2
    error = _error(capsys)
    assert told in error and str(base) in error
    assert [path.name for path in run.workdir.glob("[!.]*")] == ["run.json"]


def test_an_undamaged_base_model_is_imported_before_there_is_any_text(run, base):
    run.corpus.unlink()
    for verb in ("tokenizer", "import-hf"):
        assert run.start(f"RunConfig.base_model='{base}'", verb=verb) == 0


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("LANGUAGES=('fi', 'zz')", "zz"),
        ("STEPSS=3", "STEPS"),
        ("RateConfig.keep_shar=0.5", "keep_shar"),
        ("RateConfig.keep_share=50", "share between 0 and 1"),
        ("TrainConfig.length=4096", "max_length"),
        ("TokenizerConfig.path='nowhere/tokenizer.model'", "nowhere"),
        ("RunConfig.base_model='nowhere'", "nowhere"),
        ("LoraConfig.rank=4", "base/LoraConfig.rank = 0"),
        ("ExportConfig.weights='adapter'", "RunConfig.base_model"),
        ("EvaluateConfig.questions='nowhere.jsonl'", "nowhere"),
        ("DiversifyConfig.encoder='nowhere'", "nowhere"),
        ("answer/DecodeConfig.max_new_tokens=5000", "no room"),
        ("MeshConfig.fsdp=7", "7"),
        ("ModelConfig.window=16", "'llama' has no config.json that says window = 16"),
        ("rater/TrainConfig.microbatches=4", "rater/TrainConfig"),
        ("RunConfig.rounds=1.5", "RunConfig.rounds = 1.5; expected a int"),
        ("LANGUAGES='fi'", "expected a tuple"),
        ("MAX_DOCUMENTS=-1", "not be negative"),
        ("TokenizerConfig.character_coverage=5.0", "share between 0 and 1"),
        ("CORPUS=corpus.jsonl", "quotes"),
        ("STEPS=(3", "--gin.STEPS=(3"),
    ],
)
def test_a_wrong_name_or_value_is_told_before_work_starts(run, capsys, override, told):
    assert run.start(override) == 2
    assert told in _error(capsys)
    assert not (run.workdir / "corpus").exists()


@pytest.mark.parametrize(
    ("code", "scripts", "told"),
    [("../x", ("Latin",), "expected letters"), ("xh", ("Klingon",), "Klingon")],
)
def test_a_language_that_cannot_be_is_told(run, capsys, code, scripts, told):
    overrides = [
        "RunConfig.extra_languages=[@LanguageConfig()]",
        f"LanguageConfig.code='{code}'",
        "LanguageConfig.name='Any'",
        f"LanguageConfig.scripts={scripts!r}",
        f"LANGUAGES=('{code}',)",
    ]
    assert run.start(*overrides) == 2
    assert told in _error(capsys)


def test_a_question_without_an_id_is_told_before_work_starts(run, capsys):
    questions = run.corpus.with_name("questions.jsonl")
    rows = [{"id": "a", "instruction": "Why?"}, {"instruction": "How?"}]
    run.write(questions, rows)
    assert run.start(f"EvaluateConfig.questions='{questions}'") == 2
    assert "id" in _error(capsys)
    assert not (run.workdir / "corpus").exists()


@pytest.mark.parametrize("file", ["run.json", "corpus/manifest.json"])
def test_a_damaged_record_says_what_to_do(run, capsys, file):
    assert run.start(verb="prepare") == 0
    (run.workdir / file).write_text("{}")
    capsys.readouterr()
    assert run.start(verb="prepare") == 2
    assert "damaged" in _error(capsys)


def test_a_verb_that_the_run_has_no_stage_for_is_told(run, capsys):
    assert run.start(verb="import-hf") == 2
    assert "train --task lm" in _error(capsys)


def test_a_workdir_of_another_run_is_left_alone(run, capsys):
    assert run.start(verb="seed") == 0
    before = sorted(path.name for path in run.workdir.iterdir())
    capsys.readouterr()
    assert run.start("RunConfig.name='other'") == 2
    assert "was made by the run 'small_cpu'" in _error(capsys)
    assert sorted(path.name for path in run.workdir.iterdir()) == before


def test_a_tokenizer_that_does_not_match_the_model_is_told(run, capsys):
    for verb in ("prepare", "seed", "tokenizer"):
        assert run.start("ModelConfig.vocab_size=100", verb=verb) == 0
    capsys.readouterr()
    assert run.start("ModelConfig.vocab_size=100", verb="train --task lm") == 2
    assert "embedding" in _error(capsys)


def test_a_verb_without_its_input_names_the_verb_that_makes_it(run, capsys):
    assert run.start(verb="generate") == 2
    assert "'prepare'" in _error(capsys)
