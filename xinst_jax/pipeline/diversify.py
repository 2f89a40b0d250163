"""Kept pairs drawn evenly over what their instructions ask for.

Per language: the English instructions are embedded and clustered; within a cluster
near-duplicates give way to the better-scored one, and pairs are drawn by a named rule:
the same number from every cluster, as the paper's figure shows, in proportion to score,
if no other is asked for.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xinst_jax import distributed, shards
from xinst_jax.config import DiversifyConfig
from xinst_jax.hf import encoder as encoder_lib
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.pipeline import kept, verbs
from xinst_jax.pipeline.diversity import figures, verb_cap
from xinst_jax.pipeline.diversity.draw import BY_WEIGHT, Drawn, draw, members_of
from xinst_jax.pipeline.diversity.kmeans import Clusters, kmeans
from xinst_jax.pipeline.diversity.mini_batch import mini_batch_kmeans

_ROWS = pa.schema(
    {
        "id": pa.string(),
        "cluster": pa.int32(),
        "distance": pa.float32(),
        "weight": pa.float32(),
        "selected": pa.bool_(),
        "reason": pa.string(),
    }
)
_MAP = pa.schema({"id": pa.string(), "x": pa.float32(), "y": pa.float32()})
_CLUSTERS = pa.schema(
    {
        "cluster": pa.int32(),
        "size": pa.int32(),
        "near_duplicates": pa.int32(),
        "over_verb_share": pa.int32(),
        "selected": pa.int32(),
        "nearest_id": pa.string(),
        "nearest_instruction": pa.string(),
        "x": pa.float32(),
        "y": pa.float32(),
    }
)
_SHARD_ROWS = 65536

_NEAR_DUPLICATE = "near_duplicate"
_OVER_VERB_SHARE = "over_verb_share"
_CLUSTER_FULL = "cluster_full"


def run(
    stage: StageDirectory,
    config: DiversifyConfig,
    languages: Iterable[str],
    ratings: pathlib.Path,
    candidates: pathlib.Path,
    mesh: jax.sharding.Mesh,
    seed: int,
) -> dict[str, Counts]:
    """Clusters and draws the kept pairs of each language.

    Writes {lang}/ shards (id, cluster, distance, weight, selected, and the reason where
    it is not) in the order of ids,
    map/{lang}.parquet (id, x, y: where an instruction lies in a picture),
    figures/{lang}.json (see `figures.compared`) and clusters/{lang}.parquet (cluster,
    size, near_duplicates, over_verb_share, selected, nearest_id, nearest_instruction,
    x, y). A language whose clusters are written is not redone. Of several processes,
    all look for clusters; process 0 draws, writes and counts.

    Args:
      stage: the stage's directory.
      config: how.
      languages: language codes.
      ratings: the last round's finished ratings directory.
      candidates: the candidates that they rate, where the instructions are.
      mesh: the devices.
      seed: decides the clusters' start and the draw.

    Raises:
      UserError: the encoder cannot be loaded, or an input is incomplete.
    """
    encoder = encoder_lib.load_encoder(config.encoder)
    counts = {}
    for language in languages:
        summary = stage.path / "clusters" / f"{language}.parquet"
        if not distributed.from_primary(f"clusters of {language}", summary.exists):
            rows = kept.read(candidates, ratings, [language])[language]
            pairs = [rows[name] for name in sorted(rows)]
            vectors_ne = encoder_lib.embed(
                encoder,
                [pair["instruction"] for pair in pairs],
                mesh,
                config.batch_rows,
            )
            found = _clusters(vectors_ne, config, mesh, f"{seed}/{language}")
            if distributed.is_primary():
                verb_n = [verbs.root_verb(pair["instruction"]) for pair in pairs]
                drawn = draw(
                    pairs,
                    vectors_ne,
                    found.cluster_n,
                    verb_n,
                    config,
                    f"{seed}/{language}",
                )
                measured = figures.compared(
                    vectors_ne,
                    found.cluster_n,
                    verb_n,
                    drawn.weight_n,
                    config.selection == BY_WEIGHT,
                    (seed, int.from_bytes(language.encode(), "big")),
                )
                in_play = [
                    verb
                    for verb, duplicate in zip(verb_n, drawn.duplicate_n, strict=True)
                    if not duplicate
                ]
                measured["verb_cap"] = {
                    "asked": config.verb_share,
                    "applied": verb_cap.feasible(config.verb_share, in_play),
                }
                _write(stage.path, language, pairs, vectors_ne, found, drawn, measured)
        if distributed.is_primary():
            counts[language] = _counts(stage.path, language)
    return counts


def plane(vectors_ne: np.ndarray) -> np.ndarray:
    """Coordinates (N, 2) float32 along the first two principal components.

    The components are the right singular vectors of the centred vectors; the largest
    entry of each is made positive, as its sign is otherwise arbitrary.
    """
    centred_ne = vectors_ne.astype(np.float64) - vectors_ne.mean(
        axis=0, dtype=np.float64
    )
    _, axes_ee = np.linalg.eigh(centred_ne.T @ centred_ne)
    axes_e2 = axes_ee[:, :-3:-1]
    largest_2 = np.abs(axes_e2).argmax(axis=0)
    axes_e2 = axes_e2 * np.sign(axes_e2[largest_2, [0, 1]])
    return np.round(centred_ne @ axes_e2, 6).astype(np.float32)


def _clusters(
    vectors_ne: np.ndarray, config: DiversifyConfig, mesh: jax.sharding.Mesh, seed: str
) -> Clusters:
    """K-means with its clusters renumbered, the largest first, empty ones left out."""
    count = max(1, min(config.clusters, len(vectors_ne) // 2))
    if not len(vectors_ne):
        none = np.zeros(0, np.float32)
        return Clusters(vectors_ne, none.astype(np.int32), none, 0)
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4], "big")
    key = jax.random.key(number)
    if config.mini_batch:
        found = mini_batch_kmeans(
            vectors_ne, count, config.iterations, config.mini_batch, key, mesh
        )
    else:
        found = kmeans(vectors_ne, count, config.iterations, key, mesh)
    sizes_c = np.bincount(found.cluster_n, minlength=count)
    order_c = np.argsort(-sizes_c, kind="stable")[: np.count_nonzero(sizes_c)]
    renumbered_c = np.zeros(count, np.int32)
    renumbered_c[order_c] = np.arange(len(order_c))
    return dataclasses.replace(
        found,
        centroids_ce=found.centroids_ce[order_c],
        cluster_n=renumbered_c[found.cluster_n],
    )


def _write(
    directory: pathlib.Path,
    language: str,
    pairs: Sequence[Mapping[str, Any]],
    vectors_ne: np.ndarray,
    found: Clusters,
    drawn: Drawn,
    measured: Mapping[str, Any],
) -> None:
    """Writes a language's files, the clusters last."""
    rows = [
        {
            "id": pair["id"],
            "cluster": int(found.cluster_n[row]),
            "distance": max(0.0, 1.0 - float(found.cosine_n[row])),
            "weight": float(drawn.weight_n[row]),
            "selected": bool(drawn.selected_n[row]),
            "reason": _reason(drawn, row),
        }
        for row, pair in enumerate(pairs)
    ]
    shards.write_shards(directory / language, rows, _ROWS, _SHARD_ROWS)
    at_n2 = plane(vectors_ne) if pairs else np.zeros((0, 2), np.float32)
    columns = [[pair["id"] for pair in pairs], at_n2[:, 0], at_n2[:, 1]]
    table = pa.table(dict(zip(_MAP.names, columns, strict=True)), schema=_MAP)
    shards.write_table(directory / "map" / f"{language}.parquet", table)
    text = json.dumps(measured, indent=1, ensure_ascii=False)
    shards.write_bytes(
        directory / figures.FILE.format(lang=language), f"{text}\n".encode()
    )
    summary = _summary(pairs, found, drawn, at_n2)
    shards.write_table(
        directory / "clusters" / f"{language}.parquet",
        pa.Table.from_pylist(summary, schema=_CLUSTERS),
    )


