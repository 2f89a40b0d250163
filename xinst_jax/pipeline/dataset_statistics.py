"""The figures of a dataset, beside those of random samples and of no selection."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xinst_jax import shards
from xinst_jax.errors import UserError
from xinst_jax.hf import dataset_card
from xinst_jax.hf.dataset_card import Lengths
from xinst_jax.pipeline import verbs
from xinst_jax.pipeline.diversity import figures as figures_lib


@dataclasses.dataclass(frozen=True)
class Compared:
    """What a language's part of the dataset is compared with.

    Attributes:
      samples: instructions drawn at random from all that was kept, `figures.SAMPLES`
        times as many as the dataset has.
      kept: all kept instructions.
      diversity: the figures that `figures.compared` measured when they were drawn, and
        verb_cap: the share asked for and the one applied.
      clusters: how many there are (all), and how many were drawn from (drawn).
    """

    samples: Sequence[Sequence[str]]
    kept: Sequence[str]
    diversity: Mapping[str, Any]
    clusters: Mapping[str, int]


def compare(
    diverse: pathlib.Path, ratings: pathlib.Path, size: int, seed: int
) -> Compared:
    """Reads and draws what `size` pairs of a language are compared with.

    Args:
      diverse: the finished directory of what was drawn.
      ratings: the language's directory of the last round's ratings.
      size: pairs of the dataset.
      seed: of the random samples.

    Raises:
      UserError: the figures of the draw are missing.
    """
    table = shards.read_table(ratings, ["instruction", "kept"])
    kept = table["instruction"].filter(table["kept"])
    name = int.from_bytes(ratings.name.encode(), "big")
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, name))))
    samples = [
        kept.take(np.sort(rng.choice(len(kept), size, replace=False))).to_pylist()
        for _ in range(figures_lib.SAMPLES)
    ]
    path = diverse / figures_lib.FILE.format(lang=ratings.name)
    try:
        diversity = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(
            f"{path} is missing: the draw was not finished. Run diversify again."
        ) from error
    rows = shards.read_table(diverse / ratings.name, ["cluster", "selected"])
    cluster_n, selected_n = (rows[name].to_numpy() for name in rows.column_names)
    clusters = {
        "all": len(np.unique(cluster_n)),
        "drawn": len(np.unique(cluster_n[selected_n])),
    }
    return Compared(samples, kept.to_pylist(), diversity, clusters)


def statistics(
    rows: Mapping[str, Sequence[Mapping[str, Any]]], compared: Mapping[str, Compared]
) -> dict[str, Any]:
    """The figures of statistics.json, for each of 'languages' and for 'all' of them.

    Args:
      rows: the dataset's rows by language.
      compared: what they are compared with, by language.

    Returns:
      rows; instruction_chars and output_chars (mean and sd over rows, in characters);
      top_verbs (rows of verb, count, nouns with counts); verb_noun_rows (how many
      instructions have a root verb and noun), distinct_verb_nouns (how many different
      pairs they have), random_distinct_verb_nouns (the same in each random sample) and
      kept_distinct_verb_nouns (in all that was kept). Of each language also diversity
      and clusters, as `Compared` has them.
    """
    everything = [row for part in rows.values() for row in part]
    samples = [
        [instruction for sample in samples for instruction in sample]
        for samples in zip(*(one.samples for one in compared.values()), strict=True)
    ]
    kept = [instruction for one in compared.values() for instruction in one.kept]
    return {
        "all": _figures(everything, samples, kept),
        "languages": {
            code: _figures(part, compared[code].samples, compared[code].kept)
            | {
                "diversity": compared[code].diversity,
                "clusters": compared[code].clusters,
            }
            for code, part in rows.items()
        },
    }


def lengths(rows: Sequence[Mapping[str, Any]]) -> Lengths:
    """How long the rows' instructions and responses are."""
    return dataset_card.lengths(
        [row["instruction"] for row in rows], [row["output"] for row in rows]
    )


def _figures(
    rows: Sequence[Mapping[str, Any]],
    samples: Sequence[Sequence[str]],
    kept: Sequence[str],
) -> dict[str, Any]:
    found = lengths(rows)
    pairs = verbs.count_pairs(row["instruction"] for row in rows)
    return {
        "rows": found.rows,
        "instruction_chars": {
            "mean": round(found.instruction_mean, 2),
            "sd": round(found.instruction_sd, 2),
        },
        "output_chars": {
            "mean": round(found.output_mean, 2),
            "sd": round(found.output_sd, 2),
        },
        "top_verbs": [
            {"verb": verb, "count": count, "nouns": dict(nouns)}
            for verb, count, nouns in verbs.top_verbs(pairs)
        ],
        "verb_noun_rows": pairs.total(),
        "distinct_verb_nouns": len(pairs),
        "random_distinct_verb_nouns": [
            verbs.distinct_pairs(sample) for sample in samples
        ],
        "kept_distinct_verb_nouns": verbs.distinct_pairs(kept),
    }
