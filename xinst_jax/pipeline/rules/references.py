"""References to a text, picture, table or link that the instruction does not hold."""

import dataclasses

import regex

from xinst_jax.config import RulesConfig

DEFAULT = RulesConfig()
_LONG, _SHORT, _PIECES = "given_source_chars", "given_work_chars", "given_piece_chars"
_NEVER = ""

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
      given_chars: field of `RulesConfig` that says how many characters of `_GIVEN` must
        follow for the thing to count as given; empty if words cannot give it.
    """

    name: str
    pattern: regex.Pattern
    given_chars: str


def _reference(name: str, given_chars: str, *patterns: str) -> Reference:
    pattern = "|".join(rf"\b{pattern}" for pattern in patterns)
    return Reference(name, regex.compile(pattern, regex.IGNORECASE), given_chars)


REFERENCES = (
    _reference(
        "the following source",
        _LONG,
        rf"{_POINTER} {_ADJECTIVES}{_SOURCE}\b",
        rf"(?:given|below) {_SOURCE}\b",
    ),
    _reference("the following medium", _NEVER, rf"{_POINTER} {_ADJECTIVES}{_MEDIUM}\b"),
    _reference(
        "the following",
        _PIECES,
        rf"(?:the|these) following\b(?! (?:\p{{L}}+ )?{_TIMES}\b)",
        r"(?:the|these) given\b(?! (?:names?|time)\b)",
    ),
    _reference("this source", _LONG, rf"(?:this|these) (?:reference )?{_SOURCE}\b"),
    _reference(
        "this piece",
        _PIECES,
        r"(?:this|these) (?:sentences?|statements?|conversation|dialogue|quote)\b",
    ),
    _reference(
        "this medium", _NEVER, r"(?:this|these) (?:image|picture|photo|video)s?\b"
    ),
    _reference(
        "above or below",
        _SHORT,
        rf"{_ANY} (?:given |provided |shown |mentioned )?(?:above|below)\b"
        rf"(?=\s*(?:[.,:;?!)]|$)| (?:and|to|in|into|for|with|by|is|are|as|an?)\b)",
    ),
    _reference(
        "the above",
        _SHORT,
        rf"(?<!\b(?:all|none|any) of )(?:the|from|of) above(?:-mentioned)?"
        rf"(?: {_ADJECTIVES}{_ANY}\b|[.?,:]|$)",
        r"(?:mentioned|described|listed|shown|given|discussed) above\b",
    ),
    _reference(
        "given to you",
        _SHORT,
        rf"{_ANY} (?:that (?:is|was|are|has been) )?(?:provided|attached|supplied)"
        rf"(?: to you)?\b(?! by\b)",
    ),
    _reference(
        "given a source",
        _LONG,
        rf"(?:given|using|from) (?:a|an|the|this|some) {_ADJECTIVES}"
        rf"(?:texts?|passages?|paragraphs?|excerpt|extract|context|article)\b"
        rf"(?! (?:field|editor|file|message|box|style))",
    ),
    _reference(
        "according to the source",
        _LONG,
        rf"(?:according to|based on|as per|in accordance with|mentioned in|"
        rf"described in|stated in|discussed in|with reference to|refer(?:ring)? to) "
        rf"(?:the|this|that|these|a) {_ADJECTIVES}"
        rf"(?:{_SOURCE}|context|information|{_MEDIUM})\b{_UNNAMED}",
    ),
    _reference(
        "in the source",
        _LONG,
        rf"(?:in|of) (?:the|this) (?:texts?|passage|paragraph|article|excerpt|"
        rf"transcript|image|photo|photograph)\b{_UNNAMED}"
        rf"(?! (?:on|field|editor|file|box)\b)",
        r"(?:the|this) (?:text|passage|paragraph|article|excerpt|author|writer) "
        r"(?:says?|mentions?|describes?|discuss(?:es)?|states?|argues?|suggests?|means?)\b",
    ),
    _reference(
        "in the sentence",
        _PIECES,
        r"(?:in|if|whether|from) the (?:sentence|statement|claim|conversation|dialogue|"
        rf"list|code)\b{_UNNAMED}",
    ),
    _reference(
        "edit the source",
        _LONG,
        rf"{_EDIT} {_THE} {_ADJECTIVES}(?:{_SOURCE}|{_MEDIUM})\b"
        rf"(?! (?:of|by|titled|called|entitled|named)\b)",
    ),
    _reference(
        "edit the work", _SHORT, rf"{_EDIT} {_THE} {_ADJECTIVES}{_WORK}\b{_UNNAMED}"
    ),
    _reference(
        "edit the piece",
        _PIECES,
        rf"{_EDIT} {_THE} {_ADJECTIVES}(?:sentences?|statements?|words?|phrases?|code|"
        rf"data|list|information|facts)\b(?! (?:of|for|between|about)\b)"
        rf"(?! (?!into\b|to\b|in\b|from\b)\p{{L}}+ (?:into|to|in)\b)",
    ),
    _reference(
        "part of the source",
        _LONG,
        rf"{_PART} (?:of|for|from) (?:the|this|that) {_ADJECTIVES}"
        rf"(?:{_SOURCE}|{_WORK})\b{_UNNAMED}",
    ),
    _reference(
        "translate it",
        _PIECES,
        r"translate (?:it|this|that|these|them)"
        r"(?=\s*(?:[.,:;!?]|$)| (?:in|to|into|from)\b)",
    ),
    _reference(
        "a link",
        _NEVER,
        r"(?:find|provide|give|share|send|post|include|show|insert|attach)(?: me| us)? "
        r"(?:a|an|the|some|any) (?:web |direct |youtube |download )?"
        r"(?:links?|urls?|screenshots?)\b",
        r"(?:find|share|send|post|insert|attach|upload|show)(?: me| us)? "
        r"(?:a|an|the|some|any) (?:videos?|photos?|pictures?|images?)\b",
    ),
    _reference(
        "see attached",
        _NEVER,
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


def missing_reference(text: str, config: RulesConfig = DEFAULT) -> str | None:
    """The name of the first `REFERENCES` entry whose thing is not in the text, or None.

    missing_reference("Summarize the following article.")
    # 'the following source'
    missing_reference("Describe the following tradition: Diwali")    # None
    """
    for reference in REFERENCES:
        chars = getattr(config, reference.given_chars) if reference.given_chars else 0
        for match in reference.pattern.finditer(text):
            if not _is_given(text, match, chars):
                return reference.name
    return None


def _is_given(text: str, match: regex.Match, given_chars: int) -> bool:
    """Whether enough of the thing that a match refers to stands in the text."""
    if not given_chars:
        return False
    found = _GIVEN.search(text, match.end())
    parts = [len(part) for part in found.groups() if part] if found else []
    return max(parts, default=0) >= given_chars
