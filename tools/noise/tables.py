"""Counts of what was planted and found, as Markdown, with intervals."""

import collections
from collections.abc import Collection, Mapping

import scipy.stats

from tools.noise import phrases
from tools.noise.judged import Found, pooled
from tools.noise.kinds import KINDS
from tools.tuning.paired import table
from xinst_jax.languages import BUILT_IN
from xinst_jax.pipeline.clean import clean
from xinst_jax.pipeline.corpus import page_lines, personal_data
from xinst_jax.pipeline.corpus.prepare import PARAGRAPHS

_CUT = (
    page_lines.MENU_LINE,
    page_lines.NOTICE_LINE,
    page_lines.CAPTION_LINE,
    page_lines.READ_MORE_LINE,
    PARAGRAPHS,
    *(f"masked_{kind}" for kind in personal_data.MASKS),
)
"""What is cut out of documents and masked in them, as `Prepared.notes` has it."""


def wilson(hits: int, of: int, level: float = 0.95) -> tuple[float, float]:
    """The interval of a share (Wilson, 1927): of nothing, 0 to 1.

    Args:
      hits: how many.
      of: of how many.
      level: of confidence.
    """
    if not of:
        return 0.0, 1.0
    found = scipy.stats.binomtest(hits, of).proportion_ci(level, method="wilson")
    return float(found.low), float(found.high)


def share_words(hits: int, of: int) -> str:
    """A share and its interval: '93% (85-97)'; '-' of nothing."""
    if not of:
        return "-"
    low, high = wilson(hits, of)
    return f"{100 * hits / of:.0f}% ({100 * low:.0f}-{100 * high:.0f})"


def caught(found: Mapping[str, Found]) -> str:
    """A line a kind: caught of planted by language, and of all of them."""
    every = pooled(found.values())
    rows = [
        [
            _words(kind),
            *(f"{each.caught[kind]}/{each.planted[kind]}" for each in found.values()),
            f"{every.caught[kind]}/{every.planted[kind]}",
            share_words(every.caught[kind], every.planted[kind]),
        ]
        for kind in KINDS
    ]
    return table(["caught", *found, "all", "% (95%)"], rows)


def by_filter(found: Mapping[str, Found]) -> str:
    """A line a kind: which filter it was, of all languages together."""
    every = pooled(found.values())
    rows = [
        [
            _words(kind),
            f"{every.planted[kind]}",
            f"{every.caught[kind]}",
            f"{every.meant[kind]}",
            share_words(every.meant[kind], every.planted[kind]),
            f"{every.kept[kind]}",
            _counted(every.dropped, kind),
            _counted(every.cut_out, kind),
        ]
        for kind in KINDS
    ]
    heads = ["kind", "planted", "caught", "by a filter meant for it", "% (95%)"]
    heads += ["something kept"]
    return table([*heads, "texts dropped as", "cut out of texts as"], rows)


def left_alone(found: Mapping[str, Found]) -> str:
    """A line a language: texts of untouched documents, and what was dropped of them."""
    rows = []
    for code, each in {**found, "all": pooled(found.values())}.items():
        dropped = sum(each.clean_dropped.values())
        reasons = ", ".join(
            f"{_words(reason)} {count:,}"
            for reason, count in each.clean_dropped.most_common()
        )
        texts = f"{each.clean_texts:,}"
        low, high = wilson(dropped, each.clean_texts)
        share = f"{dropped / each.clean_texts:.1%}" if each.clean_texts else "-"
        interval = f"{100 * low:.1f}-{100 * high:.1f}"
        rows.append([code, texts, f"{dropped:,}", share, interval, reasons or "none"])
    heads = ["left alone", "texts", "dropped", "share", "95%", "dropped as"]
    return table(heads, rows)


def cut_out_of_clean(found: Mapping[str, Found]) -> str:
    """A line a language: what went from untouched documents, and from how many."""
    rows = []
    for code, each in {**found, "all": pooled(found.values())}.items():
        cells = [
            f"{each.clean_cut[kind]:,} in {each.clean_cut_documents[kind]:,}"
            if each.clean_cut[kind]
            else "0"
            for kind in _CUT
        ]
        rows.append([code, f"{each.clean_documents:,}", *cells])
    return table(["left alone", "documents", *map(_words, _CUT)], rows)


def known_wordings(codes: Collection[str]) -> str:
    """A line a set of wordings: in how many languages each is known as what it is."""
    sets = {
        "cookie notice": phrases.COOKIE_NOTICES,
        "caption": phrases.CAPTIONS,
        "read more": phrases.READ_MORE,
    }
    most = max(len(each) for own in sets.values() for each in own.values())
    rows = []
    for name, wordings in sets.items():
        count = len(next(iter(wordings.values())))
        known = [
            sum(_is_known(wordings[code][place], code) for code in codes)
            for place in range(count)
        ]
        cells = [f"{each}/{len(codes)}" for each in known]
        rows.append([name, *cells, *["-"] * (most - count)])
    heads = ["wordings known", *(f"{place}." for place in range(1, most + 1))]
    return table(heads, rows)


def _is_known(wording: str, code: str) -> bool:
    line = clean(wording.format(title="Aa bb", name="Aa bb"))
    return bool(page_lines.without_frame(line, BUILT_IN[code])[1])


def _words(name: str) -> str:
    return name.replace("_", " ")


def _counted(counts: collections.Counter[tuple[str, str]], kind: str) -> str:
    """The names that were counted for a kind, the commonest first."""
    own = {name: n for (of, name), n in counts.items() if of == kind}
    ordered = sorted(own.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{_words(name)} {n:,}" for name, n in ordered)
