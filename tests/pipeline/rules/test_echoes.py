"""Marks of the prompts in instructions: the defaults', and a run's own."""

import pytest

from xinst_jax.config import PromptConfig, RateConfig
from xinst_jax.pipeline import rules
from xinst_jax.pipeline.rules import echoes


@pytest.mark.parametrize(
    "text",
    [
        "### Text:\nTee on juoma.",
        "Write about tea. ### English Instruction: Write about tea.",
        "Below is a text that describes a candidate output.",
        "Write about tea.</s>",
        "<|eot_id|>Write about tea.",
    ],
)
def test_marks_of_the_prompt_are_found(text: str):
    assert echoes.echoes_prompt(text)


@pytest.mark.parametrize(
    "text", ["Explain the # sign in Python.", "What is <b> in HTML?", "Is 3 < 4?"]
)
def test_signs_that_are_no_marks_pass(text: str):
    assert not echoes.echoes_prompt(text)


_OWN = PromptConfig(
    reverse="Guess which task has this text for an answer.\nText: {response}\nTask\n",
    answer="{instruction} {request}\n--> Reply:",
    rate="{instruction} {request}\n{response}\nHow good, one to three?",
)


@pytest.mark.parametrize(
    "text",
    [
        "Guess which task has this text for once.",
        "Write about tea.\nText: Tee on juoma.",
        "Write about tea.\nTask",
        "Write about tea. -->Reply: Tee",
        "Write about tea.\nHow good, one to three? 2",
        "### Text: Tee on juoma.",
        "<|eot_id|>Write about tea.",
    ],
)
def test_marks_are_those_of_the_prompts_that_a_run_has(text: str):
    broken = rules.check(text, "Se on vesi. Sitä juodaan.", RateConfig(), _OWN)
    assert "prompt_echo" in broken


@pytest.mark.parametrize(
    "text",
    [
        "Guess which task has this answer.",
        "Explain what Text: means in a form.",
        "Task lists are useful. Say why.",
        "Write a reply: is tea better than water?",
        "Below is a text that describes tea: tea is hot. Say it in a few words.",
    ],
)
def test_marks_of_other_prompts_and_words_of_them_pass(text: str):
    broken = rules.check(text, "Se on vesi. Sitä juodaan.", RateConfig(), _OWN)
    assert "prompt_echo" not in broken
