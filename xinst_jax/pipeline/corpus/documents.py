"""What the corpus is made of: documents as they are read, texts as they are kept."""

import dataclasses
import hashlib
import itertools
import pathlib
import struct
from collections.abc import Iterator, Mapping

from xinst_jax.config import CorpusConfig
from xinst_jax.data import raw_rows, sources
from xinst_jax.pipeline.clean import clean
from xinst_jax.pipeline.rejects import Dropped, of_bad_row

# What is sorted at once on its way to the written corpus fits the memory.
_SHARD_DOCUMENTS = 4096


@dataclasses.dataclass(frozen=True)
class Document:
    """A raw document: its id, its text as it was found, and where it comes from."""

    id: str
    text: str
    source: str
    license: str


@dataclasses.dataclass(frozen=True)
class Text:
    """A text that passed every check made on it alone.

    Attributes:
      id: the document's, with '#k' for the k-th text of a document that was cut.
      text: cleaned.
      source: the document's.
      license: the document's.
      lid_prob: share of the text in its language, 0 to 1.
      score: which of equal or nearly equal texts is kept: the share in its language
        times the share that does not repeat itself, 0 to 1.
      cluster: how many texts this one stands for, itself included.
    """

    id: str
    text: str
    source: str
    license: str
    lid_prob: float
    score: float
    cluster: int = 1


@dataclasses.dataclass(frozen=True)
class Row:
    """A text or what was dropped, with its place among all that were read.

    Attributes:
      order: place, as bytes that sort: of the language, the document and its part.
      code: the language.
      found: what became of it.
      notes: on the first row of a document, what was masked and cut out of it.
    """

    order: bytes
    code: str
    found: Text | Dropped
    notes: Mapping[str, int]


def place(language: int, document: int, part: int) -> bytes:
    """An order, as `Row.order`, from numbers counted from 0."""
    return struct.pack(">HQI", language, document, part)


def raw_row(order: bytes) -> int:
    """The number of the document's raw row among its language's, counted from 1."""
    return struct.unpack(">HQI", order)[1] + 1


def is_first(order: bytes) -> bool:
    """Whether it is that of a document's first part."""
    return not any(order[-4:])


def shard(order: bytes) -> bytes:
    """A part of all that were read, of 4,096 documents of one language at most."""
    language, document, _ = struct.unpack(">HQI", order)
    return struct.pack(">HQ", language, document // _SHARD_DOCUMENTS)


def read(config: CorpusConfig, code: str) -> Iterator[Document | Dropped]:
    """A language's raw documents in order; rows that cannot be read as dropped.

    Raises:
      UserError: too many rows are bad.
    """
    bad_rows = raw_rows.BadRows(
        config.path.replace("{lang}", code),
        config.max_bad_share,
        "CorpusConfig.max_bad_share",
    )
    rows = sources.read(config.path, code)
    for row in itertools.islice(rows, config.max_documents or None):
        document = of_row(row, config)
        if isinstance(document, raw_rows.Rejected):
            bad_rows.add(document)
            yield of_bad_row(document)
        else:
            bad_rows.add(None)
            yield document
    bad_rows.check()


def of_row(
    row: raw_rows.Row | raw_rows.Rejected, config: CorpusConfig
) -> Document | raw_rows.Rejected:
    """The document of a raw row, or why there is none."""
    if isinstance(row, raw_rows.Rejected):
        return row
    text = raw_rows.text_field(row, config.text_field)
    if isinstance(text, raw_rows.Rejected):
        return text
    file = pathlib.Path(row.place.rpartition(":")[0]).name
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
    return Document(
        id=clean(raw_rows.label(row, config.id_field)) or digest,
        text=text,
        source=clean(raw_rows.label(row, "source", default=file)),
        license=clean(raw_rows.label(row, "license")),
    )
