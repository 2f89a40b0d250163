"""Seed pairs: English instructions with responses in a language, checked and split."""

import collections
import dataclasses
import hashlib
import itertools
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa

from xinst_jax import shards
from xinst_jax.config import SeedConfig
from xinst_jax.data import sources
from xinst_jax.errors import UserError
from xinst_jax.eval.endpoint import Endpoint, Request
from xinst_jax.languages import Language
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.pipeline import (
    numbering,
    seed_pairs,
    seed_split,
    segment,
    translate,
)
from xinst_jax.pipeline.clean import clean
from xinst_jax.pipeline.corpus import decontamination
from xinst_jax.pipeline.langid import ENGLISH
from xinst_jax.pipeline.rejects import REJECTED, Dropped
from xinst_jax.pipeline.seed_pairs import Pair
from xinst_jax.pipeline.seed_split import HELD_OUT, TRAIN

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("lang", pa.string()),
        ("instruction", pa.string()),
        ("output", pa.string()),
        ("source", pa.string()),
        ("license", pa.string()),
        ("split", pa.string()),
    ]
)
_SHARD_ROWS = 10_000


def run(
    stage: StageDirectory,
    config: SeedConfig,
    languages: Mapping[str, Language],
    translator: Endpoint | None = None,
) -> dict[str, Counts]:
    """Checks and splits each language's pairs: `{lang}/` and `rejected/{lang}/`.

    A language without files gets an empty shard and a note. What is trained on in one
    language is compared with what is held out of all, so all are read before any is
    written. A language is not written again if its counts are there: they are the last
    of its files.

    Args:
      stage: where to write.
      config: what to read and how to split it.
      languages: languages by code.
      translator: what translates the pairs of `SeedConfig.translate`, where it has
        any; its completions are kept beside the stage, so that another configuration
        need not ask for them again.

    Returns:
      Counts by language; `rows_in == rows_out + sum(dropped)`.

    Raises:
      UserError: before any work, no language has a file, a file is empty or has none
        of the fields; later, too many bad rows, or the translator refuses.
    """
    assert bool(config.translate.path) == (translator is not None)
    given = _given(config, languages)
    index = _compared(config, languages)
    decontamination.write_coverage(stage.path, index)
    done = {code: stage.path / "counts" / f"{code}.json" for code in languages}
    if not all(path.exists() for path in done.values()):
        found = {
            code: _language(config, language, code in given, index, translator)
            for code, language in languages.items()
        }
        held_out = {
            code: seed_split.held_out(one.kept, config.held_out_share)
            for code, one in found.items()
        }
        not_read = seed_split.index(held_out, config.decontamination)
        for code, one in found.items():
            if not done[code].exists():
                _write(stage.path, code, one, held_out[code], not_read)
    return {
        code: Counts(**json.loads(path.read_bytes())) for code, path in done.items()
    }


def requests(config: SeedConfig, languages: Mapping[str, Language]) -> list[Request]:
    """What `run` asks its translator, in all languages.

    Raises:
      UserError: as `run`.
    """
    given, index = _given(config, languages), _compared(config, languages)
    asked: list[Request] = []
    for code, language in languages.items():
        own = _language(config, language, code in given, index, None)
        english, _ = _untranslated(config, own.kept)
        texts = [pair.output for pair in english]
        asked += translate.requests(texts, config.translate, language)
    return asked


def _given(config: SeedConfig, languages: Mapping[str, Language]) -> list[str]:
    """The languages with files of their own; all files are looked at.

    Raises:
      UserError: there is none, or one is empty or has none of the fields.
    """
    given = [code for code in languages if sources.exists(config.path, code)]
    if not given and not config.translate.path:
        raise UserError(
            f"No seed pairs: nothing matches SeedConfig.path = {config.path!r} for "
            f"{', '.join(languages)}. At least one language needs pairs of an English "
            "instruction and a response."
        )
    pair = [config.instruction_field, config.output_field]
    parallel = [config.title_field, config.parallel_output_field]
    for code in given:
        sources.preflight(config.path, code, [pair, parallel])
    if config.translate.path:
        sources.preflight(config.translate.path, ENGLISH.code, [pair])
    return given


def _compared(
    config: SeedConfig, languages: Mapping[str, Language]
) -> decontamination.Index:
    """The evaluation sets, of which no pair may have a piece."""
    return decontamination.read(
        config.evaluation_sets, tuple(languages), config.decontamination
    )


@dataclasses.dataclass(frozen=True)
class _Found:
    """What a language's files have: pairs to use, what is not used, and notes."""

    kept: list[Pair]
    dropped: list[Dropped]
    notes: dict[str, float | int | str]


def _language(
    config: SeedConfig,
    language: Language,
    given: bool,
    index: decontamination.Index,
    translator: Endpoint | None,
) -> _Found:
    found = _Found([], [], {} if given else {"files": "none"})
    numbers: collections.Counter[str] = collections.Counter()
    if given:
        pairs = seed_pairs.read(config, config.path, language)
        clear = (_clear(pair, index) for pair in pairs)
        kept, dropped = _selected(_numbered(clear, numbers), config)
        found = dataclasses.replace(found, kept=kept, dropped=dropped)
    if translator is not None:
        made = list(_translated(config, language, translator, found.kept))
        found.notes["translated"] = sum(isinstance(pair, Pair) for pair in made)
        clear = (_clear(pair, index) for pair in made)
        both = itertools.chain(found.kept, _numbered(clear, numbers))
        kept, more = _selected(both, config)
        found = _Found(kept, found.dropped + more, found.notes)
    return found


