"""Rules that an instruction must pass whatever the rater thinks of it, each named.

A rule says what is wrong with an instruction in itself, or beside its response; whether
the response answers it is the rater's question. All text is compared in NFC.
"""

import dataclasses
import unicodedata

import pycld2
import regex

from xinst_jax.config import RateConfig

REASONS = (
    "empty",
    "too_short",
    "too_long",
    "prompt_echo",
    "not_english",
    "repetition",
    "copies_response",
    "refers_to_missing_text",
)
"""The rules in the order in which they are reported; a pair that breaks several is
counted under the first."""


def check(instruction: str, output: str, config: RateConfig) -> tuple[str, ...]:
    """The names of the rules that a pair breaks, in the order of `REASONS`.

        check("Write about tea.", "Chai ni...", RateConfig())        # ()
        check("Summarize the article.", "Chai ni...", RateConfig())
        # ('refers_to_missing_text',)

    Args:
      instruction: as the generator wrote it.
      output: the response, in its language.
      config: shortest and longest instruction, in characters, and the share of it that
        may be copied from the response.
    """
    text = unicodedata.normalize("NFC", instruction).strip()
    if not text:
        return ("empty",)
    response = unicodedata.normalize("NFC", output)
    broken = {
        "too_short": len(text) < config.min_instruction_chars,
        "too_long": len(text) > config.max_instruction_chars,
        "prompt_echo": echoes_prompt(text),
        "not_english": not is_english(text),
        "repetition": repeats(text),
        "copies_response": copied_share(text, response) > config.max_copied_share,
        "refers_to_missing_text": missing_reference(text) is not None,
    }
    return tuple(reason for reason in REASONS if broken.get(reason))


# English ----------------------------------------------------------------------------

_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")
_LETTER = regex.compile(r"\p{L}")
_LATIN = regex.compile(r"\p{Latin}")
_CONTROL = regex.compile(r"[\p{Cc}\p{Cs}]")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ENGLISH_WORDS = _words("""
    about and any are best between can choose classify compare compose could create
    define describe design did discuss do does during each every explain find five for
    from generate give had has have help how identify into is its key list main make
    most name not of or outline plan please prepare produce prove provide recommend
    rewrite should show steps suggest summarize tell than that the their them then
    there these they this three through translate using was ways were what when where
    which who whose why will with would write you your
""")
"""Words that mark a short text as English and are no common words of the ten languages:
so without *a*, *an*, *he*, *in*, *me*, *on*, *to*."""

_SURE_SHARE = 0.25
_WEAK_SHARE = 0.1


def is_english(text: str) -> bool:
    """Whether a text of a few words or more is English.

    Language identification does not know what to say of three words with a name among
    them, so a text in Latin script is taken for English when a quarter of its words
    are common English ones, when pycld2 says so, or when pycld2 does not know, or
    names a language on the strength of names ("classify these cities: Košice, ..."),
    and a tenth of them are.

        is_english("What is HiFi?")             # True
        is_english("Mikä on paras tapa?")       # False
    """
    letters = len(_LETTER.findall(text))
    if not letters or 2 * len(_LATIN.findall(text)) < letters:
        return False
    words = [word.casefold() for word in _WORD.findall(text)]
    share = sum(word in ENGLISH_WORDS for word in words) / len(words)
    if share >= _SURE_SHARE:
        return True
    _, _, details = pycld2.detect(_CONTROL.sub(" ", text))
    return details[0][1] == "en" or share >= _WEAK_SHARE


# Prompt echo, repetition, copies ----------------------------------------------------

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


# References to what is not there ----------------------------------------------------

_SOURCE = (
    r"(?:texts?|passages?|articles?|paragraphs?|documents?|excerpts?|extracts?|"
    r"transcripts?|snippets?|abstracts?|news(?: article| report| story| item)?|"
    r"press release|blog post|report|content)"
)
"""What is long, so that an instruction cannot name it without giving it."""

_WORK = (
    r"(?:story|poem|speech|essay|letter|e-?mail|conversation|dialogue|chat|review|song|"
    r"lyrics|tweet|messages?)"
)
_PIECE = (
    rf"(?:sentences?|statements?|claims?|quotes?|questions?|words?|phrases?|lists?|"
    rf"code|data|dataset|information|details|options|items|facts|{_WORK})"
)
"""What may be short: a few words after a colon, or in quotation marks, give it."""

