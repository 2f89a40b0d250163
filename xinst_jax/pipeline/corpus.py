"""Raw documents to clean texts of response length, each once, in the right language."""

import dataclasses
import hashlib
import itertools
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa

from xinst_jax import shards
from xinst_jax.config import CorpusConfig
from xinst_jax.data import raw_rows, sources
from xinst_jax.errors import UserError
from xinst_jax.languages import Language
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.pipeline import boilerplate, endings, langid, near_duplicates, segment
from xinst_jax.pipeline.clean import clean
from xinst_jax.pipeline.near_duplicates import NearDuplicates
from xinst_jax.pipeline.rejects import REJECTED, Dropped, of_bad_row

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("lang", pa.string()),
        ("text", pa.string()),
        ("source", pa.string()),
        ("license", pa.string()),
        ("lid_prob", pa.float32()),
        ("n_chars", pa.int32()),
    ]
)


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
      digest: equal for texts that differ in case and spacing alone.
      signature_k: MinHash signature, uint32.
    """

    id: str
    text: str
    source: str
    license: str
    lid_prob: float
    digest: bytes
    signature_k: np.ndarray


def run(
    stage: StageDirectory, config: CorpusConfig, languages: Mapping[str, Language]
) -> dict[str, Counts]:
    """Prepares each language's corpus: `{lang}/` and `rejected/{lang}/` of the stage.

    Rows keep the order of their documents. A language is skipped if its counts are
    there: they are the last of its files to be written.

    Args:
      stage: where to write.
      config: what to read and what to keep.
      languages: languages by code.

    Returns:
      Counts by language: documents in, texts out, texts and documents dropped by
      reason. `rows_in + notes['cut'] == rows_out + sum(dropped)`, where 'cut' counts
      the texts by which cutting made more of the documents.

    Raises:
      UserError: before any work, a language without files, an empty file, one without
        the text field; later, too many bad rows, or a language of which nothing is
        left.
    """
    for code in languages:
        sources.preflight(config.path, code, [[config.text_field]])
    return {
        code: _language(stage.path, config, language)
        for code, language in languages.items()
    }


def _language(
    directory: pathlib.Path, config: CorpusConfig, language: Language
) -> Counts:
    """One language: every text is either kept or rejected, and counted."""
    code = language.code
    done = directory / "counts" / f"{code}.json"
    if done.exists():
        return Counts(**json.loads(done.read_bytes()))
    counts, cut = Counts(), 0
    kept = shards.ShardWriter(directory / code, SCHEMA, config.shard_rows)
    rejected = shards.ShardWriter(
        directory / "rejected" / code, REJECTED, config.shard_rows
    )
    unique = _Unique(config.near_duplicate_threshold)
    for found in _prepared(_documents(config, code), config, language):
        counts.rows_in += 1
        cut += len(found) - 1
        for one in map(unique.check, found):
            if isinstance(one, Dropped):
                counts.drop(one.reason)
                rejected.add(one.row(code))
            else:
                counts.rows_out += 1
                kept.add(_row(one, code))
    if not counts.rows_out:
        raise UserError(
            f"No text of language {code!r} is left of {counts.rows_in} documents of "
            f"{config.path}; dropped: {counts.dropped}. Check the language code, the "
            "text field and the lengths in CorpusConfig."
        )
    counts.notes["cut"] = cut
    rejected.close()
    kept.close()
    record = json.dumps(dataclasses.asdict(counts), ensure_ascii=False)
    shards.write_bytes(done, record.encode())
    return counts


def _documents(config: CorpusConfig, code: str) -> Iterator[Document | Dropped]:
    """A language's raw documents in order; stops at too many bad rows."""
    bad_rows = raw_rows.BadRows(
        config.path.replace("{lang}", code),
        config.max_bad_share,
        "CorpusConfig.max_bad_share",
    )
    rows = sources.read(config.path, code)
    for row in itertools.islice(rows, config.max_documents or None):
        document = _document(row, config)
        if isinstance(document, raw_rows.Rejected):
            bad_rows.add(document)
            yield of_bad_row(document)
        else:
            bad_rows.add(None)
            yield document
    bad_rows.check()


