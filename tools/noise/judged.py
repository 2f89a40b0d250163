"""What became of documents with noise in them, and which filter did it."""

import collections
import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence

from tools.noise.kinds import KINDS, NONE, REPAIRED, Planted
from xinst_jax import shards
from xinst_jax.pipeline.clean import clean
from xinst_jax.pipeline.corpus import personal_data

TRIMMED = "left_off_in_cutting"
"""What went where documents are cut into texts: headings that nothing follows."""

Notes = Callable[[str], Mapping[str, int]]
"""What is masked in a document's text and cut out of it, counted by kind."""


@dataclasses.dataclass
class Found:
    """What became of a language's documents.

    Attributes:
      planted: documents by kind.
      caught: those of them whose noise is in no kept text.
      kept: those of them of which any text was kept.
      meant: those caught by a filter that is meant for their kind.
      dropped: those caught, by kind and reason of the texts that had the noise; a
        document may count under several.
      cut_out: those caught, by kind and what was cut out of the document for it.
      clean_texts: texts of the documents that were left as they were.
      clean_dropped: how many of those were dropped, by reason.
      clean_documents: the documents that were left as they were.
      clean_cut: what was cut out of them and masked in them, by kind.
      clean_cut_documents: of how many of them, by kind.
    """

    planted: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )
    caught: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )
    kept: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )
    meant: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )
    dropped: collections.Counter[tuple[str, str]] = dataclasses.field(
        default_factory=collections.Counter
    )
    cut_out: collections.Counter[tuple[str, str]] = dataclasses.field(
        default_factory=collections.Counter
    )
    clean_texts: int = 0
    clean_dropped: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )
    clean_documents: int = 0
    clean_cut: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )
    clean_cut_documents: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )


def pooled(found: Iterable[Found]) -> Found:
    """The counts of several languages or draws added up."""
    whole = Found()
    for each in found:
        for field in dataclasses.fields(Found):
            total = getattr(whole, field.name) + getattr(each, field.name)
            setattr(whole, field.name, total)
    return whole


@dataclasses.dataclass(frozen=True)
class _Texts:
    """A language's texts by document: kept, and (reason, text) of rejected ones."""

    kept: Mapping[str, Sequence[str]]
    rejected: Mapping[str, Sequence[tuple[str, str]]]

    def of(self, id: str) -> list[str]:
        """All of a document's texts."""
        return [*self.kept[id], *(text for _, text in self.rejected[id])]


def judge(
    corpus: pathlib.Path, code: str, rows: Sequence[Planted], notes: Notes
) -> Found:
    """Holds a finished `corpus` directory against what was planted.

    Args:
      corpus: the directory.
      code: the language.
      rows: its documents.
      notes: as the preparation of a document of this language gives them.
    """
    texts = _read(corpus, code)
    found = Found()
    for row in rows:
        if row.kind == NONE:
            continue
        found.planted[row.kind] += 1
        found.kept[row.kind] += bool(texts.kept[row.id])
        if any(
            has_noise(text, row, texts.kept[row.twin]) for text in texts.kept[row.id]
        ):
            continue
        found.caught[row.kind] += 1
        dropped, cut_out = _who(row, texts, notes)
        found.dropped.update((row.kind, name) for name in dropped)
        found.cut_out.update((row.kind, name) for name in cut_out)
        found.meant[row.kind] += bool(KINDS[row.kind].meant & {*dropped, *cut_out})
    # Of a text and its repetition either may be kept: that is none left alone.
    repeated = {row.twin for row in rows}
    for row in rows:
        if row.kind == NONE and row.id not in repeated:
            found.clean_texts += len(texts.of(row.id))
            found.clean_dropped.update(reason for reason, _ in texts.rejected[row.id])
            count_cut(found, notes(row.text))
    return found


def count_cut(found: Found, cut: Mapping[str, int]) -> None:
    """Counts a document that was left as it was, and what went from it.

    Of a document that is refused as a whole nothing is noted.
    """
    found.clean_documents += 1
    found.clean_cut.update(cut)
    found.clean_cut_documents.update(cut.keys())


def _read(corpus: pathlib.Path, code: str) -> _Texts:
    kept, rejected = collections.defaultdict(list), collections.defaultdict(list)
    for row in shards.read_rows(corpus / code, ["id", "text"]):
        kept[row["id"].partition("#")[0]].append(row["text"])
    for row in shards.read_rows(corpus / "rejected" / code, ["id", "reason", "text"]):
        rejected[row["id"].partition("#")[0]].append((row["reason"], row["text"]))
    return _Texts(kept, rejected)


def _who(row: Planted, texts: _Texts, notes: Notes) -> tuple[set[str], set[str]]:
    """Reasons of dropped texts that had the noise, and what else was cut out."""
    others = texts.of(row.twin)
    dropped = {
        reason
        for reason, text in texts.rejected[row.id]
        if has_noise(text, row, others)
    }
    if not dropped and row.twin:
        dropped = {reason for reason, _ in texts.rejected[row.twin]}
    if row.twin:
        return dropped, set()
    before = collections.Counter(notes(row.original))
    cut_out = set(collections.Counter(notes(row.text)) - before)
    if not dropped | cut_out:
        if row.kind == "mojibake":
            return set(), {REPAIRED}
        if texts.kept[row.id]:
            return set(), {TRIMMED}
        # Of a document that is refused as a whole nothing is noted.
        dropped = {reason for reason, _ in texts.rejected[row.id]}
    return dropped, cut_out


def has_noise(text: str, row: Planted, others: Sequence[str]) -> bool:
    """Whether a text has the noise that was planted in its document.

    Args:
      text: a text of the document as preparation left it.
      row: the document.
      others: texts of the document that it repeats, if it repeats one.
    """
    if row.twin:
        return any(_alike(text, other) for other in others)
    if row.kind == "cut_text":
        return clean(row.text).endswith(text[-20:])
    if row.kind == "cut_start":
        return clean(row.text).startswith(text[:20])
    if row.kind in ("menu", "wrong_language"):
        return True
    if row.kind == "mojibake":
        # Line by line: a menu may have been cut out between two.
        whole = _squeezed(personal_data.mask(clean(row.original))[0])
        return not all(_squeezed(line) in whole for line in text.split("\n"))
    return any(_squeezed(clean(noise)) in _squeezed(text) for noise in row.noise)


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def _alike(one: str, other: str) -> bool:
    """Whether two texts share most of their runs of eight characters."""
    first, second = (
        {text[start : start + 8] for start in range(len(text) - 7)}
        for text in (one, other)
    )
    return len(first & second) > 0.6 * min(len(first), len(second))