def _numbered(
    pairs: Iterable[Pair | Dropped], numbers: collections.Counter[str]
) -> Iterator[Pair | Dropped]:
    """The pairs under ids that no two of them share, nor those counted before."""
    for pair in pairs:
        if isinstance(pair, Pair):
            numbers[pair.id] += 1
            id = numbering.numbered(pair.id, numbers[pair.id])
            pair = dataclasses.replace(pair, id=id)
        yield pair


def _write(
    directory: pathlib.Path,
    code: str,
    found: _Found,
    held_out: Sequence[Pair],
    not_read: decontamination.Index,
) -> None:
    """Writes a language's rows with their split, what is not used, and the counts."""
    sides = dict.fromkeys((pair.id for pair in held_out), HELD_OUT)
    rows, dropped = [], list(found.dropped)
    for pair in found.kept:
        side = sides.get(pair.id, TRAIN)
        one = pair if side == HELD_OUT else seed_split.readable(pair, not_read)
        if isinstance(one, Dropped):
            dropped.append(one)
        else:
            rows.append({"lang": code, "split": side, **dataclasses.asdict(one)})
    counts = Counts(len(rows) + len(dropped), len(rows), notes=found.notes)
    for lost in dropped:
        counts.drop(lost.reason)
    if "files" not in found.notes:
        counts.notes[HELD_OUT] = len(held_out)
    rejected = [one.row(code) for one in dropped]
    shards.write_shards(directory / "rejected" / code, rejected, REJECTED, _SHARD_ROWS)
    shards.write_shards(directory / code, rows, SCHEMA, _SHARD_ROWS)
    record = json.dumps(dataclasses.asdict(counts), ensure_ascii=False)
    shards.write_bytes(directory / "counts" / f"{code}.json", record.encode())


def _clear(pair: Pair | Dropped, index: decontamination.Index) -> Pair | Dropped:
    """A pair, unless the instruction or the response is in an evaluation set."""
    if isinstance(pair, Dropped):
        return pair
    flaw = index.find(pair.instruction) or index.find(pair.output)
    if flaw is None:
        return pair
    return Dropped(pair.id, flaw.reason, flaw.value, flaw.threshold, pair.output)


def _translated(
    config: SeedConfig,
    language: Language,
    translator: Endpoint,
    kept: Sequence[Pair],
) -> Iterator[Pair | Dropped]:
    """English pairs with their responses translated: as many as there is room for."""
    english, dropped = _untranslated(config, kept)
    yield from dropped
    texts = [pair.output for pair in english]
    asked = translate.requests(texts, config.translate, language)
    print(f"  translator, {language.code}: {translator.estimate(asked)}", flush=True)
    for pair, answer in zip(english, translator.complete(asked), strict=True):
        flaw = translate.flaw(pair.output, answer, config.translate, language)
        if flaw is not None:
            reason = (flaw.reason, flaw.value, flaw.threshold)
            yield Dropped(pair.id, *reason, clean(answer.text))
            continue
        text = clean(answer.text)
        cut = segment.shorten(text, language, config.max_output_chars, config.texts)
        if cut is None:
            most = f"<= {config.max_output_chars}"
            yield Dropped(pair.id, "too_long", f"{len(text)} chars", most, text)
        else:
            yield dataclasses.replace(pair, output=cut)


def _untranslated(
    config: SeedConfig, kept: Sequence[Pair]
) -> tuple[list[Pair], list[Dropped]]:
    """English pairs to translate beside a language's own, and those that are not.

    Of more than there is room for, those with the smallest digests are taken, in every
    language the same. What is asked in the language's own pairs is not translated.
    """
    known = {pair.instruction.casefold(): pair.id for pair in kept}
    pairs = seed_pairs.read(config, config.translate.path, ENGLISH)
    english: list[Pair] = []
    dropped: list[Dropped] = []
    for pair in pairs:
        if isinstance(pair, Dropped):
            dropped.append(pair)
        elif given := known.get(pair.instruction.casefold()):
            own, none = f"by {given}", "not in the language's own pairs"
            dropped.append(Dropped(pair.id, "already_asked", own, none, pair.output))
        else:
            english.append(pair)
    english.sort(key=lambda pair: seed_split.place(pair.instruction))
    room = config.max_pairs - len(kept)
    found, most = str(len(kept) + len(english)), f"<= {config.max_pairs}"
    for pair in english[room:]:
        dropped.append(Dropped(pair.id, "over_max_pairs", found, most, pair.output))
    return english[:room], dropped


def _selected(
    pairs: Iterable[Pair | Dropped], config: SeedConfig
) -> tuple[list[Pair], list[Dropped]]:
    """The pairs to use, in order and each once, and all others.

    Of more than `max_pairs`, those with the smallest digests of instruction and output
    are used: a fair draw over all files that no order of them changes.
    """
    unique: dict[bytes, Pair] = {}
    dropped: list[Dropped] = []
    for pair in pairs:
        if isinstance(pair, Dropped):
            dropped.append(pair)
            continue
        text = f"{pair.instruction}\0{pair.output}".casefold().encode()
        digest = hashlib.sha256(text).digest()
        if digest in unique:
            found = f"of {unique[digest].id}"
            dropped.append(Dropped(pair.id, "duplicate", found, "once", pair.output))
            continue
        unique[digest] = pair
    used = set(sorted(unique)[: config.max_pairs])
    for digest, pair in unique.items():
        if digest not in used:
            found, most = str(len(unique)), f"<= {config.max_pairs}"
            dropped.append(Dropped(pair.id, "over_max_pairs", found, most, pair.output))
    return [pair for digest, pair in unique.items() if digest in used], dropped
