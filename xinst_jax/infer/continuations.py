"""Log-probabilities of continuations of contexts, and whether greedy decoding agrees.

What multiple choice asks of a model: few tokens after long contexts, the same context
with several of them. Logits are computed where they are asked for and nowhere else, and
requests that differ in their last token alone are read once.
"""

import bisect
import collections
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xinst_jax.config import ModelConfig
from xinst_jax.errors import UserError
from xinst_jax.infer.batches import check_tokens
from xinst_jax.infer.sample import greedy
from xinst_jax.mesh import ShardingRules
from xinst_jax.models.decoder import Params, bind, compute_params

_CHUNK = 64
"""Questions of a packed row whose logits are held at once."""

_AHEAD = 2
"""Batches that are enqueued before the first is fetched, so that no device waits."""


class Scores(NamedTuple):
    """What n continuations were found to be.

    Attributes:
      logprobs_n: float64 sum of natural logarithms over each continuation's tokens.
      greedy_n: whether each is what greedy decoding writes, token by token.
    """

    logprobs_n: np.ndarray
    greedy_n: np.ndarray


class _Read(NamedTuple):
    """Tokens that are read once, and what is asked of them.

    Attributes:
      ids: contexts and continuations without their last token.
      questions: number of each (column, token): how likely is it that `token` follows
        the one in `column`?
      requests: numbers of the requests, each with its questions' numbers.
    """

    ids: tuple[int, ...]
    questions: dict[tuple[int, int], int]
    requests: list[tuple[int, list[int]]]


class _Place(NamedTuple):
    """Where a read lies: its first column, and its first question's, in a row."""

    read: _Read
    column: int
    question: int


def continuation_scores(
    params: Params,
    model: ModelConfig,
    rules: ShardingRules,
    mesh: jax.sharding.Mesh,
    contexts: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[int]],
    batch_rows: int,
    length: int,
    advance: Callable[[int], object] = lambda requests: None,
) -> Scores:
    """How likely each continuation is after its context, many of them packed in a row.

    Args:
      params: the weights; those of `models.decoder.compute_params` are not copied.
      model: the decoder's shape.
      rules: how arrays are divided.
      mesh: the devices.
      contexts: token ids of each context.
      continuations: token ids of each continuation. With its context it may be one
        token longer than the model's `max_length`: the last is never read.
      batch_rows: packed rows read together.
      length: tokens of a packed row at least; rows are as long as the longest request,
        rounded up to a multiple of 64 (and of the devices that a row is divided over).
      advance: called with the number of requests that were finished.

    Raises:
      UserError: a request is empty on one side or too long, an id is unknown to the
        model, or the batch does not divide over the mesh.
    """
    rules.divide(mesh.shape, (batch_rows,), ("batch",))
    check_tokens(contexts, model.vocab_size)
    check_tokens(continuations, model.vocab_size)
    reads = _reads(contexts, continuations, model.max_length)
    unit = _CHUNK * mesh.shape["sequence"]
    longest = max((len(read.ids) for read in reads), default=0)
    length = -(-max(length, longest) // unit) * unit
    rows = _packed(reads, length)
    weights = compute_params(model, rules, mesh, params)
    scores = Scores(
        np.zeros(len(contexts), np.float64), np.zeros(len(contexts), np.bool_)
    )

    def batches() -> Iterator[tuple[Sequence[list[_Place]], tuple[jax.Array, ...]]]:
        for start in range(0, len(rows), batch_rows):
            part = rows[start : start + batch_rows]
            tokens, segments, positions, columns, targets = _arrays(
                part, batch_rows, length
            )
            shape = {"model": model, "rules": rules}
            x_btd = read_rows(weights, tokens, segments, positions, **shape)
            yield part, answer(weights, x_btd, columns, targets, **shape)

    running: collections.deque = collections.deque()
    with jax.set_mesh(mesh):
        for batch in batches():
            running.append(batch)
            if len(running) > _AHEAD:
                advance(_collect(scores, *running.popleft()))
        while running:
            advance(_collect(scores, *running.popleft()))
    return scores


@functools.partial(jax.jit, static_argnames=("model", "rules"))
def read_rows(
    params: Params,
    tokens_bt: jax.Array,
    segment_ids_bt: jax.Array,
    positions_bt: jax.Array,
    *,
    model: ModelConfig,
    rules: ShardingRules,
) -> jax.Array:
    """Final hidden states (B, T, D) of packed rows, divided over their batch alone.

    Args:
      params: the weights.
      tokens_bt: int32 token ids.
      segment_ids_bt: int32 segments; 0 is padding.
      positions_bt: int32 positions in the segments.
      model: the decoder's shape.
      rules: how arrays are divided.
    """
    x_btd = bind(model, rules, params)(tokens_bt, segment_ids_bt, positions_bt)
    return jax.reshard(x_btd, rules.spec("batch", None, "act_embed"))


@functools.partial(jax.jit, static_argnames=("model", "rules"))
def answer(
    params: Params,
    x_btd: jax.Array,
    columns_bq: jax.Array,
    targets_bq: jax.Array,
    *,
    model: ModelConfig,
    rules: ShardingRules,
) -> tuple[jax.Array, jax.Array]:
    """How likely tokens are to follow, and whether they are the likeliest.

    Args:
      params: the weights.
      x_btd: hidden states, as `read_rows` gives them.
      columns_bq: int32 columns to ask at, Q a multiple of 64.
      targets_bq: int32 tokens to ask for.
      model: the decoder's shape.
      rules: how arrays are divided.

    Returns:
      Float32 log-probabilities (B, Q) and booleans (B, Q), on every device. Of equally
      likely tokens the one of lowest id is taken, as greedy decoding does.
    """
    decoder = bind(model, rules, params)
    rows = rules.spec("batch", None)
    columns_bq, targets_bq = jax.reshard((columns_bq, targets_bq), (rows, rows))
    x_bqd = jnp.take_along_axis(x_btd, columns_bq[..., None], axis=1)

    def chunk(start: jax.Array) -> tuple[jax.Array, jax.Array]:
        part = functools.partial(
            jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=_CHUNK, axis=1
        )
        logits_bqv, target_bq = decoder.logits(part(x_bqd)), part(targets_bq)
        hit_bqv = jnp.arange(logits_bqv.shape[-1]) == target_bq[..., None]
        logit_bq = jnp.sum(jnp.where(hit_bqv, logits_bqv, 0), axis=-1)
        logprob_bq = logit_bq - jax.nn.logsumexp(logits_bqv, axis=-1)
        return logprob_bq, greedy(logits_bqv) == target_bq

    shape = targets_bq.shape
    parts = jax.lax.map(chunk, jnp.arange(0, shape[1], _CHUNK))
    logprobs_cbq, greedy_cbq = jax.reshard(parts, (jax.P(), jax.P()))
    return (
        jnp.swapaxes(logprobs_cbq, 0, 1).reshape(shape),
        jnp.swapaxes(greedy_cbq, 0, 1).reshape(shape),
    )


def _reads(
    contexts: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[int]],
    longest: int,
) -> list[_Read]:
    """What must be read to answer all requests, each of it once.

    Example: [5, 6] with [7] and with [8], and [5] with [6, 7] are one read of (5, 6),
    of which (1, 7), (1, 8) and (0, 6) are asked.
    """
    found: dict[tuple[int, ...], _Read] = {}
    pairs = zip(contexts, continuations, strict=True)
    for number, (context, continuation) in enumerate(pairs):
        ids = (*context, *continuation[:-1])
        if not context or not continuation or len(ids) > longest:
            raise UserError(
                f"Request {number} has {len(context)} context and {len(continuation)} "
                "continuation tokens; expected at least one of each and at most "
                f"{longest + 1} together."
            )
        read = found.setdefault(ids, _Read(ids, {}, []))
        asked = [
            read.questions.setdefault((column, token), len(read.questions))
            for column, token in enumerate(continuation, len(context) - 1)
        ]
        read.requests.append((number, asked))
    return list(found.values())


