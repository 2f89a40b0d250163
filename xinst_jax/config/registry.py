"""Every threshold of a run, by the name that gin binds it by, with what it means."""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import regex

from xinst_jax.config.curation import DiversifyConfig, RateConfig
from xinst_jax.config.seed import SeedConfig, TranslateConfig
from xinst_jax.config.text import CorpusConfig
from xinst_jax.config.thresholds import (
    DecontaminationConfig,
    DuplicatesConfig,
    FineWeb2Config,
    LanguageCheckConfig,
    PageConfig,
    RulesConfig,
    SegmentConfig,
    TextConfig,
)

BESIDE: Mapping[type, tuple[str, ...]] = {
    CorpusConfig: (
        *("min_chars", "max_chars", "target_chars", "max_document_chars"),
        *("min_lid_prob", "max_screen_probability", "near_duplicate_threshold"),
        "max_bad_share",
    ),
    SeedConfig: (
        *("max_pairs", "max_output_chars", "max_title_chars", "max_raw_chars"),
        "max_bad_share",
    ),
    TranslateConfig: (
        *("min_length_ratio", "max_length_ratio", "min_lid_prob", "min_script_share"),
    ),
    RateConfig: (
        *("keep_share", "min_score", "keep_share_of", "min_score_of"),
        *("min_instruction_chars", "max_instruction_chars", "max_copied_share"),
    ),
    DiversifyConfig: ("per_cluster", "verb_share", "near_duplicate_cosine"),
}
"""Thresholds that stand beside other settings, by their class."""

PAGES: Mapping[str, tuple[type, ...]] = {
    "corpus": (
        *(CorpusConfig, TextConfig, PageConfig, LanguageCheckConfig, FineWeb2Config),
        *(SegmentConfig, DuplicatesConfig, DecontaminationConfig),
        *(SeedConfig, TranslateConfig),
    ),
    "rating": (RateConfig, RulesConfig, DiversifyConfig),
}
"""Every class with thresholds, in the order in which a text or a pair meets them, by
the page of docs/ that has their table."""


class Threshold(NamedTuple):
    """A number that decides what is kept.

    Attributes:
      name: what gin binds: 'PageConfig.item_chars'.
      default: its value where nothing is bound; None takes it from a table.
      meaning: what its class's docstring says.
    """

    name: str
    default: Any
    meaning: str


def thresholds(*classes: type) -> list[Threshold]:
    """The thresholds of some classes, or of all, in their order."""
    if not classes:
        classes = tuple(cls for page in PAGES.values() for cls in page)
    return [
        Threshold(f"{cls.__name__}.{field.name}", field.default, told[field.name])
        for cls in classes
        for told in (_attributes(cls),)
        for field in dataclasses.fields(cls)
        if field.name in BESIDE.get(cls, told)
    ]


def _attributes(cls: type) -> dict[str, str]:
    """What a class's docstring says of each attribute, on one line."""
    _, _, listed = (inspect.getdoc(cls) or "").partition("Attributes:\n")
    entries = regex.split(r"^  (?=\w+: )", listed, flags=regex.MULTILINE)[1:]
    pairs = (entry.partition(": ")[::2] for entry in entries)
    return {name: " ".join(meaning.split()) for name, meaning in pairs}
