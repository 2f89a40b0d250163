"""Whatever stands in a row, it is kept or dropped and counted: never an exception."""

import json
import pathlib
import time

import hypothesis
import pytest
from hypothesis import strategies as st

from tests import hostile
from xinst_jax import shards
from xinst_jax.config import CorpusConfig
from xinst_jax.languages import BUILT_IN
from xinst_jax.manifest import StageDirectory
from xinst_jax.pipeline.corpus import documents, duplicates, stage
from xinst_jax.pipeline.corpus.documents import Document, Row, Text
from xinst_jax.pipeline.corpus.prepare import prepare
from xinst_jax.pipeline.executors.local import Local
from xinst_jax.pipeline.rejects import Dropped

SAMPLE = pathlib.Path(__file__).parents[3] / "data" / "sample" / "corpus"
CONFIG = CorpusConfig(min_chars=20, target_chars=200, max_chars=400)


def prose(code):
    lines = (SAMPLE / f"{code}.jsonl").read_text("utf-8").splitlines()
    return next(r["text"] for r in map(json.loads, lines) if not r["planted"])


ODD = st.sampled_from(
    [
        *("", " ", "\n", "\n\n", "\t", "\x00", "\x1b[0m", "\x7f", "\ufeff", "\ufffd"),
        *("\ud800", "\udc00", "\ud83d", "\u202e", "\u202d", "\u2066", "\u2069"),
        *("\u200b", "\u200c", "\u200d", "\u0301", "\u093f", "\u0e33", "\U0010ffff"),
        *(
            "😀",
            "👩‍👩‍👧",
            "🇫🇮",
            "1",
            "٣",
            "๓",
            "4111 1111 1111 1111",
            "+358",
            "@",
            "a@b.c",
        ),
        *("|", "•", ":", "...", "…", "।", "۔", "(", ")", '"', "&amp;", "&#x110000;"),
        *("Ã¤", "ﬁ", "ß", "İ", "Read more", "Kuva: ", "https://", "<br>", "{lang}"),
    ]
)
PIECES = st.one_of(
    ODD,
    ODD.map(lambda piece: piece * 50),
    st.text(max_size=30),
    st.sampled_from([prose(code) for code in BUILT_IN]),
)


@hypothesis.settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
@hypothesis.given(
    pieces=st.lists(PIECES, max_size=8), code=st.sampled_from(list(BUILT_IN))
)
def test_any_text_is_kept_or_dropped_with_a_reason(pieces, code):
    document = Document("d", "".join(pieces), "s", "l")
    found = prepare(document, CONFIG, BUILT_IN[code])
    assert found.texts
    for text in found.texts:
        if isinstance(text, Dropped):
            assert text.reason and text.threshold
        else:
            assert CONFIG.min_chars <= len(text.text) <= CONFIG.max_chars
            assert 0 <= text.score <= 1
        # What is written must be text that UTF-8 can hold.
        text.text.encode("utf-8")


BAD = hostile.TEXTS | {
    "one_word": "a" * 300_000,
    "short_sentences": "A b. " * 60_000,
    "lines": "x\n" * 100_000,
}


def test_a_corpus_of_bad_rows_is_counted_and_the_good_one_kept(tmp_path):
    rows = [{"id": id, "text": text} for id, text in BAD.items()]
    rows.append({"id": "good", "text": prose("fi")})
    rows.append({"id": "null", "text": None})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "fi.jsonl").write_text(lines)
    config = CorpusConfig(path=f"{tmp_path}/{{lang}}.jsonl", max_bad_share=1.0)
    directory = StageDirectory(tmp_path / "out", "corpus", {}, {})
    start = time.process_time()
    counts = stage.run(directory, config, {"fi": BUILT_IN["fi"]})["fi"]
    assert time.process_time() - start < 30
    kept = shards.read_rows(tmp_path / "out" / "fi")
    assert [row["id"] for row in kept] == ["good"]
    rejected = shards.read_rows(tmp_path / "out" / "rejected" / "fi")
    assert {row["id"].split("#")[0] for row in rejected} == {*BAD, "fi.jsonl:13"}
    assert counts.rows_in == len(rows)
    total = counts.rows_out + sum(counts.dropped.values())
    assert counts.rows_in + counts.notes["cut"] == total
    reasons = {row["id"]: row["reason"] for row in rejected}
    assert reasons["ten_megabytes"] == "document_too_long"
    assert reasons["fi.jsonl:13"] == "missing_field"


@pytest.mark.parametrize("different", [0, 1])
def test_ten_thousand_identical_rows_are_one(tmp_path, different):
    text = prose("fi")[:300]
    rows = (
        Row(
            documents.place(0, number, 0),
            "fi",
            Text("same", text + f" {number}." * different, "", "", 1.0, 0.5),
            {},
        )
        for number in range(10_000 if not different else 300)
    )
    with Local(tmp_path, 1) as executor:
        executor.put(rows, "rows")
        made = duplicates.unique(executor, ["rows"], 0.8)
        found = [row.found for _, row in executor.ordered(made, documents.shard)]
    (kept,) = (one for one in found if isinstance(one, Text))
    assert kept.cluster == len(found) and kept.id == "same"
