"""How good the raters are, round by round, as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from xinst_jax.report.grid import Table

_SIGNALS = {"rater": "rater's labels", "pmi": "mutual information"}

Rounds = Mapping[int, Mapping[str, Any]]
"""The `rater_quality.json` of each round that has one, by the round's number."""


def tables(rounds: Rounds, names: Mapping[str, str]) -> list[Table]:
    """What the raters got right, by language and by defect, the rounds side by side.

    Args:
      rounds: how good each round's rater is.
      names: the languages' names by code.
    """
    if not rounds:
        return []
    return [
        _by_language(rounds, names),
        _by_defect(rounds),
        *_by_both(rounds, names),
        _by_signal(rounds),
    ]


def confusions(rounds: Rounds) -> list[Table]:
    """How each round's rater mixes the levels up, with precision and recall."""
    return [_confusion(number, quality) for number, quality in rounds.items()]


def _by_language(made: Rounds, names: Mapping[str, str]) -> Table:
    kinds = ("accuracy", "macro_f1", "good_precision", "good_recall", "auc_good")
    headings = ["accuracy", "macro F1", "precision", "recall", "AUC"]
    every = [quality["all"] for quality in made.values()]
    found = {"All": every} | {
        names.get(code, code): rounds
        for code, rounds in _joined(made, "languages").items()
    }
    return Table(
        "On pairs of known level that the rater has not seen. Chance: always answering "
        "the commonest level. Precision and recall: of calling a pair good. "
        "AUC: how often a good pair scores above a spoilt one; its chance is 0.500.",
        _groups(made, 3, len(kinds)),
        ["Language", "pairs", "chance", *headings * len(made)],
        [
            [
                name,
                *_cells(rounds[-1:], ("n", "chance")),
                *_cells([_with_good(figures) for figures in rounds], kinds),
            ]
            for name, rounds in found.items()
        ],
    )


def _by_defect(made: Rounds) -> Table:
    kinds = [
        *("accuracy", "mean_score", "precision", "recall"),
        *("auc_good", "preferred", "above_chance"),
    ]
    headings = ["accuracy", "mean score", "precision", "recall"]
    headings += ["AUC", "preferred", "above chance"]
    return Table(
        "By kind of defect. Precision and recall: of not calling a pair good, among "
        "the good pairs and those with the defect. AUC: of those against each other. "
        "Preferred: how often a pair scores above itself with the defect; its chance "
        "is 0.500, and above chance is what a one-sided sign test at 5% says of it.",
        _groups(made, 3, len(kinds)),
        ["Defect", "level", "pairs", *headings * len(made)],
        [
            [
                name.replace("_", " "),
                *_cells(rounds[-1:], ("label", "n")),
                *_cells(rounds, kinds),
            ]
            for name, rounds in _joined(made, "corruptions").items()
        ],
    )


def _by_both(made: Rounds, names: Mapping[str, str]) -> list[Table]:
    """Each defect in each language, in the last round; nothing where it has none."""
    last = made[max(made)]
    cells = {
        names.get(code, code): figures.get("corruptions", {})
        for code, figures in last["languages"].items()
    }
    defects = [name for name in last["corruptions"] if any(cells.values())]
    if not defects:
        return []
    table = Table(
        f"Each defect in each language, round {max(made)}: precision / recall / AUC "
        "(pairs with the defect), against the language's good pairs.",
        [],
        ["Language", *(name.replace("_", " ") for name in defects)],
        [
            [name, *(_triple(found.get(defect, {})) for defect in defects)]
            for name, found in cells.items()
        ],
    )
    return [table]


def _triple(figures: Mapping[str, Any]) -> str:
    if not figures.get("n"):
        return "–"
    kinds = ("precision", "recall", "auc_good")
    shown = ("–" if figures[k] is None else f"{figures[k]:.2f}" for k in kinds)
    return f"{' / '.join(shown)} ({figures['n']:,})"


def _with_good(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The figures, and precision and recall of the level good beside them."""
    return dict(figures) | {
        f"good_{kind}": figures[kind]["good"]
        for kind in ("precision", "recall")
        if kind in figures
    }


def _by_signal(made: Rounds) -> Table:
    """Each signal alone beside both together, by defect."""
    last = made[max(made)]
    alone = list(last["signals"])
    return Table(
        f"What each signal alone tells in round {max(made)}: how often a pair is "
        "preferred to itself with the defect.",
        [],
        ["Defect", *(_SIGNALS[name] for name in alone), "both together"],
        [
            [
                name.replace("_", " "),
                *(_cell(last["signals"][each][name]["preferred"]) for each in alone),
                _cell(figures["preferred"]),
            ]
            for name, figures in last["corruptions"].items()
        ],
    )


def _confusion(number: int, quality: Mapping[str, Any]) -> Table:
    levels, found = quality["levels"], quality["confusion"]
    answered = [sum(column) for column in zip(*found, strict=True)]
    rows = [
        [f"is {level}", *map(str, row), _share(row[place], sum(row))]
        for place, (level, row) in enumerate(zip(levels, found, strict=True))
    ]
    precisions = [_share(found[i][i], total) for i, total in enumerate(answered)]
    return Table(
        f"Round {number}: held-out pairs by their level and by the rater's answer.",
        [],
        ["", *(f"called {level}" for level in levels), "recall"],
        [*rows, ["precision", *precisions, ""]],
    )


def _joined(made: Rounds, part: str) -> dict[str, list[Mapping[str, Any]]]:
    """By name, the figures of every round, empty where a round has none of it."""
    names = dict.fromkeys(name for quality in made.values() for name in quality[part])
    return {
        name: [quality[part].get(name, {}) for quality in made.values()]
        for name in names
    }


def _groups(made: Rounds, before: int, each: int) -> list[tuple[str, int]]:
    return [("", before), *((f"Round {number}", each) for number in made)]


def _cells(rounds: Sequence[Mapping[str, Any]], kinds: Sequence[str]) -> list[str]:
    """The figures of every round, one round after the other."""
    return [_cell(figures.get(kind)) for figures in rounds for kind in kinds]


def _cell(value: float | int | bool | str | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "–"
