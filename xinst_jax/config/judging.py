"""What judges answers, and the endpoints that answer over the network."""

import dataclasses
import re
import urllib.parse

from xinst_jax.config.fields import (
    Typed,
    not_negative,
    one_of,
    operational,
    positive,
    registered,
    scoped,
    share,
)
from xinst_jax.errors import UserError

PROMPTS = ("scores", "verdict")
RULES = ("agree", "lenient", "sum")
SAMPLES = ("first", "shortest", "longest")
ENDPOINT = "endpoint"
"""What stands for the configured endpoint where a model can be named."""


@registered
@dataclasses.dataclass(frozen=True)
class EndpointConfig(Typed):
    """An OpenAI-compatible endpoint, what it is asked and what it may cost.

    Attributes:
      url: its base URL, to which /chat/completions is added; empty for none.
      model: the model's name there.
      key_variable: environment variable that holds the key; empty sends no key. The key
        itself is never configured.
      temperature: as the endpoint understands it; 0 for a judge.
      top_p: likewise.
      max_tokens: most tokens of a completion.
      limit_field: what the endpoint calls `max_tokens` in a request.
      usd_per_million_prompt_tokens: price, in US dollars.
      usd_per_million_completion_tokens: likewise.
      cost_limit_usd: most that all requests of a workdir may cost; 0 sets no limit.
      bytes_per_token: UTF-8 bytes of a token, for the estimate before the first call;
        the limit is kept by counted tokens.
      requests_per_minute: most requests started in a minute; 0 sets no limit.
      concurrency: most requests under way at a time.
      timeout_seconds: longest silence of the endpoint.
      attempts: most times that one request is sent.
    """

    url: str = ""
    model: str = ""
    key_variable: str = operational("OPENAI_API_KEY")
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 256
    limit_field: str = "max_tokens"
    usd_per_million_prompt_tokens: float = operational(0.0)
    usd_per_million_completion_tokens: float = operational(0.0)
    cost_limit_usd: float = operational(0.0)
    bytes_per_token: float = operational(3.0)
    requests_per_minute: int = operational(0)
    concurrency: int = operational(8)
    timeout_seconds: float = operational(120.0)
    attempts: int = operational(6)

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "max_tokens", "concurrency", "timeout_seconds", "attempts")
        positive(self, "bytes_per_token", "top_p")
        not_negative(self, "temperature", "requests_per_minute", "cost_limit_usd")
        not_negative(
            self, "usd_per_million_prompt_tokens", "usd_per_million_completion_tokens"
        )
        share(self, "top_p")
        one_of(self, "limit_field", ("max_tokens", "max_completion_tokens"))
        if self.key_variable and not re.fullmatch(
            r"[A-Z_][A-Z0-9_]*", self.key_variable
        ):
            # A key that was put here by mistake must not be printed.
            raise UserError(
                "EndpointConfig.key_variable is the name of an environment variable, "
                "in capitals (OPENAI_API_KEY); what it is set to is no such name."
            )
        if self.url:
            self._check_url()

    def _check_url(self) -> None:
        parts = urllib.parse.urlsplit(self.url)
        if parts.username or parts.password or parts.query:
            raise UserError(
                "EndpointConfig.url holds a name, a password or a query; keys come "
                "from the environment alone (EndpointConfig.key_variable)."
            )
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UserError(
                f"EndpointConfig.url = {self.url!r}; expected a URL like "
                "'https://api.openai.com/v1'."
            )
        if not self.model:
            raise UserError(
                f"EndpointConfig.url = {self.url!r} without EndpointConfig.model, the "
                "model's name there."
            )
        if self.cost_limit_usd and not (
            self.usd_per_million_prompt_tokens or self.usd_per_million_completion_tokens
        ):
            raise UserError(
                "EndpointConfig.cost_limit_usd needs prices to be kept: set "
                "usd_per_million_prompt_tokens and usd_per_million_completion_tokens."
            )


@registered
@dataclasses.dataclass(frozen=True)
class JudgeConfig(Typed):
    """Who compares two answers, with which prompt, and what counts as a win.

    Attributes:
      judge: 'endpoint' for `endpoint`; 'base' or 'model', this run's models, or the
        path of a Hugging Face folder, for a local one; empty for no judge.
      prompt: 'scores', the paper's: an integer from 0 to 10 for each answer; or
        'verdict': which is better, or neither. A local judge takes 'verdict'.
      rule: how the two orders become one verdict. 'agree': the winner of both, else a
        tie. 'lenient': the winner of one that does not lose the other. 'sum': the
        higher sum of both orders' scores, or label probabilities.
      sample: which of a question's n answers is judged: 'first', 'shortest' or
        'longest', in characters.
      planted_pairs: pairs of each kind and language whose better side is known, to
        judge the judge by; 0 for none.
      bootstrap: resamples behind an interval.
      batch_rows: pairs that a local judge reads together.
      endpoint: the judge's endpoint.
    """

    judge: str = ""
    prompt: str = "scores"
    rule: str = "agree"
    sample: str = "first"
    planted_pairs: int = 10
    bootstrap: int = 10000
    batch_rows: int = 8
    endpoint: EndpointConfig = dataclasses.field(
        default_factory=scoped(EndpointConfig, "judge")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(self, "prompt", PROMPTS)
        one_of(self, "rule", RULES)
        one_of(self, "sample", SAMPLES)
        positive(self, "bootstrap", "batch_rows")
        not_negative(self, "planted_pairs")
        if self.judge == ENDPOINT and not self.endpoint.url:
            raise UserError(
                "JudgeConfig.judge = 'endpoint' needs judge/EndpointConfig.url."
            )
        if self.judge not in ("", ENDPOINT) and self.prompt != "verdict":
            raise UserError(
                f"JudgeConfig.judge = {self.judge!r} is a local model, which is read "
                "by the probabilities of its labels: set JudgeConfig.prompt = "
                "'verdict'."
            )
