"""Noise planted at known rates, and that cleaning finds what a page shows by itself."""

import importlib.util
import json
import pathlib

import pytest

from xinst_jax.pipeline.clean import clean

_ROOT = pathlib.Path(__file__).parents[2]
_SAMPLE = _ROOT / "data" / "sample" / "corpus"
_spec = importlib.util.spec_from_file_location(
    "planted_noise", _ROOT / "tools" / "planted_noise.py"
)
tool = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tool)


def _texts(code: str) -> list[tuple[str, str]]:
    lines = (_SAMPLE / f"{code}.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [(row["id"], clean(row["text"])) for row in rows if len(row["text"]) > 400]


def test_each_kind_is_planted_in_the_share_asked_for():
    texts = {"fi": [(str(n), f"Teksti numero {n}. Se on tässä.") for n in range(200)]}
    rows = tool.plant(texts, share=0.05, seed=0)["fi"]
    again = tool.plant(texts, share=0.05, seed=0)["fi"]
    assert rows == again
    for kind in tool.KINDS:
        assert sum(row.kind == kind for row in rows) == 10
    twins = [row for row in rows if row.twin]
    assert len(rows) == 200 + len(twins)
    assert {row.twin for row in twins} <= {row.id for row in rows}


@pytest.mark.parametrize("kind", tool.KINDS)
def test_what_is_planted_differs_from_what_it_was_made_of(kind: str):
    texts = {code: _texts(code) for code in ("fi", "th")}
    made = tool.plant(texts, share=1 / len(tool.KINDS), seed=1)
    rows = [row for each in made.values() for row in each if row.kind == kind]
    assert rows
    for row in rows:
        if kind != "duplicate":
            assert row.text != row.original
        if kind in ("frame_lines", "mixed_language", "personal_data"):
            assert all(noise in row.text for noise in row.noise)
            assert all(noise not in row.original for noise in row.noise)
        if kind == "cut_text":
            assert row.original.startswith(row.text)


def test_what_shows_on_a_document_alone_is_caught_and_a_twin_is_found(tmp_path):
    path = str(_SAMPLE / "{lang}.jsonl")
    found = tool.study(path, ["fi", "th"], 20, share=0.1, seed=0)
    for code, each in found.items():
        for kind in ("wrong_language", "duplicate", "near_duplicate", "mojibake"):
            assert each.caught[kind] == each.planted[kind] > 0, (code, kind)
        assert each.clean_texts > 0
    lines = tool.table(found).splitlines()
    assert len({line.count(" | ") for line in lines}) <= 2
    assert lines[2].startswith("| fi | ")
