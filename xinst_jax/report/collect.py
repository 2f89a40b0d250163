"""Rows of a workdir for people to read: a bounded, evenly drawn part of each stage.

What a stage has not made yet is an empty list or None, never an error.
"""

import dataclasses
import json
import pathlib
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq

from xinst_jax import shards

MAX_SHARDS = 8
"""Shards of a directory that texts are read from; figures are read from all."""


_LONG_WORD = 24


@dataclasses.dataclass(frozen=True)
class Rejection:
    """A row that a stage did not let through.

    Attributes:
      stage: which stage.
      reason: why.
      value: what was found; empty where the stage kept no value.
      threshold: what was expected; likewise.
      instruction: the instruction, where it had one.
      text: the start of its text.
    """

    stage: str
    reason: str
    value: str
    threshold: str
    instruction: str
    text: str


@dataclasses.dataclass(frozen=True)
class Curve:
    """Losses of a training run, in nats a token.

    Attributes:
      name: the stage.
      steps_n, losses_n: training steps and the loss at each.
      eval_steps_m, eval_losses_m: steps of evaluation and the held-out loss at each.
      tokens_per_second: median over the run; None where it was not measured.
      language_losses: by language, the held-out loss at the first and last evaluation.
    """

    name: str
    steps_n: np.ndarray
    losses_n: np.ndarray
    eval_steps_m: np.ndarray
    eval_losses_m: np.ndarray
    tokens_per_second: float | None
    language_losses: dict[str, tuple[float, float]] = dataclasses.field(
        default_factory=dict
    )


@dataclasses.dataclass(frozen=True)
class Clusters:
    """The clusters of a language's instructions.

    Attributes:
      points_n2: where the instructions that are shown lie in the plane.
      cluster_n: the cluster of each, 0 the largest.
      selected_n: whether each was drawn.
      rows: how many instructions there are in all.
      summary: by cluster, its size, how many of it were selected, and the instruction
        nearest to its centre (nearest_instruction).
    """

    points_n2: np.ndarray
    cluster_n: np.ndarray
    selected_n: np.ndarray
    rows: int
    summary: list[dict[str, Any]]


def spread(count: int, wanted: int) -> list[int]:
    """`wanted` of the numbers below `count`, evenly apart, from the middle out.

    >>> spread(10, 3)
    [1, 5, 8]
    >>> spread(2, 3)
    [0, 1]
    """
    wanted = min(count, wanted)
    return [int((place + 0.5) * count / wanted) for place in range(wanted)]


def sample(directory: pathlib.Path, columns: Sequence[str], limit: int) -> pa.Table:
    """At most `limit` rows of a directory, drawn evenly; none where it is missing.

    Args:
      directory: holds Parquet shards.
      columns: the columns wanted.
      limit: most rows.
    """
    paths = _some_shards(directory)
    if not paths:
        return pa.table({name: pa.array([]) for name in columns})
    sizes = [pq.read_metadata(path).num_rows for path in paths]
    chosen = np.array(spread(sum(sizes), limit), np.int64)
    parts, start = [], 0
    for path, size in zip(paths, sizes, strict=True):
        here = chosen[(chosen >= start) & (chosen < start + size)] - start
        start += size
        if len(here):
            parts.append(pq.read_table(path, columns=list(columns)).take(here))
    return (
        pa.concat_tables(parts) if parts else pq.read_table(paths[0], columns=columns)
    )


def samples(workdir: pathlib.Path, language: str, count: int) -> list[dict[str, Any]]:
    """Pairs of the finished dataset, best score first."""
    columns = ["id", "lang", "instruction", "output", "score", "cluster", "source"]
    directory = workdir / "dataset" / language
    rows = sample(directory, columns, count).to_pylist()
    return sorted(rows, key=lambda row: (-row["score"], row["id"]))


def pairs(workdir: pathlib.Path, language: str, limit: int) -> pa.Table:
    """Columns instruction and output of the dataset."""
    directory = workdir / "dataset" / language
    return sample(directory, ["instruction", "output"], limit)


def scores(
    workdir: pathlib.Path, number: int, language: str
) -> tuple[np.ndarray, np.ndarray]:
    """All of a round's scores, and whether each pair was kept; two arrays (rows,)."""
    directory = workdir / "ratings" / f"round-{number}" / language
    if not shards.complete(directory):
        return np.zeros(0, np.float32), np.zeros(0, bool)
    table = shards.read_table(directory, ["score", "kept"])
    return table["score"].to_numpy(), table["kept"].to_numpy()


