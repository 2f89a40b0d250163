"""What pairs were rated by, for the dataset's card and the report: levels and rules."""

import inspect
from collections.abc import Sequence
from typing import Any

from xinst_jax.config import RateConfig
from xinst_jax.data.prompts import LABELS
from xinst_jax.pipeline import corruptions, rules


def rubric(config: RateConfig, languages: Sequence[str]) -> dict[str, Any]:
    """The rubric, ready for JSON.

    Args:
      config: how candidates were rated.
      languages: language codes.

    Returns:
      'levels': what the rater learnt each level from (level, corruption, what).
      'rules': what is dropped whatever its score (reason, what). 'thresholds': by
      language code, min_score and keep_share.
    """
    bad, fair, good = LABELS
    levels = [[good, "none", "A seed pair, or one that an earlier round kept."]]
    for level, registry in ((fair, corruptions.FAIR), (bad, corruptions.BAD)):
        levels += [[level, name, _what(spoil)] for name, spoil in registry.items()]
    return {
        "levels": levels,
        "rules": [list(rule) for rule in rules.described(config)],
        "thresholds": {
            code: {"min_score": own.min_score, "keep_share": own.keep_share}
            for code in languages
            for own in (config.of_language(code),)
        },
    }


def _what(spoil: corruptions.Corruption) -> str:
    """The first paragraph of the corruption's docstring."""
    return " ".join((inspect.getdoc(spoil) or "").split("\n\n")[0].split())
