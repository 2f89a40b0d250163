"""Log-probabilities of given text: labels after prompts, responses after prompts."""

import bisect
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from xinst_jax.config import ModelConfig
from xinst_jax.errors import UserError
from xinst_jax.infer.batches import bucketed, check_tokens
from xinst_jax.infer.decode import prefill
from xinst_jax.mesh import ShardingRules
from xinst_jax.models.decoder import Decoder, Params, bind, compute_params

_CHUNK = 64
"""Columns of a packed row whose logits are held at once."""


def label_logprobs(
    params: Params,
    model: ModelConfig,
    rules: ShardingRules,
    mesh: jax.sharding.Mesh,
    prompts: Sequence[Sequence[int]],
    labels: Sequence[Sequence[int]],
    batch_rows: int,
    buckets: Sequence[int],
) -> np.ndarray:
    """How likely each label is as the continuation of each prompt.

    A prompt is read once; a label's first token is scored from the prompt's last hidden
    state, and its later tokens are read after the prompt's keys and values.

    Args:
      params: the weights; those of `models.decoder.compute_params` are not copied.
      model: the decoder's shape.
      rules: how arrays are divided.
      mesh: the devices.
      prompts: token ids of each prompt.
      labels: token ids of each label, the same for all prompts.
      batch_rows: prompts read together.
      buckets: ascending prompt lengths, in tokens, that programs are compiled for.

    Returns:
      Natural logarithms, (prompts, labels) float32, over the whole vocabulary.

    Raises:
      UserError: a prompt is empty or too long, a label is empty, an id is unknown to
        the model, or the batch does not divide over the mesh.
    """
    rules.divide(mesh.shape, (batch_rows,), ("batch",))
    check_tokens(prompts, model.vocab_size)
    check_tokens(labels, model.vocab_size)
    if not labels or not all(labels):
        raise UserError(f"Labels need at least one token each, found {labels!r}.")
    longest = model.max_length - max(map(len, labels))
    fitting = sorted({min(bucket, longest) for bucket in buckets})
    weights = compute_params(model, rules, mesh, params)
    fixed = tuple(tuple(label) for label in labels)
    running = []
    with jax.set_mesh(mesh):
        for batch in bucketed(prompts, fitting, batch_rows):
            tokens_bt, lengths_b = batch.tokens_bt, batch.lengths_b
            scores = score_labels(
                weights, tokens_bt, lengths_b, model=model, rules=rules, labels=fixed
            )
            running.append((list(batch.rows), scores))
    found = np.zeros((len(prompts), len(labels)), np.float32)
    for rows, scores in running:
        found[rows] = jax.device_get(scores)[: len(rows)]
    return found


@functools.partial(jax.jit, static_argnames=("model", "rules", "labels"))
def score_labels(
    params: Params,
    tokens_bt: jax.Array,
    lengths_b: jax.Array,
    *,
    model: ModelConfig,
    rules: ShardingRules,
    labels: tuple[tuple[int, ...], ...],
) -> jax.Array:
    """Log-probabilities of labels after one batch of prompts; see `label_logprobs`.

    Args:
      params: the weights.
      tokens_bt: int32 prompts, padded on the right.
      lengths_b: int32 tokens of each prompt.
      model: the decoder's shape.
      rules: how arrays are divided.
      labels: token ids of each label.

    Returns:
      (B, labels) float32, on every device.
    """
    decoder = bind(model, rules, params)
    rows, width = tokens_bt.shape
    lengths_b = jax.reshard(lengths_b, rules.spec("batch"))
    columns_s = jnp.arange(width + max(map(len, labels)))
    valid_bs = (columns_s < lengths_b[:, None]) | (columns_s >= width)
    empty = decoder.init_cache(rows, len(columns_s))
    x_b1d, cache = prefill(decoder, tokens_bt, lengths_b, valid_bs, empty)

    def score(label: tuple[int, ...]) -> jax.Array:
        read, x_btd = len(label) - 1, x_b1d
        if read:
            read_bt = jnp.broadcast_to(jnp.asarray(label[:-1], jnp.int32), (rows, read))
            positions_bt = lengths_b[:, None] + jnp.arange(read)
            later_btd, _ = decoder.extend(read_bt, positions_bt, valid_bs, cache, width)
            x_btd = jnp.concatenate([x_b1d, later_btd], axis=1)
        targets_bt = jnp.broadcast_to(jnp.asarray(label, jnp.int32), (rows, len(label)))
        return jnp.sum(_target_logprobs(decoder, x_btd, targets_bt), axis=1)

    scores = jnp.stack([score(label) for label in labels], axis=1)
    return jax.reshard(scores, jax.P())


