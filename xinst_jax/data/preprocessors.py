"""From rows of text to examples of token ids, as steps of a seqio task.

Beside its features an example carries `documents`, the share of a row that it is, and
`row`, the row that it was made from.
"""

from collections.abc import Callable, Sequence

import numpy as np

from xinst_jax.data import exchanges
from xinst_jax.data.exchanges import Exchange
from xinst_jax.data.quiet_tensorflow import seqio, tf
from xinst_jax.data.vocab import Vocabulary

DOCUMENTS, ROW = "documents", "row"

Preprocessor = Callable[[tf.data.Dataset], tf.data.Dataset]


def drawn_by_rate(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Repeats or leaves out rows so that each comes `rate` times on average.

    A rate of 1.3 gives two copies in 3 passes of 10, one in the others: the whole part,
    and one more where the seed says so, anew in each pass.
    """

    @seqio.map_over_dataset(num_seeds=1)
    def with_copies(row: dict[str, tf.Tensor], seed: tf.Tensor) -> dict:
        draw = tf.random.stateless_uniform([], seed)
        return {**row, "copies": tf.cast(tf.floor(row["rate"] + draw), tf.int64)}

    def repeated(row: dict[str, tf.Tensor]) -> tf.data.Dataset:
        copies = row.pop("copies")
        return tf.data.Dataset.from_tensors(row).repeat(copies)

    return with_copies(dataset).flat_map(repeated)


def encoded(
    dataset: tf.data.Dataset,
    names: Sequence[str],
    exchange: Callable[..., Exchange],
    vocabulary: Vocabulary,
    length: int,
    reserve: int,
) -> tf.data.Dataset:
    """Rows {'instruction', ...} to {'inputs', 'targets', 'documents', 'row'}.

    Args:
      dataset: the rows.
      names: the fields that `exchange` takes, in order.
      exchange: what a row asks and answers.
      vocabulary: the tokenizer.
      length: tokens of a packed row.
      reserve: tokens at least that a prompt leaves to the response.
    """

    def encode(*values: bytes) -> list[np.ndarray]:
        prompt, response = exchanges.encode(
            exchange(*(value.decode() for value in values)),
            vocabulary,
            length,
            reserve,
        )
        return [
            np.array(prompt, np.int32),
            np.array([*response, vocabulary.eos_id], np.int32),
        ]

    def mapped(row: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        inputs, targets = tf.numpy_function(
            encode,
            [row[name] for name in names],
            [tf.int32, tf.int32],
            stateful=False,
        )
        inputs.set_shape([None])
        targets.set_shape([None])
        return {
            "inputs": inputs,
            "targets": targets,
            DOCUMENTS: tf.constant(1.0),
            ROW: row[ROW],
        }

    return dataset.map(mapped, num_parallel_calls=tf.data.AUTOTUNE)


def text_pieces(
    dataset: tf.data.Dataset, vocabulary: Vocabulary, length: int
) -> tf.data.Dataset:
    """Texts to token ids, in pieces: {'text'} to {'targets', 'documents', 'row'}.

    With `length=3` a text of seven tokens gives

        [21, 22, 23]  [24, 25, 26]  [27, EOS]        documents 1/3 each

    so that a begin token and a piece are one token more than a row reads, each token is
    predicted once, and an end is learnt only where a text ends. Without a begin token a
    piece is one token longer: its first is only read.
    """
    piece = length if vocabulary.bos_id is not None else length + 1

    def encode(text: bytes) -> list[np.ndarray]:
        ids = vocabulary.encode(text.decode())
        starts_p = np.arange(0, max(1, len(ids)), piece)
        bounds = np.array([*starts_p, len(ids) + 1], np.int64)
        return [np.array([*ids, vocabulary.eos_id], np.int32), bounds]

    def pieces_of(row: dict[str, tf.Tensor]) -> tf.data.Dataset:
        ids, bounds = tf.numpy_function(
            encode, [row["text"]], [tf.int32, tf.int64], stateful=False
        )
        ids.set_shape([None])
        bounds.set_shape([None])
        pieces = tf.size(bounds, tf.int64) - 1

        def part(number: tf.Tensor) -> dict[str, tf.Tensor]:
            targets = ids[bounds[number] : bounds[number + 1]]
            share = 1.0 / tf.cast(pieces, tf.float32)
            return {"targets": targets, DOCUMENTS: share, ROW: row[ROW]}

        return tf.data.Dataset.range(pieces).map(part)

    return dataset.flat_map(pieces_of)
