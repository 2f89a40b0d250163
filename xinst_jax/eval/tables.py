"""The figures of an evaluation for a terminal: one table a question set."""

import math
from collections.abc import Mapping
from typing import Any

import rich.console
import rich.table

_FIDELITY = {
    "in_language": "in\nlang.",
    "sentences": "by\nsentence",
    "empty": "empty",
    "truncated": "cut\noff",
    "repetition": "repeated",
    "english": "English",
}
_WINS = (
    *("in\nlang.", "win-tie-\nloss", "un-\njudged", "win rate", "length-\ncontr."),
    *("sign\ntest p", "flips", "first\npref.", "length\ngap"),
)
_WIDTH = 170
"""Columns where the output is no terminal that says how wide it is."""

PLANTED = {
    "wrong_language": "right\nlanguage",
    "cut": "whole",
    "off_topic": "on\ntopic",
}


def console() -> rich.console.Console:
    """Where tables are printed; wide where nothing says how wide it is."""
    found = rich.console.Console()
    return found if found.is_terminal else rich.console.Console(width=_WIDTH)


def fidelity(record: Mapping[str, Any], name: str) -> rich.table.Table:
    """A question set's answers: languages down, each model's figures across."""
    grid = _grid(f"{name}: answers, % and 95% interval")
    grid.add_column("language")
    grid.add_column("model")
    grid.add_column("answers", justify="right")
    for heading in _FIDELITY.values():
        grid.add_column(heading, justify="right")
    for of_language in record["sets"][name]["languages"].values():
        first = of_language["name"]
        for model, figures in of_language["answers"].items():
            cells = [
                interval(figures[field], *figures["intervals"].get(field, (None, None)))
                for field in _FIDELITY
            ]
            grid.add_row(first, model, str(figures["answers"]), *cells)
            first = ""
    return grid


def likelihood(record: Mapping[str, Any]) -> rich.table.Table:
    """How likely each model finds held-out responses, languages down."""
    models = record["models"]
    grid = _grid("held-out responses")
    grid.add_column("language")
    for unit in ("nats/token", "bits/char"):
        grid.add_column("\n".join([unit, *models]), justify="right")
    for figures in record["languages"].values():
        losses = [figures["likelihood"].get(model) for model in models]
        grid.add_row(
            figures["name"],
            *(
                " ".join(f"{loss[unit]:.2f}" if loss else "–" for loss in losses)
                for unit in ("loss_per_token", "bits_per_character")
            ),
        )
    return grid


def win_rates(record: Mapping[str, Any], name: str) -> rich.table.Table:
    """A question set's judged pairs: languages down, figures across."""
    grid = _grid(f"{name}: {judge_words(record)}")
    grid.add_column("language")
    grid.add_column("against")
    for heading in (*_WINS, *PLANTED.values()):
        grid.add_column(heading, justify="right")
    ours, parts = record["ours"], record["sets"][name]["languages"]
    for code, of_language in parts.items():
        first = of_language["name"]
        own = of_language["answers"].get(ours)
        right = record["planted"]["languages"].get(code, {})
        for opponent, rate in of_language["win_rates"].items():
            cells = rate_cells(rate, right)
            grid.add_row(first, opponent, share(own and own["in_language"]), *cells)
            first = ""
    grid.add_section()
    for opponent, rate in record["sets"][name]["all"].items():
        cells = rate_cells(rate, record["planted"]["all"])
        grid.add_row("all", opponent, "", *cells)
    return grid


def judge_words(record: Mapping[str, Any]) -> str:
    """Who judged what, and by which rules, in a line."""
    return (
        f"{record['ours']} judged by {record['judge']} (prompt '{record['prompt']}', "
        f"rule '{record['rule']}', the {record['sample']} of {record['samples']} "
        f"answer{'s' if record['samples'] > 1 else ''})"
    )


def rate_cells(rate: Mapping[str, Any], right: Mapping[str, Any]) -> list[str]:
    """The figures of a `WinRate`, then how far its judge is to be trusted.

    Args:
      rate: the fields of a `WinRate`.
      right: by kind of planted pair, the fields of a `planted.Preference`.
    """
    gap = rate["length_gap"]
    return [
        f"{rate['wins']}-{rate['ties']}-{rate['losses']}",
        str(rate["unjudged"]),
        interval(rate["rate"], rate["low"], rate["high"]),
        share(rate["length_controlled"]),
        f"{rate['p_value']:.3f}",
        share(rate["flips"]),
        share(rate["first_preferred"]),
        "–" if gap is None else f"{gap:+.0f}",
        *(preferred(right.get(kind)) for kind in PLANTED),
    ]


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A share with its interval, in percent.

    >>> interval(0.5, 0.413, 0.587)
    '50 [41, 59]'
    """
    if low is None or high is None:
        return share(value)
    return f"{share(value)} [{share(low)}, {share(high)}]"


def share(value: float | None) -> str:
    """A share in percent, a dash for none.

    >>> share(0.051), share(None)
    ('5', '–')
    """
    return "–" if value is None or math.isnan(value) else f"{100 * value:.0f}"


def preferred(preference: Mapping[str, Any] | None) -> str:
    """In how many of the judged planted pairs a judge preferred the right answer.

    >>> preferred({"pairs": 10, "preferred": 0.875, "unjudged": 2})
    '7/8'
    """
    if preference is None:
        return "–"
    judged = preference["pairs"] - preference["unjudged"]
    if not judged:
        return "0/0"
    return f"{round(preference['preferred'] * judged)}/{judged}"


def _grid(title: str) -> rich.table.Table:
    return rich.table.Table(title=title, title_justify="left")
