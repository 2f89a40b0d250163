"""The dataset: what was kept and drawn, as Parquet and JSON, with a card."""

import collections
import dataclasses
import json
import pathlib
import statistics as stats
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from xinst_jax import __version__, config, manifest, shards
from xinst_jax.config import RateConfig
from xinst_jax.errors import UserError
from xinst_jax.hf import dataset_card, licences
from xinst_jax.hf.dataset_card import Sample, Scores
from xinst_jax.languages import Language
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.pipeline import contamination, rubric
from xinst_jax.pipeline.dataset_statistics import (
    Compared,
    compare,
    lengths,
    statistics,
)
from xinst_jax.pipeline.diversity import figures as figures_lib

_COLUMNS = {
    "instruction": (pa.string(), "the instruction, in English, written by a model"),
    "output": (pa.string(), "the response: natural text in the language"),
    "lang": (pa.string(), "code of the response's language"),
    "id": (pa.string(), "the response's own, the same in every run on the corpus"),
    "score": (pa.float32(), "the rater's expected level, 0 (bad) to 1 (good)"),
    "cluster": (pa.int32(), "of the language's instructions, by meaning"),
    "weight": (pa.float32(), "how often to draw the pair, for even clusters"),
    "source": (pa.string(), "where the response comes from"),
    "license": (pa.string(), "under what it was published, if the corpus says so"),
    "round": (pa.int32(), "the round in which the instruction was written"),
    "scores": (
        pa.list_(pa.float32()),
        "the score in each round that rated the pair, the first being `round`",
    ),
    "generator": (
        pa.string(),
        "the model that wrote the instruction: the first 16 digits of its digest",
    ),
}
SCHEMA = pa.schema([(name, kind) for name, (kind, _) in _COLUMNS.items()])
"""Columns of `dataset/{lang}`, the same in every file, also where it has no rows."""

STATISTICS = "statistics.json"
FILES = "{lang}/part-*.parquet"
"""Where the Parquet files of a language are, for the dataset card."""

_JSON_FIELDS = ("instruction", "output", "lang", "id")
_SHARD_ROWS = 20_000
_SHOWN_CHARS = 600
_SCORE_PARTS = 10
_DIGEST_CHARS = 16


@dataclasses.dataclass(frozen=True)
class Round:
    """The finished directories of a round.

    Attributes:
      generator: the model that wrote instructions; of a round that was left out, its
        record that it was.
      candidates: (id, instruction, output, round).
      ratings: (id, instruction, score, kept).
    """

    generator: pathlib.Path
    candidates: pathlib.Path
    ratings: pathlib.Path


def run(
    stage: StageDirectory,
    languages: Mapping[str, Language],
    *,
    name: str,
    license: str,
    diverse: pathlib.Path,
    rounds: Sequence[Round],
    corpus: pathlib.Path,
    seed_pairs: pathlib.Path,
    rate: RateConfig,
    seed: int,
) -> dict[str, Counts]:
    """Writes Parquet and JSON of every language, figures, lineage and README.md.

    Args:
      stage: the directory to write.
      languages: the run's languages by code.
      name: the dataset's name.
      license: licence named on its card; empty takes those of the rows.
      diverse: what was drawn (id, cluster, weight, selected), and its figures.
      rounds: what each round made, the first round first.
      corpus: the documents (id, source, license).
      seed_pairs: the finished directory of seed pairs.
      rate: how candidates were rated.
      seed: of the random samples that the drawn pairs are compared with.

    Returns:
      Counts by language.

    Raises:
      UserError: a drawn id is missing from the candidates, ratings or corpus.
    """
    ratings, candidates = rounds[-1].ratings, rounds[-1].candidates
    generators = [_generator(one.generator) for one in rounds]
    rows: dict[str, list[dict[str, Any]]] = {}
    compared: dict[str, Compared] = {}
    for code in languages:
        drawn = _drawn(diverse / code)
        joined = _joined(drawn, ratings / code, candidates / code, corpus / code)
        scores = _every_score(joined, [one.ratings / code for one in rounds])
        rows[code] = [
            row
            | {
                "scores": scores[row["id"]],
                "generator": generators[row["round"] - 1],
            }
            for row in joined
        ]
        compared[code] = compare(diverse, ratings / code, len(rows[code]), seed)
        _write_parquet(stage.path / code, rows[code])
        _write_json(stage.path / "json" / f"{code}.json", rows[code])
    figures = statistics(rows, compared)
    figures["rubric"] = rubric.rubric(rate, list(languages))
    text = json.dumps(figures, indent=1, ensure_ascii=False)
    shards.write_bytes(stage.path / STATISTICS, f"{text}\n".encode())
    record = {
        "run": name,
        "xinst_jax": __version__,
        "stage": stage.stage,
        "fingerprint": stage.fingerprint,
        "config": config.as_record(stage.config),
        "inputs": dict(stage.inputs),
        "rows": {code: len(part) for code, part in rows.items()},
    }
    text = json.dumps(record, indent=1, ensure_ascii=False)
    shards.write_bytes(stage.path / manifest.LINEAGE, f"{text}\n".encode())
    searched = (corpus, candidates)
    # A configuration without rows cannot be loaded, so the card has none.
    shown = {code: part for code, part in rows.items() if part} or rows
    found = {row["license"] or "" for part in rows.values() for row in part}
    card = dataset_card.dataset_card(
        name=name,
        languages={code: languages[code].name for code in shown},
        licences=[license] if license else licences.of_rows(found),
        files=FILES,
        columns={column: what for column, (_, what) in _COLUMNS.items()},
        statistics={code: lengths(part) for code, part in shown.items()},
        stages=_stages(
            (
                *(seed_pairs, corpus),
                *(part for one in rounds for part in (one.candidates, one.ratings)),
                diverse,
            )
        ),
        evaluation_sets=contamination.sets(searched),
        contamination=contamination.hits(searched, languages),
        decontamination=contamination.lengths(searched),
        rubric=figures["rubric"],
        coverage={
            code: {
                **compared[code].clusters,
                **compared[code].diversity.get("verb_cap", {}),
            }
            for code in shown
        },
        scores=_scores([ratings / code for code in languages], rows),
        variety={
            code: figures_lib.side_by_side(figures["languages"][code]) for code in shown
        },
        sources=_sources(rows),
        samples=_samples(rows),
        lineage={
            "run": name,
            "xinst_jax": __version__,
            "dataset": stage.fingerprint[:_DIGEST_CHARS],
            **{part: digest[:_DIGEST_CHARS] for part, digest in stage.inputs.items()},
        },
    )
    shards.write_bytes(stage.path / "README.md", card.encode())
    return {code: _counts(figures["languages"][code]) for code in languages}


