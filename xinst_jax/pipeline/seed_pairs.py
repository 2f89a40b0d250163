"""A raw row to a seed pair: an English instruction and its response, cleaned."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Iterator, Sequence

import regex

from xinst_jax.config import SeedConfig, TextConfig
from xinst_jax.data import raw_rows, sources
from xinst_jax.languages import Language
from xinst_jax.pipeline import segment
from xinst_jax.pipeline.clean import clean, one_line
from xinst_jax.pipeline.corpus import boilerplate
from xinst_jax.pipeline.langid import ENGLISH
from xinst_jax.pipeline.rejects import Dropped, of_bad_row

# Marks of direction alone, such as U+202E, are no text.
_VISIBLE = regex.compile(r"[\p{L}\p{N}\p{P}\p{S}]")
_SHOWN_CHARS = 200
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


def read(config: SeedConfig, path: str, language: Language) -> Iterator[Pair | Dropped]:
    """A language's pairs in the order of its files.

    Args:
      config: the fields, and how long a response may be.
      path: the files, as `SeedConfig.path`.
      language: the language of the responses.

    Raises:
      UserError: too many rows are bad.
    """
    bad_rows = raw_rows.BadRows(
        path.replace("{lang}", language.code),
        config.max_bad_share,
        "SeedConfig.max_bad_share",
    )
    for row in sources.read(path, language.code):
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
    raw = fields.instruction + "\n" + fields.output
    digest = hashlib.sha256(raw.encode("utf-8", "replace")).hexdigest()[:16]
    id = clean(raw_rows.label(fields.row, "id")) or digest
    longest = max(len(fields.instruction), len(fields.output))
    if longest > config.max_raw_chars:
        found, start = f"{longest} chars", clean(fields.output[:_SHOWN_CHARS])
        return Dropped(id, "too_long", found, f"<= {config.max_raw_chars}", start)
    output = clean(fields.output)
    if fields.is_title:
        instruction = _titled(
            fields.instruction,
            config.title_template,
            config.max_title_chars,
            config.texts,
        )
    else:
        instruction = one_line(fields.instruction)
    if clean(raw_rows.label(fields.row, _INPUT_FIELD)):
        expected = f"no {_INPUT_FIELD!r} beside the instruction"
        return Dropped(id, "needs_input", instruction[:80], expected, output)
    if not _VISIBLE.search(instruction) or not _VISIBLE.search(output):
        empty = "output" if _VISIBLE.search(instruction) else "instruction"
        return Dropped(id, "empty", empty, "text in both", instruction or output)
    flaw = boilerplate.damaged(instruction, config.texts)
    flaw = flaw or boilerplate.damaged(output, config.texts)
    if flaw is not None:
        return Dropped(id, flaw.reason, flaw.value, flaw.threshold, output)
    cut = segment.shorten(output, language, config.max_output_chars, config.texts)
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


def _titled(
    text: str,
    templates: Sequence[str],
    max_chars: int = SeedConfig.max_title_chars,
    texts: TextConfig = segment.DEFAULT_TEXT,
) -> str:
    """The instruction to write a text, by its first line, or that line's start.

    The line decides which template, not the row: a document asks for the same in every
    language, so that it is held out of all of them or of none.

    >>> _titled("Goat and Cow\\nThey were friends.", ['Write the text "{title}".'])
    'Write the text "Goat and Cow".'
    """
    first = clean(text).split("\n")[0]
    if len(first) > max_chars:
        sentence = segment.shorten(first, ENGLISH, max_chars, texts)
        words = first[:max_chars].rsplit(" ", 1)[0]
        first = sentence if sentence is not None else f"{words} ..."
    if not first:
        return ""
    digest = hashlib.sha256(first.casefold().encode("utf-8", "replace")).digest()
    template = templates[int.from_bytes(digest[:8], "big") % len(templates)]
    return template.replace("{title}", first.strip())
