"""From round to round: how far what is kept has moved, and when it has settled.

A round whose kept pairs are nearly those of the round before has nothing more to teach.
Rounds after it are not trained and not written: their candidates and ratings are the
settled round's, carried on, so that what comes after finds them where it looks.
"""

import json
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xinst_jax import distributed, manifest, shards
from xinst_jax.manifest import Counts, StageDirectory
from xinst_jax.pipeline.corpus import decontamination
from xinst_jax.pipeline.runner import Made
from xinst_jax.pipeline.workspace import Workspace

MOVED = "moved.json"
"""In the ratings of a round from the second on: what `moved` gives."""

_FIRST_THAT_CAN_BE_LEFT_OUT = 3


def settled(workspace: Workspace, number: int) -> bool:
    """Whether a round has nothing to do, since those before it settled.

    All processes ask, and process 0 looks.

    Args:
      workspace: the run; `RunConfig.settled_change` is the share below which what is
        kept has settled.
      number: the round, from 1.
    """
    if number < _FIRST_THAT_CAN_BE_LEFT_OUT:
        return False

    def look() -> bool:
        path = workspace.path(f"ratings/round-{number - 1}") / MOVED
        changed = json.loads(path.read_bytes())["all"]["changed"]
        return changed < workspace.run.settled_change

    return distributed.from_primary(f"settled before round {number}", look)


def last_trained(workspace: Workspace, number: int = 0) -> int:
    """The last round that was not left out: the one with a generator and a rater.

    Args:
      workspace: the run.
      number: the last round that is asked about; the run's by default.
    """
    number = number or workspace.run.rounds
    while settled(workspace, number):
        number -= 1
    return number


def left_out(workspace: Workspace, number: int) -> Made:
    """What a training, or a trial, of a round that has nothing to do reports."""
    settled_in = last_trained(workspace, number)
    return Made({"all": Counts(notes={"settled_in_round": settled_in})})


def carried(
    workspace: Workspace,
    stage: StageDirectory,
    part: str,
    number: int,
    limit: int | None = None,
) -> Made:
    """The shards of the round before, and what it dropped, as this round's.

    Args:
      workspace: the run.
      stage: the directory to write.
      part: 'candidates' or 'ratings'.
      number: this round.
      limit: rows of each language of a trial, which has nothing to carry: nothing is
        made from it.
    """
    nothing_to_do = left_out(workspace, number)
    if not distributed.is_primary():
        return Made({})
    stage.clear()  # of shards that were made before the rounds had settled
    if limit is not None:
        return nothing_to_do
    before = workspace.path(f"{part}/round-{number - 1}")
    record = manifest.read(before)
    assert record is not None
    for code in workspace.run.languages:
        for part_of_it in (code, f"rejected/{code}"):
            if (before / part_of_it).exists():
                shutil.copytree(
                    before / part_of_it, stage.path / part_of_it, dirs_exist_ok=True
                )
    looked_for = before / decontamination.COVERAGE
    if looked_for.exists():
        shutil.copy(looked_for, stage.path)
    counts = {code: Counts(**made) for code, made in record["counts"].items()}
    for count in counts.values():
        count.notes |= nothing_to_do.counts["all"].notes
    if part == "ratings":
        nothing = {"rows": 0, "changed": 0.0, "kept": 0, "score_shift": 0.0}
        shards.write_bytes(stage.path / MOVED, _json({"all": nothing}))
    return Made(counts)


def write_moved(
    before: pathlib.Path,
    now: pathlib.Path,
    languages: Sequence[str],
    counts: Mapping[str, Counts],
) -> None:
    """Writes how a round's kept pairs and scores differ from the last one's.

    The figures go into `moved.json` beside the ratings, and into the counts' notes.

    Args:
      before: the ratings of the round before.
      now: this round's.
      languages: language codes.
      counts: this round's, by language.
    """
    found = {
        code: _moved(_rated(before / code), _rated(now / code)) for code in languages
    }
    rows = sum(each["rows"] for each in found.values())
    changed = sum(each["changed"] * each["rows"] for each in found.values())
    everything = {"rows": rows, "changed": changed / rows if rows else 0.0}
    shards.write_bytes(now / MOVED, _json({"all": everything, **found}))
    for code, each in found.items():
        counts[code].notes["kept_changed"] = round(each["changed"], 4)
        counts[code].notes["score_shift"] = round(each["score_shift"], 4)


def _moved(
    before: tuple[set[tuple[str, str]], np.ndarray],
    now: tuple[set[tuple[str, str]], np.ndarray],
) -> dict[str, Any]:
    """How far one language moved.

    Returns:
      'rows': pairs kept in either round; 'changed': the share of them that is in one
      alone (the Jaccard distance); 'kept': pairs kept now; 'score_shift': the largest
      distance between the two rounds' distributions of scores (the statistic of
      Kolmogorov and Smirnov, 0 to 1), 0 where a round has none.
    """
    import scipy.stats

    (kept_before, scores_before), (kept_now, scores_now) = before, now
    either = kept_before | kept_now
    shift = 0.0
    if len(scores_before) and len(scores_now):
        shift = float(
            scipy.stats.ks_2samp(scores_before, scores_now, method="asymp").statistic
        )
    return {
        "rows": len(either),
        "changed": len(kept_before ^ kept_now) / len(either) if either else 0.0,
        "kept": len(kept_now),
        "score_shift": shift,
    }


def _rated(ratings: pathlib.Path) -> tuple[set[tuple[str, str]], np.ndarray]:
    """A language's kept (id, instruction)s, and all its scores."""
    rows = shards.read_rows(ratings, ["id", "instruction", "score", "kept"])
    kept = {(row["id"], row["instruction"]) for row in rows if row["kept"]}
    return kept, np.array([row["score"] for row in rows])


def _json(record: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(record, indent=1)}\n".encode()
