"""Which language a text is in: by its script, then by two identifiers in turn."""

import dataclasses
import functools
import pathlib

import pycld2
import regex

from xinst_jax.config import LanguageCheckConfig
from xinst_jax.languages import Language
from xinst_jax.pipeline import fasttext_model

ENGLISH = Language("en", "English")
DEFAULT = LanguageCheckConfig()
_BLANK_LINES = regex.compile(r"\n{3,}")
_LETTERS = regex.compile(r"[\p{L}\p{M}]+")
# pycld2 raises on these.
_UNREADABLE = regex.compile(r"[\p{Cc}\p{Cs}\p{Cn}--\n\t]", regex.V1)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a text was found to be.

    Attributes:
      reason: '' for a text in the language, else 'wrong_script' or 'wrong_language'.
      share: share of the text in the language, 0 to 1; where py3langid or a model
        decided, its probability.
      found: what was found, in words.
    """

    reason: str
    share: float
    found: str


def identify(
    text: str,
    language: Language,
    min_share: float,
    model: str = "",
    min_script_share: float = DEFAULT.min_script_share,
) -> Verdict:
    """Whether a text is in a language.

    `min_script_share` of its letters must be of the language's scripts. Then CLD2
    decides, if it gives the language `min_share` of the text, or if it gives it a
    smaller part and too much to another: a mixed text. Where it takes the whole text
    for another language (as Indonesian for Malay), or has no name for the rest,
    py3langid decides. A language that neither knows is judged by its script alone. With
    a model that alone decides, once the script is right: it must give the language a
    probability of `min_share`.

    Args:
      text: cleaned; control characters are passed over.
      language: the language it should be in.
      min_share: share, 0 to 1, that the language must have.
      model: file of a fastText model that is asked instead; empty for none.
      min_script_share: share of its letters, 0 to 1.
    """
    script_share = _script_share(text, language)
    if script_share < min_script_share:
        found = f"{script_share:.2f} of letters {'/'.join(language.scripts)}"
        return Verdict("wrong_script", script_share, found)
    if model:
        return _by_model(text, language, min_share, model)
    shares = _cld2_shares(text)
    share = shares.get(language.code, 0.0)
    if share >= min_share:
        return Verdict("", share, f"{language.code} {share:.2f} (cld2)")
    others = {code: part for code, part in shares.items() if code != language.code}
    foreign = max(others.values(), default=0.0)
    if share > 0 and foreign > 1 - min_share:
        found = ", ".join(f"{code} {part:.2f}" for code, part in shares.items())
        return Verdict("wrong_language", share, f"{found} (cld2)")
    if language.code in _py3langid().labels:
        code, probability = _py3langid().classify(text)
        found = f"{code} {float(probability):.2f} (py3langid)"
        if code == language.code:
            return Verdict("", float(probability), found)
        return Verdict("wrong_language", share, found)
    if language.code in _cld2_codes():
        return Verdict("wrong_language", share, f"{shares} (cld2)")
    return Verdict("", script_share, "judged by its script alone")


def _by_model(text: str, language: Language, least: float, model: str) -> Verdict:
    named = fasttext_model.probabilities(model, _UNREADABLE.sub("", text))
    share = max(named.get(language.code, 0.0), named.get(language.iso639_3, 0.0))
    code, probability = next(iter(named.items()))
    name = pathlib.PurePath(model).name
    reason = "" if share >= least else "wrong_language"
    return Verdict(reason, share, f"{code} {probability:.2f} ({name})")


def right_paragraphs(
    text: str,
    language: Language,
    min_share: float,
    check: LanguageCheckConfig = DEFAULT,
) -> str:
    """A text without the paragraphs that are clearly in another language.

    A paragraph goes if its letters are of other scripts, or if CLD2 gives
    `min_share` of it to another language and none to its own. What is too short to
    tell stays; so does the whole text where nothing would be left.

    Args:
      text: cleaned; paragraphs are parted by line breaks.
      language: the language it should be in.
      min_share: share, 0 to 1, by which a paragraph is another language's.
      check: the other thresholds.
    """
    paragraphs = text.split("\n")
    if len(paragraphs) < 2 or _is_pure(text, language, check.pure_share):
        return text
    kept = [
        paragraph
        for paragraph in paragraphs
        if not _is_foreign(paragraph, language, min_share, check)
    ]
    left = _BLANK_LINES.sub("\n\n", "\n".join(kept)).strip()
    return left or text


def _is_pure(text: str, language: Language, least: float) -> bool:
    shares = _cld2_shares(text)
    return set(shares) == {language.code} and shares[language.code] >= least


def _is_foreign(
    paragraph: str, language: Language, min_share: float, check: LanguageCheckConfig
) -> bool:
    if sum(map(len, _LETTERS.findall(paragraph))) < check.paragraph_letters:
        return False
    if _script_share(paragraph, language) < check.min_script_share:
        return True
    shares = _cld2_shares(paragraph)
    own = shares.pop(language.code, 0.0)
    if own or max(shares.values(), default=0.0) < min_share:
        return False
    # As in `identify`: Malay for Indonesian is the second opinion's to decide.
    labels = _py3langid().labels
    return language.code not in labels or (
        _py3langid().classify(paragraph)[0] != language.code
    )


def _script_share(text: str, language: Language) -> float:
    letters = sum(map(len, _LETTERS.findall(text)))
    own = sum(map(len, _script_pattern(language).findall(text)))
    return own / letters if letters else 0.0


@functools.lru_cache
def _script_pattern(language: Language) -> regex.Pattern:
    scripts = "".join(rf"\p{{Script={name}}}" for name in language.scripts)
    letters = rf"[{scripts}\p{{Script=Inherited}}&&[\p{{L}}\p{{M}}]]+"
    return regex.compile(letters, regex.V1)


def _cld2_shares(text: str) -> dict[str, float]:
    """Share of the text that CLD2 gives to each language that it has a name for."""
    try:
        _, _, found = pycld2.detect(_UNREADABLE.sub("", text))
    except pycld2.error:
        return {}
    return {code: percent / 100 for _, code, percent, _ in found if code != "un"}


@functools.cache
def _cld2_codes() -> frozenset[str]:
    return frozenset(code for _, code in pycld2.LANGUAGES)


@functools.cache
def _py3langid():  # type: ignore[no-untyped-def]
    # Takes a second to load: only where a text needs it.
    from py3langid import langid

    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
