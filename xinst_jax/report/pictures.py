"""Pictures of the report, drawn by matplotlib as SVG that takes the page's own colours.

Words of other scripts never go into a picture: matplotlib does not shape them, the page
around it does.
"""

import contextlib
import dataclasses
import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from xinst_jax.report.collect import Curve
from xinst_jax.report.counts import Step

# Stand-ins that become the page's variables once the picture is drawn, so that a
# picture turns dark with its page.
_INK = "#010101"
_QUIET = "#020202"
_RULE = "#030303"
_ACCENT = "#040404"
_WARM = "#050505"
_PAPER = "#060606"
_VARIABLES = {
    _PAPER: "var(--paper)",
    _INK: "var(--ink)",
    _QUIET: "var(--quiet)",
    _RULE: "var(--rule)",
    _ACCENT: "var(--accent)",
    _WARM: "var(--warm)",
}
_HUES = (
    "#4f7cac",
    "#c9803f",
    "#5f9a62",
    "#b5596b",
    "#8268a8",
    "#a48a36",
    "#3f938c",
    "#c2739b",
    "#7d8790",
    "#5c6bb0",
)
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "xinst_jax",
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": _INK,
    "text.parse_math": False,
    "axes.edgecolor": _RULE,
    "axes.labelcolor": _QUIET,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "xtick.color": _RULE,
    "ytick.color": _RULE,
    "xtick.labelcolor": _QUIET,
    "ytick.labelcolor": _QUIET,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.handlelength": 1.4,
}
_BINS = [place / 20 for place in range(21)]


def flow(steps: Sequence[Step], names: Mapping[str, str]) -> str:
    """Rows from step to step, a band a language, as thick as its rows are many."""
    with _figure(9.4, 3.7, "Rows at each step, by language") as (figure, svg):
        axes = figure.add_axes((0.11, 0.01, 0.885, 0.86))
        axes.set_axis_off()
        x_n, blend_n = _smooth(len(steps))
        rows = np.array([[step.rows[code] for step in steps] for code in names])
        gap = max(1.0, rows.sum(axis=0).max() * 0.014)
        tops = np.cumsum(rows[::-1] + gap, axis=0)[::-1]
        tops = tops - tops[:1] / 2
        words_y = _apart(tops[:, 0] - rows[:, 0] / 2, tops[0].max() * 0.13)
        for number, (code, top) in enumerate(zip(names, tops, strict=True)):
            upper = _along(top, blend_n)
            lower = _along(top - rows[number], blend_n)
            hue = _HUES[number % len(_HUES)]
            axes.fill_between(x_n, lower, upper, color=hue, alpha=0.85, linewidth=0)
            word = names[code]
            axes.text(-0.04, words_y[number], word, ha="right", va="center", color=hue)
        ceiling = tops[0].max()
        for place, step in enumerate(steps):
            total = f"{sum(step.rows.values()):,}"
            axes.plot([place] * 2, [-ceiling, 1.3 * ceiling], color=_RULE, lw=0.8)
            axes.text(place + 0.04, ceiling * 1.2, step.title, color=_QUIET)
            axes.text(place + 0.04, ceiling * 1.06, total, weight="bold")
        axes.set_xlim(-0.01, x_n[-1])
        axes.set_ylim(-ceiling, ceiling * 1.3)
    return svg.getvalue()


def losses(title: str, curves: Sequence[Curve]) -> str:
    """Training loss (thin) and held-out loss (thick, dotted) over the steps.

    Args:
      title: what was trained.
      curves: one a round; earlier rounds are paler.
    """
    with _figure(4.2, 2.75, f"Losses of the {title} over its training steps") as (
        figure,
        svg,
    ):
        axes = figure.add_axes((0.11, 0.17, 0.86, 0.7))
        for number, curve in enumerate(curves):
            strength = (number + 1) / len(curves)
            label = f" {number + 1}" if len(curves) > 1 else ""
            axes.plot(
                curve.steps_n,
                curve.losses_n,
                color=_QUIET,
                linewidth=1,
                alpha=0.35 + 0.4 * strength,
                label=f"training{label}",
            )
            axes.plot(
                curve.eval_steps_m,
                curve.eval_losses_m,
                color=_ACCENT,
                linewidth=1.8,
                marker="o",
                markersize=3.2,
                alpha=0.35 + 0.65 * strength,
                label=f"held out{label}",
            )
        axes.set_xlabel("step")
        axes.set_title("nats a token", loc="left", fontsize=9, color=_QUIET)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.legend(loc="upper right", ncols=len(curves))
        _light_grid(axes)
    return svg.getvalue()


