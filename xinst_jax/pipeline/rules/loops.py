"""Instructions that loop, or copy the response."""

import functools

import regex

from xinst_jax.config import RulesConfig

DEFAULT = RulesConfig()

_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")


def repeats(text: str, config: RulesConfig = DEFAULT) -> bool:
    """Whether a text loops, as small models' do.

    That is, by default, one word four times in a row, the same four words in a row
    three times in all where that makes a quarter of the text, or a character ten times
    in a row.

        repeats("Write about the the the the sea.")   # True
    """
    if _character_run(config.character_run).search(text):
        return True
    words = [word.casefold() for word in _WORD.findall(text)]
    runs = zip(*(words[shift:] for shift in range(config.word_run)), strict=False)
    if any(len(set(run)) == 1 for run in runs):
        return True
    seen: dict[tuple[str, ...], int] = {}
    size = config.gram_words
    for gram in zip(*(words[shift:] for shift in range(size)), strict=False):
        seen[gram] = seen.get(gram, 0) + 1
    most = max(seen.values(), default=0)
    enough = config.gram_share * len(words)
    return most >= config.gram_times and most * size >= enough


@functools.cache
def _character_run(times: int) -> regex.Pattern:
    return regex.compile(rf"([^\s.\-_=*])\1{{{times - 1},}}")


def copied_share(
    instruction: str, output: str, gram_chars: int = DEFAULT.copy_gram_chars
) -> float:
    """The share of an instruction's character n-grams that stand in the response.

    Case and runs of spaces do not count. A text shorter than an n-gram is one.

        copied_share("Chai ni kinywaji", "CHAI  ni kinywaji cha moto.")   # 1.0
    """
    text = " ".join(instruction.casefold().split())
    response = " ".join(output.casefold().split())
    last = max(1, len(text) - gram_chars + 1)
    grams = {text[start : start + gram_chars] for start in range(last)}
    return sum(gram in response for gram in grams) / len(grams)


def quotes_response(
    instruction: str,
    output: str,
    chars: int = DEFAULT.quote_chars,
    read_chars: int | None = None,
) -> bool:
    """Whether `chars` characters in a row of an instruction stand in the response.

    However long the instruction is, that gives part of the answer away. Case and runs
    of spaces do not count. Of an instruction of more than `read_chars` characters no
    more is compared.
    """
    text = " ".join(instruction[:read_chars].casefold().split())
    response = " ".join(output.casefold().split())
    starts = range(len(text) - chars + 1)
    return any(text[start : start + chars] in response for start in starts)
