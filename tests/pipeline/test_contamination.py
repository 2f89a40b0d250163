"""A question of an evaluation set is kept out wherever a run might take it in.

Planted in web text, as a seed pair's instruction and response, and as an instruction
that the generator writes: each is named with its set and n-gram, and the report tells.
"""

import json
import pathlib

import pytest

from xinst_jax import shards
from xinst_jax.config import (
    CorpusConfig,
    DecontaminationConfig,
    RunConfig,
    SeedConfig,
    as_record,
)
from xinst_jax.infer.engine import Generation
from xinst_jax.languages import BUILT_IN
from xinst_jax.manifest import StageDirectory
from xinst_jax.pipeline import contamination, generate, raw_files, seed, stages
from xinst_jax.pipeline.corpus import decontamination
from xinst_jax.pipeline.corpus import stage as corpus
from xinst_jax.report import page

SAMPLE = pathlib.Path(__file__).parents[2] / "data" / "sample" / "corpus"
LANGUAGES = {code: BUILT_IN[code] for code in ("fi", "sw")}
ENGLISH = "Who wrote the first book about the northern lights, and in which year?"
SHORT = "Why is the sky dark?"
PREMISE = "Mies unohti sateenvarjonsa kotiin eilen aamulla."
FINNISH = "Kuka kirjoitti ensimmäisen kirjan revontulista ja minä vuonna se ilmestyi?"
GRAM = "who wrote the first book about the northern"


