"""Raw documents to clean texts of response length, each once, in the right language."""

import collections
import contextlib
import dataclasses
import functools
import itertools
import json
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa

from xinst_jax import shards
from xinst_jax.config import CorpusConfig
from xinst_jax.data import sources
from xinst_jax.errors import UserError
from xinst_jax.languages import Language
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.pipeline import fasttext_model
from xinst_jax.pipeline.corpus import decontamination, documents, duplicates, screens
from xinst_jax.pipeline.corpus.documents import Document, Row, Text
from xinst_jax.pipeline.corpus.prepare import Check, prepare
from xinst_jax.pipeline.executors.executor import Executor, by_row
from xinst_jax.pipeline.executors.local import Local
from xinst_jax.pipeline.rejects import REJECTED, Dropped

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("lang", pa.string()),
        ("text", pa.string()),
        ("source", pa.string()),
        ("license", pa.string()),
        ("lid_prob", pa.float32()),
        ("score", pa.float32()),
        ("cluster_size", pa.int32()),
        ("n_chars", pa.int32()),
        # Leads back to the document, however much its text was altered.
        ("raw_row", pa.int64()),
    ]
)
_SCRATCH = ".scratch"


def run(
    stage: StageDirectory, config: CorpusConfig, languages: Mapping[str, Language]
) -> dict[str, Counts]:
    """Prepares each language's corpus: `{lang}/` and `rejected/{lang}/` of the stage.

    First every document is prepared by itself; then texts that are one are looked for
    among those of all languages; then each language is written, its rows in the order
    of their documents. A language is not written again if its counts are there: they
    are the last of its files.

    Args:
      stage: where to write.
      config: what to read and what to keep, and what carries out the work.
      languages: languages by code.

    Returns:
      Counts by language: documents in, texts out, texts and documents dropped by
      reason. `rows_in + notes['cut'] == rows_out + sum(dropped)`, where 'cut' counts
      the texts by which cutting made more of the documents. Other notes count what was
      masked and which lines and paragraphs were cut out.

    Raises:
      UserError: before any work, a language without files, an empty file, one without
        the text field, a model that does not know a language, or an executor that is
        not installed; later, too many bad rows, or a language of which nothing is left.
    """
    for code in languages:
        sources.preflight(config.path, code, [[config.text_field]])
    if config.language_model:
        fasttext_model.check(config.language_model, languages.values())
    checks = {
        code: _checks(config, language, tuple(languages))
        for code, language in languages.items()
    }
    if config.evaluation_sets:
        index = _index(config, tuple(languages))
        decontamination.write_coverage(stage.path, index)
    done = {code: _counts_path(stage.path, code) for code in languages}
    scratch = stage.path / _SCRATCH
    unfinished = not all(path.exists() for path in done.values())
    if unfinished:
        scratch.mkdir(parents=True, exist_ok=True)
    # A run that was stopped behind its last file left what it worked with.
    if scratch.exists():
        with _executor(stage, config, scratch) as executor:
            if unfinished:
                _make(stage.path, executor, config, languages, checks)
            executor.clear()
        shutil.rmtree(scratch, ignore_errors=True)
    return {
        code: Counts(**json.loads(path.read_bytes())) for code, path in done.items()
    }


def _checks(
    config: CorpusConfig, language: Language, codes: tuple[str, ...]
) -> tuple[Check, ...]:
    """What the configuration adds to the checks of a language's texts."""
    checks: list[Check] = []
    if config.evaluation_sets:
        checks.append(_index(config, codes).find)
    if config.screen_words:
        words = screens.words(config.screen_words, language)
        checks += [words.find] if words else []
    if config.screen_model:
        screens.check_model(config.screen_model)
        most = config.max_screen_probability
        checks.append(screens.Model(config.screen_model, language.code, most).find)
    return tuple(checks)


@functools.lru_cache(1)
def _index(config: CorpusConfig, codes: tuple[str, ...]) -> decontamination.Index:
    return decontamination.read(config.evaluation_sets, codes, config.decontamination)


