"""Language identification by a fastText model that the user has: lid.176, GlotLID."""

import functools
import pathlib
from collections.abc import Iterable
from typing import Any

import regex

from xinst_jax.errors import UserError
from xinst_jax.languages import Language

_LABEL = regex.compile(r"(?:__label__)?([A-Za-z]+)")
_LIKELIEST = 5


def check(path: str, languages: Iterable[Language]) -> None:
    """Checks that a model can be used for the languages.

    Raises:
      UserError: the package is not installed, the file is no such model, or it does not
        know one of the languages.
    """
    labels, _ = _model(path).predict("a", k=-1)
    known = set(map(_language, labels))
    for language in languages:
        names = {language.code, language.iso639_3} - {""}
        if not names & known:
            raise UserError(
                f"CorpusConfig.language_model = {path!r} does not know "
                f"{language.code!r}: of its {len(labels)} labels, such as {labels[0]}, "
                f"none is of {' or '.join(sorted(names))}. Set LanguageConfig.iso639_3 "
                "to the code that the model has, or use another model."
            )


def probabilities(path: str, text: str) -> dict[str, float]:
    """Probability, 0 to 1, of each of the likeliest languages, the likeliest first.

    Languages are named as in the model's labels, without the script: 'fi', 'fin'.

    Args:
      path: the model's file.
      text: without surrogates; line breaks count as spaces.
    """
    labels, values = _model(path).predict(" ".join(text.split()), k=_LIKELIEST)
    found: dict[str, float] = {}
    for label, value in zip(labels, values, strict=True):
        name = _language(label)
        found[name] = min(1.0, found.get(name, 0.0) + float(value))
    return found


def _language(label: str) -> str:
    """The language of a label.

    >>> _language("__label__fin_Latn")
    'fin'
    """
    match = _LABEL.match(label)
    return match[1] if match else label


@functools.cache
def _model(path: str) -> Any:
    try:
        import fasttext
    except ImportError as error:
        raise UserError(
            f"CorpusConfig.language_model = {path!r} needs the package "
            "fasttext-predict, which is not installed: pip install -r "
            "requirements-sources.txt."
        ) from error
    if not pathlib.Path(path).is_file():
        raise UserError(f"CorpusConfig.language_model = {path!r} is not a file.")
    try:
        return fasttext.load_model(path)
    except (ValueError, RuntimeError, MemoryError) as error:
        raise UserError(
            f"CorpusConfig.language_model = {path!r} cannot be loaded: {error}. "
            "Expected a fastText classifier: lid.176.bin, lid.176.ftz, GlotLID's "
            "model.bin."
        ) from error
