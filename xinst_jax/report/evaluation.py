"""What was found without a judge, by one, and on public benchmarks, as tables."""

import json
import pathlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from xinst_jax import manifest
from xinst_jax.eval import benchmark_table, benchmarks, judging, retrieval, tables
from xinst_jax.eval.benchmarks import COVERAGE
from xinst_jax.report.grid import Table

_MODELS = ("base", "tuned")
_JUDGMENTS, _BENCHMARK = "judgments", "benchmark/"
_FIDELITY = {
    "in_language": "in language",
    "sentences": "by sentence",
    "empty": "empty",
    "truncated": "cut off",
    "repetition": "repeated",
    "english": "English",
}
_WINS = (
    *("win-tie-loss", "unjudged", "win rate", "length-controlled", "sign test p"),
    *("orders flip", "first preferred", "length gap"),
)

Records = dict[tuple[str, str], dict[str, Any]]
"""The `results.json` of finished benchmark tasks, by model and task."""


def by_question_set(record: Mapping[str, Any] | None) -> list[Table]:
    """Answers by question set and model; none where there is one of each.

    Args:
      record: the content of `evaluation.json`; None before there is one.
    """
    sets = record.get("sets", {}) if record else {}
    found = []
    for name, of_set in sets.items():
        rows = [
            [
                of_language["name"],
                model,
                str(figures["answers"]),
                *(
                    tables.interval(
                        figures[field], *figures["intervals"].get(field, (None, None))
                    )
                    for field in _FIDELITY
                ),
            ]
            for of_language in of_set["languages"].values()
            for model, figures in of_language["answers"].items()
        ]
        models = {row[1] for row in rows}
        if len(sets) > 1 or len(models) > 1:
            caption = f"{name}: answers, % with 95% intervals over questions."
            headings = ["Language", "model", "answers", *_FIDELITY.values()]
            found.append(Table(caption, [], headings, rows))
    return found


def mean_reciprocal_rank(record: Mapping[str, Any] | None) -> list[Table]:
    """How high the true instruction is ranked among others, by language.

    Args:
      record: the content of `evaluation.json`; None before there is one.
    """
    ranked = {
        figures["name"]: figures["retrieval"]
        for figures in (record["languages"].values() if record else ())
        if figures.get("retrieval")
    }
    if not ranked:
        return []
    rows = []
    for name, found in ranked.items():
        first = found[retrieval.SCORES[0]]
        ends = ([one["mrr"], one["low"], one["high"]] for one in found.values())
        rows.append(
            [
                *(name, str(first["pairs"]), str(first["candidates"])),
                f"{first['chance']:.3f}",
                *("{:.3f} [{:.3f}, {:.3f}]".format(*each) for each in ends),
            ]
        )
    scores = [score.replace("_", " ") for score in retrieval.SCORES]
    return [
        Table(
            "Mean reciprocal rank of the instruction that a held-out response was "
            "written to, among others, with 95% intervals over responses. Chance is a "
            "random order of so many. Generator: by the instruction's probability "
            "after the response; generator pmi: by how much the response raises it; "
            "tuned pmi: by how much the instruction raises the response's.",
            [],
            ["Language", "pairs", "among", "chance", *scores],
            rows,
        )
    ]


