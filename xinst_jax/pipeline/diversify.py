"""Kept pairs drawn evenly over what their instructions ask for.

Per language: the English instructions are embedded and clustered; within a cluster
near-duplicates give way to the better-scored one, and the same number of pairs is drawn
from every cluster, as the paper's figure shows, in proportion to score.
"""

import dataclasses
import hashlib
import math
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
from xinst_jax.pipeline import kept
from xinst_jax.pipeline.diversity.kmeans import Clusters, kmeans
from xinst_jax.pipeline.diversity.mini_batch import mini_batch_kmeans

_ROWS = pa.schema(
    {
        "id": pa.string(),
        "cluster": pa.int32(),
        "distance": pa.float32(),
        "weight": pa.float32(),
        "selected": pa.bool_(),
    }
)
_MAP = pa.schema({"id": pa.string(), "x": pa.float32(), "y": pa.float32()})
_CLUSTERS = pa.schema(
    {
        "cluster": pa.int32(),
        "size": pa.int32(),
        "near_duplicates": pa.int32(),
        "selected": pa.int32(),
        "nearest_id": pa.string(),
        "nearest_instruction": pa.string(),
        "x": pa.float32(),
        "y": pa.float32(),
    }
)
_SHARD_ROWS = 65536
_LOWEST_SCORE = 1e-6


@dataclasses.dataclass(frozen=True)
class Drawn:
    """What became of each pair of a language.

    Attributes:
      cluster_n: int32 cluster, 0 the largest.
      cosine_n: float32 cosine with its centroid.
      duplicate_n: whether a better-scored pair of its cluster asks the same.
      selected_n: whether it is drawn.
      weight_n: float32 weight in training; see `weights`.
    """

    cluster_n: np.ndarray
    cosine_n: np.ndarray
    duplicate_n: np.ndarray
    selected_n: np.ndarray
    weight_n: np.ndarray


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

    Writes {lang}/ shards (id, cluster, distance, weight, selected) in the order of ids,
    map/{lang}.parquet (id, x, y: where an instruction lies in a picture) and
    clusters/{lang}.parquet (cluster, size, near_duplicates, selected, nearest_id,
    nearest_instruction, x, y). A language whose clusters are written is not redone. Of
    several processes, process 0 writes and counts.

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
            drawn = draw(pairs, vectors_ne, config, mesh, f"{seed}/{language}")
            if distributed.is_primary():
                _write(stage.path, language, pairs, vectors_ne, drawn)
        if distributed.is_primary():
            counts[language] = _counts(pq.read_table(summary))
    return counts


def draw(
    pairs: Sequence[Mapping[str, Any]],
    vectors_ne: np.ndarray,
    config: DiversifyConfig,
    mesh: jax.sharding.Mesh,
    seed: str,
) -> Drawn:
    """Clusters the pairs of a language and draws from each cluster.

    Args:
      pairs: rows with `id` and `score`.
      vectors_ne: the unit vectors of their instructions.
      config: how.
      mesh: the devices.
      seed: any text; the draw depends on it and on ids, not on the pairs' order.
    """
    ids = [pair["id"] for pair in pairs]
    score_n = np.array([pair["score"] for pair in pairs], np.float64)
    found = _clusters(vectors_ne, config, mesh, seed)
    duplicate_n = np.zeros(len(ids), bool)
    selected_n = np.zeros(len(ids), bool)
    for members_m in _members(found.cluster_n):
        duplicate_m = near_duplicates(
            vectors_ne[members_m], score_n[members_m], config.near_duplicate_cosine
        )
        duplicate_n[members_m] = duplicate_m
        distinct_m = members_m[~duplicate_m]
        priority_m = [priority(seed, ids[row], score_n[row]) for row in distinct_m]
        best_m = np.argsort(priority_m, kind="stable")[::-1][: config.per_cluster]
        selected_n[distinct_m[best_m]] = True
    weight_n = weights(found.cluster_n, selected_n)
    return Drawn(found.cluster_n, found.cosine_n, duplicate_n, selected_n, weight_n)


def near_duplicates(
    vectors_me: np.ndarray, score_m: np.ndarray, threshold: float
) -> np.ndarray:
    """Which vectors lie too near to a better-scored one that stays.

    Example: three vectors in a row with cosines 0.96 between neighbours and 0.85
    between the outer two, threshold 0.95. If the middle one scores best, both others
    go; if it scores worst, it alone goes.

    Args:
      vectors_me: unit vectors of a cluster.
      score_m: their scores; of equal scores the first stays.
      threshold: cosine from which two are the same.
    """
    order_m = np.argsort(-score_m, kind="stable")
    ordered_me = vectors_me[order_m]
    goes_m = np.zeros(len(score_m), bool)
    for place in range(len(order_m)):
        if not goes_m[place]:
            worse_me = ordered_me[place + 1 :]
            goes_m[place + 1 :] |= worse_me @ ordered_me[place] >= threshold
    duplicate_m = np.zeros(len(score_m), bool)
    duplicate_m[order_m] = goes_m
    return duplicate_m


