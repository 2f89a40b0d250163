"""Generation for many prompts: prompts packed, slots refilled, rows put in order."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Literal

import jax
import numpy as np

from xinst_jax.config import DecodeConfig, ModelConfig
from xinst_jax.errors import UserError
from xinst_jax.infer import cache as cache_lib
from xinst_jax.infer import decode as decode_lib
from xinst_jax.infer import refill
from xinst_jax.infer import slots as slots_lib
from xinst_jax.infer.batches import check_lengths, check_tokens
from xinst_jax.infer.continuous import Continued, Programs, continue_all
from xinst_jax.infer.placement import place
from xinst_jax.infer.requests import Request, requests_of
from xinst_jax.infer.rows import buckets, packed, widths
from xinst_jax.infer.stop_strings import cut
from xinst_jax.infer.usage import Usage
from xinst_jax.mesh import ShardingRules, axis_names, platform
from xinst_jax.models import cached
from xinst_jax.models.decoder import Params

TextOf = Callable[[Sequence[int]], str]


@dataclasses.dataclass(frozen=True)
class Generation:
    """What one prompt was continued with.

    Attributes:
      tokens: generated ids, without the stop token, cut where a stop string begins.
      logprob: log-probability of the tokens, the stop token included, under the model's
        own distribution (natural logarithm, temperature 1).
      finish: 'stop' where a stop token or string ended it, 'length' where it ran out of
        tokens.
      text: the text up to a stop string, where one ended it; else None. The last token
        may reach into that string.
    """

    tokens: list[int]
    logprob: float
    finish: Literal["stop", "length"]
    text: str | None = None


class Engine:
    """Continues prompts with one model, in slots that are refilled as they get free.

    Attributes:
      buckets: prompt lengths in tokens, ascending: those configured, cut to what the
        model's longest sequence leaves after `max_new_tokens`.
      replica: which of the replicas this process generates with: a job gives it the
        rows, or shards, whose number leaves this remainder when divided by
      replicas: how many there are; 1 where one model lies over the mesh.
      leads: whether this process is the first of those that hold the replica.
      usage: what was done so far.
    """

    def __init__(
        self,
        params: Params,
        model: ModelConfig,
        rules: ShardingRules,
        mesh: jax.sharding.Mesh,
        decode: DecodeConfig,
        stop_ids: tuple[int, ...],
        vocab_limit: int,
        text_of: TextOf | None = None,
    ):
        """Readies the weights.

        Args:
          params: the weights, as `models.decoder.init_params` makes them.
          model: the decoder's shape.
          rules: how arrays are divided; with `embed` None each device keeps its weights
            whole along the model's width and a step of decoding gathers nothing.
          mesh: the devices of the run; DecodeConfig.placement says how many of them
            continue a row together.
          decode: how tokens are chosen.
          stop_ids: ids that end a row.
          vocab_limit: ids from this one on are never generated; the tokenizer's size,
            or the model's where that is smaller.
          text_of: the text of ids; needed for stop strings.

        Raises:
          UserError: a size does not fit the mesh, the model or the tokenizer.
        """
        placed = place(params, model, rules, mesh, decode.placement)
        mesh = placed.mesh
        rules.divide(mesh.shape, (decode.batch_rows,), ("batch",))
        if not 0 < vocab_limit <= model.vocab_size:
            raise UserError(
                f"The tokenizer has {vocab_limit} ids and the model's vocabulary "
                f"{model.vocab_size}: the tokenizer does not match the model."
            )
        self.buckets = buckets(decode, model)
        self.usage = Usage()
        self._kept: tuple[slots_lib.Sizes, slots_lib.Slots] | None = None
        self.replica, self.replicas = placed.replica, placed.replicas
        self.leads = placed.leads
        self._params = placed.params
        self._model, self._rules, self._mesh = model, rules, mesh
        self._decode, self._stop_ids = decode, stop_ids
        self._vocab_limit, self._text_of = vocab_limit, text_of
        self._devices = math.prod(mesh.shape[axis] for axis in axis_names(rules.batch))
        with jax.set_mesh(mesh):
            self._blocks = _apart(placed.params, decode.unstacked)
            self._shape = cache_lib.layout(
                model,
                decode.batch_rows,
                self.buckets[-1] + decode.max_new_tokens,
                decode.cache_dtype,
            )

    @property
    def longest_prompt(self) -> int:
        """Tokens of the longest prompt that can be continued."""
        return self.buckets[-1]

    @property
    def cache_bytes(self) -> int:
        """Bytes of the slots' keys and values, all devices together."""
        return cache_lib.bytes_of(self._model, self._shape)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        row_ids: Sequence[str],
        seed: int,
        *,
        samples: int = 1,
        max_new_tokens: Sequence[int] | None = None,
        stop_ids: Sequence[Sequence[int]] | None = None,
        stop_strings: Sequence[Sequence[str]] | None = None,
    ) -> list[Generation]:
        """Continues each prompt; equal (prompt, row id, seed) give equal results.

        Args:
          prompts: token ids of each prompt, BOS included where the model expects it.
          row_ids: a name for each row, from which its random numbers come.
          seed: the run's.
          samples: continuations of each prompt, which is read once for all. The first
            is what one alone would be.
          max_new_tokens: of each row; DecodeConfig's by default, and never more.
          stop_ids: of each row; the engine's by default.
          stop_strings: of each row; DecodeConfig's by default.

        Returns:
          The generations in the order given, those of one prompt side by side.

        Raises:
          UserError: a prompt is empty, too long, or has ids the model does not know,
            what is asked of a row cannot be, or the model's scores are no numbers.
        """
        decode, count = self._decode, len(prompts)
        check_tokens(prompts, self._vocab_limit)
        check_lengths(prompts, self.longest_prompt)
        requests = requests_of(
            row_ids,
            [decode.max_new_tokens] * count
            if max_new_tokens is None
            else max_new_tokens,
            [self._stop_ids] * count if stop_ids is None else stop_ids,
            [decode.stop_strings] * count if stop_strings is None else stop_strings,
            samples,
            count,
            decode.max_new_tokens,
        )
        if self._text_of is None and any(one.stop_strings for one in requests):
            raise UserError(
                "Rows have stop strings, and the engine was given no text_of to make "
                "texts of tokens with."
            )
        if not requests:
            return []
        with jax.set_mesh(self._mesh):
            before = _compiled()
            programs = self._programs(requests, seed)
            rows = packed([len(one) - 1 for one in prompts], *self._widths())
            done, slots = continue_all(
                programs, prompts, requests, samples, rows, self.usage
            )
            self._kept = programs.sizes, slots
            for name, count in _compiled().items():
                new = count - before[name]
                self.usage.programs[name] = self.usage.programs.get(name, 0) + new
        for row, continued in enumerate(done):
            _check_finite(continued, row_ids[row // samples])
        return [
            self._generation(request, continued)
            for request, continued in zip(requests, done, strict=True)
        ]

    def _widths(self) -> tuple[tuple[int, ...], int]:
        return widths(self._decode, self.buckets, self._mesh.shape["sequence"])

    def _programs(self, requests: Sequence[Request], seed: int) -> Programs:
        decode, shape = self._decode, self._shape
        model, rules = self._model, self._rules
        most_stops = max(len(request.stop_ids) for request in requests)
        sizes = slots_lib.sizes_for(decode, shape, most_stops)

        # On a CPU prefill gains nothing by blocks apart.
        read_blocks = self._blocks if platform() == "gpu" else ()

        def read(*rows: np.ndarray) -> tuple[jax.Array, jax.Array]:
            # A slot takes its whole length from a row, also of one that ends before.
            return decode_lib.read_prompts(
                self._params,
                read_blocks,
                *rows,
                model=model,
                rules=rules,
                spare=shape.columns,
            )

        def insert(
            slots: slots_lib.Slots,
            keys: tuple[jax.Array, jax.Array],
            order_b: np.ndarray,
            rows_bx: np.ndarray,
        ) -> slots_lib.Slots:
            return refill.insert(
                slots, *keys, order_b, rows_bx, model=model, rules=rules, shape=shape
            )

        def advance(
            slots: slots_lib.Slots,
            queue: tuple[jax.Array, jax.Array, np.ndarray] | None,
            kept_b: np.ndarray,
            wanted: int,
            most_steps: int,
        ) -> tuple[slots_lib.Slots, decode_lib.Report]:
            return decode_lib.decode_slots(
                self._params,
                self._blocks,
                slots,
                queue,
                kept_b,
                np.int32(wanted),
                np.int32(most_steps),
                np.uint32(seed),
                model=model,
                rules=rules,
                shape=shape,
                decode=decode,
                vocab_limit=self._vocab_limit,
            )

        kept, self._kept = self._kept, None
        if kept and kept[0] == sizes:
            slots = kept[1]
        else:
            del kept  # before others are made
            slots = slots_lib.empty_slots(
                model=model, rules=rules, shape=shape, sizes=sizes
            )
        widest = self._widths()[0][-1]
        return Programs(
            slots, self._devices, sizes, widest, read, insert, advance, self._text_of
        )

    def _generation(self, request: Request, continued: Continued) -> Generation:
        tokens = continued.tokens.tolist()
        logprobs, text = continued.logprobs, None
        stopped = continued.stopped
        if request.stop_strings:
            assert self._text_of is not None
            found = cut(tokens, request.stop_strings, self._text_of)
            if found:
                count, text = found
                self.usage.cut_tokens += len(tokens) - count
                tokens, logprobs, stopped = tokens[:count], logprobs[:count], True
        logprob = float(np.sum(logprobs, dtype=np.float64))
        return Generation(tokens, logprob, "stop" if stopped else "length", text)


def _check_finite(continued: Continued, row_id: str) -> None:
    """Refuses what a model without numbers continued a row with."""
    if not np.isfinite(continued.logprobs).all():
        raise UserError(
            f"The model gives {continued.logprobs.tolist()} as log-probabilities of "
            f"the tokens of row {row_id!r}, where numbers are expected: its weights "
            "are damaged or its training diverged. Look at its loss and train it "
            "again, with a lower learning rate."
        )


def _apart(params: Params, unstacked: str) -> tuple[Params, ...]:
    """The blocks' weights apart, on the mesh that is set, where they are wanted so."""
    if unstacked == "no" or (unstacked == "auto" and platform() == "tpu"):
        return ()
    layers = params["layers"]
    assert isinstance(layers, dict)
    return jax.jit(cached.apart)(layers)


def _compiled() -> dict[str, int]:
    """Programs of each kind that were compiled in this process."""
    return {
        "prefill": decode_lib.read_prompts._cache_size(),  # type: ignore[attr-defined]
        "insert": refill.insert._cache_size(),  # type: ignore[attr-defined]
        "decode": decode_lib.decode_slots._cache_size(),  # type: ignore[attr-defined]
    }
