"""One row of the dataset back to its document: what every stage knows of it."""

import dataclasses
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.dataset
import pyarrow.parquet as pq
import regex
import rich.console
import rich.table
import rich.text

from xinst_jax import manifest, shards
from xinst_jax.config import CorpusConfig
from xinst_jax.data import raw_rows, sources
from xinst_jax.errors import UserError
from xinst_jax.pipeline import dependencies, numbering, raw_files
from xinst_jax.pipeline.corpus import documents
from xinst_jax.pipeline.workspace import Workspace

_DIGEST_CHARS = 16
_PART = regex.compile(r"#(\d+)$")
_NEVER_SHOWN = ("id", "lang", "instruction", "output", "text")
_SHOWN_ELSEWHERE = ("source", "license", "raw_row", "kept", "reasons", "round")


@dataclasses.dataclass(frozen=True)
class Step:
    """What one stage knows of a row.

    Attributes:
      title: which stage, in words.
      lines: what it knows, in words.
    """

    title: str
    lines: list[str]


def trace(workspace: Workspace, id: str) -> list[Step]:
    """What every stage knows of a row, from its document on.

    Args:
      workspace: a run's workdir, as far as it is made.
      id: the row's, as in the column `id`; with the language's code and a slash before
        it ('fi/doc-7#2') of that language alone.

    Returns:
      The steps, in order, as far as the row came; of each language that has the id.

    Raises:
      UserError: no language has such a row, or the corpus is not made yet.
    """
    workspace.check_owner()
    corpus = workspace.path("corpus")
    if manifest.read(corpus) is None:
        raise UserError(
            f"{corpus} is not made yet, so that no row can be traced. Run prepare, or "
            "give the --workdir of a run that did."
        )
    steps: list[Step] = []
    for code in workspace.run.languages:
        for name in dict.fromkeys((id, id.removeprefix(f"{code}/"))):
            found = _of_language(workspace, code, name)
            # An id that a file gave may look like that of another's second row.
            steps += found or _of_language(workspace, code, numbering.numbered(name, 1))
    if not steps:
        raise UserError(
            f"--id {id!r}: no row of {corpus} has it, neither among the kept texts nor "
            f"the rejected ones, in {', '.join(workspace.run.languages)}. Expected an "
            f"id as in the column 'id' of dataset/, such as {_example(workspace)!r}."
        )
    return steps


def show(steps: Sequence[Step], console: rich.console.Console) -> None:
    """Prints the steps, one under another."""
    grid = rich.table.Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for step in steps:
        for number, line in enumerate(step.lines):
            title = step.title if number == 0 else ""
            grid.add_row(rich.text.Text(title, "bold"), rich.text.Text(line))
        grid.add_row("", "")
    console.print(grid)


def _of_language(workspace: Workspace, code: str, id: str) -> list[Step]:
    row = _row(workspace.path("corpus") / code, id)
    if row is None:
        lost = _row(workspace.path("corpus") / "rejected" / code, id)
        return [] if lost is None else [_rejected(lost)]
    steps = [_document(workspace, code, row), _text(row)]
    for number in range(1, workspace.run.rounds + 1):
        steps += _round(workspace, code, id, number)
    return [*steps, *_cluster(workspace, code, id), *_dataset(workspace, code, id)]


def _document(workspace: Workspace, code: str, row: Mapping[str, Any]) -> Step:
    config = workspace.run.corpus
    config = dataclasses.replace(config, path=raw_files.located(config.path))
    files = config.path.replace("{lang}", code)
    number = row.get("raw_row")
    if number is None:
        place = (
            "not known: an earlier version made its corpus, without the column "
            "'raw_row'; remove corpus/ and run prepare to have it"
        )
    else:
        place = (
            raw_place(config, code, row["id"], number)
            or f"no longer row {number:,} of {files}"
        )
    return Step(
        f"{code}: document",
        [
            place,
            f"source {row['source'] or 'not named'}, licence "
            f"{row['license'] or 'not named'}",
        ],
    )


def raw_place(config: CorpusConfig, code: str, id: str, number: int) -> str | None:
    """File and row of the document that a text of the corpus was cut from.

    Reads the raw files from the first row up to it.

    Args:
      config: of the corpus; its path is that of files that are there.
      code: the language.
      id: the text's id: the document's, or it and '#k', '~n' or both.
      number: of the document's row among all of the language, counted from 1.

    Returns:
      'FILE, row N', counted from 1; None where that row is not the document any more.
    """
    once = numbering.given(id)
    names = {name for one in (id, once) for name in (one, _PART.sub("", one))}
    rows = sources.read(config.path, code)
    row = next(itertools.islice(rows, number - 1, None), None)
    if not isinstance(row, raw_rows.Row):
        return None
    document = documents.of_row(row, config)
    if isinstance(document, raw_rows.Rejected) or document.id not in names:
        return None
    file, _, at = row.place.rpartition(":")
    return f"{file}, row {at}"


