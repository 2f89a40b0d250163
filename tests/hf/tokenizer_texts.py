"""Texts that tokenizers are compared on: sentences of every language, and hard ones."""

import functools
import json
import pathlib
import re
import unicodedata

SAMPLE = pathlib.Path(__file__).parents[2] / "data" / "sample"
LANGUAGES = tuple(sorted(path.stem for path in (SAMPLE / "corpus").glob("*.jsonl")))

HARD_TEXTS = (
    "",
    " ",
    "\n",
    "\n\n\n",
    "\t",
    "\r\n \r",
    " leading",
    "   three  leading, trailing   ",
    "two  spaces   three    four",
    "\n\n line\n\n\nbreaks \n",
    "\tif x:\n\t\treturn\t \n",
    " " * 10_000,
    "\n" * 500 + "a" + "\t" * 40,
    "▁▁ a ▁b",
    "😀👩‍🌾 👩‍👩‍👧‍👦🏳️‍🌈 😀😀😀",
    "क्‍ष क्‌ष می‌خواهم \u200d\u200c\ufeff\u2060",
    "abc אבג 123 \u202eمرحبا\u202c def \u2067ہیلو\u2069",
    "\x00\x01\x1b\x7f\x85\u2028\u2029\xa0\u3000",
    unicodedata.normalize("NFD", "Äidin é Việt Nam ñ हिन्दी が"),
    "Å Ω ﬁ ① ｶﾞ",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ᚱᚢᚾ 𒀀 \U0010ffff",
    "1234567890 3.14 ٣٤ १२३",
    "don't I'LL we'Re'd",
    "aaaaaaaaaaaaaaa ababababab",
    "<0x41><0x0A> <|begin_of_text|",
    "<s>",
    "</s> <unk> <pad>",
    "a<s>b</s>c <bos><eos>",
    "<|begin_of_text|><|eot_id|>x<|end_of_text|>",
    "<|im_start|>user\nHi<|im_end|>\n<|endoftext|>",
    "<start_of_turn>user\nHi<end_of_turn>",
    "a <mask> in a text",
    "an <unused0>",
    "<s><s></s>" * 1000,
    "<table><h1>x</h1>",
    "[INST] <<SYS>> [/INST] ### Response:",
)


@functools.cache
def of_language(language: str) -> tuple[str, ...]:
    """The sample's documents and responses in a language."""
    rows = [
        json.loads(line)
        for part in ("corpus", "seed")
        for line in (SAMPLE / part / f"{language}.jsonl").read_text().splitlines()
    ]
    return tuple(row["text"] if "text" in row else row["output"] for row in rows)


@functools.cache
def sentences(language: str) -> tuple[str, ...]:
    """120 different sentences; in Thai, what stands between spaces."""
    stop = r"\s+" if language == "th" else r"(?<=[.!?।۔؟])\s+|\n+"
    found = [part for text in of_language(language) for part in re.split(stop, text)]
    return tuple(dict.fromkeys(part for part in found if len(part) > 5))[:120]


@functools.cache
def every_sentence() -> tuple[str, ...]:
    """The sentences of all languages."""
    return tuple(text for language in LANGUAGES for text in sentences(language))
