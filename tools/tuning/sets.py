"""Sets of pairs drawn at random from a round, as the stage `dataset` leaves them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from xinst_jax import manifest, shards
from xinst_jax.errors import UserError
from xinst_jax.pipeline import assemble, kept
from xinst_jax.pipeline.workspace import Workspace

RANDOM, REFINED, DIVERSIFIED = "random", "refined", "diversified"
SEED_PAIRS = "seed_pairs"
"""No pairs at all: the seed pairs are left alone."""

_SHARD_ROWS = 20_000


def drawn(
    rows: Mapping[str, Mapping[str, Any]], count: int, seed: int, of: str = "the rows"
) -> list[dict[str, Any]]:
    """As many rows at random, each once, in their order.

    Args:
      rows: rows by id; those without an instruction or a response are passed over.
      count: how many.
      seed: of the draw, which depends on ids and not on their order.
      of: what they are, for the error.

    Raises:
      UserError: there are not so many.
    """
    ids = sorted(
        name
        for name, row in rows.items()
        if row["instruction"].strip() and row["output"].strip()
    )
    if count > len(ids):
        raise UserError(
            f"{count} pairs are to be drawn of {of}, as many as diversification draws, "
            f"but only {len(ids)} have an instruction and a response. Lower "
            "DiversifyConfig.per_cluster."
        )
    places = np.random.default_rng(seed).choice(len(ids), count, replace=False)
    chosen = {ids[place] for place in places}
    return [{**row, "weight": 1.0} for name, row in rows.items() if name in chosen]


def write_set(
    workspace: Workspace, name: str, last: str, sizes: Mapping[str, int]
) -> None:
    """Writes a set that is drawn at random as the stage `dataset`, unless it is there.

    Args:
      workspace: the set's working directory.
      name: `RANDOM`, `REFINED` or, for no rows at all, `SEED_PAIRS`.
      last: the last round.
      sizes: pairs of each language.
    """
    candidates, ratings = f"candidates/{last}", f"ratings/{last}"
    stage = manifest.StageDirectory(
        workspace.path("dataset"),
        "dataset",
        {"set": name, "seed": workspace.run.seed, "rows": dict(sizes)},
        {one: digest(workspace, one) for one in (candidates, ratings)},
    )
    if stage.finished():
        return
    stage.begin(redo=True)
    counts = {}
    for code, size in sizes.items():
        pool = _pool(workspace, name, candidates, ratings, code)
        place = f"{workspace.path(candidates)}/{code} ({name})"
        rows = drawn(pool, size, workspace.seed(f"{name}/{code}"), place)
        shards.write_shards(stage.path / code, rows, assemble.SCHEMA, _SHARD_ROWS)
        counts[code] = manifest.Counts(len(pool), len(rows))
    stage.finish(counts)


def _pool(
    workspace: Workspace, name: str, candidates: str, ratings: str, code: str
) -> dict[str, dict[str, Any]]:
    """What a set of a language is drawn from, by id, with scores."""
    at, rated = workspace.path(candidates), workspace.path(ratings)
    if name == SEED_PAIRS:
        return {}
    if name == REFINED:
        return kept.read(at, rated, [code])[code]
    rows = shards.read_rows(rated / code, ["id", "score"])
    scores = {row["id"]: row["score"] for row in rows}
    # What has no rating was not rated in this round: it is no candidate of it.
    return {
        row["id"]: {**row, "score": scores[row["id"]]}
        for row in shards.read_rows(at / code)
        if row["id"] in scores
    }


def digest(workspace: Workspace, stage: str) -> str:
    """What a finished stage is known by, or 'missing'."""
    record = manifest.read(workspace.path(stage))
    return manifest.content_digest(record) if record else "missing"
