"""Pictures with what is said about them."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import markupsafe
import numpy as np
import pyarrow as pa

from xinst_jax.report import collect, counts, pictures

NOT_MADE, NO_ROWS = "not made yet", "no row to show"
_TRAINED = {
    "base": "Base model",
    "generator": "Generator",
    "rater": "Rater",
    "follower": "Follower",
    "model": "Tuned model",
}


@dataclasses.dataclass(frozen=True)
class Panel:
    """A picture of the page.

    Attributes:
      title: what is shown.
      picture: the SVG; None where there is none.
      caption: what can be read off it, in words.
      kind: its class on the page.
      missing: why there is no picture.
    """

    title: str
    picture: markupsafe.Markup | None = None
    caption: str = ""
    kind: str = ""
    missing: str = NOT_MADE


def flow(steps: Sequence[counts.Step], names: Mapping[str, str]) -> Panel:
    """Rows from step to step, by language."""
    if not steps:
        return Panel("Corpus")
    return Panel(
        "The way of the rows",
        _markup(pictures.flow(steps, names)),
        "Each band is a language, as thick as its rows are many. Of the rounds, the "
        "last is shown.",
        "wide",
    )


def training(workdir: pathlib.Path, stages: Sequence[str]) -> list[Panel]:
    """Loss curves of every model, the rounds of one in one picture.

    Args:
      workdir: the run's directory.
      stages: the run's stages; of a model that is not among them there is no panel.
    """
    panels = []
    for part, title in _TRAINED.items():
        of_part = [name for name in stages if name.partition("/")[0] == part]
        if not of_part:
            continue
        curves = [collect.curve(workdir, stage) for stage in of_part]
        made = [curve for curve in curves if curve is not None]
        if not made:
            panels.append(Panel(title))
            continue
        svg = _markup(pictures.losses(title.lower(), made))
        caption = "\n".join(_loss_words(curve) for curve in made)
        panels.append(Panel(title, svg, caption))
    return panels


def scores(
    workdir: pathlib.Path, rounds: Sequence[int], languages: Sequence[str]
) -> list[Panel]:
    """The histogram of every round's scores, over all languages."""
    panels = []
    for number in rounds:
        parts = [collect.scores(workdir, number, code) for code in languages]
        scores_n = np.concatenate([part[0] for part in parts])
        kept_n = np.concatenate([part[1] for part in parts])
        panels.append(_scores(f"Round {number}", scores_n, kept_n))
    return panels


def reliability(raters: Mapping[int, Mapping[str, Any]]) -> list[Panel]:
    """How honest each round's probabilities are, in one picture; none without pairs.

    Args:
      raters: the `rater_quality.json` of each round that has one.
    """
    rounds = {
        number: measured["reliability"]
        for number, measured in raters.items()
        if measured["reliability"]
    }
    if not rounds:
        return []
    caption = (
        "On the line, of the pairs given 70% as many are good. Held-out pairs, each "
        "level weighing alike, scored by a calibration that did not see them."
    )
    svg = _markup(pictures.reliability(rounds))
    return [Panel("Reliability", svg, caption)]


def of_language(
    workdir: pathlib.Path,
    code: str,
    last: int,
    figures: Mapping[str, Any] | None,
    clusters: collect.Clusters | None,
    limit: int,
) -> list[Panel]:
    """The four pictures of a language.

    Args:
      workdir: the run's directory.
      code: language code.
      last: the round whose scores are shown.
      figures: the dataset's statistics of the language; None before there are any.
      clusters: the clusters of its instructions; likewise.
      limit: most pairs whose lengths are drawn.
    """
    return [
        _scores(f"Scores of round {last}", *collect.scores(workdir, last, code)),
        _lengths(collect.pairs(workdir, code, limit), figures),
        _clusters(clusters),
        verb_nouns(figures, "the dataset's instructions"),
    ]


