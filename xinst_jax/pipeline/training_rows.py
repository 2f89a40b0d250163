"""The rows that a run's tokenizer and the models of its rounds learn from."""

import pathlib
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from xinst_jax import distributed, shards
from xinst_jax.data import prompts
from xinst_jax.pipeline import kept
from xinst_jax.pipeline.workspace import Workspace

_SHARD_ROWS = 10_000
_PAIR = pa.schema(
    [(name, pa.string()) for name in ("id", "lang", "instruction", "output", "split")]
)

_TEXT = pa.schema([(name, pa.string()) for name in ("id", "lang", "text", "split")])


def tokenizer_texts(workspace: Workspace) -> list[str]:
    """Corpus and seed texts, as evenly over languages as they allow."""
    per_language = []
    for code in workspace.run.languages:
        texts = shards.read_table(workspace.path("corpus") / code, ["text"])
        pairs = shards.read_table(workspace.path("seed") / code)
        # The seed first, so that English is among them however large the corpus is.
        per_language.append(
            pairs["instruction"].to_pylist()
            + pairs["output"].to_pylist()
            + texts["text"].to_pylist()
        )
    most = max(1, workspace.run.tokenizer.max_sentences // len(per_language))
    return [text for texts in per_language for text in texts[:most]]


def write_pair_texts(workspace: Workspace, directory: pathlib.Path) -> None:
    """The seed pairs as texts: an instruction, a blank line, its response.

    They are all the English that a base model trained from scratch gets to read.
    """
    for code in workspace.run.languages:
        rows = [
            {**row, "text": prompts.pair(row["instruction"], row["output"])}
            for row in shards.read_rows(workspace.path("seed") / code)
        ]
        shards.write_shards(directory / code, rows, _TEXT, _SHARD_ROWS)


def write_pairs(workspace: Workspace, directory: pathlib.Path, number: int) -> None:
    """The pairs that a round learns to reverse: the seed, and what was kept before."""
    for code, taken in kept_to_learn(workspace, number).items():
        rows = shards.read_rows(workspace.path("seed") / code, _PAIR.names)
        rows += [{**row, "split": "train"} for row in taken]
        shards.write_shards(directory / code, rows, _PAIR, _SHARD_ROWS)


def write_kept(workspace: Workspace, directory: pathlib.Path, number: int) -> None:
    """The pairs that a round learns to answer beside the seed: what was kept before."""
    for code, taken in kept_to_learn(workspace, number).items():
        rows = [{**row, "split": "train"} for row in taken]
        shards.write_shards(directory / code, rows, _PAIR, _SHARD_ROWS)


def write_levels(workspace: Workspace, directory: pathlib.Path, number: int) -> None:
    """The rater's examples: pairs taken for good, and the same pairs spoilt.

    All processes call it, and process 0 writes.
    """
    from xinst_jax.hf import encoder
    from xinst_jax.pipeline import levels

    run = workspace.run
    seed_rows = [
        row
        for code in run.languages
        for row in shards.read_rows(workspace.path("seed") / code)
    ]
    kept_rows = [
        row for rows in kept_to_learn(workspace, number).values() for row in rows
    ]
    pairs = levels.good_pairs(seed_rows, kept_rows)
    embeddings_pe = encoder.embed(
        encoder.load_encoder(run.diversify.encoder),
        [pair.instruction for pair in pairs],
        workspace.mesh,
        run.diversify.batch_rows,
    )
    if not distributed.is_primary():
        return
    rows = levels.make_levels(
        pairs,
        seed=workspace.seed(f"levels/round-{number}"),
        examples_per_pair=run.rate.examples_per_pair,
        embeddings_pe=embeddings_pe,
        boilerplate=_boilerplate(workspace),
        languages=run.language_table,
        texts=run.seed_pairs.texts,
    )
    shards.write_shards(directory, rows, levels.SCHEMA, _SHARD_ROWS)


def kept_to_learn(workspace: Workspace, number: int) -> dict[str, list[dict[str, Any]]]:
    """By language, the pairs kept before a round, which its models are trained on.

    No document with a piece of a held-out response has a candidate, so what a round is
    measured and calibrated by, none of its models has read.
    """
    standing = kept_by(workspace, number - 1)
    return {
        code: list(standing.get(code, {}).values()) for code in workspace.run.languages
    }


def held_out_responses(workspace: Workspace) -> list[str]:
    """The responses of the seed pairs that no model is trained on."""
    return [
        row["output"]
        for code in workspace.run.languages
        for row in shards.read_rows(workspace.path("seed") / code, ["output", "split"])
        if row["split"] == "held_out"
    ]


def kept_by(
    workspace: Workspace, number: int
) -> Mapping[str, Mapping[str, dict[str, Any]]]:
    """What a round kept; nothing before the first."""
    if number == 0:
        return {}
    this = f"round-{number}"
    return kept.read(
        workspace.path(f"candidates/{this}"),
        workspace.path(f"ratings/{this}"),
        workspace.run.languages,
    )


def _boilerplate(workspace: Workspace) -> dict[str, list[str]]:
    """By language, the menus and notices that were found in the corpus."""
    from xinst_jax.pipeline.corpus import boilerplate

    found = {}
    for code in workspace.run.languages:
        rejected = workspace.path("corpus") / "rejected" / code
        found[code] = [
            row["text"]
            for row in shards.read_rows(rejected, ["reason", "text"])
            if row["reason"] in (boilerplate.MENU, boilerplate.COOKIE_NOTICE)
        ]
    return found
