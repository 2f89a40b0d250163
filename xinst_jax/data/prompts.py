"""The prompts with their texts put in: the paper's, unless a run has others."""

from xinst_jax.config import PromptConfig

PAPER = PromptConfig()
"""The paper's prompts, and this project's own for rating."""

LABELS: tuple[str, ...] = ("bad", "fair", "good")
"""What the rater says of a pair, in rising order of quality."""


def reverse(response: str, wording: PromptConfig = PAPER) -> str:
    """The prompt after which the generator writes the instruction of a response.

    >>> reverse("Hei.").splitlines()[-4:]
    ['### Text:', 'Hei.', '', '### English Instruction:']
    """
    return wording.reverse.format(response=response)


def answer_request(
    language_name: str, seed_style: bool, wording: PromptConfig = PAPER
) -> str:
    """The sentence that asks for the language, and in the seed style for an assistant.

    >>> answer_request("Finnish", seed_style=True)
    'Answer in Finnish and the style of an AI assistant.'
    """
    template = wording.seed_request if seed_style else wording.request
    return template.format(language=language_name)


def answer(
    instruction: str,
    language_name: str,
    seed_style: bool,
    wording: PromptConfig = PAPER,
) -> str:
    """The prompt after which a tuned model answers an English instruction.

    Args:
      instruction: in English.
      language_name: the response's language, in English: 'Finnish'.
      seed_style: True for seed pairs and at inference, False for pairs made from web
        text.
      wording: the templates.

    >>> answer("Say hello.", "Finnish", seed_style=False).splitlines()[-3:]
    ['Say hello. Answer in Finnish. ', '', '### Response:']
    """
    request = answer_request(language_name, seed_style, wording)
    return wording.answer.format(instruction=instruction, request=request)


def chat(wording: PromptConfig = PAPER) -> str:
    """The answer prompt with its slots, for a chat template: instruction, output_lang.

    >>> chat().splitlines()[3]
    '{instruction} Answer in {output_lang} and the style of an AI assistant. '
    """
    return answer("{instruction}", "{output_lang}", seed_style=True, wording=wording)


def pair(instruction: str, response: str) -> str:
    """A pair as plain text: what a model trained from scratch reads it as.

    >>> pair("Say hello.", "Hei.")
    'Say hello.\\n\\nHei.'
    """
    return f"{instruction}\n\n{response}"


def of_rating(pmi_model: str, wording: PromptConfig = PAPER) -> list[str]:
    """The templates and labels that a rating depends on.

    Args:
      pmi_model: `RateConfig.pmi_model`.
      wording: the templates.
    """
    of_pmi = {
        "follower": [answer("{instruction}", "{language}", True, wording)],
        "base": [pair("{instruction}", "{text}")],
        "none": [],
    }
    rater = rate("{instruction}", "{text}", "{language}", wording)
    return [rater, *LABELS, *of_pmi[pmi_model]]


def rate(
    instruction: str,
    response: str,
    language_name: str,
    wording: PromptConfig = PAPER,
) -> str:
    """The prompt after which the rater writes one of `LABELS`.

    The instruction is rated as the model will be asked it, with the language that the
    response is to be in. It stands after the response, next to the rating, so that its
    few tokens are not lost behind many and each can look back at what it asks for.

    >>> rate("Say hello.", "Hei.", "Finnish").splitlines()[2:]
    ['### Response:', 'Hei.', '', '### Instruction:', 'Say hello. Answer in Finnish.', \
'', '### Rating:']
    """
    request = answer_request(language_name, seed_style=False, wording=wording)
    return wording.rate.format(
        instruction=instruction, request=request, response=response
    )