def score_histogram(scores_n: np.ndarray, kept_n: np.ndarray, what: str) -> str:
    """How many pairs got which score, those that were kept set apart."""
    with _figure(4.2, 2.4, f"Scores of {what}") as (figure, svg):
        axes = figure.add_axes((0.11, 0.18, 0.86, 0.66))
        axes.hist(
            [scores_n[kept_n], scores_n[~kept_n]],
            bins=_BINS,
            stacked=True,
            color=[_ACCENT, _RULE],
            label=["kept", "not kept"],
            rwidth=0.9,
        )
        axes.set_xlim(0, 1)
        axes.set_xlabel("score: 0 bad, 0.5 fair, 1 good")
        axes.set_title("pairs", loc="left", fontsize=9, color=_QUIET)
        _thousands(axes)
        axes.legend(
            loc="lower right", bbox_to_anchor=(1.01, 0.97), ncols=2, borderpad=0
        )
        _light_grid(axes)
    return svg.getvalue()


def reliability(rounds: Mapping[int, Sequence[Mapping[str, float]]]) -> str:
    """The share of good pairs by the probability of being good that they were given.

    Args:
      rounds: `quality.reliability` of each round; earlier ones are paler.
    """
    with _figure(4.2, 2.8, "Reliability of the rater's probabilities") as (figure, svg):
        axes = figure.add_axes((0.13, 0.16, 0.84, 0.74))
        axes.plot([0, 1], [0, 1], color=_RULE, lw=1, ls="--")
        for number, bins in rounds.items():
            axes.plot(
                [row["predicted"] for row in bins],
                [row["good"] for row in bins],
                color=_ACCENT,
                alpha=number / max(rounds),
                marker="o",
                ms=4,
                label=f"round {number}",
            )
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xlabel("probability of being good")
        axes.set_title("share that is good", loc="left", fontsize=9, color=_QUIET)
        axes.legend(loc="upper left")
        _light_grid(axes)
    return svg.getvalue()


def lengths(instruction_n: np.ndarray, response_n: np.ndarray) -> str:
    """Lengths of instructions and of responses, in characters, side by side."""
    with _figure(4.2, 2.4, "Lengths of instructions and responses") as (figure, svg):
        for number, (values, title, color) in enumerate(
            ((instruction_n, "instructions", _ACCENT), (response_n, "responses", _WARM))
        ):
            axes = figure.add_axes((0.1 + 0.48 * number, 0.18, 0.4, 0.66))
            axes.hist(values, bins=24, color=color, rwidth=0.92)
            axes.set_title(title, loc="left", fontsize=9, color=_QUIET)
            axes.set_xlabel("characters")
            axes.set_xlim(left=0)
            axes.xaxis.set_major_locator(MaxNLocator(4))
            _thousands(axes)
            _light_grid(axes)
    return svg.getvalue()


def cluster_map(
    points_n2: np.ndarray, clusters_n: np.ndarray, selected_n: np.ndarray
) -> str:
    """Instructions in the plane, coloured by cluster, those drawn ringed."""
    with _figure(4.2, 3.4, "Map of the instructions' clusters") as (figure, svg):
        axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
        axes.set_axis_off()
        hues = np.array(_HUES)[clusters_n % len(_HUES)]
        x_n, y_n = points_n2.T
        drawn = (x_n[selected_n], y_n[selected_n])
        axes.scatter(
            drawn[0], drawn[1], s=62, facecolors="none", edgecolors=_INK, linewidths=0.8
        )
        axes.scatter(x_n, y_n, s=17, c=hues, linewidths=0)
        axes.margins(0.06)
    return svg.getvalue()


