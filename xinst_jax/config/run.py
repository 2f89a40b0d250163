"""A whole run, and a configuration as a record with a digest."""

import dataclasses
import hashlib
import json
from typing import Any

import gin

from xinst_jax import languages as languages_lib
from xinst_jax.config.benchmark import BenchmarkConfig
from xinst_jax.config.curation import DecodeConfig, DiversifyConfig, RateConfig
from xinst_jax.config.fields import (
    Typed,
    is_recorded,
    positive,
    registered,
    scoped,
    share,
)
from xinst_jax.config.judging import JudgeConfig
from xinst_jax.config.model import MeshConfig, ModelConfig
from xinst_jax.config.prompts import PromptConfig
from xinst_jax.config.release import EvaluateConfig, ExportConfig
from xinst_jax.config.seed import SeedConfig
from xinst_jax.config.text import CorpusConfig, LanguageConfig, TokenizerConfig
from xinst_jax.config.thresholds import FineWeb2Config
from xinst_jax.config.training import TrainConfig
from xinst_jax.errors import UserError
from xinst_jax.languages import WORD_LISTS


@registered
@dataclasses.dataclass(frozen=True)
class RunConfig(Typed):
    """A whole run: what `pipeline` and every verb read from the gin file.

    Attributes:
      name: the run's name; a workdir belongs to the run that made it.
      languages: language codes, in the order of every table.
      extra_languages: languages beyond the built-in ten.
      seed: the one PRNG seed; every stage derives its own keys from it.
      rounds: rounds of generating, rating and keeping, at most.
      settled_change: share of the kept pairs; where fewer have changed since the round
        before, the rounds that are left have nothing to do. 0 does them all.
      base_model: Hugging Face folder the models start from; empty trains a small one
        from scratch on the corpus, as `base` says.
      base_adapter: PEFT folder of a LoRA adapter that is merged into `base_model` when
        it is imported; empty for none.
      mesh: how the devices are laid out.
      model: the decoder's shape; with `base_model` it is read from that folder and
        only dtypes, `attention`, `remat` and `unroll` count here.
      corpus: the raw text, and how it is cleaned and cut.
      seed_pairs: the instruction pairs that the first round learns from.
      tokenizer: the tokenizer to train, or the one given; not used with `base_model`,
        which brings its own.
      base: training of the base model on plain text (language modelling).
      generator: training of the reverse-instruction generator.
      rater: training of the rater.
      follower: training of the model that follows instructions in a round, to rate by;
        used where `RateConfig.pmi_model` is 'follower'.
      sft: cross-lingual supervised fine-tuning of the final model.
      generate: decoding of instructions.
      rate: what the rater learns from, and which candidates are kept.
      diversify: how kept pairs are clustered by their instructions and drawn evenly.
      export: the Hugging Face folder and the dataset that are written for others.
      evaluate: what the tuned model is asked.
      answer: decoding of answers in `evaluate`.
      benchmark: what is measured with lm-evaluation-harness.
      judge: who compares the answers, and how.
      prompts: what models are trained and asked with.
    """

    name: str = gin.REQUIRED
    languages: tuple[str, ...] = gin.REQUIRED
    extra_languages: tuple[LanguageConfig, ...] = ()
    seed: int = 0
    rounds: int = 3
    settled_change: float = 0.02
    base_model: str = ""
    base_adapter: str = ""
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    corpus: CorpusConfig = dataclasses.field(default_factory=CorpusConfig)
    seed_pairs: SeedConfig = dataclasses.field(default_factory=SeedConfig)
    tokenizer: TokenizerConfig = dataclasses.field(default_factory=TokenizerConfig)
    base: TrainConfig = dataclasses.field(default_factory=scoped(TrainConfig, "base"))
    generator: TrainConfig = dataclasses.field(
        default_factory=scoped(TrainConfig, "generator")
    )
    rater: TrainConfig = dataclasses.field(default_factory=scoped(TrainConfig, "rater"))
    follower: TrainConfig = dataclasses.field(
        default_factory=scoped(TrainConfig, "follower")
    )
    sft: TrainConfig = dataclasses.field(default_factory=scoped(TrainConfig, "sft"))
    generate: DecodeConfig = dataclasses.field(
        default_factory=scoped(DecodeConfig, "generate")
    )
    rate: RateConfig = dataclasses.field(default_factory=RateConfig)
    diversify: DiversifyConfig = dataclasses.field(default_factory=DiversifyConfig)
    export: ExportConfig = dataclasses.field(default_factory=ExportConfig)
    evaluate: EvaluateConfig = dataclasses.field(default_factory=EvaluateConfig)
    answer: DecodeConfig = dataclasses.field(
        default_factory=scoped(DecodeConfig, "answer")
    )
    benchmark: BenchmarkConfig = dataclasses.field(default_factory=BenchmarkConfig)
    judge: JudgeConfig = dataclasses.field(default_factory=JudgeConfig)
    prompts: PromptConfig = dataclasses.field(default_factory=PromptConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "languages", tuple(self.languages))
        object.__setattr__(self, "extra_languages", tuple(self.extra_languages))
        positive(self, "rounds")
        share(self, "settled_change")
        languages_lib.resolve(self.languages, self.extra_languages)
        object.__setattr__(self, "corpus", _with_scopes(self.corpus, self.languages))
        if self.base_model and self.tokenizer.path:
            raise UserError(
                "RunConfig.base_model brings its own tokenizer; leave "
                f"TokenizerConfig.path empty (found {self.tokenizer.path!r})."
            )
        self._check_adapters()
        self._check_precision()
        for name in ("keep_share_of", "min_score_of"):
            for code, _ in getattr(self.rate, name):
                if code not in self.languages:
                    raise UserError(
                        f"RateConfig.{name} names the language {code!r}, which is none "
                        f"of RunConfig.languages ({', '.join(self.languages)})."
                    )
        if self.judge.judge and not self.evaluate.opponents:
            raise UserError(
                f"JudgeConfig.judge = {self.judge.judge!r} has nothing to compare: set "
                "EvaluateConfig.opponents, as ('base',)."
            )
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

    def _check_precision(self) -> None:
        for name in self.trainings:
            if name == "base" and self.base_model:
                continue  # it is imported, not trained
            try:
                getattr(self, name).check_precision(self.model.param_dtype)
            except UserError as error:
                raise UserError(f"{name}: {error}") from error

    @property
    def trainings(self) -> tuple[str, ...]:
        """The fields that are trainings, without the follower's where it has none."""
        follower = ("follower",) if self.rate.pmi_model == "follower" else ()
        return ("base", "generator", "rater", *follower, "sft")

    @property
    def language_table(self) -> dict[str, languages_lib.Language]:
        """The run's languages by code."""
        return languages_lib.resolve(self.languages, self.extra_languages)

    @property
    def language_records(self) -> list[dict[str, Any]]:
        """The languages, ready for JSON, without what a corpus alone depends on."""
        return [
            {name: value for name, value in record.items() if name not in WORD_LISTS}
            for record in map(as_record, self.language_table.values())
        ]


def _with_scopes(corpus: CorpusConfig, codes: tuple[str, ...]) -> CorpusConfig:
    """The corpus with what gin has under the languages' scopes; what it has stays."""
    known = dict(corpus.fineweb2_of)
    for code in codes:
        own = scoped(FineWeb2Config, code.replace("-", "_"))()
        if code not in known and own != FineWeb2Config():
            known[code] = own
    return dataclasses.replace(corpus, fineweb2_of=tuple(known.items()))


def check_lengths(run: RunConfig, model: ModelConfig) -> None:
    """Raises UserError where rows, or what is written, outgrow the positions."""
    for name in run.trainings:
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
    """A configuration as nested dictionaries and lists, ready for JSON.

    Without its operational fields, which what is made does not depend on, and without
    those that are recorded only if set.
    """
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        unrecorded = getattr(config, "unrecorded", ())
        return {
            field.name: as_record(getattr(config, field.name))
            for field in dataclasses.fields(config)
            if field.name not in unrecorded
            and is_recorded(field, getattr(config, field.name))
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
