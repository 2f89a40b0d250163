"""Candidates: an instruction written for every text of the corpus."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from xinst_jax import distributed, shards
from xinst_jax.data import fitting, prompts
from xinst_jax.infer import jobs
from xinst_jax.infer.engine import Generation
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.pipeline.rejects import REJECTED, Dropped

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

_REJECTED_ROWS = 10_000


@dataclasses.dataclass(frozen=True)
class Writer:
    """The generator, and how text becomes its tokens.

    Attributes:
      generate: writes after each of a list of prompts, given their row ids.
      encode: a prompt's token ids, begin token included.
      decode: the text of token ids.
      longest_prompt: tokens of the longest prompt.
    """

    generate: Callable[[Sequence[Sequence[int]], Sequence[str]], list[Generation]]
    encode: Callable[[str], list[int]]
    decode: Callable[[Sequence[int]], str]
    longest_prompt: int


def run(
    stage: StageDirectory,
    languages: Sequence[str],
    corpus: pathlib.Path,
    kept: Mapping[str, Mapping[str, dict[str, Any]]],
    number: int,
    writer: Writer,
    shard_rows: int,
) -> dict[str, Counts]:
    """Writes `candidates/round-k/{lang}`; shards that are there already are kept.

    Args:
      stage: the directory to write.
      languages: language codes.
      corpus: the finished `corpus` directory.
      kept: by language and document id, the candidates that the round before kept;
        they stand, and every other document gets a new instruction.
      number: the round, from 1.
      writer: the generator.
      shard_rows: documents of an output shard.

    Returns:
      Counts by language; of several processes only process 0 counts.
    """
    counts = {}
    for language in languages:
        documents = shards.read_rows(corpus / language, ["id", "lang", "text"])
        parts = [
            documents[start : start + shard_rows]
            for start in range(0, max(1, len(documents)), shard_rows)
        ]
        jobs.run_shards(
            stage.path / language,
            len(parts),
            functools.partial(_shard, parts, kept.get(language, {}), number, writer),
            label=f"generate {language}",
        )
        if distributed.is_primary():
            counts[language] = _counts(documents, stage.path, language, number)
    return counts


def _shard(
    parts: Sequence[Sequence[Mapping[str, Any]]],
    standing: Mapping[str, dict[str, Any]],
    number: int,
    writer: Writer,
    index: int,
) -> pa.Table:
    """The candidates of one part of the documents, in the documents' order."""
    rows = {row["id"]: row for row in standing.values()}
    new = [document for document in parts[index] if document["id"] not in rows]
    rows |= {row["id"]: row for row in _written(new, number, writer)}
    found = [rows[one["id"]] for one in parts[index] if one["id"] in rows]
    return pa.Table.from_pylist(found, schema=SCHEMA)


def _written(
    documents: Sequence[Mapping[str, Any]], number: int, writer: Writer
) -> list[dict[str, Any]]:
    """A new candidate for each document whose prompt fits."""
    asked = []
    for document in documents:
        prompt = fitting.fit(
            document["text"], prompts.reverse, writer.encode, writer.longest_prompt
        )
        if prompt is not None:
            asked.append((document, prompt))
    generations = writer.generate(
        [prompt.ids for _, prompt in asked], [document["id"] for document, _ in asked]
    )
    return [
        {
            "id": document["id"],
            "lang": document["lang"],
            "instruction": writer.decode(generation.tokens).strip(),
            "output": document["text"],
            "logprob": generation.logprob,
            "n_tokens": len(generation.tokens),
            "finish": generation.finish,
            "prompt_cut": prompt.cut,
            "round": number,
        }
        for (document, prompt), generation in zip(asked, generations, strict=True)
    ]


def _counts(
    documents: Sequence[Mapping[str, Any]],
    directory: pathlib.Path,
    language: str,
    number: int,
) -> Counts:
    """Counts of a language's finished shards; what has no candidate is rejected."""
    columns = ["id", "finish", "prompt_cut", "n_tokens", "round"]
    rows = shards.read_rows(directory / language, columns)
    new = [row for row in rows if row["round"] == number]
    counts = Counts(rows_in=len(documents), rows_out=len(rows))
    done = {row["id"] for row in rows}
    dropped = [
        Dropped(one["id"], "prompt_too_long", "the prompt's frame", "fits", one["text"])
        for one in documents
        if one["id"] not in done
    ]
    if dropped:
        counts.drop("prompt_too_long", len(dropped))
    shards.write_shards(
        directory / "rejected" / language,
        [one.row(language) for one in dropped],
        REJECTED,
        _REJECTED_ROWS,
    )
    counts.notes = {
        "written": len(new),
        "standing": len(rows) - len(new),
        "prompts_cut": sum(row["prompt_cut"] for row in new),
        "unfinished": sum(row["finish"] == "length" for row in new),
        "tokens": sum(row["n_tokens"] for row in new),
    }
    return counts
