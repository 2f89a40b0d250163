"""WET files, as Common Crawl's, written by warcio: a row for each page's text."""

import gzip
import io
import sys

import pytest

from xinst_jax.data import sources
from xinst_jax.errors import UserError

TEXTS = [f"Hyvää päivää {n}.\nToinen rivi, ääkkösiä. {'x' * n}" for n in range(40)]


def _wet(pages: list[bytes], packed: bool = True, kind: str = "conversion") -> bytes:
    from warcio.warcwriter import WARCWriter

    sink = io.BytesIO()
    writer = WARCWriter(sink, gzip=packed)
    info = {"software": "a crawl", "description": "its text"}
    writer.write_record(writer.create_warcinfo_record("a.wet", info))
    for number, page in enumerate(pages):
        headers = {"WARC-Identified-Content-Language": "fin,eng"}
        record = writer.create_warc_record(
            f"https://example.fi/{number}",
            kind,
            payload=io.BytesIO(page),
            warc_content_type="text/plain",
            warc_headers_dict=headers,
        )
        writer.write_record(record)
    return sink.getvalue()


def _packings(pages: list[bytes]) -> dict[str, bytes]:
    plain = _wet(pages, packed=False)
    return {
        "a.warc.wet.gz": _wet(pages),
        "b.wet": plain,
        "c.wet.gz": gzip.compress(plain),
        "d.warc": plain,
    }


@pytest.mark.parametrize("name", ["a.warc.wet.gz", "b.wet", "c.wet.gz", "d.warc"])
def test_each_page_is_a_row_with_its_text_and_address(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(_packings([text.encode() for text in TEXTS])[name])
    sources.preflight(str(path), "fi", [["text"]])
    rows = list(sources.read(str(path), "fi"))
    assert [row.fields["text"] for row in rows] == TEXTS
    assert [row.place for row in rows] == [f"{path}:{n}" for n in range(1, 41)]
    assert [row.fields["source"] for row in rows] == [
        f"https://example.fi/{n}" for n in range(40)
    ]
    assert len({row.fields["id"] for row in rows}) == 40
    assert rows[0].fields["languages"] == "fin,eng"


def test_a_page_that_is_no_utf8_is_one_bad_row(tmp_path):
    path = tmp_path / "a.warc.wet.gz"
    path.write_bytes(_wet([b"yksi", b"k\xe4ksi", b"kolme"]))
    good, bad, last = sources.read(str(path), "fi")
    assert (bad.reason, bad.place) == ("not_utf8", f"{path}:2")
    assert (good.fields["text"], last.fields["text"]) == ("yksi", "kolme")


@pytest.mark.parametrize("name", ["a.warc.wet.gz", "b.wet", "c.wet.gz"])
def test_a_cut_file_is_an_error_that_names_it(tmp_path, name):
    content = _packings([text.encode() for text in TEXTS])[name]
    path = tmp_path / name
    for cut in (9, 30, 90, 150, 300, 1000):
        path.write_bytes(content[:-cut])
        with pytest.raises(UserError, match=name):
            list(sources.read(str(path), "fi"))


def test_what_is_no_wet_file_is_told(tmp_path):
    path = tmp_path / "a.warc.wet.gz"
    for content in (b"no gzip", gzip.compress(b"Terve, maailma\n" * 9)):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"a\.warc\.wet\.gz cannot be read"):
            sources.preflight(str(path), "fi", [["text"]])
    path.write_bytes(_wet([b"HTTP/1.1 200 OK\r\n\r\n<p>"], kind="response"))
    with pytest.raises(UserError, match="expected text extracted"):
        sources.preflight(str(path), "fi", [["text"]])
    plain = _wet([b"yksi"], packed=False)
    path.write_bytes(gzip.compress(plain.replace(b"Content-Length: 4", b"X: 4")))
    with pytest.raises(UserError, match="no Content-Length"):
        sources.preflight(str(path), "fi", [["text"]])


def test_without_warcio_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "warcio.archiveiterator", None)
    (tmp_path / "a.wet").write_bytes(b"WARC/1.0\r\n")
    with pytest.raises(UserError, match=r"requirements-sources\.txt"):
        list(sources.read(f"{tmp_path}/a.wet", "fi"))
