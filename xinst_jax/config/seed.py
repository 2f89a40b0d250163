"""Where the seed pairs come from: as they are, or translated."""

import dataclasses

from xinst_jax.config.fields import (
    Typed,
    positive,
    recorded_if_set,
    registered,
    scoped,
    share,
)
from xinst_jax.config.judging import EndpointConfig
from xinst_jax.config.thresholds import DecontaminationConfig, TextConfig
from xinst_jax.errors import UserError


@registered
@dataclasses.dataclass(frozen=True)
class TranslateConfig(Typed):
    """How English pairs become seed pairs: an endpoint translates their responses.

    Attributes:
      path: files of English pairs, as `CorpusConfig.path`; empty translates nothing.
      prompt: what is asked; '{language}' stands for the language's English name and
        '{text}' for the response.
      min_length_ratio: least length of a translation, in characters, by its source's.
      max_length_ratio: greatest length of a translation, in characters, by its
        source's.
      min_lid_prob: share of a translation that must be in the language.
      min_script_share: share of a translation's letters that must be of the language's
        scripts.
      endpoint: the translator's endpoint; unless it is told otherwise, with up to 4,096
        tokens of a translation, and 300 seconds for it.
    """

    path: str = ""
    prompt: str = (
        "Translate the following text into {language}. Keep its meaning, its tone and "
        "its layout. Give the translation alone.\n\n{text}"
    )
    min_length_ratio: float = 0.3
    max_length_ratio: float = 3.0
    min_lid_prob: float = 0.8
    min_script_share: float = recorded_if_set(0.5)
    endpoint: EndpointConfig = dataclasses.field(
        default_factory=scoped(
            EndpointConfig, "translator", max_tokens=4096, timeout_seconds=300.0
        )
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "min_length_ratio")
        share(self, "min_lid_prob", "min_script_share")
        if self.max_length_ratio < self.min_length_ratio:
            raise UserError(
                "TranslateConfig.max_length_ratio is below min_length_ratio: "
                f"{self.max_length_ratio}, {self.min_length_ratio}."
            )
        if self.path and not self.endpoint.url:
            raise UserError(
                f"TranslateConfig.path = {self.path!r} needs "
                "translator/EndpointConfig.url."
            )
        if "{text}" not in self.prompt or "{language}" not in self.prompt:
            raise UserError(
                "TranslateConfig.prompt must hold '{language}' and '{text}', found "
                f"{self.prompt!r}."
            )

    @property
    def unrecorded(self) -> tuple[str, ...]:
        """Where nothing is translated, the endpoint, which a judge's settings reach."""
        return () if self.path else ("endpoint",)


@registered
@dataclasses.dataclass(frozen=True)
class SeedConfig(Typed):
    """Where the seed pairs are: English instructions with responses in the language.

    Attributes:
      path: files of seed pairs, as `CorpusConfig.path`; several patterns may be given,
        separated by commas. A language for which no file is found goes without seed
        pairs, which is reported.
      instruction_field: field with the English instruction.
      output_field: field with the response in the language.
      title_field: for parallel documents, field with the English text whose first line
        is put into a `title_template` where a row has no `instruction_field`.
      title_template: instructions made from that first line, which '{title}' stands
        for; a digest of the line decides which one, the same in every language.
      parallel_output_field: field with the response in a parallel document.
      translate: English pairs whose responses are translated, beside those of `path`.
      evaluation_sets: as in `CorpusConfig`; here both sides of a pair are compared.
      max_pairs: most pairs used per language (the paper's seed is about 3,000).
      max_output_chars: longest response, in characters; a longer one is cut at a
        sentence end.
      max_title_chars: longest first line of a parallel document that is taken as its
        title, in characters; of a longer line only the start is.
      max_raw_chars: longest instruction or response as it was found, in characters; a
        pair with a longer one is dropped before it is cleaned.
      held_out_share: share of pairs, chosen by a digest of the instruction, that is
        never trained on; nor is any other whose response has a piece of theirs.
      max_bad_share: share of unreadable rows that stops the stage.
      texts: thresholds for every text.
      decontamination: how much a pair may share with `evaluation_sets`, and a pair that
        is trained on with held-out responses.
    """

    path: str = "data/sample/seed/{lang}.jsonl"
    instruction_field: str = "instruction"
    output_field: str = "output"
    title_field: str = "en_text"
    title_template: tuple[str, ...] = (
        'Write a text with the title "{title}".',
        'Compose a piece that begins "{title}".',
        'Give me a text called "{title}".',
        'Tell me in a few paragraphs about "{title}".',
        'Draft a text under the heading "{title}".',
        'Produce a short article: "{title}".',
        'Share what a general reader should know of "{title}".',
        'Create a page for readers with the headline "{title}".',
    )
    parallel_output_field: str = "text"
    translate: TranslateConfig = dataclasses.field(default_factory=TranslateConfig)
    evaluation_sets: tuple[str, ...] = ()
    max_pairs: int = 3000
    max_output_chars: int = 2000
    max_title_chars: int = recorded_if_set(200)
    max_raw_chars: int = recorded_if_set(1_000_000)
    held_out_share: float = 0.1
    max_bad_share: float = 0.01
    texts: TextConfig = dataclasses.field(default_factory=TextConfig)
    decontamination: DecontaminationConfig = dataclasses.field(
        default_factory=DecontaminationConfig
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "evaluation_sets", tuple(self.evaluation_sets))
        object.__setattr__(self, "title_template", tuple(self.title_template))
        if not self.title_template or not all(
            isinstance(one, str) and "{title}" in one for one in self.title_template
        ):
            raise UserError(
                "SeedConfig.title_template = "
                f"{self.title_template!r}; expected one or more texts with '{{title}}' "
                "in each."
            )
        positive(self, "max_pairs", "max_output_chars")
        positive(self, "max_title_chars", "max_raw_chars")
        share(self, "held_out_share", "max_bad_share")
