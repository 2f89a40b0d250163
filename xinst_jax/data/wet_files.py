"""Records of a WET file: the plain text that was extracted from a crawl's pages.

The format is that of Common Crawl: WARC (ISO 28500) with records of type 'conversion'.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO

from xinst_jax.data.raw_rows import PREVIEW_CHARS, Rejected, Row
from xinst_jax.errors import UserError

_PAGES = "response"
_HEADERS = {
    "id": "WARC-Record-ID",
    "source": "WARC-Target-URI",
    "date": "WARC-Date",
    "languages": "WARC-Identified-Content-Language",
}


def rows(file: BinaryIO, name: str) -> Iterator[Row | Rejected]:
    """A row for each page: `text`, and `id`, `source`, `date`, `languages` if given.

    `source` is the page's address and `languages` what the crawl took it for.

    Args:
      file: the records, decompressed; one is read at a time.
      name: the file's name, for places and errors.

    Raises:
      EOFError: the file ends within a record.
      UserError: it is no WARC, holds pages as they were sent, or a record without
        length; or the package that reads it is not installed.
    """
    iterator, damaged = _records(file, name)
    number = 0
    try:
        for record in iterator:
            text = _content(record, f"{name}:{number + 1}")
            if record.rec_type == _PAGES:
                raise UserError(
                    f"{name} holds pages as they were sent ('response' records), "
                    "expected text extracted from them ('conversion' records, as in "
                    "Common Crawl's .warc.wet.gz)."
                )
            if record.rec_type == "conversion":
                number += 1
                yield _row(record, text, f"{name}:{number}")
        # warcio takes the error of a file that was cut for its end; this raises it.
        file.read(1)
    except damaged as error:
        first = str(error).strip().split("\n")[0][:PREVIEW_CHARS]
        raise UserError(
            f"{name} cannot be read (after {name}:{number}): {first}. Expected a WET "
            "file: WARC records of extracted text."
        ) from error


def _records(
    file: BinaryIO, name: str
) -> tuple[Iterator[Any], tuple[type[Exception], ...]]:
    """The records, and the errors that damaged ones raise."""
    try:
        from warcio.archiveiterator import ArchiveIterator
        from warcio.exceptions import ArchiveLoadFailed
        from warcio.statusandheaders import StatusAndHeadersParserException
    except ImportError as error:
        raise UserError(
            f"{name} is read with the package warcio, which is not installed: "
            "pip install -r requirements-sources.txt."
        ) from error
    damaged = (ArchiveLoadFailed, StatusAndHeadersParserException)
    return ArchiveIterator(file, no_record_parse=True), damaged


def _content(record: Any, place: str) -> bytes:
    """A record's bytes, all of them."""
    said = record.rec_headers.get_header("Content-Length") or ""
    if not said.isdecimal():
        raise EOFError(f"{place} has no Content-Length")
    content: bytes = record.content_stream().read()
    if len(content) < int(said):
        raise EOFError(f"{place} has {len(content)} bytes of {said}")
    return content


def _row(record: Any, content: bytes, place: str) -> Row | Rejected:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        found = f"byte 0x{content[error.start]:02x} at {error.start}"
        preview = content[:PREVIEW_CHARS].decode("utf-8", "replace")
        return Rejected(place, "not_utf8", found, "UTF-8", preview)
    headers = {
        field: record.rec_headers.get_header(header)
        for field, header in _HEADERS.items()
    }
    named = {field: value for field, value in headers.items() if value}
    return Row({**named, "text": text}, place)
