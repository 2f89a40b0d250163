"""A finished run's figures as Markdown tables, for a page about it.

    python tools/run_tables.py runs/small_cpu

Stages, losses, how good the scores are, what each round keeps and how far it moves, the
dataset's variety beside random samples and no selection, and the tuned model; what a
run has not made is left out.
"""

import argparse
import pathlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from xinst_jax import manifest, shards
from xinst_jax.report import collect, counts
from xinst_jax.report.table import dropped_words


def tables(workdir: pathlib.Path) -> str:
    """All tables of a run, a blank line between two."""
    names = _stage_names(workdir)
    made = (
        _stages(workdir, names),
        _losses(workdir, names),
        *_raters(workdir, names),
        _rounds(workdir, names),
        _variety(workdir),
        _draw(workdir),
        _tuned(workdir),
    )
    return "\n\n".join(table for table in made if table)


def _table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Markdown; the first column to the left, figures to the right."""
    lines = [list(headings), ["---", *["---:"] * (len(headings) - 1)]]
    lines += [list(map(str, row)) for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _stage_names(workdir: pathlib.Path) -> list[str]:
    """The run's stages in the order in which they were last made.

    They are those that the run's report shows; before there is one, all in the workdir.
    """
    lines = shards.json_lines(workdir / "timings.jsonl")
    made = list(dict.fromkeys(line["stage"] for line in reversed(lines)))[::-1]
    report = manifest.read(workdir / "report")
    return [name for name in made if report is None or name in report["inputs"]]


def _stages(workdir: pathlib.Path, names: Sequence[str]) -> str:
    made = [stage for stage in counts.stage_counts(workdir, names) if stage.made]
    seconds = sum(stage.seconds or 0 for stage in made)
    rows = [
        [
            stage.name,
            f"{stage.total.rows_in:,}",
            f"{stage.total.rows_out:,}",
            dropped_words(stage.total.dropped, 9),
            "" if stage.seconds is None else f"{stage.seconds:,.0f}",
        ]
        for stage in made
    ]
    headings = ["stage", "rows in", "rows out", "dropped, and why", "seconds"]
    return _table(headings, [*rows, ["together", "", "", "", f"{seconds:,.0f}"]])


def _losses(workdir: pathlib.Path, names: Sequence[str]) -> str:
    curves = [collect.curve(workdir, name) for name in names]
    rows = [
        [
            curve.name,
            f"{max([*curve.steps_n, *curve.eval_steps_m]):,.0f}",
            ", ".join(
                f"{loss:.2f} ({step:,.0f})"
                for step, loss in zip(
                    curve.eval_steps_m, curve.eval_losses_m, strict=True
                )
            ),
            f"{curve.losses_n[-5:].mean():.2f}" if len(curve.losses_n) else "",
            f"{curve.tokens_per_second:,.0f}" if curve.tokens_per_second else "",
        ]
        for curve in curves
        if curve is not None
    ]
    if not rows:
        return ""
    return _table(
        [
            *("training", "steps", "held-out loss (step)"),
            *("training loss, mean of the last 5 lines", "tokens/s (median)"),
        ],
        rows,
    )


def _raters(workdir: pathlib.Path, names: Sequence[str]) -> list[str]:
    rounds = collect.rater_quality(workdir, counts.rounds(names))
    if not rounds:
        return []
    last = rounds[max(rounds)]
    groups = {"all": [made["all"] for made in rounds.values()]} | {
        code: [made["languages"][code] for made in rounds.values()]
        for code in last["languages"]
    }
    whole = _table(
        ["held-out pairs", "n", *_each(rounds, *_LEVELS.values())],
        [
            [name, f"{each[-1]['n']:,}", *_cells(each, _LEVELS)]
            for name, each in groups.items()
        ],
    )
    defects = sorted(
        last["corruptions"], key=lambda name: -last["corruptions"][name]["preferred"]
    )
    spoilt = _table(
        ["defect", "n", *_each(rounds, *_DEFECTS.values())],
        [
            [
                f"{last['corruptions'][name]['label']}: {name}",
                f"{last['corruptions'][name]['n']:,}",
                *_cells([x["corruptions"][name] for x in rounds.values()], _DEFECTS),
            ]
            for name in defects
        ],
    )
    signals = list(last["signals"])
    alone = _table(
        ["defect", *(_each(rounds, *(f"{name} alone" for name in signals)))],
        [
            [
                name,
                *(
                    f"{made['signals'][signal][name]['preferred']:.3f}"
                    for made in rounds.values()
                    for signal in signals
                ),
            ]
            for name in defects
        ],
    )
    confusions = _table(
        ["pairs", *_each(rounds, *(f"called {level}" for level in last["levels"]))],
        [
            [level, *(f"{n:,}" for x in rounds.values() for n in x["confusion"][place])]
            for place, level in enumerate(last["levels"])
        ],
    )
    triple = {name: _DEFECTS[name] for name in ("precision", "recall", "auc_good")}
    both = _table(
        ["language", "defect", "n", *_each(rounds, *triple.values())],
        [
            [
                *(code, name, f"{figures['n']:,}"),
                *_cells(
                    [
                        made["languages"][code]["corruptions"][name]
                        for made in rounds.values()
                    ],
                    triple,
                ),
            ]
            for code, of_language in last["languages"].items()
            for name, figures in of_language.get("corruptions", {}).items()
        ],
    )
    return [whole, spoilt, both, alone, confusions, _precision(rounds)]


def _rounds(workdir: pathlib.Path, names: Sequence[str]) -> str:
    """What each round keeps of its candidates, and how far it is from the one before.

    Changed is the share of the pairs kept in either round that is in one alone; shift
    the largest distance between the distributions of their scores.
    """
    rated = [f"ratings/round-{number}" for number in counts.rounds(names)]
    made = [stage for stage in counts.stage_counts(workdir, rated) if stage.made]
    if not made:
        return ""
    rows = []
    for code in made[-1].counts:
        cells = []
        for stage in made:
            of = stage.counts[code]
            moves = (of.notes.get(name) for name in ("kept_changed", "score_shift"))
            cells.append(f"{of.rows_out:,} of {of.rows_in:,}")
            cells += ["-" if found is None else f"{found:.3f}" for found in moves]
        rows.append([code, *cells])
    numbers = [int(stage.name.rpartition("-")[2]) for stage in made]
    return _table(["language", *_each(numbers, "kept", "changed", "shift")], rows)


def _precision(rounds: Mapping[int, Mapping[str, Any]]) -> str:
    """Precision and recall by level, of all pairs and of each language.

    Those of all pairs follow from the confusion; rounds that were measured before
    languages had theirs show a dash.
    """
    last = rounds[max(rounds)]

    def cells(code: str, place: int) -> list[str]:
        found = []
        for made in rounds.values():
            if code == "all":
                right = made["confusion"][place][place]
                answered = sum(row[place] for row in made["confusion"])
                true = sum(made["confusion"][place])
                found += [_cell(right / n if n else None) for n in (answered, true)]
            else:
                level = last["levels"][place]
                figures = made["languages"].get(code, {})
                names = ("precision", "recall")
                found += [_cell(figures.get(name, {}).get(level)) for name in names]
        return found

    rows = [
        [f"{code}: {level}", *cells(code, place)]
        for code in ("all", *last["languages"])
        for place, level in enumerate(last["levels"])
    ]
    shown = [row for row in rows if set(row[1:]) != {"-"}]
    return _table(["level", *_each(rounds, "precision", "recall")], shown)


_LEVELS = {
    "accuracy": "accuracy",
    "chance": "chance",
    "precision": "precision of good",
    "recall": "recall of good",
    "auc_good": "AUC",
    "above_chance": "above",
}
_DEFECTS = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "auc_good": "AUC",
    "preferred": "preferred",
    "above_chance": "above",
}
"""Figures, and what their columns are called; of a defect, precision and recall are of
not calling a pair good."""


def _each(rounds: Iterable[int], *headings: str) -> list[str]:
    return [f"{heading}, round {number}" for number in rounds for heading in headings]


def _cells(rounds: Sequence[dict[str, Any]], names: Iterable[str]) -> list[str]:
    return [_cell(made.get(name)) for made in rounds for name in names]


def _cell(value: float | bool | dict[str, float] | None) -> str:
    if isinstance(value, dict):
        value = value["good"]
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3f}"


def _variety(workdir: pathlib.Path) -> str:
    found = collect.statistics(workdir)
    if found is None:
        return ""
    rows = [
        [
            name,
            figures["rows"],
            figures["distinct_verb_nouns"],
            ", ".join(map(str, figures["random_distinct_verb_nouns"])),
        ]
        for name, figures in [*found["languages"].items(), ("all", found["all"])]
    ]
    return _table(
        ["distinct verb-noun pairs", "rows", "from the clusters", "random draws"], rows
    )


def _draw(workdir: pathlib.Path) -> str:
    """What was drawn beside random samples (mean, least to most) and no selection."""
    found = collect.statistics(workdir)
    if found is None:
        return ""
    rows = []
    for code, figures in found["languages"].items():
        diversity = figures["diversity"]
        drawn, kept = diversity["drawn"], diversity["kept"]
        pairs, kept_pairs = (
            figures["distinct_verb_nouns"],
            figures["kept_distinct_verb_nouns"],
        )
        rows.append([f"{code}, drawn", *_variety_cells([drawn], [pairs])])
        samples = figures["random_distinct_verb_nouns"]
        words = f"{code}, {len(diversity['random'])} random samples"
        rows.append([words, *_variety_cells(diversity["random"], samples)])
        rows.append([f"{code}, no selection", *_variety_cells([kept], [kept_pairs])])
    return _table(
        [
            *("of the draw", "rows", "cluster entropy", "distance to the nearest"),
            *("Vendi score", "distinct verb-noun pairs", "share of the top verb"),
        ],
        rows,
    )


def _variety_cells(
    figures: Sequence[Mapping[str, Any]], pairs: Sequence[int]
) -> list[str]:
    def of(name: str, form: str) -> str:
        values = [each[name] for each in figures]
        return "-" if None in values else _spread(values, form)

    return [
        of("rows", ",.0f"),
        of("cluster_entropy", ".3f"),
        of("nearest_distance", ".3f"),
        of("vendi_score", ".1f"),
        _spread(pairs, ".3g"),
        of("top_verb_share", ".0%"),
    ]


def _spread(values: Sequence[float], form: str) -> str:
    """A figure, or the mean of several that differ, and the least and the most."""
    mean = format(sum(values) / len(values), form)
    least, most = format(min(values), form), format(max(values), form)
    return mean if least == most else f"{mean} ({least} to {most})"


def _tuned(workdir: pathlib.Path) -> str:
    found = collect.evaluation(workdir)
    if found is None:
        return ""
    rows = []
    for code, figures in found["languages"].items():
        fidelity = figures["fidelity"]
        losses = [figures["likelihood"].get(name) for name in found["models"]]
        measured = all(losses)
        rows.append(
            [
                code,
                *(f"{fidelity[x]:.0%}" for x in ("in_language", "empty", "truncated")),
                *(
                    " to ".join(f"{loss[unit]:.2f}" for loss in losses)
                    if measured
                    else "no held-out pairs"
                    for unit in ("loss_per_token", "bits_per_character")
                ),
            ]
        )
    return _table(
        [
            *("language", "answers in the language", "empty", "cut off"),
            *("loss, base to tuned (nats a token)", "bits a character"),
        ],
        rows,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workdir", type=pathlib.Path, help="a run's directory")
    print(tables(parser.parse_args().workdir))
