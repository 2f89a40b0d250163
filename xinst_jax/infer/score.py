"""Log-probabilities of given text: of continuations, labels and responses.

One prefill of packed rows serves all of them: prompts stand in a row one after another,
each with its continuations behind it, and the head is computed where a target is
predicted and nowhere else.
"""

import collections
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from xinst_jax.config import ModelConfig
from xinst_jax.errors import UserError
from xinst_jax.infer import packs
from xinst_jax.infer.batches import check_lengths, check_tokens
from xinst_jax.infer.packs import Tokens
from xinst_jax.infer.rows import unit_of
from xinst_jax.infer.score_rows import score_rows
from xinst_jax.mesh import ShardingRules
from xinst_jax.models.decoder import Params, compute_params

_CHUNK = 64
"""Targets of a row whose logits are held at once, on a device that has it whole."""

_AHEAD = 2
"""Batches that are enqueued before the first is fetched, so that no device waits."""


class Scores(NamedTuple):
    """How likely each continuation is after its prompt; an entry for each prompt.

    Attributes:
      logprobs: float32 of each continuation, natural logarithms, summed over tokens.
      greedy: booleans, whether it is what greedy decoding writes, token by token: of
        equally likely tokens the one of lowest id.
    """

    logprobs: list[np.ndarray]
    greedy: list[np.ndarray]


def continuation_logprobs(
    params: Params,
    model: ModelConfig,
    rules: ShardingRules,
    mesh: jax.sharding.Mesh,
    prompts: Sequence[Tokens],
    continuations: Sequence[Sequence[Tokens]],
    batch_rows: int,
    length: int,
    advance: Callable[[int], object] = lambda continuations: None,
) -> Scores:
    """How likely each of several continuations is after each prompt.

    A prompt is read once for all of its continuations, which do not see each other:
    the result is that of scoring each alone.

    Args:
      params: the weights; those of `models.decoder.compute_params` are not copied.
      model: the decoder's shape.
      rules: how arrays are divided.
      mesh: the devices.
      prompts: token ids of each prompt.
      continuations: of each prompt the token ids of its continuations, any number. One
        may be a token longer, behind its prompt, than a row and the model's
        `max_length`: its last token is predicted and never read.
      batch_rows: packed rows read together.
      length: tokens of a packed row at least; it is rounded up to a multiple of 64 on
        each device that has a part of a row (128 where a TPU's rows are divided).
      advance: called with the number of continuations that were finished.

    Returns:
      Log-probabilities over the whole vocabulary.

    Raises:
      UserError: a prompt or continuation is empty, more tokens of the two are read than
        a row or the model holds, an id is unknown to the model, or the batch does not
        divide over the mesh.
    """
    rules.divide(mesh.shape, (batch_rows,), ("batch",))
    parts = mesh.shape["sequence"]
    length = _rounded(length, _unit(mesh))
    flat = [tokens for of_prompt in continuations for tokens in of_prompt]
    check_tokens(prompts, model.vocab_size)
    check_tokens(flat, model.vocab_size)
    _check_sizes(prompts, continuations, min(length, model.max_length))
    plan = packs.plan(prompts, continuations, length)
    chunk = min(_CHUNK, plan.targets) * parts
    weights = compute_params(model, rules, mesh, params)
    sums_k = np.zeros(len(flat), np.float64)
    greedy_k = np.ones(len(flat), bool)

    def collect(owners_bm: np.ndarray, made: tuple[jax.Array, jax.Array]) -> None:
        logprobs_bm, best_bm = (
            a[:, : owners_bm.shape[1]] for a in jax.device_get(made)
        )
        there_bm = owners_bm >= 0
        owners = owners_bm[there_bm]
        np.add.at(sums_k, owners, logprobs_bm[there_bm])
        np.logical_and.at(greedy_k, owners, best_bm[there_bm])
        advance(len(np.unique(owners)))

    running: collections.deque = collections.deque()
    with jax.set_mesh(mesh):
        for rows in plan.batches(batch_rows):
            made = score_rows(
                weights,
                *_device_inputs(rows, chunk),
                model=model,
                rules=rules,
                chunk=chunk,
            )
            running.append((rows.owners_bm, made))
            if len(running) > _AHEAD:
                collect(*running.popleft())
        while running:
            collect(*running.popleft())
    ends = np.cumsum([len(of_prompt) for of_prompt in continuations])[:-1]
    return Scores(
        np.split(sums_k.astype(np.float32), ends) if len(prompts) else [],
        np.split(greedy_k, ends) if len(prompts) else [],
    )