def _counts_path(directory: pathlib.Path, code: str) -> pathlib.Path:
    return directory / "counts" / f"{code}.json"


def _executor(
    stage: StageDirectory, config: CorpusConfig, scratch: pathlib.Path
) -> contextlib.AbstractContextManager[Executor]:
    if config.executor == "beam":
        from xinst_jax.pipeline.executors import beam

        place = str(scratch)
        if config.beam_scratch:
            # Other runs may use it too.
            place = f"{config.beam_scratch}/corpus-{stage.fingerprint}"
        return beam.Beam(place, config.beam_options)
    return Local(scratch, config.workers)


def _make(
    directory: pathlib.Path,
    executor: Executor,
    config: CorpusConfig,
    languages: Mapping[str, Language],
    checks: Mapping[str, tuple[Check, ...]],
) -> None:
    prepared = []
    for number, (code, language) in enumerate(languages.items()):
        name, raw = f"prepared-{code}", f"documents-{code}"
        if not executor.saved(name):
            executor.put(enumerate(documents.read(config, code)), raw)
            function = by_row(
                _rows,
                config=config,
                language=language,
                language_number=number,
                checks=checks[code],
            )
            rows = executor.map(f"preparing {code}", function, executor.read(raw))
            executor.save(rows, name)
            executor.remove(raw)
        prepared.append(name)
    unique = duplicates.unique(
        executor, prepared, config.near_duplicate_threshold, config.duplicates
    )
    in_order = (row for _, row in executor.ordered(unique, documents.shard))
    for code, found in itertools.groupby(in_order, lambda row: row.code):
        if not _counts_path(directory, code).exists():
            _write(directory, config, code, found)


def _write(
    directory: pathlib.Path, config: CorpusConfig, code: str, rows: Iterable[Row]
) -> None:
    """Writes a language's rows in order, each kept or rejected, and counted."""
    counts, cut = Counts(), 0
    notes: collections.Counter[str] = collections.Counter()
    kept = shards.ShardWriter(directory / code, SCHEMA, config.shard_rows)
    rejected = shards.ShardWriter(
        directory / "rejected" / code, REJECTED, config.shard_rows
    )
    for row in rows:
        first = documents.is_first(row.order)
        counts.rows_in += first
        cut += not first
        notes.update(row.notes)
        if isinstance(row.found, Dropped):
            counts.drop(row.found.reason)
            rejected.add(row.found.row(code))
        else:
            counts.rows_out += 1
            kept.add(_fields(row.found, code, documents.raw_row(row.order)))
    if not counts.rows_out:
        raise UserError(
            f"No text of language {code!r} is left of {counts.rows_in} documents of "
            f"{config.path}; dropped: {counts.dropped}. Check the language code, the "
            "text field and the lengths in CorpusConfig."
        )
    counts.notes = {"cut": cut, **dict(sorted(notes.items()))}
    rejected.close()
    kept.close()
    record = json.dumps(dataclasses.asdict(counts), ensure_ascii=False)
    shards.write_bytes(_counts_path(directory, code), record.encode())


def _fields(text: Text, code: str, raw_row: int) -> dict[str, object]:
    return {
        "id": text.id,
        "lang": code,
        "text": text.text,
        "source": text.source,
        "license": text.license,
        "lid_prob": text.lid_prob,
        "score": text.score,
        "cluster_size": text.cluster,
        "n_chars": len(text.text),
        "raw_row": raw_row,
    }


def _rows(
    item: tuple[int, Document | Dropped],
    config: CorpusConfig,
    language: Language,
    language_number: int,
    checks: tuple[Check, ...],
) -> Iterator[Row]:
    """What becomes of a document: a row for each of its texts."""
    number, document = item
    if isinstance(document, Dropped):
        order = documents.place(language_number, number, 0)
        yield Row(order, language.code, document, {})
        return
    found = prepare(document, config, language, checks)
    for part, text in enumerate(found.texts):
        order = documents.place(language_number, number, part)
        yield Row(order, language.code, text, {} if part else found.notes)
