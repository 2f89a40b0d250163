"""Our scoring and decoding as a model of EleutherAI's lm-evaluation-harness.

Texts become tokens, windows and truncations as they do for the harness' own model of
transformers, so that a benchmark gives the same figures for a folder and for the
parameters that were imported from it, or exported to it. The harness is an extra
(requirements-harness.txt): nothing that runs without it imports this module.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import tqdm
from lm_eval import utils
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM

from xinst_jax import distributed
from xinst_jax.config import DecodeConfig, ModelConfig
from xinst_jax.errors import UserError
from xinst_jax.eval import generation_settings
from xinst_jax.eval.chat_format import ChatFormat
from xinst_jax.eval.prefix import prefix_id
from xinst_jax.infer.engine import Engine
from xinst_jax.infer.score import continuation_logprobs
from xinst_jax.mesh import ShardingRules
from xinst_jax.models.decoder import Params, compute_params

if TYPE_CHECKING:
    from xinst_jax.data.vocab import Vocabulary

_SMALLEST_BUCKET = 64
_BATCHES = 8
"""Batches that are generated between two steps of the progress bar."""

TokenRequest = tuple[Any, list[int], list[int]]
"""The harness' own: (what was asked as text, or None; context ids; continuation ids)"""


@dataclasses.dataclass(frozen=True)
class Weights:
    """A model on its devices.

    Attributes:
      params: the weights.
      model: the decoder's shape.
      rules: how arrays are divided.
      mesh: the devices.
    """

    params: Params
    model: ModelConfig
    rules: ShardingRules
    mesh: jax.sharding.Mesh


