"""Raw rows: every format gives the same rows, and no bad row is lost or fatal."""

import gzip
import json
import pathlib
import random

import hypothesis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import strategies as st

from xinst_jax.data import raw_rows, sources
from xinst_jax.errors import UserError

TEXTS = ["Hyvää päivää.", "నమస్కారం", "क्\u200dष", "a\tb\nc", "\U0001f600" * 3, ""]


@pytest.fixture
def rows():
    order = random.Random(20240611)
    return [
        {"id": f"r{index}", "text": order.choice(TEXTS) + str(index), "n": index}
        for index in range(700)
    ]


def json_lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def write(path, rows):
    content = json_lines(rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(content))
    elif path.suffix == ".zst":
        # Two frames, as `cat a.zst b.zst` gives.
        middle = content.index(b"\n", len(content) // 2) + 1
        frames = (content[:middle], content[middle:])
        path.write_bytes(b"".join(map(zstandard.compress, frames)))
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=100)
    else:
        path.write_bytes(b"\xef\xbb\xbf" + content)
    return path


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.json", "a.jsonl.gz", "a.jsonl.zst", "a.parquet"]
)
def test_every_format_gives_the_same_rows(tmp_path, rows, name):
    path = write(tmp_path / name, rows)
    read = list(sources.read(str(path), "fi"))
    assert [row.fields for row in read] == rows
    assert [row.place for row in read] == [f"{path}:{n}" for n in range(1, 701)]


def test_patterns_stand_for_language_names_and_lists(tmp_path, rows):
    for name in ("fi-b.jsonl", "fi-a.jsonl", "sw-a.jsonl", "more.jsonl"):
        write(tmp_path / name, rows[:1])
    path = f"{tmp_path}/{{lang}}-?.jsonl, {tmp_path}/mor*.jsonl,{tmp_path}/{{lang}}-*"
    found = [pathlib.PurePath(file).name for file in sources.files(path, "fi")]
    assert found == ["fi-a.jsonl", "fi-b.jsonl", "more.jsonl"]
    assert sources.exists(path, "fi")
    assert not sources.exists(f"{tmp_path}/{{lang}}.jsonl", "fi")


def test_bad_rows_are_rejected_with_place_and_the_others_kept(tmp_path):
    path = tmp_path / "fi.jsonl"
    path.write_bytes(
        b'{"text": "yksi"}\n'
        b"\n"
        b'{"text": "kaksi"\n'
        b'{"text": "p\xe4iv\xe4"}\n'
        b'["kolme"]\n' + b"[" * 100_000 + b"\n"
        b'{"text": "nelj\xc3\xa4"}'
    )
    read = list(sources.read(str(path), "fi"))
    good = [row.fields["text"] for row in read if isinstance(row, raw_rows.Row)]
    bad = [(r.place, r.reason) for r in read if isinstance(r, raw_rows.Rejected)]
    assert good == ["yksi", "neljä"]
    assert bad == [
        (f"{path}:3", "not_json"),
        (f"{path}:4", "not_utf8"),
        (f"{path}:5", "not_an_object"),
        (f"{path}:6", "not_json"),
    ]


@hypothesis.settings(max_examples=50, deadline=None)
@hypothesis.given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.text(st.characters(codec=None), max_size=20).map(
                lambda text: json.dumps({"text": text}).encode()
            ),
        ),
        max_size=9,
    )
)
def test_any_bytes_are_rows_or_rejected_with_a_reason(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("any") / "fi.jsonl"
    path.write_bytes(b"\n".join(lines))
    for row in sources.read(str(path), "fi"):
        if isinstance(row, raw_rows.Rejected):
            assert row.reason in ("not_json", "not_an_object", "not_utf8")
            assert row.place.startswith(f"{path}:") and row.threshold
        else:
            assert isinstance(row.fields, dict)


def test_a_field_that_is_missing_or_no_string_is_named():
    row = raw_rows.Row({"body": "x", "text": 3, "id": 7}, "fi.jsonl:9")
    assert raw_rows.text_field(row, "body") == "x"
    missing, number = (
        raw_rows.text_field(row, "title"),
        raw_rows.text_field(row, "text"),
    )
    assert (missing.reason, missing.value) == (
        "missing_field",
        "fields: body, id, text",
    )
    assert (number.reason, number.value) == ("not_a_string", "text: int")
    assert "'title'" in missing.threshold and missing.place == "fi.jsonl:9"
    assert raw_rows.label(row, "id") == "7" and raw_rows.label(row, "license") == ""


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.parquet"])
def test_a_cut_file_is_an_error_that_names_it(tmp_path, rows, name):
    path = write(tmp_path / name, rows)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=name):
        list(sources.read(str(path), "fi"))


def test_preflight_names_what_is_wrong_before_work_starts(tmp_path, rows):
    wanted = [("text",)]
    path = f"{tmp_path}/{{lang}}.jsonl"
    with pytest.raises(UserError, match=r"nothing matches .*fi\.jsonl"):
        sources.preflight(path, "fi", wanted)
    (tmp_path / "fi.jsonl").write_bytes(b"\n\n")
    with pytest.raises(UserError, match="empty"):
        sources.preflight(path, "fi", wanted)
    write(tmp_path / "fi.jsonl", [{"body": "x", "id": "1"}])
    with pytest.raises(UserError, match=r"found fields body, id, expected .*'text'"):
        sources.preflight(path, "fi", wanted)
    (tmp_path / "fi.jsonl").write_bytes("Terve, maailma\n".encode("utf-16"))
    with pytest.raises(UserError, match="not_utf8"):
        sources.preflight(path, "fi", wanted)
    (tmp_path / "fi.jsonl.gz").write_bytes(b"no gzip at all")
    with pytest.raises(UserError, match=r"fi\.jsonl\.gz cannot be read"):
        sources.preflight(f"{path}.gz", "fi", wanted)
    write(tmp_path / "fi.jsonl", rows)
    sources.preflight(path, "fi", wanted)
    sources.preflight(path, "fi", [("title", "body"), ("id", "text")])


def test_an_unknown_tfds_name_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no_such_set_of_text"):
        sources.preflight("tfds:no_such_set_of_text", "fi", [("text",)])


def test_one_bad_row_passes_and_many_stop(tmp_path):
    bad = raw_rows.Rejected("fi.jsonl:4", "not_json", "line 1", "one JSON object", "x")
    few = raw_rows.BadRows("fi.jsonl", 0.01, "CorpusConfig.max_bad_share")
    for index in range(20):
        few.add(bad if index == 3 else None)
    few.check()
    few.add(bad)
    with pytest.raises(UserError, match=r"2 of the first 21 rows .*fi\.jsonl:4"):
        few.check()
    strict = raw_rows.BadRows("fi.jsonl", 0.0, "CorpusConfig.max_bad_share")
    strict.add(bad)
    with pytest.raises(UserError):
        strict.check()


def test_a_file_of_rubbish_stops_before_its_end():
    bad = raw_rows.Rejected("x:1", "not_json", "", "", "")
    meter = raw_rows.BadRows("x", 0.01, "CorpusConfig.max_bad_share")
    with pytest.raises(UserError):
        for _ in range(1000):
            meter.add(bad)


def test_digest_changes_with_the_content(tmp_path, rows):
    path = write(tmp_path / "fi.jsonl", rows)
    before = sources.digests(str(path), "fi")
    write(path, rows[:-1])
    after = sources.digests(str(path), "fi")
    assert list(before) == list(after) == [str(path)] and before != after
