"""The prompts, spelled once, exactly as the paper's released code has them.

Source: ZNLP/X-Instruction, `utils/inference.py` (`PROMPT_DICT`), byte for byte, with
its space before the blank line and nothing after the last colon: the response's first
token follows the colon directly. The rating prompt is this project's own; the paper's
is not public.
"""

LABELS: tuple[str, ...] = ("bad", "fair", "good")
"""What the rater says of a pair, in rising order of quality."""

_REVERSE = (
    "Below is a text that describes a candidate output. Write an English instruction "
    "that can take the given text as an appropriate answer.\n\n"
    "### Text:\n{response}\n\n### English Instruction:"
)
_ANSWER = (
    "Below is an instruction that describes a task. Write a response that "
    "appropriately completes the request.\n\n"
    "### Instruction:\n{instruction} {request} \n\n### Response:"
)
_RATE = (
    "Rate how well the response answers the instruction: bad, fair or good.\n\n"
    "### Response:\n{response}\n\n### Instruction:\n{instruction} {request}"
    "\n\n### Rating:"
)


def reverse(response: str) -> str:
    """The prompt after which the generator writes the instruction of a response.

    >>> reverse("Hei.").splitlines()[-4:]
    ['### Text:', 'Hei.', '', '### English Instruction:']
    """
    return _REVERSE.format(response=response)


def answer_request(language_name: str, seed_style: bool) -> str:
    """The sentence that asks for the language, and in the seed style for an assistant.

    >>> answer_request("Finnish", seed_style=True)
    'Answer in Finnish and the style of an AI assistant.'
    """
    style = " and the style of an AI assistant" if seed_style else ""
    return f"Answer in {language_name}{style}."


def answer(instruction: str, language_name: str, seed_style: bool) -> str:
    """The prompt after which a tuned model answers an English instruction.

    Args:
      instruction: in English.
      language_name: the response's language, in English: 'Finnish'.
      seed_style: True for seed pairs and at inference, False for pairs made from web
        text.

    >>> answer("Say hello.", "Finnish", seed_style=False).splitlines()[-3:]
    ['Say hello. Answer in Finnish. ', '', '### Response:']
    """
    request = answer_request(language_name, seed_style)
    return _ANSWER.format(instruction=instruction, request=request)


def chat() -> str:
    """The answer prompt with its slots, for a chat template: instruction, output_lang.

    >>> chat().splitlines()[3]
    '{instruction} Answer in {output_lang} and the style of an AI assistant. '
    """
    return answer("{instruction}", "{output_lang}", seed_style=True)


def pair(instruction: str, response: str) -> str:
    """A pair as plain text: what a model trained from scratch reads it as.

    >>> pair("Say hello.", "Hei.")
    'Say hello.\\n\\nHei.'
    """
    return f"{instruction}\n\n{response}"


def of_rating(pmi_model: str) -> list[str]:
    """The templates and labels that a rating depends on.

    Args:
      pmi_model: `RateConfig.pmi_model`.
    """
    of_pmi = {
        "follower": [answer("{instruction}", "{language}", seed_style=True)],
        "base": [pair("{instruction}", "{text}")],
        "none": [],
    }
    rater = rate("{instruction}", "{text}", "{language}")
    return [rater, *LABELS, *of_pmi[pmi_model]]


def rate(instruction: str, response: str, language_name: str) -> str:
    """The prompt after which the rater writes one of `LABELS`.

    The instruction is rated as the model will be asked it, with the language that the
    response is to be in. It stands after the response, next to the rating, so that its
    few tokens are not lost behind many and each can look back at what it asks for.

    >>> rate("Say hello.", "Hei.", "Finnish").splitlines()[2:]
    ['### Response:', 'Hei.', '', '### Instruction:', 'Say hello. Answer in Finnish.', \
'', '### Rating:']
    """
    request = answer_request(language_name, seed_style=False)
    return _RATE.format(instruction=instruction, request=request, response=response)
