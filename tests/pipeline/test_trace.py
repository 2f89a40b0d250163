"""A row of the dataset back to its document, and ids that lead nowhere."""

import json
import pathlib

import pyarrow as pa
import pytest
import rich.console

from xinst_jax import __main__ as command
from xinst_jax import languages, shards
from xinst_jax.config import CorpusConfig, RunConfig
from xinst_jax.errors import UserError
from xinst_jax.manifest import StageDirectory
from xinst_jax.pipeline import trace
from xinst_jax.pipeline.corpus import stage as corpus
from xinst_jax.pipeline.rejects import REJECTED, Dropped
from xinst_jax.pipeline.workspace import Workspace

_LAKE = "Saimaa on Suomen suurin järvi, ja sen rannoilla on monta kaupunkia. "
_TREE = "Mänty kasvaa hitaasti, mutta se elää satoja vuosia kallioisella maalla. "


# Texts of one id, and of one that looks like that of the second of them.
_SAME_IDS = (
    ("tie", f"Eilen satoi lunta. {_TREE}"),
    ("tie", f"Tänään paistaa. {_LAKE}"),
    ("tie~2", f"Huomenna tuulee. {_TREE}"),
)


def _document(start: str) -> str:
    lines = [
        f"{start} {n}. {word} {_LAKE if n % 2 else _TREE}"
        for n, word in enumerate(("Talvella", "Kesällä", "Syksyllä", "Keväällä"))
    ]
    return "\n\n".join(lines)


# Starts of which cleaning leaves nothing that stands so in the raw text.
_ALTERED = {
    "masked": f"Kirjoita: aino.virta@esimerkki.fi, tai soita heti. {_TREE}",
    "captioned": f"Saimaa on järvi.\nKuva: Aino Virta\n{_LAKE}",
    "linked": f"Mänty on puu.\nLue myös: Kuusi on puu\n{_TREE}",
    "decoded": f"MÃ¤nty kasvaa tÃ¤Ã¤llÃ¤ metsÃ¤ssÃ¤. {_LAKE}",
}


def _write(directory: pathlib.Path, rows: list[dict], schema=None) -> None:
    table = pa.Table.from_pylist(rows, schema=schema)
    shards.write_table(directory / shards.shard_name(0, 1), table)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    """Two rounds of one row, over a corpus that `prepare` made of real files."""
    path = tmp_path_factory.mktemp("run")
    rows = [
        {"text": "Liian lyhyt.", "id": "short"},
        {"text": _document("Ensin"), "id": "doc", "source": "site", "license": "CC0"},
        {"text": _document("Myöhemmin") + " Loppu tuli nyt.", "id": "doc"},
        {"text": _document("Illalla") + " Metsä on tumma ja kostea."},
        *({"text": text, "id": id} for id, text in _ALTERED.items()),
        {"text": _document("Lopuksi") + " Aamu tuli.", "id": "a~b#3"},
        {"text": _document("Viimein") + " Ilta tuli.", "id": "a~b#3"},
        *({"text": text, "id": id} for id, text in _SAME_IDS),
    ]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (path / "fi.jsonl").write_text(lines, "utf-8")
    config = CorpusConfig(
        path=str(path / "{lang}.jsonl"),
        min_chars=60,
        max_chars=200,
        target_chars=150,
        near_duplicate_threshold=1.0,
        quality_filters=False,
    )
    run = RunConfig(name="t", languages=("fi",), rounds=2, corpus=config)
    made = Workspace(run, path / "workdir")
    made.claim()
    stage = StageDirectory(made.path("corpus"), "corpus", {}, {})
    stage.begin()
    stage.finish(corpus.run(stage, config, languages.resolve(("fi",))))
    id = "doc#2"
    for number, reasons in ((1, ["too_short"]), (2, [])):
        _write(
            made.path(f"candidates/round-{number}/fi"),
            [
                {
                    "id": id,
                    "lang": "fi",
                    "instruction": f"Ask {number}.",
                    "output": "x",
                    "logprob": -1.5,
                    "finish": "stop",
                    "round": number,
                }
            ],
        )
        _write(
            made.path(f"ratings/round-{number}/fi"),
            [
                {
                    "id": id,
                    "instruction": f"Ask {number}.",
                    "p_good": 0.75,
                    "score": 0.8,
                    "kept": not reasons,
                    "reasons": reasons,
                }
            ],
            pa.schema(
                [
                    ("id", pa.string()),
                    ("instruction", pa.string()),
                    ("p_good", pa.float32()),
                    ("score", pa.float32()),
                    ("kept", pa.bool_()),
                    ("reasons", pa.list_(pa.string())),
                ]
            ),
        )
    dropped = Dropped("masked", "held_out", "seed: mänty kasvaa", "none", "x")
    _write(made.path("candidates/round-1/rejected/fi"), [dropped.row("fi")], REJECTED)
    generator = StageDirectory(made.path("generator/round-2"), "g", {}, {})
    generator.finish({})
    _write(
        made.path("diverse/fi"),
        [
            {
                "id": id,
                "cluster": 1,
                "distance": 0.25,
                "weight": 1.5,
                "selected": True,
                "reason": "",
            }
        ],
    )
    summary = [
        {
            "cluster": n,
            "size": 9 - n,
            "selected": 2,
            "nearest_instruction": f"Near {n}.",
        }
        for n in range(3)
    ]
    shards.write_table(
        made.path("diverse/clusters/fi.parquet"), pa.Table.from_pylist(summary)
    )
    _write(made.path("dataset/fi"), [{"id": "other"}, {"id": id}])
    return made


