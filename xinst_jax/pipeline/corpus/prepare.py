"""A document to texts of response length: all that is known without the others."""

import collections
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from xinst_jax.config import CorpusConfig
from xinst_jax.languages import Language
from xinst_jax.pipeline import endings, langid, openings, segment
from xinst_jax.pipeline.clean import clean
from xinst_jax.pipeline.corpus import (
    boilerplate,
    page_lines,
    personal_data,
    quality_filters,
)
from xinst_jax.pipeline.corpus.boilerplate import Flaw
from xinst_jax.pipeline.corpus.documents import Document, Text
from xinst_jax.pipeline.rejects import Dropped

PARAGRAPHS = "other_language_paragraphs"
"""Name of the count of paragraphs that were cut out of documents of mixed language."""


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What became of a document.

    Attributes:
      texts: its texts in order, each accepted or dropped; at least one.
      notes: what was masked and cut out of it, counted by kind: 'masked_email',
        'menu_line', 'other_language_paragraphs'.
    """

    texts: tuple[Text | Dropped, ...]
    notes: Mapping[str, int]


Check: TypeAlias = Callable[[str], Flaw | None]
"""Why a text is refused, if it is: a plain function of it."""


def prepare(
    document: Document,
    config: CorpusConfig,
    language: Language,
    checks: Sequence[Check] = (),
) -> Prepared:
    """A document cleaned, masked, cut and checked: a plain function on a row.

    Args:
      document: a raw document.
      config: lengths and thresholds.
      language: the language it should be in.
      checks: what is asked of each text beside what every text is asked.
    """
    if len(document.text) > config.max_document_chars:
        found, most = f"{len(document.text)} chars", f"<= {config.max_document_chars}"
        start, _ = personal_data.mask(clean(document.text[: config.max_chars]))
        return _refused(document, Flaw("document_too_long", found, most), start)
    notes: collections.Counter[str] = collections.Counter()
    whole, masked = personal_data.mask(clean(document.text))
    notes.update({f"masked_{kind}": count for kind, count in masked.items()})
    text, lines = page_lines.without_frame(whole, language, config.page)
    notes.update(lines)
    inner = langid.right_paragraphs(
        text, language, config.min_lid_prob, config.language_check
    )
    cut_out = _paragraphs(text) - _paragraphs(inner)
    notes.update({PARAGRAPHS: cut_out} if cut_out else {})
    flaw = None
    if len(inner) < config.min_chars and lines:
        # Nearly all of it was the page's frame.
        flaw = boilerplate.find(whole, language, config.page, config.texts)
    elif len(inner) >= config.min_chars and config.quality_filters:
        flaw = boilerplate.find(inner, language, config.page, config.texts)
        own = config.fineweb2_of_language(language.code)
        flaw = flaw or quality_filters.find(inner, language, own)
    if flaw is not None:
        return _refused(document, flaw, whole)
    parts = segment.cut(
        inner,
        language,
        *(config.min_chars, config.max_chars, config.target_chars),
        costs=config.segments,
        texts=config.texts,
    )
    ids = [document.id]
    if len(parts) > 1:
        ids = [f"{document.id}#{number}" for number in range(1, len(parts) + 1)]
    texts = tuple(
        _checked(id, part, number > 0, document, config, language, checks)
        for number, (id, part) in enumerate(zip(ids, parts, strict=True))
    )
    return Prepared(texts, dict(sorted(notes.items())))


def _refused(document: Document, flaw: Flaw, text: str) -> Prepared:
    """A document that is dropped as a whole; nothing of it counts as cut out."""
    return Prepared(
        (Dropped(document.id, flaw.reason, flaw.value, flaw.threshold, text),), {}
    )


def _paragraphs(text: str) -> int:
    return sum(bool(line) for line in text.split("\n"))


def _checked(
    id: str,
    text: str,
    later: bool,
    document: Document,
    config: CorpusConfig,
    language: Language,
    checks: Sequence[Check],
) -> Text | Dropped:
    """A text, or the first reason to drop it; the cheap and telling reasons first."""
    flaw = boilerplate.find(text, language, config.page, config.texts)
    if flaw is not None:
        return Dropped(id, flaw.reason, flaw.value, flaw.threshold, text)
    length, found = len(text), f"{len(text)} chars"
    if length < config.min_chars:
        return Dropped(id, "too_short", found, f">= {config.min_chars}", text)
    if length > config.max_chars:
        return Dropped(id, "too_long", found, f"<= {config.max_chars}", text)
    if not endings.is_finished(text, language):
        return Dropped(id, "unfinished", f"...{text[-20:]}", "ends a sentence", text)
    verdict = langid.identify(
        text,
        language,
        config.min_lid_prob,
        config.language_model,
        config.language_check.min_script_share,
    )
    if verdict.reason:
        expected = f"{language.code} >= {config.min_lid_prob}"
        return Dropped(id, verdict.reason, verdict.found, expected, text)
    before = openings.goes_on(text, language, later, config.texts)
    if before:
        return Dropped(id, "goes_on", before, "can be read by itself", text)
    for check in checks:
        flaw = check(text)
        if flaw is not None:
            return Dropped(id, flaw.reason, flaw.value, flaw.threshold, text)
    gram_words = config.duplicates.score_gram_words
    once = 1 - quality_filters.repeated_share(text, language, gram_words)
    return Text(
        id=id,
        text=text,
        source=document.source,
        license=document.license,
        lid_prob=verdict.share,
        score=verdict.share * once,
    )
