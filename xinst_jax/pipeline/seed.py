"""Seed pairs: English instructions with responses in a language, checked and split."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from xinst_jax import shards
from xinst_jax.config import SeedConfig
from xinst_jax.data import sources
from xinst_jax.errors import UserError
from xinst_jax.languages import Language
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.pipeline import seed_pairs, segment, translate
from xinst_jax.pipeline.clean import clean
from xinst_jax.pipeline.corpus import decontamination
from xinst_jax.pipeline.langid import ENGLISH
from xinst_jax.pipeline.rejects import REJECTED, Dropped
from xinst_jax.pipeline.seed_pairs import Pair

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
TRAIN, HELD_OUT = "train", "held_out"
_SHARD_ROWS = 10_000


def run(
    stage: StageDirectory,
    config: SeedConfig,
    languages: Mapping[str, Language],
    translations: pathlib.Path | None = None,
) -> dict[str, Counts]:
    """Checks and splits each language's pairs: `{lang}/` and `rejected/{lang}/`.

    A language without files gets an empty shard and a note. A language is skipped if
    its counts are there: they are the last of its files to be written.

    Args:
      stage: where to write.
      config: what to read and how to split it.
      languages: languages by code.
      translations: where answers of `SeedConfig.translate`'s server are kept, beside
        the stage, so that another configuration need not ask for them again.

    Returns:
      Counts by language; `rows_in == rows_out + sum(dropped)`.

    Raises:
      UserError: before any work, no language has a file, a file is empty or has none
        of the fields; later, too many bad rows.
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
    endpoint = None
    if config.translate.path:
        sources.preflight(config.translate.path, ENGLISH.code, [pair])
        folder = translations or stage.path
        endpoint = translate.Endpoint(config.translate, folder / "answers.jsonl")
    index = decontamination.read(
        config.evaluation_sets, tuple(languages), config.decontamination
    )
    decontamination.write_coverage(stage.path, index)
    return {
        code: _language(stage.path, config, language, code in given, index, endpoint)
        for code, language in languages.items()
    }


def _language(
    directory: pathlib.Path,
    config: SeedConfig,
    language: Language,
    given: bool,
    index: decontamination.Index,
    endpoint: translate.Endpoint | None,
) -> Counts:
    code = language.code
    done = directory / "counts" / f"{code}.json"
    if done.exists():
        return Counts(**json.loads(done.read_bytes()))
    counts = Counts() if given else Counts(notes={"files": "none"})
    kept: list[Pair] = []
    dropped: list[Dropped] = []
    if given:
        pairs = seed_pairs.read(config, config.path, language)
        kept, dropped = _selected((_clear(pair, index) for pair in pairs), config)
    if endpoint is not None:
        room = config.max_pairs - len(kept)
        made = list(_translated(config, language, endpoint, kept, room))
        counts.notes["translated"] = sum(isinstance(pair, Pair) for pair in made)
        made = [_clear(pair, index) for pair in made]
        kept, more = _selected(iter([*kept, *made]), config)
        dropped += more
    counts.rows_in, counts.rows_out = len(kept) + len(dropped), len(kept)
    for one in dropped:
        counts.drop(one.reason)
    rows = _split(kept, config.held_out_share, code)
    if given:
        counts.notes[HELD_OUT] = sum(row["split"] == HELD_OUT for row in rows)
    rejected = [one.row(code) for one in dropped]
    shards.write_shards(directory / "rejected" / code, rejected, REJECTED, _SHARD_ROWS)
    shards.write_shards(directory / code, rows, SCHEMA, _SHARD_ROWS)
    record = json.dumps(dataclasses.asdict(counts), ensure_ascii=False)
    shards.write_bytes(done, record.encode())
    return counts


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
    endpoint: translate.Endpoint,
    kept: Sequence[Pair],
    room: int,
) -> Iterator[Pair | Dropped]:
    """English pairs with their responses translated: as many as there is room for.

    Of more, those with the smallest digests are taken, in every language the same.
    """
    known = {pair.instruction.casefold() for pair in kept}
    pairs = seed_pairs.read(config, config.translate.path, ENGLISH)
    english: list[Pair] = []
    for pair in pairs:
        if isinstance(pair, Dropped):
            yield pair
        elif pair.instruction.casefold() not in known:
            english.append(pair)
    english = sorted(english, key=lambda pair: _place(pair.instruction))[:room]
    answers = endpoint.translate([pair.output for pair in english], language)
    for pair, (source, answer) in zip(english, answers, strict=True):
        flaw = translate.flaw(source, answer, config.translate, language)
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


def _selected(
    pairs: Iterator[Pair | Dropped], config: SeedConfig
) -> tuple[list[Pair], list[Dropped]]:
    """The pairs to use, in order and each once, and all others.

    Of more than `max_pairs`, those with the smallest digests of instruction and output
    are used: a fair draw over all files that no order of them changes.
    """
    unique: dict[bytes, Pair] = {}
    uses: dict[str, int] = {}
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
        times = uses[pair.id] = uses.get(pair.id, 0) + 1
        if times > 1:
            pair = dataclasses.replace(pair, id=f"{pair.id}~{times}")
        unique[digest] = pair
    used = set(sorted(unique)[: config.max_pairs])
    for digest, pair in unique.items():
        if digest not in used:
            found, most = str(len(unique)), f"<= {config.max_pairs}"
            dropped.append(Dropped(pair.id, "over_max_pairs", found, most, pair.output))
    return [pair for digest, pair in unique.items() if digest in used], dropped


def _split(pairs: list[Pair], held_out_share: float, code: str) -> list[dict[str, str]]:
    """The rows with their split: those whose digest is small are held out.

    The digest is of the instruction, which so falls on the same side in every language:
    none that is trained on in one is held out in another. Only where chance holds none
    out of two or more pairs is the smallest digest taken, whatever others do with it.
    """
    held_out = {pair.id for pair in pairs if _place(pair.instruction) < held_out_share}
    if not held_out and held_out_share and len(pairs) > 1:
        held_out = {min(pairs, key=lambda pair: _place(pair.instruction)).id}
    return [
        {
            "lang": code,
            "split": HELD_OUT if pair.id in held_out else TRAIN,
            **dataclasses.asdict(pair),
        }
        for pair in pairs
    ]


def _place(instruction: str) -> float:
    """Where the instruction's digest lies in [0, 1)."""
    digest = hashlib.sha256(instruction.casefold().encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
