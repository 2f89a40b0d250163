"""Texts of which a tokenizer of transformers gives other ids than we do, each by name.

A comparison finds all texts of `tokenizer_texts` whose ids differ, and they must be
exactly those that are listed here for it: a text that no longer differs, or another
that begins to, fails its test. docs/tokenizers.md says the same in words.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping


@dataclasses.dataclass(frozen=True)
class Reason:
    """Why ids differ.

    Attributes:
      transformers: what the version of transformers does.
      sentencepiece: what SentencePiece, with which the models were trained, does.
      followed: what our ids follow.
    """

    transformers: str
    sentencepiece: str
    followed: str


_NO_SPACE = Reason(
    transformers="LlamaTokenizer of version 5 takes pieces and merges from the file "
    "and builds the rest: it puts no space before a text that begins with a space or ▁",
    sentencepiece="puts one before every text, as the file and version 4 do",
    followed="SentencePiece, the file and version 4",
)
_NO_SPACE_AFTER_SPECIAL = Reason(
    transformers="the same class puts no space after a special token, where special "
    "tokens are not split",
    sentencepiece="never makes a special token of a text",
    followed="the file and version 4, which put one",
)
_NOT_THE_LONGEST = Reason(
    transformers="GemmaTokenizer of version 5, given a .model alone, takes "
    "user-defined symbols for pieces that merges make, in the order of their ids",
    sentencepiece="takes the longest user-defined symbol at each place",
    followed="SentencePiece, and Gemma's own tokenizer.json",
)
_NO_MERGES = Reason(
    transformers="the same class finds no merges that make a symbol whose parts are no "
    "pieces, and spells it in pieces",
    sentencepiece="takes the symbol whole",
    followed="SentencePiece, and Gemma's own tokenizer.json",
)
_MASK = Reason(
    transformers="<mask> is text to version 4, by Gemma's tokenizer.json; it is "
    "special to version 5, by its class",
    sentencepiece="has it as a user-defined symbol, which is text",
    followed="version 5: no text becomes the token; exported folders say so to both",
)
_TURN = Reason(
    transformers="both versions have <start_of_turn> and <end_of_turn> as special, "
    "which no text becomes",
    sentencepiece="has them as user-defined symbols, which are text",
    followed="transformers",
)

_LLAMA_5 = dict.fromkeys(
    (
        " ",
        " leading",
        "   three  leading, trailing   ",
        " " * 10_000,
        "▁▁ a ▁b",
    ),
    _NO_SPACE,
)
_GEMMA_MODEL_5 = {
    " " * 10_000: _NOT_THE_LONGEST,
    "\n" * 500 + "a" + "\t" * 40: _NOT_THE_LONGEST,
    "<table><h1>x</h1>": _NO_MERGES,
    "an <unused0>": _NO_MERGES,
}

FAMILY_CLASS_5: Mapping[str, Mapping[str, Reason]] = {
    "llama2": _LLAMA_5,
    "llama2-model": _LLAMA_5,
    "gemma-model": _GEMMA_MODEL_5,
}
"""Of `AutoTokenizer` of transformers 5 on a kind's own folder, special tokens split."""

_LLAMA_5_UNSPLIT = _LLAMA_5 | dict.fromkeys(
    ("</s> <unk> <pad>", "a<s>b</s>c <bos><eos>"), _NO_SPACE_AFTER_SPECIAL
)
UNSPLIT_5: Mapping[str, Mapping[str, Reason]] = {
    "llama2": _LLAMA_5_UNSPLIT,
    "llama2-model": _LLAMA_5_UNSPLIT,
    "gemma-model": _GEMMA_MODEL_5,
}
"""The same of it on what is exported, where special tokens are not split."""

OWN_FILE: Mapping[str, Mapping[str, Reason]] = {"gemma": {"a <mask> in a text": _MASK}}
"""Of a kind's tokenizer.json by itself, and of `AutoTokenizer` of transformers 4."""

SENTENCEPIECE: Mapping[str, Mapping[str, Reason]] = {
    "gemma-model": {
        "<start_of_turn>user\nHi<end_of_turn>": _TURN,
        "a <mask> in a text": _MASK,
    },
}
"""Of SentencePiece itself."""


def differing(
    texts: Iterable[str],
    ours: Callable[[str], list[int]],
    theirs: Callable[[str], list[int]],
) -> set[str]:
    """The texts to which two tokenizers give other ids."""
    return {text for text in texts if ours(text) != theirs(text)}
