"""What a run is told: frozen dataclasses, and the only names that gin can bind.

A gin file builds one `RunConfig`; everything below the entry points takes these
objects, or plain arguments, and never reads gin. Each is hashable, so that it can be
static under `jax.jit`, and its fields are what a stage's manifest records.
"""

from xinst_jax.config.benchmark import BenchmarkConfig
from xinst_jax.config.curation import DecodeConfig, DiversifyConfig, RateConfig
from xinst_jax.config.judging import EndpointConfig, JudgeConfig
from xinst_jax.config.model import FAMILIES, MeshConfig, ModelConfig
from xinst_jax.config.prompts import PromptConfig
from xinst_jax.config.release import EvaluateConfig, ExportConfig
from xinst_jax.config.run import RunConfig, as_record, check_lengths, digest
from xinst_jax.config.seed import SeedConfig, TranslateConfig
from xinst_jax.config.text import CorpusConfig, LanguageConfig, TokenizerConfig
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
from xinst_jax.config.training import PROJECTIONS, LoraConfig, TrainConfig

__all__ = [
    "FAMILIES",
    "PROJECTIONS",
    "BenchmarkConfig",
    "CorpusConfig",
    "DecodeConfig",
    "DecontaminationConfig",
    "DiversifyConfig",
    "DuplicatesConfig",
    "EndpointConfig",
    "EvaluateConfig",
    "ExportConfig",
    "FineWeb2Config",
    "JudgeConfig",
    "LanguageCheckConfig",
    "LanguageConfig",
    "LoraConfig",
    "MeshConfig",
    "ModelConfig",
    "PageConfig",
    "PromptConfig",
    "RateConfig",
    "RulesConfig",
    "RunConfig",
    "SeedConfig",
    "SegmentConfig",
    "TextConfig",
    "TokenizerConfig",
    "TrainConfig",
    "TranslateConfig",
    "as_record",
    "check_lengths",
    "digest",
]