def _reason(drawn: Drawn, row: int) -> str:
    """Why a pair is not drawn; empty for one that is."""
    if drawn.duplicate_n[row]:
        return _NEAR_DUPLICATE
    if drawn.over_n[row]:
        return _OVER_VERB_SHARE
    return "" if drawn.selected_n[row] else _CLUSTER_FULL


def _summary(
    pairs: Sequence[Mapping[str, Any]],
    found: Clusters,
    drawn: Drawn,
    at_n2: np.ndarray,
) -> list[dict[str, Any]]:
    rows = []
    for cluster, members_m in enumerate(members_of(found.cluster_n)):
        nearest = pairs[members_m[found.cosine_n[members_m].argmax()]]
        x, y = at_n2[members_m].mean(axis=0).tolist()
        rows.append(
            {
                "cluster": cluster,
                "size": len(members_m),
                "near_duplicates": int(drawn.duplicate_n[members_m].sum()),
                "over_verb_share": int(drawn.over_n[members_m].sum()),
                "selected": int(drawn.selected_n[members_m].sum()),
                "nearest_id": nearest["id"],
                "nearest_instruction": nearest["instruction"],
                "x": x,
                "y": y,
            }
        )
    return rows


def _counts(directory: pathlib.Path, language: str) -> Counts:
    """Counts of a finished language, from its files."""
    summary = pq.read_table(directory / "clusters" / f"{language}.parquet")
    total = {
        name: int(np.sum(summary[name].to_numpy(), dtype=np.int64))
        for name in ("size", "near_duplicates", "over_verb_share", "selected")
    }
    counts = Counts(rows_in=total["size"], rows_out=total["selected"])
    counts.notes["clusters"] = summary.num_rows
    drawn_c = summary["selected"].to_numpy() > 0
    counts.notes["clusters_drawn_from"] = int(drawn_c.sum())
    measured = json.loads((directory / figures.FILE.format(lang=language)).read_bytes())
    cap = measured.get("verb_cap")
    if cap and cap["applied"] > cap["asked"]:
        counts.notes["verb_share_lifted_to"] = round(cap["applied"], 4)
    for name in ("cluster_entropy", "nearest_distance", "vendi_score"):
        if measured["drawn"][name] is not None:
            counts.notes[name] = round(measured["drawn"][name], 4)
    dropped = {
        _NEAR_DUPLICATE: total["near_duplicates"],
        _OVER_VERB_SHARE: total["over_verb_share"],
    }
    dropped[_CLUSTER_FULL] = total["size"] - total["selected"] - sum(dropped.values())
    for reason, rows in dropped.items():
        if rows:
            counts.drop(reason, rows)
    return counts