def clusters(workdir: pathlib.Path, language: str, limit: int) -> Clusters | None:
    """Where instructions lie, and what their clusters are; None if not made yet."""
    stage = workdir / "diverse"
    directory = stage / language
    # The summary is what the stage writes last.
    summary = stage / "clusters" / f"{language}.parquet"
    if not summary.exists():
        return None
    rows = shards.read_table(directory, ["cluster", "selected"])
    points = pq.read_table(stage / "map" / f"{language}.parquet", columns=["x", "y"])
    chosen = np.array(spread(len(rows), limit), np.int64)
    columns = ["size", "selected", "nearest_instruction"]
    return Clusters(
        points_n2=np.stack([points[axis].to_numpy() for axis in "xy"], 1)[chosen],
        cluster_n=rows["cluster"].to_numpy()[chosen],
        selected_n=rows["selected"].to_numpy()[chosen],
        rows=len(rows),
        summary=pq.read_table(summary, columns=columns).to_pylist(),
    )


def statistics(workdir: pathlib.Path) -> dict[str, Any] | None:
    """The figures of the dataset's `statistics.json`."""
    return _json(workdir / "dataset" / "statistics.json")


def rater_quality(
    workdir: pathlib.Path, rounds: Sequence[int]
) -> dict[int, dict[str, Any]]:
    """The `rater_quality.json` of each round that measured its rater."""
    ratings = workdir / "ratings"
    found = {n: _json(ratings / f"round-{n}" / "rater_quality.json") for n in rounds}
    return {
        n: quality for n, quality in found.items() if quality and quality["all"]["n"]
    }


def answers(workdir: pathlib.Path, language: str, count: int) -> list[dict[str, Any]]:
    """Answers of the tuned model to evaluation questions."""
    directory = workdir / "evaluation" / "answers" / language
    columns = ["id", "instruction", "answer", "in_language", "repetition", "finish"]
    return sample(directory, columns, count).to_pylist()


def evaluation(workdir: pathlib.Path) -> dict[str, Any] | None:
    """The figures of `evaluation.json`."""
    return _json(workdir / "evaluation" / "evaluation.json")


def rejections(
    workdir: pathlib.Path, stages: Sequence[str], language: str, each: int, chars: int
) -> list[Rejection]:
    """For every stage and reason a few rows that were not let through.

    Args:
      workdir: the run's directory.
      stages: the stages to look at; of the ratings, the last round.
      language: language code.
      each: most rows of one reason.
      chars: characters of a text that are shown.
    """
    found = []
    for stage in stages:
        if stage.startswith("ratings/"):
            continue
        table = _whole(workdir / stage / "rejected" / language)
        for reason, rows in _by_reason(table, each):
            found += [_rejected_row(stage, reason, row, chars) for row in rows]
    rated = [name for name in stages if name.startswith("ratings/")]
    for stage in rated[::-1]:
        if shards.complete(workdir / stage / language):
            return found + _rated_down(workdir, stage, language, each, chars)
    return found


def curve(workdir: pathlib.Path, stage: str, points: int = 400) -> Curve | None:
    """The losses of a training stage; None where it logged none.

    Args:
      workdir: the run's directory.
      stage: the training stage.
      points: most points of the training loss; longer runs are averaged over runs of
        neighbouring steps.
    """
    lines = shards.json_lines(workdir / stage / "metrics.jsonl")
    if not lines:
        return None
    train = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    held = [(line["step"], line["eval_loss"]) for line in lines if "eval_loss" in line]
    speed = [line["tokens_per_second"] for line in lines if "tokens_per_second" in line]
    steps_n, losses_n = _thinned(np.array(train, np.float64).reshape(-1, 2), points)
    eval_steps_m, eval_losses_m = np.array(held, np.float64).reshape(-1, 2).T
    return Curve(
        name=stage,
        steps_n=steps_n,
        losses_n=losses_n,
        eval_steps_m=eval_steps_m,
        eval_losses_m=eval_losses_m,
        language_losses=_language_losses(lines),
        tokens_per_second=float(np.median(speed)) if speed else None,
    )


