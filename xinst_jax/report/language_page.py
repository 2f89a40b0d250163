"""What the page says of one language."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from xinst_jax.languages import Language
from xinst_jax.report import collect, counts, panels

REJECTIONS = 2
"""Examples shown of each reason."""

_SAMPLES = 20
_CLUSTERS = 8
_ANSWERS = 3
_RESPONSE_CHARS = 1000
_REJECTED_CHARS = 320
_WIDEST_BAR = 72


@dataclasses.dataclass(frozen=True)
class LanguagePage:
    """One language's part of the page.

    Attributes:
      language: the language.
      way: the steps its rows went, with widths of bars in percent.
      panels: its pictures.
      clusters: its largest clusters: size, selected, nearest_instruction.
      rows: pairs of the dataset; None before there is one.
      samples: pairs to read.
      samples_cut: whether any response of them is cut.
      answers: answers of the tuned model.
      rejections: (stage, reason, rows) of what was not let through.
      notes: (stage, figures that it noted).
    """

    language: Language
    way: list[dict[str, Any]]
    panels: list[panels.Panel]
    clusters: list[dict[str, Any]]
    rows: int | None
    samples: list[dict[str, Any]]
    samples_cut: bool
    answers: list[dict[str, Any]]
    rejections: list[tuple[str, str, list[collect.Rejection]]]
    notes: list[tuple[str, Mapping[str, Any]]]


def language_page(
    workdir: pathlib.Path,
    language: Language,
    stages: Sequence[counts.StageCounts],
    steps: Sequence[counts.Step],
    figures: Mapping[str, Any] | None,
    limit: int,
) -> LanguagePage:
    """Gathers what there is of a language.

    Args:
      workdir: the run's directory.
      language: the language.
      stages: the run's stages.
      steps: the way of the rows.
      figures: the dataset's statistics of the language; None before there are any.
      limit: most rows that a picture is drawn from.
    """
    code = language.code
    clusters = collect.clusters(workdir, code, limit)
    samples = collect.samples(workdir, code, _SAMPLES)
    samples_cut = any(len(sample["output"]) > _RESPONSE_CHARS for sample in samples)
    for sample in samples:
        sample["output"] = collect.cut(sample["output"], _RESPONSE_CHARS)
    answers = collect.answers(workdir, code, _ANSWERS)
    for answer in answers:
        answer["answer"] = collect.cut(answer["answer"], _RESPONSE_CHARS)
    finished = (stage.name for stage in stages if stage.made)
    last = max(counts.rounds(finished), default=1)
    return LanguagePage(
        language=language,
        way=_way(steps, code),
        panels=panels.of_language(workdir, code, last, figures, clusters, limit),
        clusters=clusters.summary[:_CLUSTERS] if clusters else [],
        rows=figures["rows"] if figures else None,
        samples=samples,
        samples_cut=samples_cut,
        answers=answers,
        rejections=_rejections(workdir, stages, code),
        notes=counts.notes(stages, code),
    )


def _way(steps: Sequence[counts.Step], code: str) -> list[dict[str, Any]]:
    most = max((step.rows[code] for step in steps), default=0) or 1
    return [
        {
            "title": step.title,
            "rows": step.rows[code],
            "width": round(_WIDEST_BAR * step.rows[code] / most, 1),
            "dropped": step.dropped.get(code, {}),
        }
        for step in steps
    ]


def _rejections(
    workdir: pathlib.Path, stages: Sequence[counts.StageCounts], code: str
) -> list[tuple[str, str, list[collect.Rejection]]]:
    names = [stage.name for stage in stages if stage.made]
    found: dict[tuple[str, str], list[collect.Rejection]] = {}
    for row in collect.rejections(workdir, names, code, REJECTIONS, _REJECTED_CHARS):
        found.setdefault((row.stage, row.reason), []).append(row)
    return [(stage, reason, rows) for (stage, reason), rows in found.items()]