def label_logprobs(
    params: Params,
    model: ModelConfig,
    rules: ShardingRules,
    mesh: jax.sharding.Mesh,
    prompts: Sequence[Tokens],
    labels: Sequence[Tokens],
    batch_rows: int,
    buckets: Sequence[int],
) -> np.ndarray:
    """How likely each label is as the continuation of each prompt.

    Args:
      params: the weights; those of `models.decoder.compute_params` are not copied.
      model: the decoder's shape.
      rules: how arrays are divided.
      mesh: the devices.
      prompts: token ids of each prompt.
      labels: token ids of each label, the same for all prompts.
      batch_rows: packed rows read together.
      buckets: ascending prompt lengths, in tokens. Rows have the length of the first
        that holds the longest prompt with its labels, so that few programs are
        compiled.

    Returns:
      Natural logarithms, (prompts, labels) float32, over the whole vocabulary.

    Raises:
      UserError: a prompt is empty or too long, a label is empty, an id is unknown to
        the model, or the batch does not divide over the mesh.
    """
    if not labels or not all(labels):
        raise UserError(f"Labels need at least one token each, found {labels!r}.")
    longest = min(buckets[-1], model.max_length - max(map(len, labels)))
    check_lengths(prompts, longest)
    found = continuation_logprobs(
        params,
        model,
        rules,
        mesh,
        prompts,
        [labels] * len(prompts),
        batch_rows,
        _row_length(prompts, labels, buckets, _unit(mesh)),
    )
    return np.array(found.logprobs, np.float32).reshape(len(prompts), len(labels))


def _row_length(
    prompts: Sequence[Tokens],
    labels: Sequence[Tokens],
    buckets: Sequence[int],
    unit: int,
) -> int:
    """Columns of the rows that are packed: a multiple of `unit`."""
    behind = max(sum(len(label) - 1 for label in labels), max(map(len, labels)))
    needed = max(map(len, prompts), default=1) + behind
    sizes = (_rounded(bucket, unit) for bucket in buckets)
    return next((size for size in sizes if size >= needed), _rounded(needed, unit))


def response_logprobs(
    params: Params,
    model: ModelConfig,
    rules: ShardingRules,
    mesh: jax.sharding.Mesh,
    prompts: Sequence[Tokens],
    responses: Sequence[Tokens],
    batch_rows: int,
    length: int,
) -> tuple[np.ndarray, np.ndarray]:
    """How likely each response is after its prompt, many pairs packed into a row.

    Args:
      params: the weights; those of `models.decoder.compute_params` are not copied.
      model: the decoder's shape.
      rules: how arrays are divided.
      mesh: the devices.
      prompts: token ids of each prompt.
      responses: token ids of each response, scored token by token.
      batch_rows: packed rows read together.
      length: tokens of a packed row at least; see `continuation_logprobs`.

    Returns:
      The sum of natural logarithms over each response's tokens, float32, and the number
      of those tokens, int32.

    Raises:
      UserError: as `continuation_logprobs`.
    """
    each = [[response] for response in responses]
    found = continuation_logprobs(
        params, model, rules, mesh, prompts, each, batch_rows, length
    )
    sums = np.array(found.logprobs, np.float32).reshape(len(prompts))
    return sums, np.array([len(response) for response in responses], np.int32)


def _device_inputs(
    rows: packs.Rows, chunk: int
) -> tuple[np.ndarray | np.int32 | None, ...]:
    """What `score_rows` reads of a batch; M is made a multiple of `chunk`."""
    room = -rows.targets_bm.shape[1] % chunk
    columns_bm, targets_bm = (
        np.pad(a, ((0, 0), (0, room))) for a in (rows.columns_bm, rows.targets_bm)
    )
    return (
        rows.tokens_bt,
        rows.segment_ids_bt,
        rows.positions_bt,
        rows.branch_ids_bt,
        columns_bm,
        targets_bm,
        np.int32(-(-rows.most_targets // chunk)),
    )


def _check_sizes(
    prompts: Sequence[Tokens], continuations: Sequence[Sequence[Tokens]], most: int
) -> None:
    """Refuses what cannot be scored where `most` tokens can be read."""
    for row, (prompt, of_prompt) in enumerate(zip(prompts, continuations, strict=True)):
        for tokens in of_prompt:
            if not prompt or not tokens or len(prompt) + len(tokens) > most + 1:
                raise UserError(
                    f"Pair {row} has {len(prompt)} prompt and {len(tokens)} response "
                    "tokens; expected at least one of each and at most "
                    f"{most + 1} together."
                )


def _unit(mesh: jax.sharding.Mesh) -> int:
    with jax.set_mesh(mesh):
        return unit_of(mesh.shape["sequence"])


def _rounded(size: int, unit: int) -> int:
    return -(-size // unit) * unit
