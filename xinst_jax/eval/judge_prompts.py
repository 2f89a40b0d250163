"""What judges are asked: one registry of prompts, each with how its answer is read.

'scores' is the prompt of the paper's released script, word for word, with its system
prompt: ZNLP/X-Instruction, `utils/gpt4_eval.py`, "Prompt_2". 'verdict' is this
project's own, with the verdicts of FastChat's pairwise judge.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

from xinst_jax.eval import verdicts


class Comparison(NamedTuple):
    """Two answers as a judge sees them.

    Attributes:
      instruction: what was asked.
      first: the answer shown first.
      second: the answer shown second.
      language: English name of the language that the answers should be in.
    """

    instruction: str
    first: str
    second: str
    language: str


@dataclasses.dataclass(frozen=True)
class JudgePrompt:
    """A prompt and how what comes back is read.

    Attributes:
      system: the system message.
      template: the user's message, with the fields of a `Comparison` in it.
      read: from a completion to a reading.
      lead: how a completion begins up to its label, for a local judge; empty where
        there is no label.
    """

    system: str
    template: str
    read: Callable[[str], verdicts.Reading]
    lead: str = ""

    def messages(self, comparison: Comparison) -> tuple[tuple[str, str], ...]:
        """The chat messages that put a comparison to an endpoint."""
        user = self.template.format(**comparison._asdict())
        return ("system", self.system), ("user", user)

    def text(self, comparison: Comparison) -> str:
        """The plain text after which a local judge says its label."""
        user = self.template.format(**comparison._asdict())
        return f"{self.system}\n\n{user}\n\n{self.lead}"


_ANSWERS = (
    "<question>\n{instruction}\n</question>\n"
    "<answer1>\n{first}\n</answer1>\n"
    "<answer2>\n{second}\n</answer2>\n\n"
)

PROMPTS: Mapping[str, JudgePrompt] = {
    "scores": JudgePrompt(
        system="We would like to request your feedback on the performance of AI "
        "assistant in response to the instruction and the given input displayed "
        "following.",
        template="Given the question and the answer in {language} language. You are a "
        "helpful and precise assistant for checking the quality of the answer in "
        "{language}.\n\n" + _ANSWERS + "Suppose the user only speaks the language of "
        "the question, please evaluate both answers with your justification, and only "
        "provide a score ranging from 0 to 10 after your justifications, the score "
        "must be an integer. When evaluating the answers, you should consider the "
        "helpfulness, relevance, accuracy, level of details of the answers. The score "
        "for answer 1 should be wrapped by <score1> and </score1>, and the score for "
        "answer 2 should be wrapped by <score2> and </score2>.\n\n"
        "Please only output the scores for the answers, and do not output the "
        "justification and any other information.\n\n",
        read=verdicts.read_scores,
    ),
    "verdict": JudgePrompt(
        system="You compare two answers to a question and say which is better.",
        template="The answers should be in {language}; the user reads no other "
        "language.\n\n" + _ANSWERS + "Which answer is more helpful, relevant, accurate "
        "and complete, in {language}? Do not let the order or the length of the "
        "answers count. Say [[A]] if answer 1 is better, [[B]] if answer 2 is better, "
        "or [[C]] if neither is, and nothing else.",
        read=verdicts.read_letter,
        lead="Verdict: [[",
    ),
}
