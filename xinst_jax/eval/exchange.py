"""One request to an OpenAI-compatible endpoint: sent, its answer read or refused."""

import dataclasses
import email.utils
import json
import os
import random
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

import httpx2

from xinst_jax.errors import UserError

_LONGEST_BACKOFF = 60.0
_LONGEST_WAIT = 600.0
_PASSING = frozenset((408, 409, 425, 429))
_SHOWN = 300
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
FILTERED = "content_filter"
"""How endpoints say that they do not answer a text."""


@dataclasses.dataclass(frozen=True)
class Key:
    """A secret: sent in a header, and struck out of every text that comes back.

    Attributes:
      value: the key; empty for none.
    """

    value: str = dataclasses.field(repr=False)

    def headers(self) -> dict[str, str]:
        """The header that carries it."""
        return {"Authorization": f"Bearer {self.value}"} if self.value else {}

    def struck(self, text: str) -> str:
        """A text without the key in it."""
        return text.replace(self.value, "[key]") if self.value else text


def key_for(url: str, variable: str) -> Key:
    """The key that an environment variable holds, for requests to a URL.

    Raises:
      UserError: it cannot be sent, or would go unencrypted to another machine.
    """
    value = os.environ.get(variable, "").strip()
    if not (value.isascii() and value.isprintable()):
        raise UserError(
            f"The key in {variable} has characters that no header takes. Set the "
            "variable to the key alone."
        )
    address = urllib.parse.urlsplit(url)
    if value and address.scheme == "http" and address.hostname not in _LOCAL_HOSTS:
        raise UserError(
            f"{url} would carry the key of {variable} unencrypted. Give an https "
            "address, or unset the variable."
        )
    return Key(value)


@dataclasses.dataclass(frozen=True)
class Reply:
    """What an endpoint answered.

    Attributes:
      text: the completion.
      finish: why it ended, as the endpoint says.
      prompt_tokens: tokens sent, as the endpoint counts; None where it does not say.
      completion_tokens: tokens received, likewise.
    """

    text: str
    finish: str
    prompt_tokens: int | None
    completion_tokens: int | None


class Failure(Exception):
    """A request that may succeed when it is sent again.

    Attributes:
      wait: seconds that the endpoint asks to wait.
      billed: whether it may have cost something.
    """

    def __init__(self, what: str, *, billed: bool, wait: float = 0.0):
        super().__init__(what)
        self.wait, self.billed = wait, billed


def post(client: httpx2.Client, url: str, body: Mapping[str, Any], key: Key) -> Reply:
    """Sends one request.

    Args:
      client: with its timeouts.
      url: the endpoint's base URL.
      body: the request.
      key: sent, and struck out of the reply.

    Raises:
      Failure: the endpoint is busy, broken, silent or not to be understood.
      UserError: it refuses the request, and would again.
    """
    try:
        response = client.post(
            f"{url.rstrip('/')}/chat/completions", json=body, headers=key.headers()
        )
    except httpx2.ConnectError as error:
        # Never with the error's own chain: it holds the request and its headers.
        raise Failure(
            f"no connection ({key.struck(str(error))})", billed=False
        ) from None
    except httpx2.TimeoutException as error:
        unsent = isinstance(error, (httpx2.ConnectTimeout, httpx2.PoolTimeout))
        raise Failure("no answer in time", billed=not unsent) from None
    except httpx2.HTTPError as error:
        raise Failure(f"broken off ({key.struck(str(error))})", billed=True) from None
    # Struck before it is cut, lest a part of the key is left.
    answered = key.struck(response.text)
    said = answered[:_SHOWN]
    if response.status_code in _PASSING or response.status_code >= 500:
        raise Failure(
            f"status {response.status_code}: {said}",
            billed=False,
            wait=asked_wait(response.headers.get("retry-after", "")),
        )
    if response.status_code == 400 and FILTERED in answered:
        # One text that is not let through is no reason to stop at all others.
        return Reply("", FILTERED, 0, 0)
    if response.status_code != 200:
        raise UserError(
            f"{url} refuses the request with status {response.status_code}: {said}. "
            "See EndpointConfig: url, model, key_variable."
        )
    return read(response.content, key)


def read(content: bytes, key: Key) -> Reply:
    """The completion in a response's body.

    Raises:
      Failure: it is not JSON, or has no completion in it.
    """
    try:
        record = _struck(json.loads(content), key)
        choice = record["choices"][0]
        text = choice["message"]["content"]
        usage = record.get("usage") or {}
        if text is not None and not isinstance(text, str):
            raise TypeError(type(text).__name__)
        return Reply(
            text or "",
            str(choice.get("finish_reason") or ""),
            _count(usage.get("prompt_tokens")),
            _count(usage.get("completion_tokens")),
        )
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        shown = key.struck(content.decode(errors="replace"))[:_SHOWN]
        raise Failure(f"no completion in {shown!r}", billed=True) from None


def backoff(attempt: int, wait: float, draw: random.Random) -> float:
    """Seconds before the next attempt: doubling from 1, half of it by chance.

    Args:
      attempt: how many were made, from 1.
      wait: seconds that the endpoint asked for at least.
      draw: where the chance comes from, so that many clients do not come back at once.
    """
    longest = min(_LONGEST_BACKOFF, 2.0 ** (attempt - 1))
    return max(wait, longest * draw.uniform(0.5, 1.0))


def asked_wait(header: str) -> float:
    """Seconds that a Retry-After header asks for, 0 where it asks for none.

    >>> asked_wait("7"), asked_wait("soon"), asked_wait("86400")
    (7.0, 0.0, 600.0)
    """
    try:
        seconds = float(header)
    except ValueError:
        try:
            at = email.utils.parsedate_to_datetime(header)
        except (ValueError, TypeError):
            return 0.0
        seconds = at.timestamp() - time.time()
    return min(max(seconds, 0.0), _LONGEST_WAIT)


def _struck(record: Any, key: Key) -> Any:
    """A JSON record with the key struck out of all its texts."""
    if isinstance(record, str):
        return key.struck(record)
    if isinstance(record, list):
        return [_struck(item, key) for item in record]
    if isinstance(record, dict):
        return {name: _struck(value, key) for name, value in record.items()}
    return record


def _count(value: Any) -> int | None:
    """Tokens that an endpoint says it counted; None unless that can be a number."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and value >= 0 else None
