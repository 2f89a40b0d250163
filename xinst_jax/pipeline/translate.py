"""Seed pairs by translation: English responses put into a language by an endpoint."""

from collections.abc import Sequence

from xinst_jax.config import TranslateConfig
from xinst_jax.eval.completions import Completion
from xinst_jax.eval.endpoint import Request
from xinst_jax.languages import Language
from xinst_jax.pipeline import langid
from xinst_jax.pipeline.clean import clean
from xinst_jax.pipeline.corpus.boilerplate import Flaw


def requests(
    texts: Sequence[str], config: TranslateConfig, language: Language
) -> list[Request]:
    """What an endpoint is asked to translate English texts, in order.

    Args:
      texts: in English.
      config: how it is asked.
      language: what the translations should be in.
    """
    template = config.prompt.replace("{language}", language.name)
    return [Request((("user", template.replace("{text}", text)),)) for text in texts]


def flaw(
    source: str, answer: Completion, config: TranslateConfig, language: Language
) -> Flaw | None:
    """Why a translation is refused, if it is: cut, of odd length, in another language.

    Args:
      source: the English text.
      answer: what came back for it.
      config: how much longer or shorter it may be, and in what share the language.
      language: what it should be in.
    """
    text = clean(answer.text)
    if not text:
        return Flaw("translation_empty", "no text", "a translation")
    if answer.finish == "length":
        return Flaw("translation_cut", f"...{text[-20:]}", "ends by itself")
    ratio = len(text) / max(1, len(source))
    low, high = config.min_length_ratio, config.max_length_ratio
    if not low <= ratio <= high:
        found = f"{ratio:.2f} times the source"
        return Flaw("translation_length", found, f"{low} to {high}")
    verdict = langid.identify(
        text,
        language,
        config.min_lid_prob,
        min_script_share=config.min_script_share,
    )
    if verdict.reason:
        expected = f"{language.code} >= {config.min_lid_prob}"
        return Flaw("translation_language", verdict.found, expected)
    return None
