"""Many requests to an OpenAI-compatible endpoint: each paid once, none lost."""

import concurrent.futures
import dataclasses
import functools
import pathlib
import random
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx2

from xinst_jax.config.judging import EndpointConfig
from xinst_jax.errors import UserError
from xinst_jax.eval import exchange
from xinst_jax.eval.completions import Completion, Completions, digest
from xinst_jax.eval.ledger import Ledger, nano_usd, usd

_QUIET_SECONDS = 30.0
"""Time between two lines of progress."""

_TOKENS_A_MESSAGE = 16
"""Tokens that a chat format may add around a message, counted generously."""

Message = tuple[str, str]
"""A role and what it says."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked.

    Attributes:
      messages: (role, content) in order.
      sample: which of several answers to the same messages this is, from 0.
    """

    messages: tuple[Message, ...]
    sample: int = 0


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What requests would cost.

    Attributes:
      requests: how many different ones there are.
      kept: how many of them were answered before, and cost nothing.
      prompt_bytes: UTF-8 bytes of those that would be sent.
      nano: nano-dollars by `EndpointConfig.bytes_per_token`, completions at their
        longest.
      most: nano-dollars if every byte were a token.
    """

    requests: int
    kept: int
    prompt_bytes: int
    nano: int
    most: int

    def __str__(self) -> str:
        return (
            f"{self.requests:,} requests, {self.kept:,} of them answered before; "
            f"{self.prompt_bytes:,} bytes to send; about {usd(self.nano)}, at most "
            f"{usd(self.most)}"
        )


class Endpoint:
    """One endpoint, with its completions and its ledger in a folder."""

    def __init__(
        self,
        config: EndpointConfig,
        directory: pathlib.Path,
        *,
        sleep: Callable[[float], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Readies the folder; nothing is sent yet.

        Args:
          config: the endpoint.
          directory: its folder; several endpoints may share one, with one limit.
          sleep: waits that many seconds; None waits as long as all goes well.
          clock: seconds.
        """
        self._config, self._directory = config, directory
        self._completions = Completions(directory)
        self._sleep, self._clock = sleep, clock
        self._pace_lock = threading.Lock()
        self._start_after = clock()

    def estimate(self, requests: Sequence[Request]) -> Estimate:
        """What the requests would cost; sends nothing and needs no key."""
        records = self._records(requests)
        unsent = [
            record
            for name, record in records.items()
            if self._completions.get(name) is None
        ]
        sizes = [_prompt_bytes(record) for record in unsent]
        each = self._config.bytes_per_token
        return Estimate(
            requests=len(records),
            kept=len(records) - len(unsent),
            prompt_bytes=sum(sizes),
            nano=sum(self._price(-(-size // each)) for size in sizes),
            most=sum(self._most(record) for record in unsent),
        )

    def complete(self, requests: Sequence[Request]) -> list[Completion]:
        """The completions, in order; only those not kept yet are asked for.

        Equal requests are sent once. After a failure that stays, those under way end
        and are kept, and no other is sent.

        Raises:
          UserError: the key is missing, the endpoint refuses a request or fails every
            attempt at it, or the cost limit is reached. Run again, it goes on.
        """
        records = self._records(requests)
        found = {name: self._completions.get(name) for name in records}
        missing = {name: records[name] for name, got in found.items() if got is None}
        if missing:
            found |= self._sent(missing)
        names = [digest(self._record(request)) for request in requests]
        kept = [found[name] for name in names]
        return [completion for completion in kept if completion is not None]

    def _sent(self, missing: Mapping[str, dict[str, Any]]) -> dict[str, Completion]:
        key = self._key()
        ledger = Ledger(self._directory / "ledger.jsonl", self._config.cost_limit_usd)
        stop = threading.Event()
        limits = httpx2.Limits(max_connections=self._config.concurrency)
        found: dict[str, Completion] = {}
        errors: list[Exception] = []
        with (
            httpx2.Client(
                timeout=self._config.timeout_seconds, limits=limits, verify=_trust()
            ) as client,
            concurrent.futures.ThreadPoolExecutor(self._config.concurrency) as pool,
        ):

            def ask(name: str) -> Completion | None:
                if stop.is_set():
                    return None
                try:
                    return self._ask(client, ledger, key, name, missing[name], stop)
                except BaseException:
                    stop.set()
                    raise

            try:
                running = {pool.submit(ask, name): name for name in missing}
                told = self._clock()
                for done in concurrent.futures.as_completed(running):
                    if self._clock() - told >= _QUIET_SECONDS:
                        told = self._clock()
                        print(
                            f"  {self._config.model}: {len(found)} of {len(missing)} "
                            f"requests answered, {usd(ledger.spent)} spent",
                            flush=True,
                        )
                    error = done.exception()
                    if isinstance(error, Exception):
                        errors.append(error)
                    elif (completion := done.result()) is not None:
                        found[running[done]] = completion
            except BaseException:
                stop.set()
                raise
        if errors:
            unexpected = [e for e in errors if not isinstance(e, UserError)]
            raise (unexpected or errors)[0]
        return found

    def _ask(
        self,
        client: httpx2.Client,
        ledger: Ledger,
        key: exchange.Key,
        name: str,
        record: dict[str, Any],
        stop: threading.Event,
    ) -> Completion | None:
        """Sends one request until it is answered; None once the others are stopped."""
        draw, most = random.Random(), self._most(record)
        sleep = self._sleep or stop.wait
        for attempt in range(1, self._config.attempts + 1):
            if stop.is_set():
                return None
            self._pace(sleep)
            reservation = ledger.reserve(name, most)
            try:
                reply = exchange.post(client, record["url"], record["body"], key)
            except exchange.Failure as failure:
                ledger.pay(reservation, most if failure.billed else 0)
                last, wait = str(failure), failure.wait
            except UserError:
                ledger.pay(reservation, 0)
                raise
            except BaseException:
                ledger.abandon()
                raise
            else:
                cost = self._cost(reply, most)
                final = reply.text.strip() or reply.finish == exchange.FILTERED
                if final or attempt == self._config.attempts:
                    completion = Completion(
                        name,
                        reply.text,
                        reply.finish,
                        -1
                        if reply.completion_tokens is None
                        else reply.completion_tokens,
                    )
                    self._completions.put(completion, record)
                    ledger.pay(reservation, cost)
                    return completion
                ledger.pay(reservation, cost)
                last, wait = "an empty completion", 0.0
            if attempt < self._config.attempts:
                sleep(exchange.backoff(attempt, wait, draw))
        raise UserError(
            f"{record['url']} failed {self._config.attempts} times on one request; at "
            f"last: {last}. What came is kept: run the same command again to go on."
        )

    def _pace(self, sleep: Callable[[float], object]) -> None:
        """Waits for this request's turn, so many a minute."""
        if not self._config.requests_per_minute:
            return
        with self._pace_lock:
            now = self._clock()
            start = max(now, self._start_after)
            self._start_after = start + 60.0 / self._config.requests_per_minute
        if start > now:
            sleep(start - now)

    def _key(self) -> exchange.Key:
        variable = self._config.key_variable
        if not variable:
            return exchange.Key("")
        key = exchange.key_for(self._config.url, variable)
        if not key.value:
            raise UserError(
                f"The environment has no {variable}, which EndpointConfig.key_variable "
                f"names for {self._config.url}. Set it, or set key_variable = '' for "
                "an endpoint that takes no key."
            )
        return key

    def _records(self, requests: Sequence[Request]) -> dict[str, dict[str, Any]]:
        records = [self._record(request) for request in requests]
        return {digest(record): record for record in records}

    def _record(self, request: Request) -> dict[str, Any]:
        config = self._config
        return {
            "url": config.url,
            "sample": request.sample,
            "body": {
                "model": config.model,
                "messages": [
                    {"role": role, "content": content}
                    for role, content in request.messages
                ],
                "temperature": config.temperature,
                "top_p": config.top_p,
                config.limit_field: config.max_tokens,
            },
        }

    def _price(self, prompt_tokens: float, completion_tokens: int = -1) -> int:
        tokens = self._config.max_tokens if completion_tokens < 0 else completion_tokens
        return nano_usd(
            int(prompt_tokens),
            tokens,
            self._config.usd_per_million_prompt_tokens,
            self._config.usd_per_million_completion_tokens,
        )

    def _most(self, record: Mapping[str, Any]) -> int:
        """The most a request can cost: no tokenizer makes more tokens than bytes."""
        messages = len(record["body"]["messages"])
        around = _TOKENS_A_MESSAGE * (messages + 1)
        return self._price(_prompt_bytes(record) + around)

    def _cost(self, reply: exchange.Reply, most: int) -> int:
        if reply.prompt_tokens is None or reply.completion_tokens is None:
            return most
        return self._price(reply.prompt_tokens, reply.completion_tokens)


@functools.cache
def _trust() -> ssl.SSLContext:
    # A tenth of a second to load, the same for all.
    return httpx2.create_ssl_context()


def _prompt_bytes(record: Mapping[str, Any]) -> int:
    messages = record["body"]["messages"]
    return sum(len(message["content"].encode()) for message in messages)
