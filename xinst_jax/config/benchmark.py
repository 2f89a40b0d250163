"""What is measured with lm-evaluation-harness."""

import dataclasses
import re

from xinst_jax.config.fields import Typed, not_negative, registered
from xinst_jax.errors import UserError

SETS = ("xcopa", "xstorycloze", "xnli", "belebele")
"""Benchmark sets whose tasks are known by language; see `eval.benchmarks.COVERAGE`."""

MODELS = ("base", "tuned")


@registered
@dataclasses.dataclass(frozen=True)
class BenchmarkConfig(Typed):
    """What is measured with lm-evaluation-harness; nothing where no task is named.

    Attributes:
      sets: of 'xcopa', 'xstorycloze', 'xnli' and 'belebele', those measured: in each of
        the run's languages that they have.
      tasks: further tasks, groups and tags of the harness, by name.
      models: which models are measured: 'base', 'tuned'.
      data: folder of the sets' data, as {data}/{set}/{lang}/{split}.jsonl; empty takes
        the data that the harness names, from the Hugging Face hub or its cache.
      task_files: folder of further task files in the harness' format; empty for none.
      chat_template: whether a model is asked in a conversation: the tuned one by the
        answer prompt, which names the task's language; the base model by the template
        that its folder brings. Else both are asked in plain text.
      num_fewshot: solved examples before each question; -1 leaves it to the task.
      limit: most documents measured of a task; 0 measures all.
    """

    sets: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    models: tuple[str, ...] = MODELS
    data: str = ""
    task_files: str = ""
    chat_template: bool = False
    num_fewshot: int = -1
    limit: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative(self, "limit")
        for name, known in (("sets", SETS), ("models", MODELS)):
            values = tuple(getattr(self, name))
            object.__setattr__(self, name, values)
            unknown = [value for value in values if value not in known]
            if unknown or len({*values}) != len(values):
                raise UserError(
                    f"BenchmarkConfig.{name} = {values}; expected each of "
                    f"{', '.join(known)} at most once."
                )
        object.__setattr__(self, "tasks", tuple(self.tasks))
        for task in self.tasks:
            # A task names a directory.
            if not isinstance(task, str) or not re.fullmatch(r"[\w.:+-]+", task):
                raise UserError(
                    f"BenchmarkConfig.tasks has {task!r}; expected a name of a task, a "
                    "group or a tag of the harness, such as 'belebele_fin_Latn'."
                )
        if not self.models:
            raise UserError(
                f"BenchmarkConfig.models is empty; expected {' or '.join(MODELS)}."
            )
        if self.num_fewshot < -1:
            raise UserError(
                f"BenchmarkConfig.num_fewshot = {self.num_fewshot}; expected 0 or "
                "more, or -1 to leave it to the task."
            )