def _rejected(row: Mapping[str, Any]) -> Step:
    return Step(
        f"{row['lang']}: rejected",
        [
            f"by the corpus: {_why(row)}",
            row["text"],
        ],
    )


def _why(row: Mapping[str, Any]) -> str:
    """Why a row of `rejects.REJECTED` was dropped, in words."""
    return f"{row['reason']} (found {row['value']}; expected {row['threshold']})"


def _text(row: Mapping[str, Any]) -> Step:
    part = _PART.search(numbering.given(row["id"]))
    which = f"text {part[1]} of it" if part else "all of it"
    return Step("text", [f"{which}, as {row['id']}; {_words(row)}", row["text"]])


def _round(workspace: Workspace, code: str, id: str, number: int) -> list[Step]:
    """A round's instruction or why there is none, and what its rating was."""
    steps = []
    candidates = workspace.path(f"candidates/round-{number}")
    candidate, lost = None, None
    # Shards of a stage that is being made again can be of two generators.
    if not manifest.is_begun(candidates):
        candidate = _row(candidates / code, id)
        lost = _row(candidates / "rejected" / code, id)
    if lost is not None:
        steps.append(Step(f"round {number}: no instruction", [_why(lost)]))
    if candidate is not None:
        writer = f"generator/round-{candidate['round']}"
        stands = "" if candidate["round"] == number else " (it stands from there)"
        steps.append(
            Step(
                f"round {number}: instruction",
                [
                    candidate["instruction"],
                    f"by {writer}{_digest(workspace, writer)}{stands}; "
                    f"{_words(candidate)}",
                ],
            )
        )
    rating = _row(workspace.path(f"ratings/round-{number}") / code, id)
    if rating is not None:
        models = [f"rater/round-{number}"]
        if stage := dependencies.pmi_stage(workspace.run, number):
            models.append(stage)
        by = " and ".join(f"{name}{_digest(workspace, name)}" for name in models)
        verdict = "kept" if rating["kept"] else "not kept"
        if rating["reasons"]:
            verdict += f": {', '.join(rating['reasons'])}"
        steps.append(
            Step(
                f"round {number}: rating",
                [verdict, f"by {by}; {_words(rating)}"],
            )
        )
    return steps


def _cluster(workspace: Workspace, code: str, id: str) -> list[Step]:
    diverse = workspace.path("diverse")
    row = _row(diverse / code, id)
    summary = diverse / "clusters" / f"{code}.parquet"
    if row is None or not summary.exists():
        return []
    clusters = {one["cluster"]: one for one in pq.read_table(summary).to_pylist()}
    own = clusters[row["cluster"]]
    verdict = "drawn" if row["selected"] else f"not drawn: {row['reason']}"
    return [
        Step(
            "cluster",
            [
                f"{verdict}; cluster {row['cluster']} of {len(clusters)}, "
                f"{own['selected']} of its {own['size']} pairs drawn",
                f"nearest to its centre: {own['nearest_instruction']}",
                _words(row, without=("cluster", "selected", "reason")),
            ],
        )
    ]


def _dataset(workspace: Workspace, code: str, id: str) -> list[Step]:
    directory = workspace.path("dataset")
    paths = shards.shard_paths(directory / code) if (directory / code).exists() else []
    for path in paths:
        ids = pq.read_table(path, columns=["id"])["id"].to_pylist()
        if id in ids:
            place = f"{path.relative_to(workspace.workdir)}, row {ids.index(id) + 1}"
            return [Step("dataset", [f"{place}{_digest(workspace, 'dataset')}"])]
    return []


def _row(directory: pathlib.Path, id: str) -> dict[str, Any] | None:
    """The row with an id of a directory's shards; None where it has none."""
    if not shards.complete(directory):
        return None
    paths = [str(path) for path in shards.shard_paths(directory)]
    wanted = pyarrow.dataset.field("id") == id
    found = pyarrow.dataset.dataset(paths).to_table(filter=wanted).to_pylist()
    return found[0] if found else None


def _words(row: Mapping[str, Any], without: Sequence[str] = ()) -> str:
    """A row's figures and short fields, in a line."""
    hidden = (*_NEVER_SHOWN, *_SHOWN_ELSEWHERE, *without)
    parts = []
    for name, value in row.items():
        if name not in hidden and value is not None:
            shown = f"{value:.4g}" if isinstance(value, float) else str(value)
            parts.append(f"{name} {shown}")
    return ", ".join(parts)


def _digest(workspace: Workspace, stage: str) -> str:
    """What identifies a stage's content, in brackets; empty where it is not made."""
    record = manifest.read(workspace.path(stage))
    if record is None:
        return ""
    return f" ({manifest.content_digest(record)[:_DIGEST_CHARS]})"


def _example(workspace: Workspace) -> str:
    """Some id of the dataset, else of the corpus."""
    for stage in ("dataset", "corpus"):
        for code in workspace.run.languages:
            directory = workspace.path(stage) / code
            if shards.complete(directory):
                ids = shards.read_table(directory, ["id"])["id"]
                if len(ids):
                    return str(ids[0].as_py())
    return "doc-1"