class HarnessModel(TemplateLM):
    """One model with its tokenizer, as the harness asks it.

    Of several processes every one asks and answers everything, together with the
    others; process 0 alone shows progress.

    Attributes:
      max_length: tokens that are read at most; longer contexts lose their start.
      truncated: requests so far whose context lost its start.
      output_lang: English name of the language that a chat template asks for answers
        in; empty for none.
    """

    def __init__(
        self,
        weights: Weights,
        vocabulary: "Vocabulary",
        batch_rows: int,
        length: int,
        seed: int = 0,
        chat: ChatFormat | None = None,
    ):
        """Readies the weights.

        Args:
          weights: the model.
          vocabulary: its tokenizer.
          batch_rows: packed rows scored together, and prompts decoded together.
          length: tokens of a packed row at least.
          seed: from which sampling tasks draw.
          chat: how it is spoken to where the harness applies a chat template; a text
            then spells special tokens, as in transformers. None is for plain text.

        Raises:
          UserError: the batch does not divide over the mesh.
        """
        super().__init__()
        mesh, rules = weights.mesh, weights.rules
        rules.divide(mesh.shape, (batch_rows,), ("batch",))
        params = compute_params(weights.model, rules, mesh, weights.params)
        self._weights = dataclasses.replace(weights, params=params)
        self._vocabulary = vocabulary
        self._batch_rows, self._length, self._seed = batch_rows, length, seed
        self._prefix_id = prefix_id(vocabulary)
        self._chat = chat
        self._kept: tuple[DecodeConfig, Engine] | None = None
        self.max_length = weights.model.max_length
        self.truncated = 0
        self.output_lang = ""

    @property
    def eot_token_id(self) -> int:
        """The id that ends a text."""
        return self._vocabulary.eos_id

    @property
    def prefix_token_id(self) -> int:
        """The id that stands before a text without context; see `prefix_id`."""
        return self._prefix_id

    @property
    def tokenizer_name(self) -> str:
        """By which the harness tells apart what it caches."""
        return str(self._vocabulary.path)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The template that `apply_chat_template` renders with; None without one."""
        return self._chat.template if self._chat and chat_template else None

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """A conversation as the text that the model reads.

        Args:
          chat_history: messages with 'role' and 'content'.
          add_generation_prompt: whether the model speaks next; else it goes on with the
            last message.

        Raises:
          UserError: the template does not take the conversation.
        """
        assert self._chat is not None
        return self._chat.render(
            chat_history, prompt=add_generation_prompt, output_lang=self.output_lang
        )

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """Ids of a text, after the begin token where its tokenizer puts one.

        Args:
          string: the text; the name of a special token in it is spelled as text, or
            with a chat template is that token.
          add_special_tokens: False leaves the begin token out.
        """
        if self._chat is not None:
            return self._chat.encode(string, add_special_tokens, self._prefix_id)
        if add_special_tokens is False:
            return self._vocabulary.encode(string)
        return self._vocabulary.encode_prompt(string)

    def loglikelihood_rolling(
        self, requests: Sequence[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Log-probability of each text, in nats, read in windows of `max_length`.

        The windows are the harness' own: the first follows the prefix token, each later
        one predicts what the one before did not, after as much context as fits.
        """
        windows: list[TokenRequest] = []
        owners: list[int] = []
        for number, request in enumerate(requests):
            [text] = request.args
            for context, continuation in map(
                utils.make_disjoint_window,
                utils.get_rolling_token_windows(
                    token_list=self.tok_encode(text),
                    prefix_token=self.prefix_token_id,
                    max_seq_len=self.max_length,
                    context_len=1,
                ),
            ):
                windows.append((None, context, continuation))
                owners.append(number)
        sums = [0.0] * len(requests)
        scores = self._loglikelihood_tokens(windows, disable_tqdm=disable_tqdm)
        for owner, (logprob, _) in zip(owners, scores, strict=True):
            sums[owner] += logprob
        for request, total in zip(requests, sums, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return sums

    def generate_until(
        self, requests: Sequence[Instance], disable_tqdm: bool = False
    ) -> list[str]:
        """What each context is continued with, up to the first of its stop strings.

        A row ends with the token in which one of its stop strings is complete. Of
        strings that overlap, the one that is complete first cuts it.

        Raises:
          UserError: a task asks for a way of sampling that `DecodeConfig` lacks, or for
            more tokens than the model holds.
        """
        groups: dict[tuple[int, float, float], list[int]] = {}
        stops: list[list[str]] = []
        for number, request in enumerate(requests):
            settings, until = generation_settings.read(request)
            groups.setdefault(settings, []).append(number)
            stops.append(until)
        found = [""] * len(requests)
        with self._bar(len(requests), "generate_until", disable_tqdm) as bar:
            for settings, members in groups.items():
                room = self._room(settings[0])
                prompts = {
                    number: self._fitted(requests[number].args[0], room)
                    for number in members
                }
                engine = self._engine(*settings, max(map(len, prompts.values())))
                # The longest first: the time left is never underestimated.
                members.sort(key=lambda number: (-len(prompts[number]), number))
                step = _BATCHES * self._batch_rows
                for start in range(0, len(members), step):
                    part = members[start : start + step]
                    generations = engine.generate(
                        [prompts[number] for number in part],
                        [str(number) for number in part],
                        self._seed,
                        stop_strings=[stops[number] for number in part],
                    )
                    for number, one in zip(part, generations, strict=True):
                        cut = one.text
                        found[number] = (
                            self._vocabulary.decode(one.tokens) if cut is None else cut
                        )
                    bar.update(len(part))
                del engine  # before another is made
        for request, text in zip(requests, found, strict=True):
            self.cache_hook.add_partial("generate_until", request.args, text)
        return found

    def _loglikelihood_tokens(
        self,
        requests: Sequence[TokenRequest],
        disable_tqdm: bool = False,
        **_: Any,
    ) -> list[tuple[float, bool]]:
        """Log-probability of each continuation, and whether it is greedy decoding's."""
        pairs = []
        for text, context, continuation in requests:
            if not 0 < len(continuation) <= self.max_length:
                raise UserError(
                    f"A continuation of {len(continuation)} tokens cannot be scored; "
                    f"expected 1 to {self.max_length}. It is that of {text!r:.200}."
                )
            room = self.max_length + 1 - len(continuation)
            self.truncated += len(context) > room
            pairs.append((tuple(context[-room:]), tuple(continuation)))
        # A task's choices share their context, and some tasks ask a pair twice.
        asked: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
        for before, after in dict.fromkeys(pairs):
            asked.setdefault(before, []).append(after)
        read = max((len(before) + len(after) - 1 for before, after in pairs), default=0)
        weights, distinct = self._weights, sum(map(len, asked.values()))
        with self._bar(distinct, "loglikelihood", disable_tqdm) as bar:
            scores = continuation_logprobs(
                weights.params,
                weights.model,
                weights.rules,
                weights.mesh,
                list(asked),
                list(asked.values()),
                self._batch_rows,
                max(self._length, read),
                bar.update,
            )
        found = {
            (before, after): (float(logprob), bool(greedy))
            for (before, each), *both in zip(asked.items(), *scores, strict=True)
            for after, logprob, greedy in zip(each, *both, strict=True)
        }
        answers = [found[pair] for pair in pairs]
        for request, answer in zip(requests, answers, strict=True):
            # A window of a rolling text has no text of its own.
            if request[0] is not None:
                self.cache_hook.add_partial("loglikelihood", request[0], answer)
        return answers

    def _engine(
        self, new_tokens: int, temperature: float, top_p: float, longest: int
    ) -> Engine:
        """What generates so, after prompts of at most `longest` tokens.

        One is kept, so that tasks of one kind share it; slots are as long as the
        longest prompt needs, not as the model allows.
        """
        weights, buckets = self._weights, [_SMALLEST_BUCKET]
        while buckets[-1] < longest:
            buckets.append(2 * buckets[-1])
        decode = DecodeConfig(
            max_new_tokens=new_tokens,
            temperature=temperature,
            top_p=top_p,
            batch_rows=self._batch_rows,
            prompt_buckets=tuple(buckets),
        )
        if self._kept is None or self._kept[0] != decode:
            self._kept = None  # its slots go before others come
            engine = Engine(
                weights.params,
                weights.model,
                weights.rules,
                weights.mesh,
                decode,
                self._vocabulary.stop_ids,
                min(self._vocabulary.vocab_size, weights.model.vocab_size),
                self._vocabulary.decode,
            )
            self._kept = decode, engine
        return self._kept[1]

    def _room(self, new_tokens: int) -> int:
        """Tokens of the longest prompt that so many can be generated after."""
        if new_tokens >= self.max_length:
            raise UserError(
                f"A task generates {new_tokens} tokens, and the model holds "
                f"{self.max_length} together with the prompt. Leave the task out, or "
                "lower max_gen_toks in a task file of your own."
            )
        return self.max_length - new_tokens

    def _fitted(self, context: str, room: int) -> list[int]:
        """A prompt's ids; what is too long loses its start."""
        ids = self.tok_encode(context)
        self.truncated += len(ids) > room
        return ids[-room:]

    def _bar(self, total: int, kind: str, disabled: bool) -> tqdm.tqdm:
        return tqdm.tqdm(
            total=total,
            desc=kind,
            unit="request",
            disable=disabled or not distributed.is_primary(),
        )
