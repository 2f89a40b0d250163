"""What a round kept: the candidates that its ratings let through."""

import pathlib
from collections.abc import Sequence
from typing import Any

from xinst_jax import shards


def read(
    candidates: pathlib.Path, ratings: pathlib.Path, languages: Sequence[str]
) -> dict[str, dict[str, dict[str, Any]]]:
    """The kept candidates of a round, in their order, by language and id.

    Args:
      candidates: the round's finished candidates directory.
      ratings: the round's finished ratings directory.
      languages: language codes.

    Returns:
      For each language the candidates' rows (instruction, output and the rest of their
      columns) with `score` added.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for language in languages:
        rated = shards.read_rows(ratings / language, ["id", "score", "kept"])
        scores = {row["id"]: row["score"] for row in rated if row["kept"]}
        found[language] = {
            row["id"]: row | {"score": scores[row["id"]]}
            for row in shards.read_rows(candidates / language)
            if row["id"] in scores
        }
    return found
