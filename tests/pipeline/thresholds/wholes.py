"""Documents by where they are cut, and by what others say.

A row: threshold, value, what is asked, outcome by the default, outcome by the value.
"""

from tests.pipeline.thresholds.finnish import (
    BOTH,
    CHANGED,
    LINES,
    OTHER,
    PARTLY,
    SHORT_END,
    TEXT,
    THAI,
    THAI_OTHER,
)
from tests.pipeline.thresholds.verdicts import corpus, document


def cut(text, code="fi"):
    """A long document of sentences of some 50 characters, cut near 100."""
    return document(
        text,
        code,
        quality_filters=False,
        **{"min_chars": 20, "target_chars": 100, "max_chars": 160},
    )


CUTS = (
    (
        "SegmentConfig.paragraph_cost",
        9.0,
        cut(f"{LINES[2]} {LINES[4]}\n\n{LINES[2]} {LINES[4]}"),
        "105 105",
        "52 159",
    ),
    (
        "SegmentConfig.line_cost",
        9.0,
        cut(f"{LINES[2]} {LINES[4]}\n{LINES[2]} {LINES[4]}"),
        "105 105",
        "52 158",
    ),
    (
        "SegmentConfig.sentence_cost",
        9.0,
        cut(f"{LINES[2]}\n{LINES[4]} {LINES[2]} {LINES[4]}"),
        "105 105",
        "52 158",
    ),
    (
        "SegmentConfig.goes_on_cost",
        0.0,
        cut(f"{LINES[2]} {LINES[4]} Mutta {LINES[2]} {LINES[4]}"),
        "52 111 52",
        "105 goes_on",
    ),
    (
        "SegmentConfig.unfinished_cost",
        0.0,
        cut(f"{LINES[2]} {LINES[4][:-1]}\n{LINES[2]} {LINES[4]}"),
        "157 52",
        "unfinished 105",
    ),
    (
        "SegmentConfig.short_cost",
        0.0,
        document(SHORT_END, "xx", min_chars=60, target_chars=100, max_chars=150),
        "106 106 64",
        "106 117 too_short",
    ),
    ("DuplicatesConfig.shingle_chars", 60, corpus([BOTH, CHANGED]), "1", "1 2"),
    (
        "DuplicatesConfig.bands",
        1,
        corpus([BOTH, BOTH.replace("koko", "viime")]),
        "1",
        "1 2",
    ),
    ("DuplicatesConfig.band_rows", 64, corpus([BOTH, CHANGED]), "1", "1 2"),
    (
        "DuplicatesConfig.score_gram_words",
        2,
        corpus(
            [f"{BOTH} Oi suuri talo, suuri talo.", f"{BOTH} Oi suuri talo, suuri koti."]
        ),
        "1",
        "2",
    ),
    (
        "DecontaminationConfig.gram_words",
        10,
        corpus([TEXT, OTHER], sets=[PARTLY]),
        "1",
        "1 2",
    ),
    (
        "DecontaminationConfig.item_words",
        7,
        corpus(
            [TEXT, OTHER],
            sets=["nousi hitaasti metsän takaa Karhu heräsi"],
        ),
        "1",
        "1 2",
    ),
    (
        "DecontaminationConfig.gram_chars",
        40,
        corpus([THAI, THAI_OTHER], "th", sets=[THAI[:30] + THAI[5:35]]),
        "2",
        "1 2",
    ),
    (
        "DecontaminationConfig.item_chars",
        24,
        corpus([THAI, THAI_OTHER], "th", sets=[THAI[:20]]),
        "2",
        "1 2",
    ),
)