def test_a_row_is_traced_to_its_file_and_through_every_stage(workspace):
    steps = {step.title: step.lines for step in trace.trace(workspace, "doc#2")}
    place = workspace.run.corpus.path.replace("{lang}", "fi")
    assert steps["fi: document"] == [f"{place}, row 2", "source site, licence CC0"]
    assert steps["text"][0].startswith("text 2 of it, as doc#2; lid_prob ")
    rows = {r["id"]: r["text"] for r in shards.read_rows(workspace.path("corpus/fi"))}
    assert steps["text"][1] == rows["doc#2"]
    assert steps["round 1: instruction"][0] == "Ask 1."
    assert steps["round 1: rating"][0] == "not kept: too_short"
    assert "by generator/round-2 (" in steps["round 2: instruction"][1]
    assert steps["round 2: rating"][0] == "kept"
    assert "p_good 0.75, score 0.8" in steps["round 2: rating"][1]
    assert "by rater/round-2 and follower/round-2; " in steps["round 2: rating"][1]
    assert steps["cluster"][0] == "drawn; cluster 1 of 3, 2 of its 8 pairs drawn"
    assert steps["cluster"][1] == "nearest to its centre: Near 1."
    assert steps["dataset"] == ["dataset/fi/part-00000-of-00001.parquet, row 2"]
    assert list(steps) == [
        "fi: document",
        "text",
        "round 1: instruction",
        "round 1: rating",
        "round 2: instruction",
        "round 2: rating",
        "cluster",
        "dataset",
    ]


def _places(workspace: Workspace) -> dict[str, str | None]:
    """Where each text of the corpus was found, by id."""
    config = workspace.run.corpus
    return {
        row["id"]: trace.raw_place(config, "fi", row["id"], row["raw_row"])
        for row in shards.read_rows(workspace.path("corpus/fi"))
    }


def test_every_text_of_a_corpus_finds_its_own_row(workspace):
    """Also where two documents have one id, and where one has none."""
    starts = {"Ensin": 2, "Myöhemmin": 3, "Illalla": 4, "Lopuksi": 9, "Viimein": 10}
    places, seen = _places(workspace), set()
    for row in shards.read_rows(workspace.path("corpus/fi")):
        assert places[row["id"]] is not None
        for word in [word for word in starts if word in row["text"]]:
            assert places[row["id"]].endswith(f", row {starts[word]}")
            seen.add(word)
    assert seen == starts.keys()
    assert {"doc#1", "doc#1~2", "a~b#3#1", "a~b#3#1~2"} <= places.keys()


