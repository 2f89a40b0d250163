"""How a task of lm-evaluation-harness wants its texts generated.

As `eval.harness`, this module needs the harness to be installed.
"""

from collections.abc import Mapping
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.models.utils import normalize_gen_kwargs

from xinst_jax.errors import UserError

_NEW_TOKENS = 256
"""What the harness' models generate at most where a task does not say."""

_OF_SAMPLING = ("top_p", "top_k", "min_p")
_NEUTRAL: Mapping[str, Any] = {"top_k": 0, "num_beams": 1, "repetition_penalty": 1.0}
"""Arguments of transformers' generation, with the values that change nothing."""


def read(request: Instance) -> tuple[tuple[int, float, float], list[str]]:
    """(most tokens, temperature, top_p), and the stop strings, of a request.

    Raises:
      UserError: it asks for a way of sampling that `DecodeConfig` lacks.
    """
    asked = dict(normalize_gen_kwargs(dict(request.args[1]), _NEW_TOKENS))
    sampled = asked.pop("do_sample")
    temperature = float(asked.pop("temperature", 1.0)) if sampled else 0.0
    until = [text for text in asked.pop("until") if text]
    new_tokens = asked.pop("max_gen_toks")
    if not sampled:
        asked = {k: v for k, v in asked.items() if k not in _OF_SAMPLING}
    top_p = float(asked.pop("top_p", 1.0))
    more = {k: v for k, v in asked.items() if v not in (None, _NEUTRAL.get(k))}
    more.pop("temperature", None)
    if more:
        raise UserError(
            f"Task {request.task_name} generates with {more}; expected greedy "
            "decoding, or sampling by temperature and top_p. Leave the task out, or "
            "write a task file of your own without them (BenchmarkConfig.task_files)."
        )
    return (new_tokens, temperature, top_p), until
