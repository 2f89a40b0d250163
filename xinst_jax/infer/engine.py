"""Generation for many prompts: buckets, batches, and rows put back in order."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import jax
import numpy as np

from xinst_jax.config import DecodeConfig, ModelConfig
from xinst_jax.errors import UserError
from xinst_jax.infer.batches import Batch, bucketed, check_tokens
from xinst_jax.infer.decode import Decoded, decode_batch
from xinst_jax.infer.sample import row_hash
from xinst_jax.mesh import ShardingRules
from xinst_jax.models.decoder import Params, compute_params


@dataclasses.dataclass(frozen=True)
class Generation:
    """What one prompt was continued with.

    Attributes:
      tokens: generated ids, without the stop token.
      logprob: log-probability of the tokens, the stop token included, under the model's
        own distribution (natural logarithm, temperature 1).
      finish: 'stop' where a stop token ended it, 'length' where it ran out of tokens.
    """

    tokens: list[int]
    logprob: float
    finish: Literal["stop", "length"]


class Engine:
    """Continues prompts with one model; a program is compiled for each bucket.

    Attributes:
      buckets: prompt lengths in tokens, ascending: those configured, cut to what the
        model's longest sequence leaves after `max_new_tokens`.
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
    ):
        """Readies the weights.

        Args:
          params: the weights, as `models.decoder.init_params` makes them.
          model: the decoder's shape.
          rules: how arrays are divided; with `embed` None each device keeps its weights
            whole along the model's width and a step of decoding gathers nothing.
          mesh: the devices.
          decode: how tokens are chosen.
          stop_ids: ids that end a row.
          vocab_limit: ids from this one on are never generated; the tokenizer's size,
            or the model's where that is smaller.

        Raises:
          UserError: a size does not fit the mesh, the model or the tokenizer.
        """
        rules.divide(mesh.shape, (decode.batch_rows,), ("batch",))
        longest = model.max_length - decode.max_new_tokens
        if longest < 1:
            raise UserError(
                f"DecodeConfig.max_new_tokens = {decode.max_new_tokens} leaves no room "
                f"for a prompt in ModelConfig.max_length = {model.max_length}."
            )
        if not 0 < vocab_limit <= model.vocab_size:
            raise UserError(
                f"The tokenizer has {vocab_limit} ids and the model's vocabulary "
                f"{model.vocab_size}: the tokenizer does not match the model."
            )
        self.buckets = tuple(sorted({min(b, longest) for b in decode.prompt_buckets}))
        self._params = compute_params(model, rules, mesh, params)
        self._model, self._rules, self._mesh = model, rules, mesh
        self._decode, self._stop_ids = decode, stop_ids
        self._vocab_limit = vocab_limit

    @property
    def longest_prompt(self) -> int:
        """Tokens of the longest prompt that can be continued."""
        return self.buckets[-1]

    def generate(
        self, prompts: Sequence[Sequence[int]], row_ids: Sequence[str], seed: int
    ) -> list[Generation]:
        """Continues each prompt; equal (prompt, row id, seed) give equal results.

        Args:
          prompts: token ids of each prompt, BOS included where the model expects it.
          row_ids: a name for each row, from which its random numbers come.
          seed: the run's.

        Returns:
          One generation for each prompt, in the order given.

        Raises:
          UserError: a prompt is empty, too long, or has ids the model does not know.
        """
        check_tokens(prompts, self._vocab_limit)
        hashes = np.array([row_hash(row_id) for row_id in row_ids], np.uint32)
        batches = list(bucketed(prompts, self.buckets, self._decode.batch_rows))
        # All are enqueued before the first is fetched, so that the device never waits.
        running = [self._start(batch, hashes, seed) for batch in batches]
        found: dict[int, Generation] = {}
        for batch, decoded in zip(batches, running, strict=True):
            result = jax.device_get(decoded)
            for place, row in enumerate(batch.rows):
                found[row] = _generation(result, place)
        return [found[row] for row in range(len(prompts))]

    def _start(self, batch: Batch, hashes: np.ndarray, seed: int) -> Decoded:
        hashes_b = np.zeros(len(batch.lengths_b), np.uint32)
        hashes_b[: len(batch.rows)] = hashes[list(batch.rows)]
        with jax.set_mesh(self._mesh):
            return decode_batch(
                self._params,
                batch.tokens_bt,
                batch.lengths_b,
                hashes_b,
                np.uint32(seed),
                model=self._model,
                rules=self._rules,
                decode=self._decode,
                stop_ids=self._stop_ids,
                vocab_limit=self._vocab_limit,
            )


def _generation(decoded: Decoded, place: int) -> Generation:
    length = int(decoded.lengths_b[place])
    return Generation(
        tokens=[int(token) for token in decoded.tokens_bt[place, :length]],
        logprob=float(decoded.logprobs_b[place]),
        finish="stop" if decoded.stopped_b[place] else "length",
    )
