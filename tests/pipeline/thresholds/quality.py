"""Documents that FineWeb-2's rules keep or drop.

A row: threshold, value, what is asked, outcome by the default, outcome by the value.
"""

from tests.pipeline.thresholds.finnish import LINES, LONG, OTHER, TEXT
from tests.pipeline.thresholds.verdicts import document

FINEWEB2 = (
    (
        "FineWeb2Config.max_repeated_line_chars",
        1.0,
        document("\n".join([*LINES, LINES[2]])),
        "repeated_line_chars",
        "top_4_gram",
    ),
    (
        "FineWeb2Config.max_bullet_lines",
        1.0,
        document("- " + "\n- ".join(LINES)),
        "bullet_lines",
        "209",
    ),
    (
        "FineWeb2Config.max_ellipsis_lines",
        1.0,
        document("…\n".join([*LINES, OTHER])[:-1] + "…"),
        "ellipsis_lines",
        "symbols",
    ),
    (
        "FineWeb2Config.max_symbols_per_word",
        1.0,
        document(TEXT.replace(" ja", " # # # # ja")),
        "symbols",
        "207",
    ),
    (
        "FineWeb2Config.min_stop_words",
        0,
        document(OTHER * 21, max_chars=5000),
        "stop_words",
        "top_3_gram",
    ),
    ("FineWeb2Config.stop_words_from_chars", 20, document(OTHER), "99", "stop_words"),
    ("FineWeb2Config.min_word_chars", 10.0, document(OTHER), "99", "word_length"),
    ("FineWeb2Config.max_word_chars", 5.0, document(OTHER), "99", "word_length"),
    (
        "FineWeb2Config.min_alphabetic",
        1.0,
        document(f"{OTHER} Se painoi 100 kiloa."),
        "120",
        "few_words",
    ),
    (
        "FineWeb2Config.min_line_ends",
        1.0,
        document("\n".join(LINES)),
        "199",
        "line_ends",
    ),
    (
        "FineWeb2Config.max_line_breaks",
        0.1,
        document("\n".join(LINES)),
        "199",
        "line_breaks",
    ),
    (
        "FineWeb2Config.max_repeated_lines",
        0.1,
        document(f"Niin.\n{TEXT}\n{OTHER}\nNiin.", max_chars=1000),
        "311",
        "repeated_lines",
    ),
    *(
        (
            f"FineWeb2Config.max_top_{n}_gram",
            0.05,
            document(f"{LONG}{OTHER} Suuri punainen talo seisoo.", "xx"),
            "232",
            f"top_{n}_gram",
        )
        for n in (2, 3, 4)
    ),
    *(
        (
            f"FineWeb2Config.max_repeated_{n}_grams",
            0.05,
            document(f"{LONG}{OTHER} {LONG}Niin.", "xx"),
            "315",
            f"repeated_{n}_grams",
        )
        for n in range(5, 11)
    ),
)