def _drawn(directory: pathlib.Path) -> dict[str, dict[str, Any]]:
    """The drawn rows of diverse, by id."""
    columns = ["id", "cluster", "weight", "selected"]
    table = shards.read_table(directory, columns)
    table = table.filter(table["selected"]).drop_columns("selected")
    return {row["id"]: row for row in table.to_pylist()}


def _joined(
    drawn: Mapping[str, Mapping[str, Any]],
    ratings: pathlib.Path,
    candidates: pathlib.Path,
    corpus: pathlib.Path,
) -> list[dict[str, Any]]:
    """The dataset's rows, in the candidates' order."""
    scores = _of_ids(ratings, ["score"], drawn)
    origins = _of_ids(corpus, ["source", "license"], drawn)
    columns = ["lang", "instruction", "output", "round"]
    texts = _of_ids(candidates, columns, drawn)
    return [
        {**text, **drawn[name], **scores[name], **origins[name]}
        for name, text in texts.items()
    ]


def _generator(directory: pathlib.Path) -> str:
    """Digest of what wrote a round's instructions."""
    record = manifest.read(directory)
    if record is None:
        raise UserError(
            f"{directory} is not finished, so that it cannot be told which model wrote "
            "the instructions. Train it again."
        )
    return manifest.content_digest(record)[:_DIGEST_CHARS]


def _every_score(
    rows: Sequence[Mapping[str, Any]], ratings: Sequence[pathlib.Path]
) -> dict[str, list[float]]:
    """By id, a pair's score in each round from the one that wrote its instruction.

    A round that was left out rated nothing: it has the scores of the round before.
    """
    found: dict[str, list[float]] = {row["id"]: [] for row in rows}
    for number, directory in enumerate(ratings, 1):
        ids = {row["id"]: row for row in rows if row["round"] <= number}
        if _is_left_out(directory.parent):
            continue
        for name, rated in _of_ids(directory, ["score"], ids).items():
            found[name].append(rated["score"])
    return found


def _is_left_out(ratings: pathlib.Path) -> bool:
    record = manifest.read(ratings)
    counts = record["counts"].values() if record is not None else ()
    return any("settled_in_round" in count["notes"] for count in counts)


