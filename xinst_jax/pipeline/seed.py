"""Seed pairs: English instructions with responses in a language, checked and split."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping

import pyarrow as pa

from xinst_jax import shards
from xinst_jax.config import SeedConfig
from xinst_jax.data import raw_rows, sources
from xinst_jax.errors import UserError
from xinst_jax.languages import Language
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.pipeline import segment
from xinst_jax.pipeline.clean import clean, one_line
from xinst_jax.pipeline.langid import ENGLISH
from xinst_jax.pipeline.rejects import REJECTED, Dropped, of_bad_row

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
_TITLE_CHARS = 200
# The field in which Alpaca, Dolly and their kin keep a text that the instruction is
# about; the prompts have no place for one, so such a pair cannot be learnt from.
_INPUT_FIELD = "input"


@dataclasses.dataclass(frozen=True)
class Pair:
    """One seed pair: an English instruction and a response in the language."""

    id: str
    instruction: str
    output: str
    source: str
    license: str


def run(
    stage: StageDirectory, config: SeedConfig, languages: Mapping[str, Language]
) -> dict[str, Counts]:
    """Checks and splits each language's pairs: `{lang}/` and `rejected/{lang}/`.

    A language without files gets an empty shard and a note. A language is skipped if
    its counts are there: they are the last of its files to be written.

    Args:
      stage: where to write.
      config: what to read and how to split it.
      languages: languages by code.

    Returns:
      Counts by language; `rows_in == rows_out + sum(dropped)`.

    Raises:
      UserError: before any work, no language has a file, a file is empty or has none
        of the fields; later, too many bad rows.
    """
    given = [code for code in languages if sources.exists(config.path, code)]
    if not given:
        raise UserError(
            f"No seed pairs: nothing matches SeedConfig.path = {config.path!r} for "
            f"{', '.join(languages)}. At least one language needs pairs of an English "
            "instruction and a response."
        )
    pair = [config.instruction_field, config.output_field]
    parallel = [config.title_field, config.parallel_output_field]
    for code in given:
        sources.preflight(config.path, code, [pair, parallel])
    return {
        code: _language(stage.path, config, language, code in given)
        for code, language in languages.items()
    }


def _language(
    directory: pathlib.Path, config: SeedConfig, language: Language, given: bool
) -> Counts:
    code = language.code
    done = directory / "counts" / f"{code}.json"
    if done.exists():
        return Counts(**json.loads(done.read_bytes()))
    counts = Counts() if given else Counts(notes={"files": "none"})
    kept, dropped = _selected(_pairs(config, language), config)
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


def _pairs(config: SeedConfig, language: Language) -> Iterator[Pair | Dropped]:
    """A language's pairs in the order of its files; stops at too many bad rows."""
    bad_rows = raw_rows.BadRows(
        config.path.replace("{lang}", language.code),
        config.max_bad_share,
        "SeedConfig.max_bad_share",
    )
    for row in sources.read(config.path, language.code):
        fields = _fields(row, config)
        if isinstance(fields, raw_rows.Rejected):
            bad_rows.add(fields)
            yield of_bad_row(fields)
        else:
            bad_rows.add(None)
            yield _checked(fields, config, language)
    bad_rows.check()


@dataclasses.dataclass(frozen=True)
class _Fields:
    """A row's instruction, or title to make one of, and its response, as found."""

    row: raw_rows.Row
    instruction: str
    is_title: bool
    output: str


def _fields(
    row: raw_rows.Row | raw_rows.Rejected, config: SeedConfig
) -> _Fields | raw_rows.Rejected:
    if isinstance(row, raw_rows.Rejected):
        return row
    is_title = config.instruction_field not in row.fields and (
        config.title_field in row.fields
    )
    asked = config.title_field if is_title else config.instruction_field
    answered = config.parallel_output_field if is_title else config.output_field
    instruction = raw_rows.text_field(row, asked)
    output = raw_rows.text_field(row, answered)
    if isinstance(instruction, raw_rows.Rejected):
        return instruction
    if isinstance(output, raw_rows.Rejected):
        return output
    return _Fields(row, instruction, is_title, output)


def _checked(fields: _Fields, config: SeedConfig, language: Language) -> Pair | Dropped:
    """A cleaned pair, or the first reason to drop it."""
    output = clean(fields.output)
    raw = fields.instruction + "\n" + fields.output
    digest = hashlib.sha256(raw.encode("utf-8", "replace")).hexdigest()[:16]
    id = clean(raw_rows.label(fields.row, "id")) or digest
    if fields.is_title:
        instruction = _titled(fields.instruction, config.title_template)
    else:
        instruction = one_line(fields.instruction)
    if clean(raw_rows.label(fields.row, _INPUT_FIELD)):
        expected = f"no {_INPUT_FIELD!r} beside the instruction"
        return Dropped(id, "needs_input", instruction[:80], expected, output)
    if not instruction or not output:
        empty = "output" if instruction else "instruction"
        return Dropped(id, "empty", empty, "text in both", instruction or output)
    cut = segment.shorten(output, language, config.max_output_chars)
    if cut is None:
        found, expected = f"{len(output)} chars", f"<= {config.max_output_chars}"
        return Dropped(id, "too_long", found, expected, output)
    file = pathlib.Path(fields.row.place.rpartition(":")[0]).name
    return Pair(
        id=id,
        instruction=instruction,
        output=cut,
        source=clean(raw_rows.label(fields.row, "source", default=file)),
        license=clean(raw_rows.label(fields.row, "license")),
    )


def _titled(text: str, template: str) -> str:
    """The instruction to write a text, by its first line, or that line's start.

    >>> _titled("Goat and Cow\\nThey were friends.", 'Write the text "{title}".')
    'Write the text "Goat and Cow".'
    """
    first = clean(text).split("\n")[0]
    if len(first) > _TITLE_CHARS:
        sentence = segment.shorten(first, ENGLISH, _TITLE_CHARS)
        words = first[:_TITLE_CHARS].rsplit(" ", 1)[0]
        first = sentence if sentence is not None else f"{words} ..."
    return template.replace("{title}", first.strip()) if first else ""


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