_MEDIUM = (
    r"(?:images?|pictures?|photos?|photographs?|videos?|audio|clips?|tables?|charts?|"
    r"graphs?|diagrams?|links?|urls?|website|webpage|web page|page|files?|"
    r"attachments?|screenshots?|pdf)"
)
"""What an instruction in words cannot give at all."""

_ANY = rf"(?:{_SOURCE}|{_PIECE}|{_MEDIUM})"
_ADJECTIVES = r"(?:(?!following\b|of\b|and\b|in\b|to\b)[\p{L}-]+ ){0,2}"
_THE = r"(?:the|this|that|these|those|my|your)"
_POINTER = (
    r"(?:the|this|these|each|my|your|from|for|a) "
    r"(?:following|below|given|provided|attached)"
)
_EDIT = (
    r"(?:summari[sz]e|paraphrase|rewrite|re-write|rephrase|proofread|shorten|condense|"
    r"simplify|translate|transcribe|edit|correct|continue|complete|analy[sz]e|read|"
    r"review|fact-check|classify|reword|comment on|sum up|reply to|respond to|quoting)"
)
_PART = (
    r"(?:summary|main ideas?|main points?|key points?|gist|translation|tone|theme|"
    r"title|headline|topic|purpose|message|meaning|author|subject|content|sentiment|"
    r"analysis|outline|overview|paraphrase|conclusion)"
)
_TIMES = (
    r"(?:years?|months?|weeks?|days?|decades?|centur(?:y|ies)|morning|season|night)"
)
_UNNAMED = r"(?! (?:of|by|titled|called|entitled|named|\p{N}+)\b| [\"“‘'«])"
"""Not followed by what would name a work that is known: *the poem by ...*."""


@dataclasses.dataclass(frozen=True)
class Reference:
    """A way of referring to something that the instruction should hold.

    Attributes:
      name: what it is called in tests and documentation.
      pattern: what it looks like; matched without regard to case.
      given_chars: characters of `_GIVEN` that must follow for the thing to count as
        given; 0 if words cannot give it.
    """

    name: str
    pattern: regex.Pattern
    given_chars: int


def _reference(name: str, given_chars: int, *patterns: str) -> Reference:
    pattern = "|".join(rf"\b{pattern}" for pattern in patterns)
    return Reference(name, regex.compile(pattern, regex.IGNORECASE), given_chars)


