"""Where text comes from, what of it is kept, and how it is cut into tokens."""

import dataclasses

from xinst_jax import languages as languages_lib
from xinst_jax.config.fields import (
    Typed,
    not_negative,
    one_of,
    operational,
    positive,
    recorded_if_set,
    registered,
    share,
)
from xinst_jax.config.thresholds import (
    DecontaminationConfig,
    DuplicatesConfig,
    FineWeb2Config,
    LanguageCheckConfig,
    PageConfig,
    SegmentConfig,
    TextConfig,
)
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
      path: files of raw documents: JSONL or WET (also .gz, .zst), Parquet, Arrow, on
        this machine or, by URL ('gs://...'), in object storage; folders that
        `datasets` has saved; or 'tfds:NAME[/CONFIG][:VERSION]', then a split in
        brackets or none ('tfds:c4/multilingual[{lang}]'). '{lang}' stands for the
        language code; '*' and '?' match file names.
      text_field: field of a row that holds the text.
      id_field: field that names the row; where a row has none, its id is a digest of
        its text.
      min_chars: shortest text kept, in characters, after cleaning.
      max_chars: longest text kept, in characters; a longer document is cut at ends of
        paragraphs and sentences.
      target_chars: length, in characters, that segments come near when a document is
        cut.
      min_lid_prob: share of a text that language identification must give to its
        language.
      language_model: file of a fastText model (lid.176, GlotLID) that says which
        language a text is in, `min_lid_prob` then being its probability; needs the
        package fasttext-predict (requirements-sources.txt). Empty for those built in.
      quality_filters: whether FineWeb-2's rules of quality and repetition are asked,
        with the values that it has for the language.
      evaluation_sets: files that a model is to be evaluated on, as `path`: a text with
        an n-gram of one of them, or with all of a shorter item, is dropped.
        `decontamination` sets the lengths of both.
      screen_words: file of words and phrases, one a line, that no text may hold; a
        language without such a file goes without. Empty for none.
      screen_model: 'MODULE:FUNCTION' that gives the probability that a text, in the
        language of a code, should not be used. Empty for none.
      max_screen_probability: greatest probability by `screen_model` with which a text
        is kept.
      near_duplicate_threshold: Jaccard similarity of character n-grams from which two
        texts are one.
      max_document_chars: longest raw document that is looked at, in characters.
      max_documents: most raw documents read per language; 0 reads all.
      shard_rows: rows of a written shard.
      max_bad_share: share of unreadable rows that stops the stage.
      executor: 'local', a pool of processes on this machine; or 'beam', Apache Beam,
        which has to be installed (requirements-beam.txt). What they make is the same.
      workers: processes of the local executor; 0 for one a processor.
      beam_options: command-line flags of Beam's pipeline: '--runner=FlinkRunner'.
      beam_scratch: directory, or URL that Beam can read and write (gs://BUCKET/scratch),
        that all of its workers see, for rows on their way. Empty for the workdir's.
      texts: thresholds for every text.
      page: thresholds for what on a page is not part of its text.
      fineweb2: thresholds of FineWeb-2's rules.
      fineweb2_of: pairs of a language code and the thresholds of that language; made of
        what a gin file sets under languages' scopes.
      language_check: which language a text and its paragraphs are in.
      segments: what a cut costs where a document is cut.
      duplicates: how near-duplicates are looked for.
      decontamination: how much a text may share with `evaluation_sets`.
    """

    path: str = "data/sample/corpus/{lang}.jsonl"
    text_field: str = "text"
    id_field: str = "id"
    min_chars: int = 300
    max_chars: int = 2000
    target_chars: int = 1200
    min_lid_prob: float = 0.8
    language_model: str = ""
    quality_filters: bool = True
    evaluation_sets: tuple[str, ...] = ()
    screen_words: str = ""
    screen_model: str = ""
    max_screen_probability: float = 0.5
    near_duplicate_threshold: float = 0.8
    max_document_chars: int = 1_000_000
    max_documents: int = 0
    shard_rows: int = 10000
    max_bad_share: float = 0.01
    executor: str = operational("local")
    workers: int = operational(0)
    beam_options: tuple[str, ...] = operational(())
    beam_scratch: str = operational("")
    texts: TextConfig = dataclasses.field(default_factory=TextConfig)
    page: PageConfig = dataclasses.field(default_factory=PageConfig)
    fineweb2: FineWeb2Config = dataclasses.field(default_factory=FineWeb2Config)
    fineweb2_of: tuple[tuple[str, FineWeb2Config], ...] = recorded_if_set(())
    language_check: LanguageCheckConfig = dataclasses.field(
        default_factory=LanguageCheckConfig
    )
    segments: SegmentConfig = dataclasses.field(default_factory=SegmentConfig)
    duplicates: DuplicatesConfig = dataclasses.field(default_factory=DuplicatesConfig)
    decontamination: DecontaminationConfig = dataclasses.field(
        default_factory=DecontaminationConfig
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "beam_options", tuple(self.beam_options))
        object.__setattr__(self, "evaluation_sets", tuple(self.evaluation_sets))
        self._check_fineweb2_of()
        positive(self, "min_chars", "max_chars", "target_chars", "shard_rows")
        positive(self, "max_document_chars")
        share(self, "min_lid_prob", "near_duplicate_threshold", "max_bad_share")
        share(self, "max_screen_probability")
        not_negative(self, "max_documents", "workers")
        one_of(self, "executor", ("local", "beam"))
        if not self.min_chars <= self.target_chars <= self.max_chars:
            raise UserError(
                "CorpusConfig needs min_chars <= target_chars <= max_chars, found "
                f"{self.min_chars}, {self.target_chars}, {self.max_chars}."
            )

    def _check_fineweb2_of(self) -> None:
        found = self.fineweb2_of
        if not all(
            isinstance(one, (tuple, list))
            and len(one) == 2
            and isinstance(one[0], str)
            and isinstance(one[1], FineWeb2Config)
            for one in found
        ):
            raise UserError(
                f"CorpusConfig.fineweb2_of = {found!r}; expected pairs of a language "
                "code and a FineWeb2Config. In a gin file set the fields under the "
                "language's scope: fi/FineWeb2Config.max_top_2_gram = 0.3."
            )
        object.__setattr__(self, "fineweb2_of", tuple(map(tuple, found)))

    def fineweb2_of_language(self, code: str) -> FineWeb2Config:
        """The thresholds of FineWeb-2's rules for one language."""
        return dict(self.fineweb2_of).get(code, self.fineweb2)


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
