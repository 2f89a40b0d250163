"""The report: one HTML page that needs nothing but itself."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import numpy as np

from xinst_jax import __version__, manifest, shards
from xinst_jax.languages import Language
from xinst_jax.pipeline.diversity import figures as figures_lib
from xinst_jax.report import (
    collect,
    counts,
    evaluation,
    evaluation_sets,
    panels,
    rater,
    rubric,
    table,
)
from xinst_jax.report.language_page import REJECTIONS, language_page

LIMIT = 1000
"""Rows of a language that a picture is drawn from at most, taken evenly."""

_REASONS = 6


def write(
    workdir: pathlib.Path,
    out_path: pathlib.Path,
    run_name: str,
    languages: Mapping[str, Language],
    stage_names: Sequence[str],
) -> None:
    """Writes the report of a run, whatever part of it is made.

    Args:
      workdir: the run's directory.
      out_path: the HTML file.
      run_name: heading of the page.
      languages: the run's languages by code, in the order of every table.
      stage_names: the run's stages in the order of its graph; nothing else that lies
        in the workdir is shown.

    Raises:
      UserError: a manifest in the workdir is damaged.
    """
    content = _content(workdir, run_name, languages, stage_names)
    shards.write_bytes(out_path, _template().render(content).encode())


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["words"] = counts.words
    environment.filters["reasons"] = lambda rows: table.dropped_words(rows, _REASONS)
    environment.filters["notes"] = _notes_words
    environment.filters["cut"] = collect.cut
    environment.filters["number"] = lambda count: f"{count:,}"
    environment.filters["figure"] = _figure
    environment.filters["percent"] = lambda share: f"{share:.0%}"
    return environment.get_template("report.html.jinja")


def _content(
    workdir: pathlib.Path,
    run_name: str,
    languages: Mapping[str, Language],
    stage_names: Sequence[str],
) -> dict[str, Any]:
    """Everything that the template names."""
    stages = counts.stage_counts(workdir, stage_names)
    rounds = counts.rounds(stage_names)
    steps = counts.flow(stages, list(languages))
    statistics = collect.statistics(workdir)
    pages = [
        language_page(
            workdir,
            language,
            stages,
            steps,
            statistics["languages"].get(code) if statistics else None,
            LIMIT,
        )
        for code, language in languages.items()
    ]
    raters = collect.rater_quality(workdir, rounds)
    names = {code: language.name for code, language in languages.items()}
    evaluated = collect.evaluation(workdir)
    return {
        "run_name": run_name,
        "version": __version__,
        "limit": LIMIT,
        "rejections_each": REJECTIONS,
        "lead": _lead(steps, languages),
        "totals": _totals(steps, stages),
        "flow": steps,
        "flow_panel": panels.flow(steps, names),
        "drops": counts.drops(stages),
        "evaluation_sets": evaluation_sets.table(workdir, stage_names, names),
        "stages": stages,
        "outdated": [stage.name for stage in stages if stage.outdated],
        "overall_notes": counts.notes(stages, "all"),
        "training": panels.training(workdir, stage_names),
        "quality": rater.tables(raters, names),
        "confusions": rater.confusions(raters),
        "rubric": rubric.tables(statistics, names),
        "coverage": rubric.coverage(statistics, names),
        "scores": [
            *panels.scores(workdir, rounds, list(languages)),
            *panels.reliability(raters),
        ],
        "verbs_panel": panels.verb_nouns(
            statistics["all"] if statistics else None,
            "the dataset's instructions in all languages",
        ),
        "variety": _variety(statistics, names),
        "diversity": _diversity(statistics, names),
        "evaluation": evaluated,
        "answered": evaluation.by_question_set(evaluated),
        "ranked": evaluation.mean_reciprocal_rank(evaluated),
        "judged": evaluation.win_rates(workdir, stage_names),
        "benchmarks": evaluation.benchmark_tables(
            evaluation.benchmark_records(workdir, stage_names), names
        ),
        "model_words": _model_words(workdir),
        "pages": pages,
    }


def _lead(steps: Sequence[counts.Step], languages: Mapping[str, Language]) -> str:
    """The run in a sentence."""
    which = f"{len(languages)} languages" if len(languages) > 1 else "one language"
    if not steps:
        return f"A run in {which}; nothing is made yet."
    read, left = (sum(steps[place].rows.values()) for place in (0, -1))
    if steps[-1].stage != "dataset":
        return f"{read:,} documents in {which} were read; the dataset is not made yet."
    return (
        f"{read:,} documents in {which} were read, and {left:,} pairs of an English "
        "instruction and a response in the language came out."
    )


def _totals(
    steps: Sequence[counts.Step], stages: Sequence[counts.StageCounts]
) -> list[tuple[str, str]]:
    """Figures for the head of the page, (value, label)."""
    found = [
        (f"{sum(step.rows.values()):,}", step.title[:1].lower() + step.title[1:])
        for step in steps
    ]
    seconds = sum(stage.seconds for stage in stages if stage.seconds is not None)
    return [*found, (_time(seconds), "in all stages")] if seconds else found


def _time(seconds: float) -> str:
    """A time for people.

    >>> _time(42.3), _time(250), _time(8000)
    ('42 s', '4 min 10 s', '2 h 13 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _variety(
    statistics: Mapping[str, Any] | None, names: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Distinct verb-noun pairs by language, drawn from the clusters and by chance."""
    if statistics is None:
        return []
    parts = {"All": statistics["all"]}
    for code, figures in statistics["languages"].items():
        parts[names.get(code, code)] = figures
    return [
        {
            "name": name,
            "rows": figures["rows"],
            "drawn": figures["distinct_verb_nouns"],
            "by_chance": float(np.mean(figures["random_distinct_verb_nouns"])),
        }
        for name, figures in parts.items()
        if figures["rows"]
    ]


def _diversity(
    statistics: Mapping[str, Any] | None, names: Mapping[str, str]
) -> list[dict[str, Any]]:
    """By language, the figures of what was drawn, at random and without selection."""
    if statistics is None:
        return []
    return [
        {"name": names.get(code, code), "rows": figures_lib.side_by_side(figures)}
        for code, figures in statistics["languages"].items()
        if figures["rows"]
    ]


def _model_words(workdir: pathlib.Path) -> str:
    """What the run's models started from; empty where there is no base yet."""
    record = manifest.read(workdir / "base")
    if record is None:
        return ""
    if record["config"].get("base_model"):
        return f"The models of this run start from {record['config']['base_model']}."
    size = _parameters(record["config"]["model"])
    return (
        f"The models of this run have {size / 1e6:,.1f} million parameters and started "
        "from random weights."
    )


def _parameters(model: Mapping[str, Any]) -> int:
    """Weights of matrices of a `ModelConfig`, as its manifest records it."""
    width, heads = model["embed_dim"], model["num_heads"] * model["head_dim"]
    kv_heads = model["num_kv_heads"] * model["head_dim"]
    block = width * (2 * heads + 2 * kv_heads + 3 * model["mlp_dim"])
    tables = 1 if model["tie_embeddings"] else 2
    return model["num_layers"] * block + tables * model["vocab_size"] * width


def _notes_words(notes: Mapping[str, Any]) -> str:
    """Figures that a stage noted, in a line.

    >>> _notes_words({"eval_loss": 1.23456, "steps": 1200})
    'eval loss 1.235, steps 1,200'
    """
    return ", ".join(f"{counts.words(name)} {_value(v)}" for name, v in notes.items())


def _figure(value: float | None) -> str:
    """A figure in a table; a dash where it is not defined.

    >>> _figure(0.98765), _figure(123.456), _figure(None)
    ('0.988', '123.5', '–')
    """
    if value is None:
        return "–"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def _value(value: float | int | str) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else value
