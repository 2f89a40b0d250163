"""Rules that a pair must pass whatever the rater thinks of it, each named, in one list.

A rule says what is wrong with an instruction in itself, or beside its response, or with
the shape of the response; whether the response answers it is the rater's question. All
text is compared in NFC.
"""

import dataclasses
import unicodedata
from collections.abc import Callable

from xinst_jax.config import PromptConfig, RateConfig
from xinst_jax.data import prompts
from xinst_jax.pipeline.rules import echoes, english, loops, references, responses


@dataclasses.dataclass(frozen=True)
class Pair:
    """What a rule looks at: an instruction, stripped, its response, both NFC.

    Beside them are the thresholds, and the prompts that the run's models are asked by.
    """

    instruction: str
    response: str
    config: RateConfig
    wording: PromptConfig


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule.

    Attributes:
      name: the reason that is recorded and counted.
      breaks: whether a pair breaks it.
      what: what a pair does that breaks it; fields of RateConfig stand in braces, and
        in brackets those of its `rules`.
    """

    name: str
    breaks: Callable[[Pair], bool]
    what: str


EMPTY = "empty"
"""An instruction without text; nothing else is asked of it."""

RULES = (
    Rule(
        "too_short",
        lambda p: len(p.instruction) < p.config.min_instruction_chars,
        "has an instruction of fewer than {min_instruction_chars} characters",
    ),
    Rule(
        "too_long",
        lambda p: len(p.instruction) > p.config.max_instruction_chars,
        "has an instruction of more than {max_instruction_chars} characters",
    ),
    Rule(
        "prompt_echo",
        lambda p: echoes.echoes_prompt(
            p.instruction, p.wording, p.config.rules.prompt_words
        ),
        "has marks of a prompt, or special tokens, in its instruction",
    ),
    Rule(
        "not_english",
        lambda p: not english.is_english(p.instruction, p.config.rules),
        "has an instruction that is not English",
    ),
    Rule(
        "repetition",
        lambda p: loops.repeats(p.instruction, p.config.rules),
        "has an instruction that says the same again and again",
    ),
    Rule(
        "copies_response",
        lambda p: (
            loops.copied_share(
                p.instruction, p.response, p.config.rules.copy_gram_chars
            )
            > p.config.max_copied_share
        ),
        "has more than {max_copied_share:.0%} of the instruction's "
        "{rules[copy_gram_chars]}-grams of characters in the response",
    ),
    Rule(
        "quotes_response",
        lambda p: loops.quotes_response(
            p.instruction,
            p.response,
            p.config.rules.quote_chars,
            # A longer one is too long anyway.
            read_chars=p.config.max_instruction_chars,
        ),
        "has {rules[quote_chars]} characters in a row of the response in its "
        "instruction",
    ),
    Rule(
        "refers_to_missing_text",
        lambda p: (
            references.missing_reference(p.instruction, p.config.rules) is not None
        ),
        "speaks of a text, picture, table or link that it does not give",
    ),
    Rule(
        "response_unfinished",
        lambda p: responses.is_unfinished(p.response, p.config.rules),
        "has a response that breaks off",
    ),
    Rule(
        "answer_type_mismatch",
        lambda p: (
            responses.missing_answer_type(p.instruction, p.response, p.config.rules)
            is not None
        ),
        "asks for a list, a table, code or a number of things, and "
        "gets nothing that might be it",
    ),
)
"""Every rule, in the order in which they are reported."""

REASONS = (EMPTY, *(rule.name for rule in RULES))
"""The rules' names; a pair that breaks several is counted under the first."""


def check(
    instruction: str,
    output: str,
    config: RateConfig,
    wording: PromptConfig = prompts.PAPER,
) -> tuple[str, ...]:
    """The names of the rules that a pair breaks, in the order of `REASONS`.

        check("Write about tea.", "Chai ni kinywaji.", RateConfig())        # ()
        check("Summarize the article.", "Chai ni kinywaji.", RateConfig())
        # ('refers_to_missing_text',)

    Args:
      instruction: as the generator wrote it.
      output: the response, in its language.
      config: shortest and longest instruction, in characters, the share of it that may
        be copied from the response, and the thresholds of the other rules.
      wording: the run's prompts, marks of which no instruction may hold.
    """
    text = unicodedata.normalize("NFC", instruction).strip()
    if not text:
        return (EMPTY,)
    pair = Pair(text, unicodedata.normalize("NFC", output), config, wording)
    return tuple(rule.name for rule in RULES if rule.breaks(pair))


def described(config: RateConfig) -> list[tuple[str, str]]:
    """What each reason says of a pair: (name, words), in the order of `REASONS`."""
    fields = dataclasses.asdict(config)
    told = [(rule.name, rule.what.format(**fields)) for rule in RULES]
    return [(EMPTY, "has no instruction"), *told]