def _language_losses(
    lines: Sequence[Mapping[str, float]],
) -> dict[str, tuple[float, float]]:
    found: dict[str, list[float]] = {}
    for line in lines:
        for name, loss in line.items():
            kind, _, code = name.partition("/")
            if kind == "eval_loss" and code:
                found.setdefault(code, []).append(loss)
    return {code: (losses[0], losses[-1]) for code, losses in found.items()}


def _thinned(train: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """(steps, losses) from rows of both, neighbours averaged down to `points`."""
    if len(train) <= points:
        return train[:, 0], train[:, 1]
    parts = np.array_split(train, points)
    means = np.array([part.mean(axis=0) for part in parts])
    return means[:, 0], means[:, 1]


def _by_reason(table: pa.Table | None, each: int) -> list[tuple[str, list[dict]]]:
    """For each reason, in order of the alphabet, a few of its rows."""
    if table is None or not len(table):
        return []
    reasons = np.array(table["reason"].to_pylist())
    found = []
    for reason in np.unique(reasons):
        places = np.flatnonzero(reasons == reason)
        chosen = places[spread(len(places), each)]
        found.append((str(reason), table.take(chosen).to_pylist()))
    return found


def _rejected_row(
    stage: str, reason: str, row: Mapping[str, Any], chars: int
) -> Rejection:
    return Rejection(
        stage=stage,
        reason=reason,
        value=row.get("value") or "",
        threshold=row.get("threshold") or "",
        instruction=row.get("instruction") or "",
        text=cut(row.get("text") or row.get("output") or "", chars),
    )


def _rated_down(
    workdir: pathlib.Path, stage: str, language: str, each: int, chars: int
) -> list[Rejection]:
    """Pairs that the last rating did not keep, under each of its reasons."""
    table = _whole(workdir / stage / language)
    assert table is not None
    table = table.filter(pc.invert(table["kept"]))
    lengths = pc.list_value_length(table["reasons"])
    numbers = np.repeat(np.arange(len(table)), lengths.to_numpy())
    flat = table.select(["id", "instruction", "score"]).take(numbers)
    flat = flat.append_column("reason", pc.list_flatten(table["reasons"]))
    chosen = _by_reason(flat, each)
    ids = [row["id"] for _, rows in chosen for row in rows]
    texts = _outputs(workdir / stage.replace("ratings", "candidates") / language, ids)
    return [
        Rejection(
            stage=stage,
            reason=reason,
            value=f"score {row['score']:.2f}",
            threshold="",
            instruction=row["instruction"],
            text=cut(texts.get(row["id"], ""), chars),
        )
        for reason, rows in chosen
        for row in rows
    ]


def _outputs(directory: pathlib.Path, ids: Sequence[str]) -> dict[str, str]:
    """The responses of the named candidates."""
    paths = [str(path) for path in _some_shards(directory)]
    if not paths:
        return {}
    found = pa.dataset.dataset(paths).to_table(
        columns=["id", "output"], filter=pa.dataset.field("id").isin(list(ids))
    )
    return dict(zip(found["id"].to_pylist(), found["output"].to_pylist(), strict=True))


def cut(text: str, chars: int) -> str:
    """At most `chars` characters of a text, '…' at the end of one that was cut.

    It is cut at a space if one is near, and never between a letter and its marks.

    >>> cut("Hyvää huomenta", 10), cut("หิมะตกหนัก", 6)
    ('Hyvää…', 'หิมะต…')
    """
    if len(text) <= chars:
        return text
    end = chars - 1
    space = text.rfind(" ", max(0, end - _LONG_WORD), end)
    while space < 0 and end and unicodedata.category(text[end]).startswith("M"):
        end -= 1
    return text[: space if space > 0 else end].rstrip() + "…"


def _whole(directory: pathlib.Path) -> pa.Table | None:
    paths = _some_shards(directory)
    return pa.concat_tables(pq.read_table(path) for path in paths) if paths else None


def _some_shards(directory: pathlib.Path) -> list[pathlib.Path]:
    if not shards.complete(directory):
        return []
    paths = shards.shard_paths(directory)
    return [paths[number] for number in spread(len(paths), MAX_SHARDS)]


def _json(path: pathlib.Path) -> dict[str, Any] | None:
    return json.loads(path.read_bytes()) if path.exists() else None
