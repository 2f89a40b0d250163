"""The languages: what the pipeline must know of each to read, cut and ask for it."""

import dataclasses
import unicodedata

import regex

from xinst_jax.errors import UserError

WORD_LISTS = (
    *("stop_words", "cookie_words", "consent_words", "link_words", "caption_words"),
    *("connectives", "pronouns"),
)
"""Fields of `Language` that are words, which a corpus alone depends on."""


@dataclasses.dataclass(frozen=True)
class Language:
    """One language.

    The lists of words are for a language beyond the ten, and add to what is built in
    for one of them; all are in lower case.

    Attributes:
      code: ISO 639-1 code, the name of the language everywhere on disk.
      name: English name, as it stands in "Answer in {name}.".
      scripts: Unicode script names whose letters make up its words.
      spaced: whether words are separated by spaces (Thai's are not).
      sentence_ends: characters that end a sentence; empty where sentences are marked
        by spaces alone.
      right_to_left: direction of the script, for pages that people read.
      iso639_3: three-letter code, by which some models name the language; may be empty.
      stop_words: the commonest words, some of which a long document must hold
        (`stopwords` in FineWeb-2's `configs/{language}_{script}.yml`).
      cookie_words: what notices call a cookie.
      consent_words: words of consent that show that a browser's cookie is meant.
      link_words: what links at the end of an article say: 'read more'.
      caption_words: what captions and credits begin with, before a colon: 'photo'.
      connectives: words that join a sentence to the one before: 'therefore'.
      pronouns: what stands for something named before, at the start of a text: 'she'.
    """

    code: str
    name: str
    scripts: tuple[str, ...] = ("Latin",)
    spaced: bool = True
    sentence_ends: str = ".!?…"
    right_to_left: bool = False
    iso639_3: str = ""
    stop_words: tuple[str, ...] = ()
    cookie_words: tuple[str, ...] = ()
    consent_words: tuple[str, ...] = ()
    link_words: tuple[str, ...] = ()
    caption_words: tuple[str, ...] = ()
    connectives: tuple[str, ...] = ()
    pronouns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("scripts", *WORD_LISTS):
            words = getattr(self, name)
            if not isinstance(words, (tuple, list)) or not all(
                isinstance(word, str) and word.strip() for word in words
            ):
                raise UserError(
                    f"LanguageConfig.{name} of {self.code!r} = {words!r}; expected a "
                    "tuple of texts, none of them empty: ('one', 'two'), ('one',)."
                )
            found = tuple(unicodedata.normalize("NFC", word) for word in words)
            object.__setattr__(self, name, found)


_BUILT_IN = (
    Language("fi", "Finnish", iso639_3="fin"),
    Language("id", "Indonesian", iso639_3="ind"),
    Language(
        "th",
        "Thai",
        scripts=("Thai",),
        spaced=False,
        sentence_ends=".!?…",
        iso639_3="tha",
    ),
    Language("tr", "Turkish", iso639_3="tur"),
    Language("vi", "Vietnamese", iso639_3="vie"),
    Language(
        "bn", "Bengali", scripts=("Bengali",), sentence_ends="।॥.!?…", iso639_3="ben"
    ),
    Language(
        "hi", "Hindi", scripts=("Devanagari",), sentence_ends="।॥.!?…", iso639_3="hin"
    ),
    Language("sw", "Swahili", iso639_3="swh"),
    Language("ta", "Tamil", scripts=("Tamil",), sentence_ends=".!?…।", iso639_3="tam"),
    Language(
        "ur",
        "Urdu",
        scripts=("Arabic",),
        sentence_ends="۔؟!.?…",
        right_to_left=True,
        iso639_3="urd",
    ),
)

BUILT_IN: dict[str, Language] = {language.code: language for language in _BUILT_IN}
"""The ten languages of the paper (Li et al., 2024), in its order."""


def resolve(
    codes: tuple[str, ...], extra: tuple[Language, ...] = ()
) -> dict[str, Language]:
    """The languages of a run, by code, in the order asked for.

    Args:
      codes: language codes, each built in or among `extra`.
      extra: languages described by the run's configuration; one whose code is built in
        replaces the built-in entry.

    Raises:
      UserError: a code that is neither built in nor described, or one given twice.
    """
    known = BUILT_IN | {language.code: language for language in extra}
    if not codes:
        raise UserError("RunConfig.languages is empty; name at least one language.")
    if len(set(codes)) != len(codes):
        raise UserError(f"RunConfig.languages names a language twice: {codes}.")
    for code in codes:
        if code not in known:
            raise UserError(
                f"Unknown language {code!r} in RunConfig.languages. Known: "
                f"{', '.join(known)}. Describe another with a LanguageConfig in "
                "RunConfig.extra_languages (see docs/configuration.md)."
            )
        _check(known[code])
    return {code: known[code] for code in codes}


def _check(language: Language) -> None:
    """A code names directories; a script is asked of the Unicode database."""
    if not regex.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", language.code):
        raise UserError(
            f"LanguageConfig.code = {language.code!r}; expected letters, digits, '-' "
            "and '_', such as 'xh' or 'sr-Latn'."
        )
    for script in language.scripts:
        try:
            regex.compile(rf"\p{{Script={script}}}")
        except regex.error as error:
            raise UserError(
                f"LanguageConfig.scripts of {language.code!r}: Unicode knows no script "
                f"{script!r}. Expected names such as 'Latin' or 'Devanagari'."
            ) from error