def _document(
    row: raw_rows.Row | raw_rows.Rejected, config: CorpusConfig
) -> Document | raw_rows.Rejected:
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


def _prepared(
    documents: Iterable[Document | Dropped], config: CorpusConfig, language: Language
) -> Iterator[list[Text | Dropped]]:
    for document in documents:
        if isinstance(document, Dropped):
            yield [document]
        else:
            yield prepare(document, config, language)


def prepare(
    document: Document, config: CorpusConfig, language: Language
) -> list[Text | Dropped]:
    """A document cleaned, cut and checked: what is known without the other documents.

    Args:
      document: a raw document.
      config: lengths and thresholds.
      language: the language it should be in.

    Returns:
      Its texts in order, each accepted or dropped; at least one.
    """
    parts = segment.cut(
        clean(document.text),
        language,
        config.min_chars,
        config.max_chars,
        config.target_chars,
    )
    if len(parts) == 1:
        return [_checked(document.id, parts[0], document, config, language)]
    return [
        _checked(f"{document.id}#{number}", part, document, config, language)
        for number, part in enumerate(parts, 1)
    ]


def _checked(
    id: str, text: str, document: Document, config: CorpusConfig, language: Language
) -> Text | Dropped:
    """A text, or the first reason to drop it; the cheap and telling reasons first."""
    flaw = boilerplate.find(text, language)
    if flaw is not None:
        return Dropped(id, flaw.reason, flaw.value, flaw.threshold, text)
    length, found = len(text), f"{len(text)} chars"
    if length < config.min_chars:
        return Dropped(id, "too_short", found, f">= {config.min_chars}", text)
    if length > config.max_chars:
        return Dropped(id, "too_long", found, f"<= {config.max_chars}", text)
    if not endings.is_finished(text, language):
        return Dropped(id, "unfinished", f"...{text[-20:]}", "ends a sentence", text)
    verdict = langid.identify(text, language, config.min_lid_prob)
    if verdict.reason:
        expected = f"{language.code} >= {config.min_lid_prob}"
        return Dropped(id, verdict.reason, verdict.found, expected, text)
    return Text(
        id=id,
        text=text,
        source=document.source,
        license=document.license,
        lid_prob=verdict.share,
        digest=hashlib.sha256(" ".join(text.casefold().split()).encode()).digest(),
        signature_k=near_duplicates.signature(text),
    )


class _Unique:
    """Lets through the first of texts that are one, and gives each id once."""

    def __init__(self, threshold: float):
        self._threshold = threshold
        self._near = NearDuplicates(threshold)
        self._ids: list[str] = []
        self._uses: dict[str, int] = {}
        self._id_of: dict[bytes, str] = {}

    def check(self, text: Text | Dropped) -> Text | Dropped:
        """The text, under an id that no other has, or why it is dropped."""
        if isinstance(text, Dropped):
            return text
        same = self._id_of.get(text.digest)
        if same is not None:
            return Dropped(text.id, "duplicate", f"of {same}", "not equal", text.text)
        near = self._near.add(text.signature_k)
        if near is not None:
            number, similarity = near
            found = f"{similarity:.3f} to {self._ids[number]}"
            expected = f"< {self._threshold}"
            return Dropped(text.id, "near_duplicate", found, expected, text.text)
        uses = self._uses[text.id] = self._uses.get(text.id, 0) + 1
        if uses > 1:
            text = dataclasses.replace(text, id=f"{text.id}~{uses}")
        self._id_of[text.digest] = text.id
        self._ids.append(text.id)
        return text


def _row(text: Text, code: str) -> dict[str, object]:
    return {
        "id": text.id,
        "lang": code,
        "text": text.text,
        "source": text.source,
        "license": text.license,
        "lid_prob": text.lid_prob,
        "n_chars": len(text.text),
    }