def win_rates(workdir: pathlib.Path, stages: Collection[str]) -> list[Table]:
    """What the judge said, a table a question set; none where none was asked.

    Args:
      workdir: the run's directory.
      stages: the run's stages.
    """
    path = workdir / _JUDGMENTS / judging.FIGURES
    if _JUDGMENTS not in stages or manifest.read(path.parent) is None:
        return []
    record = json.loads(path.read_bytes())
    right = [words.replace("\n", " ") for words in tables.PLANTED.values()]
    found = []
    for name, of_set in record["sets"].items():
        rows = [
            [
                of_language["name"],
                opponent,
                *tables.rate_cells(rate, record["planted"]["languages"].get(code, {})),
            ]
            for code, of_language in of_set["languages"].items()
            for opponent, rate in of_language["win_rates"].items()
        ]
        rows += [
            ["All", opponent, *tables.rate_cells(rate, record["planted"]["all"])]
            for opponent, rate in of_set["all"].items()
        ]
        found.append(
            Table(
                f"{name}: {tables.judge_words(record)}. Win rate: (wins + ties / 2) / "
                "judged, % with its 95% interval over questions. Judge right: planted "
                "pairs in which it preferred the answer that is known to be better.",
                [("", 2 + len(_WINS)), ("Judge right", len(right))],
                ["Language", "against", *_WINS, *right],
                rows,
            )
        )
    return found


def benchmark_records(workdir: pathlib.Path, stages: Iterable[str]) -> Records:
    """What every finished benchmark task of a run found.

    Args:
      workdir: the run's directory.
      stages: the run's stages.
    """
    found = {}
    for name in stages:
        if not name.startswith(_BENCHMARK):
            continue
        path = workdir / name
        if manifest.read(path) is not None and (record := benchmarks.read(path)):
            model, _, task = name.removeprefix(_BENCHMARK).partition("/")
            found[model, task] = record
    return found


def benchmark_tables(records: Records, names: Mapping[str, str]) -> list[Table]:
    """Accuracy by language and set, then the figures of all other tasks.

    Args:
      records: of `benchmark_records`.
      names: the languages' names by code.
    """
    models = [model for model in _MODELS if any(model == of for of, _ in records)]
    sets = [
        one
        for one in COVERAGE.values()
        if any(task in one.tasks.values() for _, task in records)
    ]
    in_sets = {one.tasks[code] for one in sets for code in names if code in one.tasks}
    found = []
    if any(task in in_sets for _, task in records):
        rows = [
            [
                name,
                *(
                    _cell(records.get((model, one.tasks.get(code, ""))))
                    for one in sets
                    for model in models
                ),
            ]
            for code, name in names.items()
        ]
        asked = [record for (_, task), record in records.items() if task in in_sets]
        found.append(
            Table(
                f"Accuracy ± its standard error, by lm-evaluation-harness "
                f"{_values(record['lm_eval'] for record in asked)}; "
                f"{_values(_measured(record) for record in asked)} rows a task, "
                f"{_values(_shots(record) for record in asked)} examples shown, "
                f"{'the chat template applied' if _chat(asked) else 'plain text'}.",
                [
                    ("", 1),
                    *(
                        (f"{one.title} (chance {one.chance:.2f})", len(models))
                        for one in sets
                    ),
                ],
                ["Language", *models * len(sets)],
                rows,
            )
        )
    others = [
        [task, model, metric, value]
        for (model, name), record in records.items()
        if name not in in_sets
        for task, metric, value in benchmark_table.figures(record)
    ]
    if others:
        headings = ["Task", "model", "metric", "value"]
        caption = "Other tasks of the harness, ± standard error."
        found.append(Table(caption, [], headings, others))
    return found


def _cell(record: Mapping[str, Any] | None) -> str:
    """Accuracy and its standard error; a dash where it was not measured."""
    found = benchmark_table.headline(record, record["task"]) if record else None
    return "–" if found is None else f"{found[1]:.3f} ± {found[2]:.3f}"


def _measured(record: Mapping[str, Any]) -> int:
    return record["n-samples"][record["task"]]["effective"]


def _shots(record: Mapping[str, Any]) -> int:
    return record["n-shot"][record["task"]]


def _chat(records: Iterable[Mapping[str, Any]]) -> bool:
    return any(record.get("chat_template") for record in records)


def _values(found: Iterable[Any]) -> str:
    """The different values, ascending, as words.

    >>> _values([100, 20, 20])
    '20, 100'
    """
    return ", ".join(map(str, sorted(set(found))))
