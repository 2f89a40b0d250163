"""Seed pairs by translation: English responses put into a language by an endpoint.

Any server that answers OpenAI's chat completions will do. What comes back is kept in a
file, a line an answer, so that nothing is asked for, or paid for, twice.
"""

import concurrent.futures
import dataclasses
import hashlib
import http.client
import json
import pathlib
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from typing import Any

from xinst_jax.config import TranslateConfig
from xinst_jax.errors import UserError
from xinst_jax.eval import exchange
from xinst_jax.languages import Language
from xinst_jax.pipeline import langid
from xinst_jax.pipeline.clean import clean
from xinst_jax.pipeline.corpus.boilerplate import Flaw
from xinst_jax.pipeline.executors import progress

_TRIES = 5
_FIRST_WAIT_SECONDS = 1.0
_TIMEOUT_SECONDS = 300.0
_BUSY = (408, 409, 429, 500, 502, 503, 504)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What an endpoint said.

    Attributes:
      text: as it came.
      whole: whether it ended by itself rather than at a limit.
    """

    text: str
    whole: bool


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows none: the key is for the configured host alone."""

    def redirect_request(self, *request: Any, **more: Any) -> None:
        return None


class Endpoint:
    """A server that translates, behind a cache of all that it ever said."""

    def __init__(self, config: TranslateConfig, cache: pathlib.Path):
        """Reads the cache; a last line that was cut off is passed over.

        Args:
          config: where the server is and what it is asked.
          cache: a JSONL file of answers; made if missing.

        Raises:
          UserError: the address is no HTTP address, the key cannot be sent, or would go
            unencrypted to another machine.
        """
        self._config, self._cache = config, cache
        self._opener = urllib.request.build_opener(_NoRedirects())
        self._check_address()
        self._key = exchange.key_for(config.url, config.key_variable)
        self._answers = dict(_cached(cache))

    def translate(
        self, texts: Iterable[str], language: Language
    ) -> Iterator[tuple[str, Answer]]:
        """Each text with its translation, in order; known ones are not asked for.

        Raises:
          UserError: the server refuses, or does not answer after five tries; what it
            has said before is in the cache.
        """
        texts = list(texts)
        prompts = [self._prompt(text, language) for text in texts]
        missing = list(
            dict.fromkeys(p for p in prompts if self._digest(p) not in self._answers)
        )
        self._ask_all(missing, language)
        for text, prompt in zip(texts, prompts, strict=True):
            yield text, self._answers[self._digest(prompt)]

    def _ask_all(self, prompts: list[str], language: Language) -> None:
        if not prompts:
            return
        self._cache.parent.mkdir(parents=True, exist_ok=True)
        pool = concurrent.futures.ThreadPoolExecutor(self._config.concurrency)
        with (
            progress.bar(f"translating {language.code}", len(prompts)) as advance,
            self._cache.open("ab") as file,
        ):
            if file.tell() and not self._cache.read_bytes().endswith(b"\n"):
                file.write(b"\n")
            writing = threading.Lock()

            def ask(prompt: str) -> None:
                """Keeps what is answered, also while another request ends the job."""
                answer, digest = self._ask(prompt), self._digest(prompt)
                record = {"key": digest, **dataclasses.asdict(answer)}
                line = json.dumps(record, ensure_ascii=True) + "\n"
                with writing:
                    file.write(line.encode())
                    file.flush()
                self._answers[digest] = answer

            futures = [pool.submit(ask, prompt) for prompt in prompts]
            try:
                for future in concurrent.futures.as_completed(futures):
                    future.result()
                    advance(1)
            finally:
                pool.shutdown(cancel_futures=True)

    def _prompt(self, text: str, language: Language) -> str:
        template = self._config.prompt.replace("{language}", language.name)
        return template.replace("{text}", text)

    def _digest(self, prompt: str) -> str:
        asked = [self._config.model, self._config.temperature, prompt]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

    def _ask(self, prompt: str) -> Answer:
        """One answer, waited for longer and longer while the server is busy."""
        wait, said = _FIRST_WAIT_SECONDS, ""
        for attempt in range(_TRIES):
            try:
                with self._opener.open(
                    self._request(prompt), timeout=_TIMEOUT_SECONDS
                ) as reply:
                    return _answer(json.loads(reply.read()), self._config.url)
            except urllib.error.HTTPError as error:
                said = f"status {error.code}"
                if error.code not in _BUSY:
                    raise UserError(
                        f"{self._config.url} refused to translate: {said}. Check "
                        "TranslateConfig.url and .model, and the key in the variable "
                        f"{self._config.key_variable}."
                    ) from None
                wait = _seconds(error.headers.get("Retry-After"), wait)
            except (OSError, ValueError, http.client.HTTPException) as error:
                said = self._key.struck(str(getattr(error, "reason", error)))
            if attempt + 1 < _TRIES:
                time.sleep(wait)
                wait *= 2
        raise UserError(
            f"{self._config.url} did not answer in {_TRIES} tries: {said}. What is "
            f"translated is kept in {self._cache}; run the same command to go on."
        )

    def _request(self, prompt: str) -> urllib.request.Request:
        body = {
            "model": self._config.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": self._config.temperature,
            "max_tokens": self._config.max_tokens,
        }
        headers = {"Content-Type": "application/json", **self._key.headers()}
        url = f"{self._config.url.rstrip('/')}/chat/completions"
        return urllib.request.Request(url, json.dumps(body).encode(), headers)

    def _check_address(self) -> None:
        address = urllib.parse.urlparse(self._config.url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise UserError(
                f"TranslateConfig.url = {self._config.url!r}; expected the base of an "
                "OpenAI-compatible server, such as 'http://localhost:8000/v1'."
            )


def flaw(
    source: str, answer: Answer, config: TranslateConfig, language: Language
) -> Flaw | None:
    """Why a translation is refused, if it is: cut, of odd length, in another language.

    Args:
      source: the English text.
      answer: what came back for it.
      config: how much longer or shorter it may be, and in what share the language.
      language: what it should be in.
    """
    text = clean(answer.text)
    if not text:
        return Flaw("translation_empty", "no text", "a translation")
    if not answer.whole:
        return Flaw("translation_cut", f"...{text[-20:]}", "ends by itself")
    ratio = len(text) / max(1, len(source))
    low, high = config.min_length_ratio, config.max_length_ratio
    if not low <= ratio <= high:
        found = f"{ratio:.2f} times the source"
        return Flaw("translation_length", found, f"{low} to {high}")
    verdict = langid.identify(
        text,
        language,
        config.min_lid_prob,
        min_script_share=config.min_script_share,
    )
    if verdict.reason:
        expected = f"{language.code} >= {config.min_lid_prob}"
        return Flaw("translation_language", verdict.found, expected)
    return None


def _answer(record: Any, url: str) -> Answer:
    """The text of a chat completion.

    Raises:
      UserError: it is none.
    """
    try:
        choice = record["choices"][0]
        text = choice["message"]["content"]
        whole = choice.get("finish_reason") != "length"
    except (KeyError, IndexError, TypeError, AttributeError):
        text, whole = None, False
    if not isinstance(text, str):
        raise UserError(
            f"{url} answered without choices[0].message.content. TranslateConfig.url "
            "must be the base of OpenAI-compatible chat completions."
        )
    return Answer(text, whole)


def _seconds(header: str | None, default: float) -> float:
    """What a server asks to wait for, if it is a number and no more than a minute."""
    try:
        return min(60.0, max(default, float(header or "")))
    except ValueError:
        return default


def _cached(path: pathlib.Path) -> Iterator[tuple[str, Answer]]:
    if not path.exists():
        return
    for line in path.read_bytes().splitlines():
        try:
            record = json.loads(line)
            yield record["key"], Answer(str(record["text"]), bool(record["whole"]))
        except (ValueError, KeyError, TypeError):
            continue
