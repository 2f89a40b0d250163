"""Where text and pairs come from, and how they are cut into tokens."""

import dataclasses

from xinst_jax import languages as languages_lib
from xinst_jax.config.fields import Typed, not_negative, positive, registered, share
from xinst_jax.errors import UserError


@registered
@dataclasses.dataclass(frozen=True)
class LanguageConfig(languages_lib.Language):
    """A language beyond the built-in ten; see `languages.Language` for its fields."""


@registered
@dataclasses.dataclass(frozen=True)
class CorpusConfig(Typed):
    """Where the raw text is, and what of it is kept.

    Attributes:
      path: files of raw documents: JSONL (also .gz, .zst), Parquet, or
        'tfds:NAME[/CONFIG][:VERSION]'. '{lang}' stands for the language code; '*' and
        '?' match file names.
      text_field: field of a row that holds the text.
      id_field: field that names the row; where a row has none, its id is a digest of
        its text.
      min_chars: shortest text kept, in characters, after cleaning.
      max_chars: longest; longer documents are cut at paragraph and sentence ends.
      target_chars: length a segment is filled up to when a document is cut.
      min_lid_prob: share of a text that language identification must give to its
        language.
      near_duplicate_threshold: Jaccard similarity of character 5-grams from which two
        texts are one.
      max_documents: most raw documents read per language; 0 reads all.
      shard_rows: rows of a written shard.
      max_bad_share: share of unreadable rows that stops the stage.
    """

    path: str = "data/sample/corpus/{lang}.jsonl"
    text_field: str = "text"
    id_field: str = "id"
    min_chars: int = 300
    max_chars: int = 2000
    target_chars: int = 1200
    min_lid_prob: float = 0.8
    near_duplicate_threshold: float = 0.8
    max_documents: int = 0
    shard_rows: int = 10000
    max_bad_share: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "min_chars", "max_chars", "target_chars", "shard_rows")
        share(self, "min_lid_prob", "near_duplicate_threshold", "max_bad_share")
        not_negative(self, "max_documents")
        if not self.min_chars <= self.target_chars <= self.max_chars:
            raise UserError(
                "CorpusConfig needs min_chars <= target_chars <= max_chars, found "
                f"{self.min_chars}, {self.target_chars}, {self.max_chars}."
            )


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
        is put into `title_template` where a row has no `instruction_field`.
      title_template: instruction made from that first line; '{title}' is the line.
      parallel_output_field: field with the response in a parallel document.
      max_pairs: most pairs used per language (the paper's seed is about 3,000).
      max_output_chars: longer responses are cut at a sentence end.
      held_out_share: share of pairs, chosen by a digest of the instruction, that is
        never trained on.
      max_bad_share: share of unreadable rows that stops the stage.
    """

    path: str = "data/sample/seed/{lang}.jsonl"
    instruction_field: str = "instruction"
    output_field: str = "output"
    title_field: str = "en_text"
    title_template: str = 'Write the text "{title}".'
    parallel_output_field: str = "text"
    max_pairs: int = 3000
    max_output_chars: int = 2000
    held_out_share: float = 0.1
    max_bad_share: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "max_pairs", "max_output_chars")
        share(self, "held_out_share", "max_bad_share")


@registered
@dataclasses.dataclass(frozen=True)
class TokenizerConfig(Typed):
    """The tokenizer: one that exists, or one trained on the corpus.

    Attributes:
      path: a SentencePiece '.model', a Hugging Face 'tokenizer.json', or a folder with
        either; empty trains a SentencePiece BPE model with byte fallback on the corpus
        and the seed. With `base` imported from a folder, that folder's tokenizer is
        used and this must be empty.
      vocab_size: pieces of a trained model, bytes and special tokens included.
      character_coverage: share of characters that become pieces; the others are
        spelled in bytes.
      max_sentences: texts it is trained on at most, drawn evenly over languages.
    """

    path: str = ""
    vocab_size: int = 32000
    character_coverage: float = 0.9995
    max_sentences: int = 2_000_000

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "vocab_size", "max_sentences")
        share(self, "character_coverage")
