"""All rules together: each alone, their order, limits and hostile text."""

import pathlib
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xinst_jax.config import RateConfig
from xinst_jax.pipeline import rules

_FINNISH = "Suomessa on yli sata tuhatta järveä, ja ne syntyivät jääkauden jälkeen."


def test_every_reason_is_explained_in_the_documentation():
    page = pathlib.Path(__file__).parents[3] / "docs/rating.md"
    explained = page.read_text("utf-8")
    for reason in rules.REASONS:
        assert f"`{reason}`" in explained


def test_each_reason_has_a_pair_that_breaks_it_alone():
    config = RateConfig(max_instruction_chars=100)
    broken = {
        "empty": " \n ",
        "too_short": "Why so?",
        "too_long": "Explain why cats purr, how dogs bark, what cows eat, where birds "
        "sleep, when bees dance and who was the first to keep them.",
        "prompt_echo": "Write about the lakes. ### Response:",
        "not_english": "Kerro jotain mukavaa talvesta.",
        "repetition": "Tell me what what what what is good.",
        "refers_to_missing_text": "Summarize the text in your own words.",
    }
    for reason, instruction in broken.items():
        assert rules.check(instruction, _FINNISH, config) == (reason,)
    copied = "Finland has more than a hundred thousand lakes."
    assert rules.check(copied, f"{copied} Yes.", config) == ("copies_response",)
    quoted = (
        f"Explain in your own words why it is true what they say of lakes: {_FINNISH}"
    )
    for instruction, response, reason in (
        (
            quoted + " Do so as if to a child of seven years who has seen but one of "
            "them.",
            _FINNISH,
            "quotes_response",
        ),
        (
            "Why does Finland have lakes?",
            f"{_FINNISH} Siksi niitä",
            "response_unfinished",
        ),
        ("Give me a list of lakes.", "Se on Saimaa.", "answer_type_mismatch"),
    ):
        assert rules.check(instruction, response, RateConfig()) == (reason,)
        broken[reason] = instruction
    assert set(broken) | {"copies_response"} == set(rules.REASONS)
    assert rules.check("Why does Finland have lakes?", _FINNISH, config) == ()


def test_reasons_come_in_their_fixed_order():
    found = rules.check("### ne ne ne ne ne", "Se on ### ne ne ne ne ne.", RateConfig())
    assert found == ("prompt_echo", "not_english", "repetition", "copies_response")
    assert list(found) == sorted(found, key=rules.REASONS.index)


def test_limits_are_inclusive_and_in_characters_of_nfc():
    text = unicodedata.normalize("NFD", "Why is Žižkov äöåäöå?")
    length = len(unicodedata.normalize("NFC", text))
    exact = RateConfig(min_instruction_chars=length, max_instruction_chars=length)
    assert rules.check(text, _FINNISH, exact) == ()
    assert "too_short" in rules.check(
        text, _FINNISH, RateConfig(min_instruction_chars=length + 1)
    )


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=300), st.text(max_size=300))
def test_no_text_breaks_the_rules_themselves(instruction: str, output: str):
    found = rules.check(instruction, output, RateConfig())
    assert set(found) <= set(rules.REASONS)
    assert bool(instruction.strip()) or found == ("empty",)


@pytest.mark.parametrize(
    "text",
    [
        "\ud800 write",
        "a" * 200_000,
        "write about\x00 tea",
        "\u202ewrite about tea",
        "\ufffd",
    ],
    ids=["surrogate", "long", "nul", "override", "replacement"],
)
def test_hostile_text_is_checked_without_an_error(text: str):
    rules.check(text, text, RateConfig())
