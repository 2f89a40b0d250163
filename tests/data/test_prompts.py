"""The prompts equal the paper's released ones, and are never read as templates."""

import doctest

from xinst_jax.data import prompts

# utils/inference.py of ZNLP/X-Instruction at db009c5c, typed out again.
OFFICIAL_ANSWER = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction} Answer in {output_lang}. \n\n### Response:"
)
OFFICIAL_AUGMENTED = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction} Answer in {output_lang} and the style of an AI "
    "assistant. \n\n### Response:"
)
OFFICIAL_REVERSE = (
    "Below is a text that describes a candidate output. "
    "Write an English instruction that can take the given text as an appropriate "
    "answer.\n\n### Text:\n{instruction}\n\n### English Instruction:"
)


def test_prompts_equal_the_released_ones():
    fields = {"instruction": "Name a lake.", "output_lang": "Finnish"}
    web = prompts.answer("Name a lake.", "Finnish", seed_style=False)
    seed = prompts.answer("Name a lake.", "Finnish", seed_style=True)
    assert web == OFFICIAL_ANSWER.format(**fields)
    assert seed == OFFICIAL_AUGMENTED.format(**fields)
    reverse = prompts.reverse("Saimaa.")
    assert reverse == OFFICIAL_REVERSE.format(instruction="Saimaa.")


def test_braces_in_user_text_stay_as_they_are():
    text = "{instruction} {0} %s {lang}"
    assert f"\n{text} Answer in Urdu." in prompts.answer(text, "Urdu", False)
    assert f"\n{text}\n" in prompts.reverse(text)
    rated = prompts.rate(text, "{response}", "Finnish")
    assert text in rated and "\n{response}\n" in rated


def test_docstring_examples_hold():
    assert doctest.testmod(prompts, raise_on_error=False).failed == 0
