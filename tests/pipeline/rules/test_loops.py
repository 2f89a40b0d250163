"""Repetition in instructions, and what they copy or quote of the response."""

import pytest

from xinst_jax.config import RateConfig
from xinst_jax.pipeline import rules
from xinst_jax.pipeline.rules import loops

_FINNISH = "Suomessa on yli sata tuhatta järveä, ja ne syntyivät jääkauden jälkeen."


@pytest.mark.parametrize(
    "text",
    [
        "Write about the the the the sea.",
        "Explain what is the name of the city of the name of the city of the name of "
        "the city of the name of the city.",
        "Writeeeeeeeeeeeeeee a text.",
        "list of things, list of things, list of things, list of things",
    ],
)
def test_loops_are_found(text: str):
    assert loops.repeats(text)


@pytest.mark.parametrize(
    "text",
    [
        "Explain the difference between the verbs to be, to do and to have.",
        "Write a very, very short story.",
        "Fill in the blank: the capital of Finland is ____________.",
        "Compare the climate of Finland with the climate of Kenya and the climate of "
        "India, and say in which of them a farmer may sow wheat in the month of May.",
    ],
)
def test_ordinary_repetition_passes(text: str):
    assert not loops.repeats(text)


def test_copied_share_counts_grams_of_the_instruction():
    assert loops.copied_share("järveä, ja ne syntyivät", _FINNISH) == 1.0
    assert loops.copied_share("JÄRVEÄ,  JA NE", _FINNISH) == 1.0
    assert loops.copied_share("Explain the lakes of Finland.", _FINNISH) == 0.0
    # 16 characters have nine 8-grams, of which only 'abcdefgh' is copied.
    assert loops.copied_share("abcdefghijklmnop", "xx abcdefgh yy") == pytest.approx(
        1 / 9
    )
    assert loops.copied_share("abc", "xabcx") == 1.0


def test_sixty_characters_of_the_response_are_a_quote():
    quote = _FINNISH[4:64]
    rest = "Explain what is meant by the words that follow, and why they matter here: "
    assert loops.quotes_response(rest + quote.upper(), _FINNISH)
    assert not loops.quotes_response(rest + quote[:-1], _FINNISH)
    assert not loops.quotes_response("short", "short")


@pytest.mark.parametrize("before", [4500, 100])
def test_a_quote_is_found_however_late_where_instructions_may_be_long(before: int):
    words = " ".join(f"word{n}" for n in range(before))[:before]
    text = f"Explain these words: {words} {_FINNISH[4:64]}"
    long = RateConfig(max_instruction_chars=6000)
    assert "quotes_response" in rules.check(text, _FINNISH, long)
    longer = f"Explain these words: {'x' * 6000} {_FINNISH[4:64]}"
    assert "quotes_response" not in rules.check(longer, _FINNISH, long)