def test_texts_are_found_whatever_their_ids_look_like(workspace):
    places = _places(workspace)
    texts = {r["id"]: r["text"] for r in shards.read_rows(workspace.path("corpus/fi"))}
    for number, (id, (_, text)) in enumerate(
        zip(("tie", "tie~2", "tie~2~1"), _SAME_IDS, strict=True), 11
    ):
        assert texts[id] == text.strip()
        assert places[id].endswith(f"fi.jsonl, row {number}")
    assert trace.trace(workspace, "fi/tie~2~1")[0].lines[0] == places["tie~2~1"]


def test_a_text_that_got_no_instruction_says_why(workspace):
    steps = {step.title: step.lines for step in trace.trace(workspace, "masked")}
    assert list(steps) == ["fi: document", "text", "round 1: no instruction"]
    (why,) = steps["round 1: no instruction"]
    assert why == "held_out (found seed: mänty kasvaa; expected none)"


def test_a_text_whose_start_was_altered_finds_its_row(workspace):
    rows = {r["id"]: r["text"] for r in shards.read_rows(workspace.path("corpus/fi"))}
    places = _places(workspace)
    for number, (id, raw) in enumerate(_ALTERED.items(), 5):
        assert id in rows and rows[id][:40] not in " ".join(raw.split())
        assert places[id].endswith(f"fi.jsonl, row {number}")
    assert trace.trace(workspace, "masked")[0].lines[0] == places["masked"]


def test_a_row_that_is_another_document_now_is_told(workspace):
    config = workspace.run.corpus
    assert trace.raw_place(config, "fi", "doc#2", 2) is not None
    for number in (1, 4, 99):
        assert trace.raw_place(config, "fi", "doc#2", number) is None


def test_a_corpus_without_the_numbers_of_raw_rows_says_so(workspace, tmp_path):
    old = Workspace(workspace.run, tmp_path)
    old.claim()
    names = [field.name for field in corpus.SCHEMA if field.name != "raw_row"]
    rows = shards.read_rows(workspace.path("corpus/fi"), names)
    StageDirectory(old.path("corpus"), "corpus", {}, {}).finish({})
    _write(old.path("corpus/fi"), rows)
    document, text = trace.trace(old, "doc#2")
    assert "without the column 'raw_row'" in document.lines[0]
    assert text.title == "text"


def test_a_language_before_the_id_and_none_give_the_same(workspace):
    steps = trace.trace(workspace, "doc#2")
    assert trace.trace(workspace, "fi/doc#2") == steps


def test_a_rejected_text_says_why(workspace):
    (step,) = trace.trace(workspace, "short")
    assert step.title == "fi: rejected"
    assert "too_short (found 12 chars" in step.lines[0]


def test_an_unknown_id_is_one_clear_error(workspace, capsys, tmp_path):
    with pytest.raises(UserError, match=r"--id 'nowhere'.*in fi\. .*such as 'other'"):
        trace.trace(workspace, "nowhere")
    empty = Workspace(workspace.run, tmp_path)
    with pytest.raises(UserError, match="corpus is not made yet"):
        trace.trace(empty, "doc#2")
    given = ["--gin_file", "gin/runs/quickstart.gin", "--workdir", str(tmp_path)]
    status = command.main(["trace", *given, "--id", "x"])
    assert status == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


def test_a_row_of_any_text_is_printed_as_it_is(workspace, capsys):

    step = trace.Step("[red]title", ["[bold]not markup[/bold]", "แม่น้ำ"])
    trace.show([step], rich.console.Console(width=60))
    shown = capsys.readouterr().out
    assert "[red]title" in shown and "[bold]not markup[/bold]" in shown
    assert "แม่น้ำ" in shown


def test_a_round_that_is_being_made_again_is_not_said_to_be_the_new_generators(
    workspace,
):
    begun = workspace.path("candidates/round-1") / "started.json"
    begun.write_text("{}")
    try:
        titles = [step.title for step in trace.trace(workspace, "doc#2")]
    finally:
        begun.unlink()
    assert "round 1: instruction" not in titles and "round 2: instruction" in titles
