"""Candidates: an instruction written for every text of the corpus."""

import collections
import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import regex

from xinst_jax import distributed, shards
from xinst_jax.config import PromptConfig
from xinst_jax.data import fitting, prompts
from xinst_jax.infer import jobs
from xinst_jax.infer.engine import Generation
from xinst_jax.infer.usage import Usage
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.pipeline.corpus import decontamination
from xinst_jax.pipeline.rejects import REJECTED, Dropped

REJECTED_DIRECTORY = "rejected"

CHANGES_NO_ROW = (
    # How rows are batched and placed.
    "config/generate/batch_rows",
    "config/generate/pack_prompts",
    "config/generate/placement",
    "config/generate/prefill_columns",
    "config/generate/unstacked",
    # Of these the last alone, as far as the model's positions go: `longest_prompt`.
    "config/generate/prompt_buckets",
    # Which rounds, and which rows.
    "config/limit",
    "config/settled_change",
    # These are read row by row, and the rows are in the key.
    "inputs/corpus",
    "inputs/candidates/*",
    "inputs/ratings/*",
)
"""Patterns of the settings and inputs that may change and the candidates stay."""

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("lang", pa.string()),
        ("instruction", pa.string()),
        ("output", pa.string()),
        ("logprob", pa.float32()),
        ("n_tokens", pa.int32()),
        ("finish", pa.string()),
        ("prompt_cut", pa.bool_()),
        ("round", pa.int32()),
    ]
)

PROMPT_TOO_LONG = "prompt_too_long"
NO_OUTPUT = "no_output"
INVALID_TEXT = "invalid_text"
HELD_OUT = "held_out"

# What the decoder puts for bytes that are no UTF-8, and characters that no text has:
# controls but for tabs and line breaks, halves of surrogate pairs, noncharacters.
_INVALID = regex.compile(
    r"[\ufffd\p{Cs}\p{Noncharacter_Code_Point}[\p{Cc}--[\t\n]]]", regex.V1
)


@dataclasses.dataclass(frozen=True)
class Writer:
    """The generator, and how text becomes its tokens.

    Attributes:
      generate: writes after each of a list of prompts, given their row ids, and the
        most tokens of each as `max_new_tokens` where that is not the generator's.
      encode: a prompt's token ids, begin token included.
      decode: the text of token ids.
      longest_prompt: tokens of the longest prompt.
      wording: the prompts.
      usage: what generating took so far.
      share: the shards that this process makes, where each has a whole model; None
        where all processes make each shard together.
    """

    generate: Callable[..., list[Generation]]
    encode: Callable[[str], list[int]]
    decode: Callable[[Sequence[int]], str]
    longest_prompt: int
    wording: PromptConfig = prompts.PAPER
    usage: Usage = dataclasses.field(default_factory=Usage)
    share: jobs.Share | None = None


def run(
    stage: StageDirectory,
    languages: Sequence[str],
    corpus: pathlib.Path,
    kept: Mapping[str, Mapping[str, dict[str, Any]]],
    number: int,
    writer: Writer,
    shard_rows: int,
    *,
    limit: int | None = None,
    evaluated: decontamination.Index | None = None,
    held_out: decontamination.Index | None = None,
) -> dict[str, Counts]:
    """Writes `candidates/round-k/{lang}`; shards that are there already are kept.

    A document that gets no candidate is in `rejected/{lang}`, with the reason: its
    prompt's frame does not fit (`prompt_too_long`), nothing but space was written
    (`no_output`), what was written is no text (`invalid_text`), or it has a piece of an
    evaluation set (`contaminated`, with the set and the n-gram). A document that has a
    piece of a held-out response gets none either (`held_out`, with the n-gram).

    Args:
      stage: the directory to write.
      languages: language codes.
      corpus: the finished `corpus` directory.
      kept: by language and document id, the candidates that the round before kept;
        they stand, and every other document gets a new instruction.
      number: the round, from 1.
      writer: the generator.
      shard_rows: documents of an output shard.
      limit: documents of each language, the first ones; None takes all.
      evaluated: evaluation sets of which no instruction may have a piece, as no
        document has.
      held_out: responses of the pairs that the run measures its models by.

    Returns:
      Counts by language; of several processes only process 0 counts.
    """
    counts = {}
    if evaluated is not None and distributed.is_primary():
        decontamination.write_coverage(stage.path, evaluated)
    for language in languages:
        documents = corpus_rows(corpus, language, limit)
        standing = kept.get(language, {})
        parts = [
            documents[start : start + shard_rows]
            for start in range(0, max(1, len(documents)), shard_rows)
        ]
        jobs.run_shards(
            stage.path / language,
            len(parts),
            functools.partial(
                _shard, parts, standing, number, writer, evaluated, held_out
            ),
            label=f"generate {language}",
            key=_key(stage, documents, standing, writer.longest_prompt),
            rejected=stage.path / REJECTED_DIRECTORY / language,
            share=writer.share,
        )
        if distributed.is_primary():
            counts[language] = _counts(len(documents), stage.path, language, number)
    return counts


def corpus_rows(
    corpus: pathlib.Path, language: str, limit: int | None
) -> list[dict[str, Any]]:
    """The documents of a language that instructions are written for."""
    return shards.read_rows(corpus / language, ["id", "lang", "text"])[:limit]