def _write(path: pathlib.Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def _prose(code: str) -> list[str]:
    lines = (SAMPLE / f"{code}.jsonl").read_text("utf-8").splitlines()
    return [row["text"] for row in map(json.loads, lines) if not row["planted"]]


def _corpus(workdir: pathlib.Path, sets: tuple[str, ...]) -> None:
    for code in LANGUAGES:
        clean, other = _prose(code)[:2]
        texts = [clean, f"{FINNISH}\n{other}" if code == "fi" else other]
        rows = [{"id": f"d{number}", "text": text} for number, text in enumerate(texts)]
        _write(workdir / f"web-{code}.jsonl", rows)
    path = f"{workdir}/web-{{lang}}.jsonl"
    config = CorpusConfig(path=path, evaluation_sets=sets, workers=1)
    record = {"corpus": as_record(config)}
    stage = StageDirectory(workdir / "corpus", "corpus", record, {})
    stage.begin()
    stage.finish(corpus.run(stage, config, LANGUAGES))


def _seed(workdir: pathlib.Path, sets: tuple[str, ...]) -> None:
    pairs = {
        "plain": ("Describe a lake.", "Järvi on syvä."),
        "asked": (f"Tell me: {ENGLISH.lower()}", "Sen kirjoitti hän."),
        "asked_shortly": (SHORT, "Koska aurinko laski."),
        "answered": ("Ask me something.", f"Kysyn: {FINNISH}"),
        "premise": ("Say what happened.", f"Näin kävi. {PREMISE} Sitten satoi."),
    }
    rows = [
        {"id": id, "instruction": instruction, "output": output}
        for id, (instruction, output) in pairs.items()
    ]
    _write(workdir / "pairs-fi.jsonl", rows)
    config = SeedConfig(path=f"{workdir}/pairs-{{lang}}.jsonl", evaluation_sets=sets)
    record = {"seed_pairs": as_record(config)}
    stage = StageDirectory(workdir / "seed", "seed", record, {})
    stage.begin()
    stage.finish(seed.run(stage, config, LANGUAGES))


def _candidates(workdir: pathlib.Path, sets: tuple[str, ...]) -> None:
    says = {"d0": f"Please answer. {ENGLISH}", "d1": "Describe the winter."}

    def write(prompts, ids):
        return [Generation([], -1.0, "stop", says[id.split("#")[0]]) for id in ids]

    writer = generate.Writer(write, lambda text: [0], lambda ids: "", 10_000)
    stage = StageDirectory(
        workdir / "candidates/round-1",
        "candidates/round-1",
        {"evaluation_sets": list(sets)},
        {},
    )
    stage.begin()
    made = generate.run(
        *(stage, list(LANGUAGES), workdir / "corpus", {}, 1, writer, 100),
        evaluated=decontamination.read(sets, LANGUAGES),
    )
    stage.finish(made)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> pathlib.Path:
    """Corpus, seed and candidates of a run with questions planted in each."""
    path = tmp_path_factory.mktemp("run")
    questions = [
        {"id": "q1", "question": ENGLISH, "in_finnish": FINNISH},
        {"id": "q2", "question": SHORT},
        {"id": "q3", "question": PREMISE},
    ]
    sets = (_write(path / "lights.jsonl", questions),)
    _corpus(path, sets)
    _seed(path, sets)
    _candidates(path, sets)
    return path


def _dropped(directory: pathlib.Path, code: str) -> dict[str, str]:
    """What was found in the rows dropped for a piece of an evaluation set, by id."""
    return {
        row["id"]: row["value"]
        for row in shards.read_rows(directory / "rejected" / code)
        if row["reason"] == "contaminated"
    }


def test_a_question_in_web_text_is_named(workdir):
    (found,) = _dropped(workdir / "corpus", "fi").values()
    assert found.startswith("lights: kuka kirjoitti ensimmäisen kirjan revontulista")
    assert _dropped(workdir / "corpus", "sw") == {}


def test_a_question_on_either_side_of_a_seed_pair_is_named(workdir):
    found = _dropped(workdir / "seed", "fi")
    assert found.keys() == {"asked", "asked_shortly", "answered", "premise"}
    assert found["asked"] == f"lights: {GRAM}"
    assert found["asked_shortly"] == "lights: why is the sky dark"
    assert found["answered"].startswith("lights: kuka kirjoitti")
    premise = "mies unohti sateenvarjonsa kotiin eilen aamulla"
    assert found["premise"] == f"lights: {premise}"
    assert [row["id"] for row in shards.read_rows(workdir / "seed" / "fi")] == ["plain"]


def test_a_question_that_the_generator_writes_is_named(workdir):
    for code in LANGUAGES:
        directory = workdir / "candidates/round-1"
        kept = shards.read_rows(directory / code)
        texts = shards.read_rows(workdir / "corpus" / code)
        found = _dropped(directory, code)
        assert set(found.values()) == {f"lights: {GRAM}"}
        assert {row["id"] for row in kept} | found.keys() == {r["id"] for r in texts}
        assert not {row["id"] for row in kept} & found.keys()


def test_instructions_are_compared_with_the_sets_of_corpus_and_seed_pairs(tmp_path):
    one, two = (_write(tmp_path / name, [{"q": name}]) for name in ("a.json", "b.json"))
    run = RunConfig(
        name="planted",
        languages=tuple(LANGUAGES),
        corpus=CorpusConfig(evaluation_sets=(one, two)),
        seed_pairs=SeedConfig(evaluation_sets=(two,)),
    )
    assert raw_files.evaluation_sets(run) == (one, two)
    (written,) = (s for s in stages.graph(run) if s.name == "candidates/round-1")
    assert list(written.config["evaluation_sets"]) == [one, two]
    assert len({name for name in written.files() if name.endswith(".json")}) == 2 * 2


def test_how_much_of_an_item_was_too_much_is_what_the_corpus_was_told(tmp_path):
    assert contamination.lengths([tmp_path]) == DecontaminationConfig()
    lengths = DecontaminationConfig(gram_words=13)
    record = {"corpus": as_record(CorpusConfig(decontamination=lengths))}
    stage = StageDirectory(tmp_path, "corpus", record, {})
    stage.begin()
    stage.finish({})
    assert contamination.lengths([tmp_path]) == lengths


def test_hits_are_counted_by_set_stage_and_language(workdir):
    stages = [workdir / name for name in ("corpus", "seed", "candidates/round-1")]
    found = {one.stage: one for one in contamination.hits(stages, LANGUAGES)}
    assert {one.name for one in found.values()} == {"lights"}
    assert found["corpus"].rows == {"fi": 1}
    assert found["seed"].rows == {"fi": 4}
    written = found["candidates/round-1"]
    assert written.rows.keys() == LANGUAGES.keys()
    assert written.n_grams == ((GRAM, sum(written.rows.values())),)
    # Three ids of one word, two questions, and two items shorter than an n-gram.
    assert contamination.sets(stages) == [
        "lights (2 items by n-grams, 2 shorter ones as a whole, 3 only where a text is "
        "nothing else)"
    ]
    assert contamination.hits([workdir / "diverse"], LANGUAGES) == []


def test_the_report_names_set_stage_and_n_gram(workdir):
    names = ["corpus", "seed", "candidates/round-1"]
    page.write(workdir, workdir / "report.html", "planted", LANGUAGES, names)
    text = (workdir / "report.html").read_text()
    table = text.partition("Pieces of evaluation sets")[2].partition("</table>")[0]
    assert "Compared with lights (2 items by n-grams, 2 shorter" in table
    for told in ("seed", "candidates/round-1", f"“{GRAM}”", "“why is the sky dark” 1"):
        assert told in table