REFERENCES = (
    _reference(
        "the following source",
        60,
        rf"{_POINTER} {_ADJECTIVES}{_SOURCE}\b",
        rf"(?:given|below) {_SOURCE}\b",
    ),
    _reference("the following medium", 0, rf"{_POINTER} {_ADJECTIVES}{_MEDIUM}\b"),
    _reference(
        "the following",
        2,
        rf"(?:the|these) following\b(?! (?:\p{{L}}+ )?{_TIMES}\b)",
        r"(?:the|these) given\b(?! (?:names?|time)\b)",
    ),
    _reference("this source", 60, rf"(?:this|these) (?:reference )?{_SOURCE}\b"),
    _reference(
        "this piece",
        2,
        r"(?:this|these) (?:sentences?|statements?|conversation|dialogue|quote)\b",
    ),
    _reference("this medium", 0, r"(?:this|these) (?:image|picture|photo|video)s?\b"),
    _reference(
        "above or below",
        20,
        rf"{_ANY} (?:given |provided |shown |mentioned )?(?:above|below)\b"
        rf"(?=\s*(?:[.,:;?!)]|$)| (?:and|to|in|into|for|with|by|is|are|as|an?)\b)",
    ),
    _reference(
        "the above",
        20,
        rf"(?<!\b(?:all|none|any) of )(?:the|from|of) above(?:-mentioned)?"
        rf"(?: {_ADJECTIVES}{_ANY}\b|[.?,:]|$)",
        r"(?:mentioned|described|listed|shown|given|discussed) above\b",
    ),
    _reference(
        "given to you",
        20,
        rf"{_ANY} (?:that (?:is|was|are|has been) )?(?:provided|attached|supplied)"
        rf"(?: to you)?\b(?! by\b)",
    ),
    _reference(
        "given a source",
        60,
        rf"(?:given|using|from) (?:a|an|the|this|some) {_ADJECTIVES}"
        rf"(?:texts?|passages?|paragraphs?|excerpt|extract|context|article)\b"
        rf"(?! (?:field|editor|file|message|box|style))",
    ),
    _reference(
        "according to the source",
        60,
        rf"(?:according to|based on|as per|in accordance with|mentioned in|"
        rf"described in|stated in|discussed in|with reference to|refer(?:ring)? to) "
        rf"(?:the|this|that|these|a) {_ADJECTIVES}"
        rf"(?:{_SOURCE}|context|information|{_MEDIUM})\b{_UNNAMED}",
    ),
    _reference(
        "in the source",
        60,
        rf"(?:in|of) (?:the|this) (?:texts?|passage|paragraph|article|excerpt|"
        rf"transcript|image|photo|photograph)\b{_UNNAMED}"
        rf"(?! (?:on|field|editor|file|box)\b)",
        r"(?:the|this) (?:text|passage|paragraph|article|excerpt|author|writer) "
        r"(?:says?|mentions?|describes?|discuss(?:es)?|states?|argues?|suggests?|means?)\b",
    ),
    _reference(
        "in the sentence",
        2,
        r"(?:in|if|whether|from) the (?:sentence|statement|claim|conversation|dialogue|"
        rf"list|code)\b{_UNNAMED}",
    ),
    _reference(
        "edit the source",
        60,
        rf"{_EDIT} {_THE} {_ADJECTIVES}(?:{_SOURCE}|{_MEDIUM})\b"
        rf"(?! (?:of|by|titled|called|entitled|named)\b)",
    ),
    _reference(
        "edit the work", 20, rf"{_EDIT} {_THE} {_ADJECTIVES}{_WORK}\b{_UNNAMED}"
    ),
    _reference(
        "edit the piece",
        2,
        rf"{_EDIT} {_THE} {_ADJECTIVES}(?:sentences?|statements?|words?|phrases?|code|"
        rf"data|list|information|facts)\b(?! (?:of|for|between|about)\b)"
        rf"(?! (?!into\b|to\b|in\b|from\b)\p{{L}}+ (?:into|to|in)\b)",
    ),
    _reference(
        "part of the source",
        60,
        rf"{_PART} (?:of|for|from) (?:the|this|that) {_ADJECTIVES}"
        rf"(?:{_SOURCE}|{_WORK})\b{_UNNAMED}",
    ),
    _reference(
        "translate it",
        2,
        r"translate (?:it|this|that|these|them)"
        r"(?=\s*(?:[.,:;!?]|$)| (?:in|to|into|from)\b)",
    ),
    _reference(
        "a link",
        0,
        r"(?:find|provide|give|share|send|post|include|show|insert|attach)(?: me| us)? "
        r"(?:a|an|the|some|any) (?:web |direct |youtube |download )?"
        r"(?:links?|urls?|screenshots?)\b",
        r"(?:find|share|send|post|insert|attach|upload|show)(?: me| us)? "
        r"(?:a|an|the|some|any) (?:videos?|photos?|pictures?|images?)\b",
    ),
    _reference(
        "see attached",
        0,
        r"(?:see|in) (?:the )?(?:attached|enclosed)\b",
        r"click (?:on )?(?:the|this) ",
    ),
)
"""Every way of referring to a missing text that is looked for, in this order."""

_GIVEN = regex.compile(
    r"[:;\n]\s*(\S.*)|[\"“‘«](.+?)[\"”’»]|\?\s+(\S.*)|\s[-–—]\s*(\S.*)|[-–—]\s(\S.*)"
    r"|\.\s+(\S[^.]*,[^.]*,.*)",
    regex.DOTALL,
)
"""What follows a colon, a line break, a question or a dash, stands in quotation marks,
or is a list of three after a full stop."""


def missing_reference(text: str) -> str | None:
    """The name of the first `REFERENCES` entry whose thing is not in the text, or None.

    missing_reference("Summarize the following article.")
    # 'the following source'
    missing_reference("Describe the following tradition: Diwali")    # None
    """
    for reference in REFERENCES:
        for match in reference.pattern.finditer(text):
            if not _is_given(text, match, reference.given_chars):
                return reference.name
    return None


def _is_given(text: str, match: regex.Match, given_chars: int) -> bool:
    """Whether enough of the thing that a match refers to stands in the text."""
    if not given_chars:
        return False
    found = _GIVEN.search(text, match.end())
    parts = [len(part) for part in found.groups() if part] if found else []
    return max(parts, default=0) >= given_chars
