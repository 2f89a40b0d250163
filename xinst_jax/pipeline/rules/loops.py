"""Instructions that echo the prompt, loop, or copy the response."""

import regex

_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")

_PROMPT_MARKS = regex.compile(
    r"(?m)^\s*###|### ?(?:Text|Instruction|English Instruction|Response|Rating)\b"
    r"|Below (?:is an? (?:text|instruction) that describes|are an English instruction)"
    r"|</?s>|<\|[^|>]*\|>|\[/?INST\]"
)


def echoes_prompt(text: str) -> bool:
    """Whether a text holds marks of a prompt's template or of special tokens."""
    return _PROMPT_MARKS.search(text) is not None


_WORD_RUN = 4
_GRAM = 4
_GRAM_TIMES = 3
_GRAM_SHARE = 0.25
_CHARACTER_RUN = regex.compile(r"([^\s.\-_=*])\1{9,}")


def repeats(text: str) -> bool:
    """Whether a text loops, as small models' do.

    That is one word four times in a row, the same four words in a row three times in
    all where that makes a quarter of the text, or a character ten times in a row.

        repeats("Write about the the the the sea.")   # True
    """
    if _CHARACTER_RUN.search(text):
        return True
    words = [word.casefold() for word in _WORD.findall(text)]
    runs = zip(*(words[shift:] for shift in range(_WORD_RUN)), strict=False)
    if any(len(set(run)) == 1 for run in runs):
        return True
    seen: dict[tuple[str, ...], int] = {}
    for gram in zip(*(words[shift:] for shift in range(_GRAM)), strict=False):
        seen[gram] = seen.get(gram, 0) + 1
    most = max(seen.values(), default=0)
    return most >= _GRAM_TIMES and most * _GRAM >= _GRAM_SHARE * len(words)


_COPY_GRAM = 8


def copied_share(instruction: str, output: str) -> float:
    """The share of an instruction's character 8-grams that stand in the response.

    Case and runs of spaces do not count. A text shorter than eight characters is one
    gram.

        copied_share("Chai ni kinywaji", "CHAI  ni kinywaji cha moto.")   # 1.0
    """
    text = " ".join(instruction.casefold().split())
    response = " ".join(output.casefold().split())
    last = max(1, len(text) - _COPY_GRAM + 1)
    grams = {text[start : start + _COPY_GRAM] for start in range(last)}
    return sum(gram in response for gram in grams) / len(grams)


_QUOTE_CHARS = 60
_READ_CHARS = 4000
"""Of a longer instruction no more is compared; it is too long anyway."""


def quotes_response(instruction: str, output: str) -> bool:
    """Whether 60 characters in a row of an instruction stand in the response.

    However long the instruction is, that gives part of the answer away. Case and runs
    of spaces do not count.
    """
    text = " ".join(instruction[:_READ_CHARS].casefold().split())
    response = " ".join(output.casefold().split())
    starts = range(len(text) - _QUOTE_CHARS + 1)
    return any(text[start : start + _QUOTE_CHARS] in response for start in starts)
