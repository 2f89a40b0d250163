"""Documents that a threshold keeps or drops for what is on their pages.

A row: threshold, value, what is asked, outcome by the default, outcome by the value.
"""

from tests.pipeline.thresholds.finnish import (
    ABBREVIATED,
    BOTH,
    CHANGED,
    COOKIES,
    GERMAN,
    LINES,
    MENU,
    MIDDLE,
    NOTICE,
    NUMBERS,
    OTHER,
    SHOPPING,
    TEXT,
    THAI,
)
from tests.pipeline.thresholds.verdicts import corpus, document

CORPUS = (
    ("CorpusConfig.min_chars", 200, document(OTHER), "99", "too_short"),
    ("CorpusConfig.max_chars", 205, document(f"{TEXT}\n{OTHER}"), "299", "199 99"),
    (
        "CorpusConfig.target_chars",
        100,
        document(f"{TEXT} {OTHER}", max_chars=250),
        "146 152",
        "106 92 99",
    ),
    ("CorpusConfig.max_document_chars", 90, document(OTHER), "99", "document_too_long"),
    (
        "CorpusConfig.min_lid_prob",
        0.5,
        document(f"{TEXT} {GERMAN} {GERMAN}", quality_filters=False),
        "wrong_language",
        "329",
    ),
    (
        "CorpusConfig.max_screen_probability",
        0.9,
        corpus([TEXT], screen_model="tests.pipeline.thresholds.verdicts:doubt"),
        "nothing",
        "1",
    ),
    (
        "CorpusConfig.near_duplicate_threshold",
        0.99,
        corpus([BOTH, CHANGED]),
        "1",
        "1 2",
    ),
    ("CorpusConfig.max_bad_share", 0.9, corpus([TEXT, 1, 2]), "too many bad rows", "1"),
    (
        "TextConfig.max_lost_share",
        0.1,
        document(f"{TEXT} \ufffd Niin."),
        "damaged",
        "207",
    ),
    (
        "TextConfig.heading_chars",
        5,
        document(f"{TEXT}\nMikkeli tänään"),
        "199",
        "unfinished",
    ),
    (
        "TextConfig.abbreviation_letters",
        3,
        document(ABBREVIATED, min_chars=5, target_chars=20, max_chars=40),
        "too_long",
        "15 39",
    ),
    (
        "PageConfig.notice_chars",
        30,
        document(f"{NOTICE}\n{TEXT}"),
        "199 -notice_line",
        "255",
    ),
    (
        "PageConfig.link_chars",
        10,
        document(f"Lue lisää: Talven säät.\n{TEXT}"),
        "199 -read_more_line",
        "223",
    ),
    (
        "PageConfig.caption_chars",
        10,
        document(f"Kuva: Matti\n{TEXT}"),
        "199 -caption_line",
        "211",
    ),
    ("PageConfig.line_items", 5, document(MIDDLE), "299 -menu_line", "333"),
    ("PageConfig.item_chars", 4, document(f"{MENU}\n{TEXT}"), "199 -menu_line", "233"),
    ("PageConfig.min_cookies", 4, document(COOKIES), "cookie_notice", "318"),
    ("PageConfig.cookie_chars", 100, document(COOKIES), "cookie_notice", "318"),
    (
        "PageConfig.min_items",
        7,
        document(SHOPPING, quality_filters=False),
        "menu",
        "143",
    ),
    (
        "PageConfig.max_item_share",
        0.95,
        document(SHOPPING, quality_filters=False),
        "menu",
        "143",
    ),
    (
        "PageConfig.min_letter_share",
        0.1,
        document(NUMBERS, quality_filters=False, min_lid_prob=0.0),
        "few_letters",
        "91",
    ),
    (
        "PageConfig.max_repeated_share",
        0.9,
        document("\n".join([LINES[0]] * 3 + [OTHER]), quality_filters=False),
        "repeated_lines",
        "162",
    ),
    (
        "LanguageCheckConfig.min_script_share",
        0.9,
        document(f"{OTHER} {THAI}.", min_lid_prob=0.0),
        "169",
        "wrong_script",
    ),
    (
        "LanguageCheckConfig.pure_share",
        1.0,
        document(
            f"{TEXT * 3}\n{GERMAN}\n{OTHER * 8}", quality_filters=False, max_chars=5000
        ),
        "1455",
        "1390 -other_language_paragraphs",
    ),
    (
        "LanguageCheckConfig.paragraph_letters",
        5,
        document(f"{THAI[:20]}\n{TEXT}"),
        "wrong_language",
        "199 -other_language_paragraphs",
    ),
)