def _packed(reads: Sequence[_Read], length: int) -> list[list[_Place]]:
    """Rows of reads: longest first, each into the fullest row that it fits."""
    rows: list[list[_Place]] = []
    room: list[tuple[int, int]] = []  # (columns left, row), ascending
    for read in sorted(reads, key=lambda read: -len(read.ids)):
        at = bisect.bisect_left(room, (len(read.ids), -1))
        if at == len(room):
            left, row = length, len(rows)
            rows.append([])
        else:
            left, row = room.pop(at)
        asked = sum(len(place.read.questions) for place in rows[row])
        rows[row].append(_Place(read, length - left, asked))
        bisect.insort(room, (left - len(read.ids), row))
    return rows


def _arrays(
    rows: Sequence[Sequence[_Place]], batch_rows: int, length: int
) -> tuple[np.ndarray, ...]:
    """Tokens, segments and positions (B, T), columns and targets (B, Q), all int32.

    Q is 64 times a power of two, so that few programs are compiled.
    """
    most = max(sum(len(place.read.questions) for place in row) for row in rows)
    asked = _CHUNK << (-(-most // _CHUNK) - 1).bit_length()
    tokens_bt, segments_bt, positions_bt = (
        np.zeros((batch_rows, length), np.int32) for _ in range(3)
    )
    columns_bq, targets_bq = (np.zeros((batch_rows, asked), np.int32) for _ in range(2))
    for number, row in enumerate(rows):
        for segment, (read, column, question) in enumerate(row, 1):
            here = slice(column, column + len(read.ids))
            tokens_bt[number, here] = read.ids
            segments_bt[number, here] = segment
            positions_bt[number, here] = np.arange(len(read.ids))
            for (place, token), order in read.questions.items():
                columns_bq[number, question + order] = column + place
                targets_bq[number, question + order] = token
    return tokens_bt, segments_bt, positions_bt, columns_bq, targets_bq


def _collect(
    scores: Scores,
    rows: Sequence[Sequence[_Place]],
    answers: tuple[jax.Array, jax.Array],
) -> int:
    """Fetches a batch's answers into `scores`; gives the number of its requests."""
    logprobs_bq, greedy_bq = (np.asarray(part) for part in jax.device_get(answers))
    done = 0
    for number, row in enumerate(rows):
        for read, _, question in row:
            for request, asked in read.requests:
                at = [question + order for order in asked]
                found = logprobs_bq[number, at].sum(dtype=np.float64)
                scores.logprobs_n[request] = found
                scores.greedy_n[request] = greedy_bq[number, at].all()
                done += 1
    return done
