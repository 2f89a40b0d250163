"""What is written for others, and what the tuned model is asked."""

import dataclasses

from xinst_jax.config.fields import (
    Typed,
    not_negative,
    one_of,
    positive,
    registered,
    scoped,
)
from xinst_jax.config.judging import ENDPOINT, EndpointConfig
from xinst_jax.errors import UserError


@registered
@dataclasses.dataclass(frozen=True)
class ExportConfig(Typed):
    """The Hugging Face folder and the dataset that are written.

    Attributes:
      weights: 'merged' writes a whole model; 'adapter' only the adapters of the
        fine-tuning, as a PEFT folder to be laid over `RunConfig.base_model`.
      dtype: dtype of the exported weights; adapters are float32 in any case.
      shard_gigabytes: largest safetensors file, in units of 10**9 bytes.
      base_name: what the folder calls the base model: its name on the hub, ORG/NAME;
        empty takes the one by which the hub's cache keeps it, else the name of its
        folder, or for an adapter, which must find it, its path.
      dataset_name: the dataset's name on the hub, ORG/NAME, for the model card; empty
        where it is not there.
      license: licence named on the model card where there is no base model, or its
        folder names none; empty names 'other', with a warning.
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


@registered
@dataclasses.dataclass(frozen=True)
class EvaluateConfig(Typed):
    """What the tuned model is asked, and beside whom.

    Attributes:
      questions: question sets, parted by commas: JSONL files with the fields id and
        instruction, in English, or in the language where '{lang}' is in the path. A
        set is called what its file is, or its folder where the file is '{lang}.jsonl'.
      max_questions: most questions of a set asked in each language; 0 asks all.
      samples: answers to each question.
      retrieval_pairs: most held-out pairs of each language whose instruction is looked
        for among 99 others; 0 leaves that out. A pair takes 300 texts to score.
      opponents: what the tuned model's answers are compared with: 'base', 'endpoint'
        or paths of Hugging Face folders.
      endpoint: the opponent's endpoint.
    """

    questions: str = "data/sample/questions.jsonl"
    max_questions: int = 0
    samples: int = 1
    retrieval_pairs: int = 100
    opponents: tuple[str, ...] = ()
    endpoint: EndpointConfig = dataclasses.field(
        default_factory=scoped(EndpointConfig, "opponent")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "opponents", tuple(self.opponents))
        not_negative(self, "max_questions", "retrieval_pairs")
        positive(self, "samples")
        if ENDPOINT in self.opponents and not self.endpoint.url:
            raise UserError(
                "EvaluateConfig.opponents names 'endpoint', which needs "
                "opponent/EndpointConfig.url."
            )
        if len(set(self.opponents)) < len(self.opponents):
            raise UserError(
                f"EvaluateConfig.opponents = {self.opponents} names one twice."
            )
