"""Candidates: an instruction written for every text of the corpus."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from xinst_jax import shards
from xinst_jax.config import DecodeConfig
from xinst_jax.data import fitting, prompts
from xinst_jax.infer import jobs
from xinst_jax.infer.engine import Generation
from xinst_jax.manifest import Counts, StageDirectory

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

Generate = Callable[[Sequence[Sequence[int]], Sequence[str]], list[Generation]]


def run(
    stage: StageDirectory,
    config: DecodeConfig,
    languages: Sequence[str],
    corpus: pathlib.Path,
    kept: Mapping[str, Mapping[str, dict[str, Any]]],
    number: int,
    generate: Generate,
    encode: Callable[[str], list[int]],
    decode: Callable[[Sequence[int]], str],
) -> dict[str, Counts]:
    """Writes `candidates/round-k/{lang}`; what is already there is kept.

    Args:
      stage: the directory to write.
      config: how instructions are decoded.
      languages: language codes.
      corpus: the finished `corpus` directory.
      kept: by language and document id, the candidates that the round before kept;
        they stand, and every other document gets a new instruction.
      number: the round, from 1.
      generate: writes token ids after each of a list of prompts, given their row ids.
      encode: the tokenizer, without special tokens.
      decode: its inverse.

    Returns:
      Counts by language.
    """
    counts = {}
    for language in languages:
        documents = shards.read_rows(corpus / language, ["id", "lang", "text"])
        standing = kept.get(language, {})
        size = config.shard_rows

        def compute(index: int, documents: Any = documents, standing: Any = standing):
            part = documents[index * size : (index + 1) * size]
            rows = _candidates(part, standing, number, config, generate, encode, decode)
            return pa.Table.from_pylist(rows, schema=SCHEMA)

        directory = stage.path / language
        jobs.run_shards(
            directory,
            max(1, -(-len(documents) // size)),
            compute,
            label=f"generate {language}",
        )
        counts[language] = _counts(len(documents), directory, number)
    return counts


def _candidates(
    documents: Sequence[Mapping[str, Any]],
    standing: Mapping[str, dict[str, Any]],
    number: int,
    config: DecodeConfig,
    generate: Generate,
    encode: Callable[[str], list[int]],
    decode: Callable[[Sequence[int]], str],
) -> list[dict[str, Any]]:
    """One candidate a document, in the documents' order."""
    new = [document for document in documents if document["id"] not in standing]
    fitted = [
        fitting.fit(
            document["text"], prompts.reverse, encode, config.prompt_buckets[-1]
        )
        for document in new
    ]
    asked = [(document, prompt) for document, prompt in zip(new, fitted) if prompt]
    written = generate(
        [prompt.ids for _, prompt in asked], [document["id"] for document, _ in asked]
    )
    rows = {
        document["id"]: {
            "id": document["id"],
            "lang": document["lang"],
            "instruction": decode(generation.tokens).strip(),
            "output": document["text"],
            "logprob": generation.logprob,
            "n_tokens": len(generation.tokens),
            "finish": generation.finish,
            "prompt_cut": prompt.cut,
            "round": number,
        }
        for (document, prompt), generation in zip(asked, written, strict=True)
    }
    rows.update(standing)
    return [rows[document["id"]] for document in documents if document["id"] in rows]


def _counts(documents: int, directory: pathlib.Path, number: int) -> Counts:
    rows = shards.read_rows(directory, ["finish", "prompt_cut", "n_tokens", "round"])
    new = [row for row in rows if row["round"] == number]
    counts = Counts(rows_in=documents, rows_out=len(rows))
    if documents > len(rows):
        counts.drop("prompt_too_long", documents - len(rows))
    counts.notes = {
        "written": len(new),
        "standing": len(rows) - len(new),
        "prompts_cut": sum(row["prompt_cut"] for row in new),
        "unfinished": sum(row["finish"] == "length" for row in new),
        "tokens": sum(row["n_tokens"] for row in new),
    }
    return counts
