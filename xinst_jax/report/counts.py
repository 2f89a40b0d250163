"""What every stage of a run made, from manifests and timings."""

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xinst_jax import manifest
from xinst_jax.manifest import Counts
from xinst_jax.pipeline import workspace

_RATINGS = "ratings/round-"


@dataclasses.dataclass(frozen=True)
class StageCounts:
    """One stage.

    Attributes:
      name: its name, which is its directory under the workdir.
      made: whether it is finished.
      counts: rows in, out and dropped, by language or under 'all'.
      seconds: wall seconds of its last making; None where no line tells.
      resumed: whether that making went on with a half-done one, so that the seconds
        are only those since it was taken up again.
      outdated: whether it was made from earlier inputs than the run has now.
    """

    name: str
    made: bool
    counts: Mapping[str, Counts]
    seconds: float | None
    resumed: bool
    outdated: bool

    @property
    def total(self) -> Counts:
        """Rows in, out and dropped over all languages; no notes."""
        counts = self.counts.values()
        total = Counts(
            sum(count.rows_in for count in counts),
            sum(count.rows_out for count in counts),
        )
        for count in counts:
            for reason, rows in count.dropped.items():
                total.drop(reason, rows)
        return total


@dataclasses.dataclass(frozen=True)
class Step:
    """A point of the way from raw documents to the dataset.

    Attributes:
      title: what the rows are there.
      stage: the stage that they came out of (or went into, for the first).
      rows: rows by language.
      dropped: by language, rows that the stage did not let through, by reason.
    """

    title: str
    stage: str
    rows: Mapping[str, int]
    dropped: Mapping[str, Mapping[str, int]]


def rounds(names: Iterable[str]) -> list[int]:
    """The numbers of the rounds whose ratings are among the stages, ascending.

    >>> rounds(["base", "ratings/round-1", "rater/round-2", "ratings/round-2"])
    [1, 2]
    """
    return sorted(
        int(name.removeprefix(_RATINGS)) for name in names if name.startswith(_RATINGS)
    )


def stage_counts(workdir: pathlib.Path, names: Sequence[str]) -> list[StageCounts]:
    """What the named stages made, in that order.

    Args:
      workdir: the run's directory; what else lies in it is not looked at.
      names: stages of the run, each after all of them that it reads.

    Raises:
      UserError: a manifest is damaged.
    """
    timings = workspace.timings(workdir)
    records = {name: manifest.read(workdir / name) for name in names}
    outdated = _outdated(records)
    found = []
    for name, record in records.items():
        seconds, resumed = timings.get(name, (None, False))
        found.append(
            StageCounts(
                name=name,
                made=record is not None,
                counts={
                    key: Counts(**value)
                    for key, value in (record["counts"] if record else {}).items()
                },
                seconds=seconds if record else None,
                resumed=resumed,
                outdated=name in outdated,
            )
        )
    return found


def _outdated(records: Mapping[str, Mapping[str, Any] | None]) -> set[str]:
    """The stages of which an input is gone, made again with other content, or outdated.

    Args:
      records: the manifest of every stage, None where there is none, in order.
    """
    digests = {
        name: manifest.content_digest(record) if record else None
        for name, record in records.items()
    }
    found: set[str] = set()
    for name, record in records.items():
        for source, digest in record["inputs"].items() if record else ():
            # Others are files from outside the workdir.
            if source in digests and (source in found or digests[source] != digest):
                found.add(name)
    return found


def flow(stages: Sequence[StageCounts], languages: Sequence[str]) -> list[Step]:
    """The way of the rows through the finished stages that pass them on.

    The rounds each begin with the corpus again, so only the last finished one is shown.
    """
    by_name = {stage.name: stage for stage in stages if stage.made}
    titles = {"corpus": "Texts kept"}
    for part, title in (
        ("candidates", "Instructions written"),
        ("ratings", "Pairs kept"),
    ):
        in_rounds = [name for name in by_name if name.startswith(f"{part}/")]
        if in_rounds:
            titles[in_rounds[-1]] = title
    titles |= {"diverse": "Pairs drawn", "dataset": "In the dataset"}
    steps: list[Step] = []
    for name, title in titles.items():
        if name not in by_name:
            continue
        counts = by_name[name].counts
        of = {code: counts.get(code, Counts()) for code in languages}
        if not steps:
            rows = {code: count.rows_in for code, count in of.items()}
            steps.append(Step("Documents read", name, rows, {}))
        steps.append(
            Step(
                title,
                name,
                {code: count.rows_out for code, count in of.items()},
                {code: count.dropped for code, count in of.items()},
            )
        )
    return steps


@dataclasses.dataclass(frozen=True)
class Drop:
    """Rows that one stage dropped for one reason: in all, and by language."""

    stage: str
    reason: str
    total: int
    rows: Mapping[str, int]


def drops(stages: Sequence[StageCounts]) -> list[Drop]:
    """Every reason of every stage, the stages in order, most rows first."""
    return [
        Drop(
            stage.name,
            reason,
            total,
            {code: c.dropped.get(reason, 0) for code, c in stage.counts.items()},
        )
        for stage in stages
        for reason, total in top_reasons(stage.total.dropped)
    ]


def notes(
    stages: Sequence[StageCounts], key: str
) -> list[tuple[str, Mapping[str, float | int | str]]]:
    """(stage, what it noted) of a language, or of 'all'."""
    return [
        (stage.name, stage.counts[key].notes)
        for stage in stages
        if key in stage.counts and stage.counts[key].notes
    ]


def top_reasons(
    dropped: Mapping[str, int], most: int | None = None
) -> list[tuple[str, int]]:
    """The reasons that dropped most rows, most first, ties by the alphabet."""
    ranked = sorted(dropped.items(), key=lambda item: (-item[1], item[0]))
    return [(reason, rows) for reason, rows in ranked if rows][:most]


def words(name: str) -> str:
    """A reason or a note as it is written on disk, as words.

    >>> words("near_duplicate")
    'near duplicate'
    """
    return name.replace("_", " ")
