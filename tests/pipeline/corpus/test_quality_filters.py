"""FineWeb-2's rules fire on what they are for, and not on the sample."""

import json
import pathlib

import pytest

from xinst_jax.languages import BUILT_IN, Language
from xinst_jax.pipeline.corpus import fineweb2, quality_filters

SAMPLE = pathlib.Path(__file__).parents[3] / "data" / "sample" / "corpus"


def reason(text, code="fi"):
    flaw = quality_filters.find(text, BUILT_IN[code])
    return flaw.reason if flaw else ""


@pytest.mark.parametrize("code", list(BUILT_IN))
def test_prose_breaks_no_rule(code):
    lines = (SAMPLE / f"{code}.jsonl").read_text("utf-8").splitlines()
    for row in map(json.loads, lines):
        if not row["planted"]:
            assert reason(row["text"], code) == "", row["id"]


def test_each_of_the_ten_has_all_values_and_others_have_none():
    assert list(fineweb2.VALUES) == list(BUILT_IN)
    for code, values in fineweb2.VALUES.items():
        # The longer the n-gram, the smaller the share of the text that it may be.
        for shares in (values.top, values.repeated):
            assert sorted(shares.values(), reverse=True) == list(shares.values()), code
    assert quality_filters.find("12 " * 400, Language("et", "Estonian")) is None


FRESH = [f"sana{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(300)]


PAIRS = [f"{FRESH[n]} {FRESH[n + 1]}" for n in range(0, 300, 2)]
LONG = [f"{word}{word}{word}" for word in FRESH]
TWICE = [*FRESH[:30], *FRESH[:30], "ja on"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n".join(["Lumi satoi.", "Tuuli kävi."] * 3), "repeated_lines"),
        ("\n".join(f"- {pair}." for pair in PAIRS), "bullet_lines"),
        ("\n".join(f"{pair}..." for pair in PAIRS), "ellipsis_lines"),
        ("\n".join(PAIRS), "line_ends"),
        (" ".join(LONG) + ".", "word_length"),
        (" ".join(f"{word} 123" for word in FRESH) + ".", "few_words"),
        ("\n".join(f"{pair}." for pair in PAIRS), "line_breaks"),
        (" ".join(f"#{word}" for word in FRESH) + ".", "symbols"),
        (" ".join(FRESH) + ".", "stop_words"),
        (" ".join(f"lumi satoi {word}" for word in FRESH) + " ja on.", "top_2_gram"),
        (" ".join([*FRESH[:200], "ja on", *FRESH[200:]]) + ".", ""),
        (" ".join(TWICE) + ".", "repeated_5_grams"),
    ],
)
def test_each_rule_fires(text, expected):
    assert reason(text) == expected


def test_words_keep_their_marks_and_joiners():
    assert quality_filters.words_of("नहीं, क्‍या") == ["नहीं", "क्‍या"]
    assert quality_filters.words_of("می‌خواهم") == ["می‌خواهم"]


def test_the_repeated_share_is_of_what_came_before():
    fi, th = BUILT_IN["fi"], BUILT_IN["th"]
    once = " ".join(FRESH[:50])
    assert quality_filters.repeated_share(once, fi) == 0
    twice = quality_filters.repeated_share(f"{once} {once}", fi)
    assert twice == pytest.approx(0.5, abs=0.02)
    assert quality_filters.repeated_share("ก" * 30 + "\n" + "ก" * 30, th) == 0.5