def verb_nouns(figures: Mapping[str, Any] | None, what: str) -> Panel:
    """Verbs and nouns, from the dataset's statistics of a language or of all."""
    if figures is None or not figures["top_verbs"]:
        missing = NOT_MADE if figures is None else NO_ROWS
        return Panel("Verbs and nouns", missing=missing)
    caption = (
        f"Verbs of {what} (inner ring) and the nouns that go with them (outer ring): "
        "the sixteen commonest verbs, four nouns each. "
        f"{figures['verb_noun_rows']:,} of {figures['rows']:,} instructions have both."
    )
    rows = [
        (row["verb"], row["count"], list(row["nouns"].items()))
        for row in figures["top_verbs"]
    ]
    return Panel("Verbs and nouns", _markup(pictures.verb_nouns(rows)), caption, "ring")


def _loss_words(curve: collect.Curve) -> str:
    """First and last losses of a run, and its speed."""
    _, _, in_round = curve.name.partition("/")
    words = f"{in_round.replace('-', ' ').capitalize()}: " if in_round else ""
    if len(curve.eval_losses_m):
        first, last = curve.eval_losses_m[[0, -1]]
        words += f"held out {first:.3f} → {last:.3f}"
        if curve.language_losses:
            each = ", ".join(
                f"{code} {first:.2f} → {last:.2f}"
                for code, (first, last) in curve.language_losses.items()
            )
            words += f" ({each})"
    elif len(curve.losses_n):
        first, last = curve.losses_n[[0, -1]]
        words += f"training {first:.3f} → {last:.3f}"
    if curve.tokens_per_second is not None:
        words += f", {curve.tokens_per_second:,.0f} tokens/s"
    return f"{words[:1].upper()}{words[1:]}."


def _scores(title: str, scores_n: np.ndarray, kept_n: np.ndarray) -> Panel:
    if not len(scores_n):
        return Panel(title)
    svg = _markup(pictures.score_histogram(scores_n, kept_n, title.lower()))
    caption = f"{title}: {kept_n.sum():,} of {len(kept_n):,} pairs kept."
    return Panel(title, svg, caption)


def _lengths(drawn: pa.Table, figures: Mapping[str, Any] | None) -> Panel:
    if not len(drawn) or figures is None:
        return Panel("Lengths", missing=NOT_MADE if figures is None else NO_ROWS)
    instructions_n, responses_n = (
        np.array([len(text) for text in drawn[name].to_pylist()])
        for name in ("instruction", "output")
    )
    means = (figures[name] for name in ("instruction_chars", "output_chars"))
    words = " and ".join(f"{mean['mean']:,.0f} ± {mean['sd']:,.0f}" for mean in means)
    caption = f"Lengths: {words} characters (mean ± standard deviation)."
    if len(drawn) < figures["rows"]:
        caption += f" Drawn from {len(drawn):,} of {figures['rows']:,} pairs."
    svg = _markup(pictures.lengths(instructions_n, responses_n))
    return Panel("Lengths", svg, caption)


def _clusters(clusters: collect.Clusters | None) -> Panel:
    title = "Map of the instructions"
    if clusters is None or not clusters.rows:
        return Panel(title, missing=NOT_MADE if clusters is None else NO_ROWS)
    shown = len(clusters.points_n2)
    part = f"{shown:,} of {clusters.rows:,}" if shown < clusters.rows else f"{shown:,}"
    caption = (
        f"Map of {part} kept instructions along the two axes in which their meanings "
        "differ most, coloured by cluster (colours recur); those that were drawn are "
        "ringed."
    )
    svg = pictures.cluster_map(
        clusters.points_n2, clusters.cluster_n, clusters.selected_n
    )
    return Panel(title, _markup(svg), caption)


def _markup(svg: str) -> markupsafe.Markup:
    """A picture as it is: matplotlib has escaped the words in it."""
    return markupsafe.Markup(svg)