def priority(seed: str, name: str, score: float) -> float:
    """A pair's place in the draw: the highest of a cluster are drawn.

    The log score plus Gumbel noise that only seed and id decide, so that the highest k
    are k draws without replacement, each in proportion to score (Kool et al., arXiv
    1903.06059, section 2.3).
    """
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    uniform = ((int.from_bytes(digest[:8], "big") >> 12) + 0.5) / 2**52
    return math.log(max(score, _LOWEST_SCORE)) - math.log(-math.log(uniform))


def weights(cluster_n: np.ndarray, selected_n: np.ndarray) -> np.ndarray:
    """Weights by which every cluster counts the same and the mean is 1.

    Example: clusters 0 0 0 1, all selected, give 2/3 2/3 2/3 2. What is not selected
    weighs 0.
    """
    drawn_c = np.bincount(cluster_n, weights=selected_n)
    share_n = selected_n / np.maximum(drawn_c, 1)[cluster_n]
    total = selected_n.sum() / max(1, np.count_nonzero(drawn_c))
    return (share_n * total).astype(np.float32)


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


def _members(cluster_n: np.ndarray) -> list[np.ndarray]:
    """The rows of each cluster, ascending."""
    order_n = np.argsort(cluster_n, kind="stable")
    ends_c = np.cumsum(np.bincount(cluster_n))
    return np.split(order_n, ends_c[:-1]) if len(cluster_n) else []


def _write(
    directory: pathlib.Path,
    language: str,
    pairs: Sequence[Mapping[str, Any]],
    vectors_ne: np.ndarray,
    drawn: Drawn,
) -> None:
    """Writes a language's files, the clusters last."""
    rows = [
        {
            "id": pair["id"],
            "cluster": int(drawn.cluster_n[row]),
            "distance": max(0.0, 1.0 - float(drawn.cosine_n[row])),
            "weight": float(drawn.weight_n[row]),
            "selected": bool(drawn.selected_n[row]),
        }
        for row, pair in enumerate(pairs)
    ]
    shards.write_shards(directory / language, rows, _ROWS, _SHARD_ROWS)
    at_n2 = plane(vectors_ne) if pairs else np.zeros((0, 2), np.float32)
    columns = [[pair["id"] for pair in pairs], at_n2[:, 0], at_n2[:, 1]]
    table = pa.table(dict(zip(_MAP.names, columns, strict=True)), schema=_MAP)
    shards.write_table(directory / "map" / f"{language}.parquet", table)
    summary = _summary(pairs, drawn, at_n2)
    shards.write_table(
        directory / "clusters" / f"{language}.parquet",
        pa.Table.from_pylist(summary, schema=_CLUSTERS),
    )


def _summary(
    pairs: Sequence[Mapping[str, Any]], drawn: Drawn, at_n2: np.ndarray
) -> list[dict[str, Any]]:
    rows = []
    for cluster, members_m in enumerate(_members(drawn.cluster_n)):
        nearest = pairs[members_m[drawn.cosine_n[members_m].argmax()]]
        x, y = at_n2[members_m].mean(axis=0).tolist()
        rows.append(
            {
                "cluster": cluster,
                "size": len(members_m),
                "near_duplicates": int(drawn.duplicate_n[members_m].sum()),
                "selected": int(drawn.selected_n[members_m].sum()),
                "nearest_id": nearest["id"],
                "nearest_instruction": nearest["instruction"],
                "x": x,
                "y": y,
            }
        )
    return rows


def _counts(summary: pa.Table) -> Counts:
    total = {
        name: int(np.sum(summary[name].to_numpy(), dtype=np.int64))
        for name in ("size", "near_duplicates", "selected")
    }
    counts = Counts(rows_in=total["size"], rows_out=total["selected"])
    counts.notes["clusters"] = summary.num_rows
    full = total["size"] - total["near_duplicates"] - total["selected"]
    for reason, rows in (
        ("near_duplicate", total["near_duplicates"]),
        ("cluster_full", full),
    ):
        if rows:
            counts.drop(reason, rows)
    return counts