def verb_nouns(rows: Sequence[tuple[str, int, list[tuple[str, int]]]]) -> str:
    """Verbs in the inner ring, the nouns of each in the outer one.

    After the figure of Li et al. (2024): sixteen verbs, four nouns each. A sector is as
    wide as the instructions with the pairs shown are many.

    Args:
      rows: (verb, instructions with it, [(noun, instructions with both), ...]).
    """
    with _figure(5.4, 5.4, "Verbs of the instructions and their nouns") as (
        figure,
        svg,
    ):
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(-1.01, 1.01)
        axes.set_ylim(-1.01, 1.01)
        total = sum(count for _, _, nouns in rows for _, count in nouns)
        start = 0.0
        for number, (verb, _, nouns) in enumerate(rows):
            hue = _HUES[number % len(_HUES)]
            share = sum(count for _, count in nouns) / total
            ring = _Ring(0.24, 0.6, hue, 0.95, "#ffffff", 9.0)
            _sector(axes, ring, start, share, verb)
            ring = _Ring(0.61, 1.0, hue, 0.28, _INK, 8.5)
            for noun, count in nouns:
                _sector(axes, ring, start, count / total, noun)
                start += count / total
    return svg.getvalue()


@dataclasses.dataclass(frozen=True)
class _Ring:
    """Radii, fill and words of a ring of sectors; the outermost radius is 1."""

    inner: float
    outer: float
    hue: str
    alpha: float
    color: str
    points: float


def _sector(axes: Axes, ring: _Ring, start: float, share: float, word: str) -> None:
    """A piece of a ring, its word along the radius where there is room for a line.

    Args:
      axes: where to draw.
      ring: where and how.
      start: where it begins, in turns clockwise from the top.
      share: how much of the turn it takes.
      word: what it says.
    """
    begin, end = 90 - 360 * start, 90 - 360 * (start + share)
    angles = np.radians(np.linspace(begin, end, max(2, int(180 * share))))
    arc = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    outline = np.concatenate([arc * ring.outer, arc[::-1] * ring.inner])
    axes.fill(*outline.T, facecolor=ring.hue, alpha=ring.alpha, linewidth=0)
    axes.fill(*outline.T, facecolor="none", edgecolor=_PAPER, linewidth=0.8)
    radius = (ring.inner + ring.outer) / 2
    room = 2 * np.pi * radius * share * 5.4 * 72 / 2
    if room < ring.points:
        return
    middle = (begin + end) / 2 % 360
    axes.text(
        radius * np.cos(np.radians(middle)),
        radius * np.sin(np.radians(middle)),
        word if len(word) <= 12 else word[:11] + "…",
        rotation=middle - 180 if 90 < middle < 270 else middle,
        rotation_mode="anchor",
        ha="center",
        va="center_baseline",
        color=ring.color,
        fontsize=ring.points,
    )


def _smooth(steps: int, points: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Places along the steps, and those places eased so that bands bend gently.

    The last step goes on level for three quarters of a step, to hold its words.
    """
    x_n = np.linspace(0, steps - 1, (steps - 1) * points + 1)
    whole = np.floor(x_n)
    part = x_n - whole
    eased_n = whole + part * part * (3 - 2 * part)
    return np.append(x_n, steps - 0.25), np.append(eased_n, steps - 1)


def _apart(heights_n: np.ndarray, least: float) -> np.ndarray:
    """Falling heights, moved down where two are less than `least` apart."""
    moved = list(heights_n[:1])
    for height in heights_n[1:]:
        moved.append(min(height, moved[-1] - least))
    return np.array(moved)


def _along(values: np.ndarray, blend_n: np.ndarray) -> np.ndarray:
    return np.interp(blend_n, np.arange(len(values)), values)


def _light_grid(axes: Axes) -> None:
    axes.grid(axis="y", color=_RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=0)


def _thousands(axes: Axes) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


@contextlib.contextmanager
def _figure(
    width: float, height: float, title: str
) -> Iterator[tuple[Figure, io.StringIO]]:
    """A figure of that many inches; what it shows when the block ends is the SVG."""
    out = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height))
        yield figure, out
        raw = io.StringIO()
        with warnings.catch_warnings():
            # The font only measures words; the page's fonts draw them.
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            figure.savefig(raw, format="svg", metadata={"Date": None})
    out.write(_for_page(raw.getvalue(), title))


def _for_page(svg: str, title: str) -> str:
    """Matplotlib's file as an element of the page.

    Colours become the page's variables, the prologue and the ids that nothing refers to
    go, and the width is left to the page.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    view = re.search(r'viewBox="([^"]+)"', svg)
    assert view is not None
    svg = re.sub(
        r"<svg[^>]*>",
        f'<svg viewBox="{view[1]}" role="img" aria-label="{title}">',
        svg,
        count=1,
    )
    svg = svg.replace("xlink:href=", "href=")
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, variable)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    return re.sub(
        r' id="([^"]+)"', lambda match: match[0] if match[1] in used else "", svg
    )
