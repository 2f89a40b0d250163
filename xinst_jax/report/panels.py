"""Pictures with what is said about them."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import markupsafe
import numpy as np
import pyarrow as pa

from xinst_jax.pipeline import verbs
from xinst_jax.report import collect, counts, pictures
from xinst_jax.report.variety import Variety


@dataclasses.dataclass(frozen=True)
class Panel:
    """A picture of the page.

    Attributes:
      title: what is shown.
      picture: the SVG; None where its stage is not made yet.
      caption: what can be read off it, in words.
      kind: its class on the page.
    """

    title: str
    picture: markupsafe.Markup | None = None
    caption: str = ""
    kind: str = ""


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


def training(workdir: pathlib.Path) -> list[Panel]:
    """Loss curves of every model, the rounds of one in one picture."""
    numbers = counts.rounds(workdir)
    panels = []
    for title, stages in (
        ("Base model", ["base"]),
        ("Generator", [f"generator/round-{number}" for number in numbers]),
        ("Rater", [f"rater/round-{number}" for number in numbers]),
        ("Tuned model", ["model"]),
    ):
        curves = [collect.curve(workdir, stage) for stage in stages]
        made = [curve for curve in curves if curve is not None]
        if not made:
            panels.append(Panel(title))
            continue
        svg = _markup(pictures.losses(title.lower(), made))
        caption = "\n".join(_loss_words(curve) for curve in made)
        panels.append(Panel(title, svg, caption))
    return panels


def scores(workdir: pathlib.Path, languages: Sequence[str]) -> list[Panel]:
    """The histogram of every round's scores, over all languages."""
    panels = []
    for number in counts.rounds(workdir):
        parts = [collect.scores(workdir, number, code) for code in languages]
        scores_n = np.concatenate([part[0] for part in parts])
        kept_n = np.concatenate([part[1] for part in parts])
        panels.append(_scores(f"Round {number}", scores_n, kept_n))
    return panels


def of_language(
    workdir: pathlib.Path,
    code: str,
    drawn: pa.Table,
    varied: Variety | None,
    limit: int,
) -> list[Panel]:
    """The four pictures of a language.

    Args:
      workdir: the run's directory.
      code: language code.
      drawn: columns instruction and output of its pairs in the dataset.
      varied: how varied their instructions are.
      limit: most points of the map.
    """
    last = counts.rounds(workdir)[-1]
    return [
        _scores(f"Scores of round {last}", *collect.scores(workdir, last, code)),
        _lengths(drawn),
        _clusters(workdir, code, limit),
        _verbs(varied),
    ]


def verb_nouns(pairs: Mapping[tuple[str, str], int]) -> Panel:
    """Verbs and nouns of all languages."""
    rows = verbs.top_verbs(pairs)
    if not rows:
        return Panel("Verbs and nouns")
    caption = (
        "Verbs of the dataset's instructions (inner ring) and the nouns that go with "
        "them (outer ring): the sixteen commonest verbs, four nouns each, over all "
        "languages."
    )
    svg = _markup(pictures.verb_nouns(rows))
    return Panel("Verbs and nouns", svg, caption, "ring")


def _loss_words(curve: collect.Curve) -> str:
    """First and last losses of a run, and its speed."""
    _, _, in_round = curve.name.partition("/")
    words = f"{in_round.replace('-', ' ').capitalize()}: " if in_round else ""
    if len(curve.eval_losses_m):
        first, last = curve.eval_losses_m[[0, -1]]
        words += f"held out {first:.3f} → {last:.3f}"
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


def _lengths(drawn: pa.Table) -> Panel:
    if not len(drawn):
        return Panel("Lengths")
    instructions_n, responses_n = (
        np.array([len(text) for text in drawn[name].to_pylist()])
        for name in ("instruction", "output")
    )
    caption = (
        f"Lengths of {len(drawn):,} pairs: {instructions_n.mean():,.0f} characters in "
        f"an instruction on average, {responses_n.mean():,.0f} in a response."
    )
    svg = _markup(pictures.lengths(instructions_n, responses_n))
    return Panel("Lengths", svg, caption)


def _clusters(workdir: pathlib.Path, code: str, limit: int) -> Panel:
    return Panel("Map of the instructions")


def _verbs(varied: Variety | None) -> Panel:
    if varied is None or not varied.counts:
        return Panel("Verbs and nouns")
    caption = (
        f"What the dataset's instructions ask for: {varied.distinct_after:,} distinct "
        f"verb-noun pairs in {varied.after:,} of them, against "
        f"{varied.distinct_random:,.1f} in as many kept ones drawn by chance."
    )
    svg = _markup(pictures.verb_nouns(verbs.top_verbs(varied.counts)))
    return Panel("Verbs and nouns", svg, caption, "ring")


def _markup(svg: str) -> markupsafe.Markup:
    """A picture as it is: matplotlib has escaped the words in it."""
    return markupsafe.Markup(svg)