def fitted(writer: Writer, text: str) -> fitting.FittedPrompt | None:
    """The prompt of a document, cut at the document's end; None if it cannot fit."""
    frame = functools.partial(prompts.reverse, wording=writer.wording)
    return fitting.fit(text, frame, writer.encode, writer.longest_prompt)


def why_rejected(instruction: str) -> str | None:
    """Why what was written cannot be a candidate; None if it can.

    >>> why_rejected("Describe a lake."), why_rejected(" "), why_rejected("a\\ufffdb")
    (None, 'no_output', 'invalid_text')
    """
    if not instruction.strip():
        return NO_OUTPUT
    return INVALID_TEXT if _INVALID.search(instruction) else None


def _key(
    stage: StageDirectory,
    documents: Iterable[Mapping[str, Any]],
    standing: Mapping[str, Mapping[str, Any]],
    longest_prompt: int,
) -> dict[str, Any]:
    """What a language's candidates are made from."""
    rows = hashlib.sha256()
    for row in (*documents, *standing.values()):
        rows.update(json.dumps(row, sort_keys=True).encode())
    return {
        **stage.key(CHANGES_NO_ROW),
        "longest_prompt": longest_prompt,
        "rows": rows.hexdigest(),
    }


def _shard(
    parts: Sequence[Sequence[Mapping[str, Any]]],
    standing: Mapping[str, dict[str, Any]],
    number: int,
    writer: Writer,
    evaluated: decontamination.Index | None,
    held_out: decontamination.Index | None,
    index: int,
) -> jobs.Part:
    """The candidates of one part of the documents, in the documents' order."""
    rows = {row["id"]: row for row in standing.values()}
    new = [document for document in parts[index] if document["id"] not in rows]
    written, dropped = _written(new, number, writer, evaluated, held_out)
    rows |= {row["id"]: row for row in written}
    found = [rows[one["id"]] for one in parts[index] if one["id"] in rows]
    return jobs.Part(
        pa.Table.from_pylist(found, schema=SCHEMA),
        pa.Table.from_pylist(dropped, schema=REJECTED),
        tokens=sum(row["n_tokens"] for row in written),
    )


def _written(
    documents: Sequence[Mapping[str, Any]],
    number: int,
    writer: Writer,
    evaluated: decontamination.Index | None,
    held_out: decontamination.Index | None,
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """A new candidate for each document that one can be written for; the others."""
    asked: list[tuple[Mapping[str, Any], fitting.FittedPrompt]] = []
    written: list[dict[str, Any]] = []
    dropped: list[dict[str, str]] = []
    for document in documents:
        known = held_out.find(document["text"]) if held_out else None
        if known is not None:
            none = "no n-gram of a held-out response"
            dropped.append(_drop(document, HELD_OUT, known.value, none))
            continue
        prompt = fitted(writer, document["text"])
        if prompt is None:
            limit = f"{writer.longest_prompt} tokens"
            dropped.append(_drop(document, PROMPT_TOO_LONG, "a longer frame", limit))
        else:
            asked.append((document, prompt))
    generations = writer.generate(
        [prompt.ids for _, prompt in asked], [document["id"] for document, _ in asked]
    )
    for (document, prompt), generation in zip(asked, generations, strict=True):
        text = generation.text
        if text is None:
            text = writer.decode(generation.tokens)
        instruction = text.strip()
        reason = why_rejected(instruction)
        if reason is not None:
            dropped.append(_drop(document, reason, repr(instruction), "text"))
            continue
        flaw = evaluated.find(instruction) if evaluated else None
        if flaw is not None:
            dropped.append(_drop(document, flaw.reason, flaw.value, flaw.threshold))
            continue
        written.append(
            {
                "id": document["id"],
                "lang": document["lang"],
                "instruction": instruction,
                "output": document["text"],
                "logprob": generation.logprob,
                "n_tokens": len(generation.tokens),
                "finish": generation.finish,
                "prompt_cut": prompt.cut,
                "round": number,
            }
        )
    return written, dropped


def _drop(
    document: Mapping[str, Any], reason: str, value: str, threshold: str
) -> dict[str, str]:
    dropped = Dropped(document["id"], reason, value, threshold, document["text"])
    return dropped.row(document["lang"])


def _counts(
    documents: int, directory: pathlib.Path, language: str, number: int
) -> Counts:
    """Counts of a language's finished shards, and of what has no candidate."""
    columns = ["id", "finish", "prompt_cut", "n_tokens", "round"]
    rows = shards.read_rows(directory / language, columns)
    new = [row for row in rows if row["round"] == number]
    counts = Counts(rows_in=documents, rows_out=len(rows))
    rejected = shards.read_table(directory / REJECTED_DIRECTORY / language, ["reason"])
    reasons = collections.Counter(rejected["reason"].to_pylist())
    for reason in (
        *(HELD_OUT, PROMPT_TOO_LONG, NO_OUTPUT, INVALID_TEXT),
        decontamination.CONTAMINATED,
    ):
        if reasons[reason]:
            counts.drop(reason, reasons[reason])
    counts.notes = {
        "written": len(new),
        "standing": len(rows) - len(new),
        "prompts_cut": sum(row["prompt_cut"] for row in new),
        "unfinished": sum(row["finish"] == "length" for row in new),
        "tokens": sum(row["n_tokens"] for row in new),
    }
    return counts
