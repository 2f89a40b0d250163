"""A mixture's examples in the order in which they are packed."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from xinst_jax.data.examples import Pair
from xinst_jax.data.preprocessors import DOCUMENTS, ROW
from xinst_jax.data.quiet_tensorflow import seqio
from xinst_jax.data.row_source import TRAIN


def examples(mixture: str, split: str, *, passes: float, seed: int) -> Iterator[Pair]:
    """A mixture's examples as the packer takes them: without special tokens.

    Of 'train', the mixture's own stream until `passes` times as many rows as there are
    have been drawn (a text that goes in pieces counts as one row); the same in every
    process. Of 'validation', every example once, language by language, in order.

    Args:
      mixture: a registered mixture's name.
      split: 'train' or 'validation'.
      passes: how many times over the rows, by the mixture's rates.
      seed: of the order and the draws.

    Yields:
      Token ids of the prompt (none for plain text) and of the response; the id of the
      row that they were made from, and its language.
    """
    provider = seqio.get_mixture_or_task(mixture)
    eos = provider.output_features["targets"].vocabulary.eos_id
    if split == TRAIN:
        stream = _until(passes * provider.num_input_examples(TRAIN), provider, seed)
    else:
        stream = (
            example
            for task in provider.tasks
            if split in task.splits
            for example in task.get_dataset(
                split=split, shuffle=False
            ).as_numpy_iterator()
        )
    for example in stream:
        row: Any = example[ROW]
        response = example["targets"].tolist()
        if response and response[-1] == eos:
            response.pop()
        prompt = example["inputs"].tolist() if "inputs" in example else []
        lang, _, id = row.decode().partition("/")
        yield Pair(prompt, response, id, lang)


def _until(
    documents: float, provider: seqio.Mixture, seed: int
) -> Iterator[dict[str, np.ndarray]]:
    stream = provider.get_dataset(
        split=TRAIN,
        shuffle=True,
        seed=seed,
        num_epochs=None,
        passthrough_features=[DOCUMENTS, ROW],
        # A cache would repeat the first shuffle.
        try_in_mem_cache=False,
    )
    drawn = 0.0
    for example in stream.as_numpy_iterator():
        drawn += float(example[DOCUMENTS])
        # Half an example's room, for the rounding of the fractions.
        if drawn > documents + 0.5 * float(example[DOCUMENTS]):
            return
        yield example