def _of_ids(
    directory: pathlib.Path, columns: Sequence[str], ids: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Those rows of a directory whose id is wanted, by id, in their order."""
    wanted = pa.array(list(ids), pa.string())
    found: dict[str, dict[str, Any]] = {}
    for path in shards.shard_paths(directory):
        table = pq.read_table(path, columns=["id", *columns])
        table = table.filter(pc.is_in(table["id"], value_set=wanted))
        found |= {row["id"]: row for row in table.to_pylist()}
    missing = ids.keys() - found.keys()
    if missing:
        raise UserError(
            f"{directory} lacks {len(missing)} of the {len(ids)} drawn pairs, such as "
            f"{min(missing)!r}: it was made by another run than the directory that "
            "names them. Remove the later one, and make it again."
        )
    return found


def _write_parquet(directory: pathlib.Path, rows: list[dict[str, Any]]) -> None:
    """Writes shards that the hub stores once where they did not change.

    Pages end where the content says so, and not after a number of rows, so that a row
    more or less changes only the pages around it.
    """
    count = max(1, -(-len(rows) // _SHARD_ROWS))
    for index in range(count):
        part = rows[index * _SHARD_ROWS : (index + 1) * _SHARD_ROWS]
        path = directory / shards.shard_name(index, count)
        with (
            shards.atomic_path(path) as temporary,
            pq.ParquetWriter(
                temporary,
                SCHEMA,
                compression="zstd",
                write_page_index=True,
                use_content_defined_chunking=True,
            ) as writer,
        ):
            # The library `datasets` fails on a row group of no rows; it passes over a
            # file that has no row group.
            if part:
                writer.write_table(pa.Table.from_pylist(part, schema=SCHEMA))


def _write_json(path: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes the rows as one JSON list, a row a line."""
    with (
        shards.atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):
        file.write("[")
        for number, row in enumerate(rows):
            fields = {field: row[field] for field in _JSON_FIELDS}
            line = json.dumps(fields, ensure_ascii=False)
            file.write(f"{',' if number else ''}\n{line}")
        file.write("\n]\n")


def _stages(
    directories: Sequence[pathlib.Path],
) -> list[tuple[str, int, int, dict[str, int]]]:
    """Stage, rows in, rows out and drops over all languages, from the manifests."""
    found = []
    for directory in directories:
        record = manifest.read(directory)
        if record is not None:
            counts = record["counts"].values()
            dropped: collections.Counter[str] = collections.Counter()
            for count in counts:
                dropped.update(count["dropped"])
            rows_in = sum(count["rows_in"] for count in counts)
            rows_out = sum(count["rows_out"] for count in counts)
            found.append((record["stage"], rows_in, rows_out, dict(dropped)))
    return found


def _scores(
    ratings: Sequence[pathlib.Path], rows: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[Scores]:
    """How the scores of all candidates, and of the dataset's pairs, are spread."""
    rated = [shards.read_table(path, ["score"])["score"].to_numpy() for path in ratings]
    chosen = [row["score"] for part in rows.values() for row in part]
    edges = np.linspace(0, 1, _SCORE_PARTS + 1)
    # A sum of float32 probabilities may be a little more than 1.
    rated_n, _ = np.histogram(np.clip(np.concatenate(rated), 0, 1), edges)
    chosen_n, _ = np.histogram(np.clip(chosen, 0, 1), edges)
    return [
        Scores(float(low), float(high), int(all_of_them), int(drawn))
        for low, high, all_of_them, drawn in zip(
            edges[:-1], edges[1:], rated_n, chosen_n, strict=True
        )
    ]


def _sources(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, int]:
    """Rows by origin and licence, the commonest first."""
    origins = collections.Counter(
        f"{row['source'] or 'not named'} ({row['license'] or 'licence not named'})"
        for part in rows.values()
        for row in part
    )
    return dict(sorted(origins.items(), key=lambda item: (-item[1], item[0])))


def _samples(
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, list[Sample]]:
    """Of each language the pairs with the highest, the median and the lowest score."""
    found = {}
    for code, part in rows.items():
        ranked = sorted(part, key=lambda row: (-row["score"], row["id"]))
        places = {0: "highest score"}
        if len(ranked) > 2:
            places[len(ranked) // 2] = "median score"
        if len(ranked) > 1:
            places[len(ranked) - 1] = "lowest score"
        if ranked:
            found[code] = [
                Sample(
                    which,
                    ranked[place]["score"],
                    ranked[place]["instruction"],
                    _shown(ranked[place]["output"]),
                )
                for place, which in places.items()
            ]
    return found


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 1]}…"


def _counts(figures: Mapping[str, Any]) -> Counts:
    counts = Counts(rows_in=figures["rows"], rows_out=figures["rows"])
    if figures["rows"]:
        counts.notes = {
            "instruction_chars": figures["instruction_chars"]["mean"],
            "output_chars": figures["output_chars"]["mean"],
            "distinct_verb_nouns": figures["distinct_verb_nouns"],
            "distinct_verb_nouns_at_random": stats.fmean(
                figures["random_distinct_verb_nouns"]
            ),
        }
    return counts
