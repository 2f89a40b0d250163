"""The prompts that models are trained and asked with: the one registry.

Source of the first four: ZNLP/X-Instruction, `utils/inference.py` (`PROMPT_DICT`), byte
for byte, with its space before the blank line and nothing after the last colon: the
response's first token follows the colon directly. The rating prompt is this project's
own; the paper's is not public.
"""

import dataclasses
import string

from xinst_jax.config.fields import Typed, recorded_if_set, registered
from xinst_jax.errors import UserError

_SLOTS = {
    "reverse": ("response",),
    "answer": ("instruction", "request"),
    "request": ("language",),
    "seed_request": ("language",),
    "rate": ("instruction", "request", "response"),
}


@registered
@dataclasses.dataclass(frozen=True)
class PromptConfig(Typed):
    """The prompts' templates; what stands in braces is put in, each once.

    A model that was trained with others must be trained again. Marks of `reverse`,
    `answer` and `rate`, whatever they are, are what the rule `prompt_echo` looks for.

    Attributes:
      reverse: after which the generator writes the instruction of a {response}.
      answer: after which a tuned model answers an {instruction} with its {request}.
      request: sentence that asks for the {language}, for pairs made from web text and
        for rating.
      seed_request: the same for seed pairs and at inference.
      rate: after which the rater says a level: of a {response}, an {instruction} and
        its {request}.
    """

    reverse: str = recorded_if_set(
        "Below is a text that describes a candidate output. Write an English "
        "instruction that can take the given text as an appropriate answer.\n\n"
        "### Text:\n{response}\n\n### English Instruction:"
    )
    answer: str = recorded_if_set(
        "Below is an instruction that describes a task. Write a response that "
        "appropriately completes the request.\n\n"
        "### Instruction:\n{instruction} {request} \n\n### Response:"
    )
    request: str = recorded_if_set("Answer in {language}.")
    seed_request: str = recorded_if_set(
        "Answer in {language} and the style of an AI assistant."
    )
    rate: str = recorded_if_set(
        "Rate how well the response answers the instruction: bad, fair or good.\n\n"
        "### Response:\n{response}\n\n### Instruction:\n{instruction} {request}"
        "\n\n### Rating:"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, slots in _SLOTS.items():
            template = getattr(self, name)
            if _slots(template) != sorted(slots):
                raise UserError(
                    f"PromptConfig.{name} = {template!r}; expected a text with "
                    f"{' and '.join(f'{{{slot}}}' for slot in slots)} in it, each "
                    "once, and no other braces (a brace itself is written twice)."
                )
        behind = self.answer.partition("{instruction}")[2].split("\n")[0]
        if "{request}" not in behind or "\n" in self.request + self.seed_request:
            raise UserError(
                "PromptConfig.answer must have {request} behind {instruction} on the "
                "same line, and the requests no line break: a chat template leaves "
                "them out where no language is asked for. Found answer = "
                f"{self.answer!r}, request = {self.request!r}, seed_request = "
                f"{self.seed_request!r}."
            )


def _slots(template: str) -> list[str]:
    """The slots of a template in alphabetical order; '' where it is none."""
    try:
        found = list(string.Formatter().parse(template))
    except ValueError:
        return [""]
    if any(form or turned for _, slot, form, turned in found if slot is not None):
        return [""]
    return sorted(slot for _, slot, _, _ in found if slot is not None)