def response_logprobs(
    params: Params,
    model: ModelConfig,
    rules: ShardingRules,
    mesh: jax.sharding.Mesh,
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
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
      length: tokens of a packed row at least; it is rounded up to a multiple of 64 (and
        of the devices that a row is divided over).

    Returns:
      The sum of natural logarithms over each response's tokens, float32, and the number
      of those tokens, int32.

    Raises:
      UserError: a pair is empty on one side or longer than a row, an id is unknown to
        the model, or the batch does not divide over the mesh.
    """
    rules.divide(mesh.shape, (batch_rows,), ("batch",))
    check_tokens(prompts, model.vocab_size)
    check_tokens(responses, model.vocab_size)
    unit = _CHUNK * mesh.shape["sequence"]
    length = -(-length // unit) * unit
    sizes = [len(p) + len(r) for p, r in zip(prompts, responses, strict=True)]
    for row, size in enumerate(sizes):
        if (
            not prompts[row]
            or not responses[row]
            or size > min(length, model.max_length)
        ):
            raise UserError(
                f"Pair {row} has {len(prompts[row])} prompt and {len(responses[row])} "
                "response tokens; expected at least one of each and at most "
                f"{min(length, model.max_length)} together."
            )
    packed = _best_fit(sizes, length)
    weights = compute_params(model, rules, mesh, params)
    running = []
    with jax.set_mesh(mesh):
        for start in range(0, len(packed), batch_rows):
            rows = packed[start : start + batch_rows]
            batch = _pack(prompts, responses, rows, (batch_rows, length))
            logprobs_bt = score_rows(weights, *batch, model=model, rules=rules)
            running.append((rows, logprobs_bt))
    sums = np.zeros(len(prompts), np.float32)
    for rows, logprobs in running:
        logprobs_bt = np.asarray(jax.device_get(logprobs), np.float64)
        for place, members in enumerate(rows):
            for pair, start in members:
                first = start + len(prompts[pair]) - 1
                last = first + len(responses[pair])
                sums[pair] = logprobs_bt[place, first:last].sum()
    return sums, np.array([len(response) for response in responses], np.int32)


@functools.partial(jax.jit, static_argnames=("model", "rules"))
def score_rows(
    params: Params,
    tokens_bt: jax.Array,
    segment_ids_bt: jax.Array,
    positions_bt: jax.Array,
    *,
    model: ModelConfig,
    rules: ShardingRules,
) -> jax.Array:
    """Log-probability of each token's successor in packed rows.

    Args:
      params: the weights.
      tokens_bt: int32 token ids, T a multiple of 64.
      segment_ids_bt: int32 segments; 0 is padding.
      positions_bt: int32 positions in the segments.
      model: the decoder's shape.
      rules: how arrays are divided.

    Returns:
      (B, T) float32 on every device: at t, log p(token t + 1 | tokens to t); of no
      meaning where a segment ends.
    """
    decoder = bind(model, rules, params)
    rows, length = tokens_bt.shape
    x_btd = decoder(tokens_bt, segment_ids_bt, positions_bt)
    x_btd = jax.reshard(x_btd, rules.spec("batch", None, "act_embed"))
    targets_bt = jnp.roll(jax.reshard(tokens_bt, rules.spec("batch", None)), -1, axis=1)

    def score(start: jax.Array) -> jax.Array:
        part = functools.partial(
            jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=_CHUNK, axis=1
        )
        return _target_logprobs(decoder, part(x_btd), part(targets_bt))

    parts_cbt = jax.lax.map(score, jnp.arange(0, length, _CHUNK))
    parts_cbt = jax.reshard(parts_cbt, jax.P())
    return jnp.swapaxes(parts_cbt, 0, 1).reshape(rows, length)


def _target_logprobs(
    decoder: Decoder, x_btd: jax.Array, targets_bt: jax.Array
) -> jax.Array:
    """Log-probability of each target given its hidden state, (B, T) float32."""
    logits_btv = decoder.logits(x_btd)
    hit_btv = jnp.arange(logits_btv.shape[-1]) == targets_bt[..., None]
    logit_bt = jnp.sum(jnp.where(hit_btv, logits_btv, 0), axis=-1)
    return logit_bt - jax.nn.logsumexp(logits_btv, axis=-1)


def _best_fit(sizes: Sequence[int], length: int) -> list[list[tuple[int, int]]]:
    """Rows of (pair, first column): longest pair first, into the fullest row it fits.

    Example: sizes (3, 6, 2) and length 8 give [[(1, 0), (2, 6)], [(0, 0)]].
    """
    rows: list[list[tuple[int, int]]] = []
    room: list[tuple[int, int]] = []  # (columns left, row), ascending
    for pair in sorted(range(len(sizes)), key=lambda pair: (-sizes[pair], pair)):
        place = bisect.bisect_left(room, (sizes[pair], -1))
        if place == len(room):
            left, row = length, len(rows)
            rows.append([])
        else:
            left, row = room.pop(place)
        rows[row].append((pair, length - left))
        bisect.insort(room, (left - sizes[pair], row))
    return rows


def _pack(
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    rows: Sequence[Sequence[tuple[int, int]]],
    shape: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens, segment ids and positions of packed rows, each int32 of `shape`."""
    tokens_bt, segments_bt, positions_bt = (np.zeros(shape, np.int32) for _ in range(3))
    for place, members in enumerate(rows):
        for segment, (pair, start) in enumerate(members, 1):
            ids = [*prompts[pair], *responses[pair]]
            here = slice(start, start + len(ids))
            tokens_bt[place, here] = ids
            segments_bt[place, here] = segment
            positions_bt[place, here] = np.arange(len(ids))
    return tokens_bt, segments_bt, positions_bt
