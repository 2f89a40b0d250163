"""The training tasks as seqio mixtures, and their examples for the offline packer.

Four mixtures, of one task a language, each example a dictionary of int32 token ids:

    xinst_lm       targets                  a text, in pieces as long as a row
    xinst_reverse  inputs, targets          a response; the instruction it answers
    xinst_rate     inputs, targets          a pair; 'bad', 'fair' or 'good'
    xinst_sft      inputs, targets          an instruction; the response

`inputs` is the whole prompt. `targets` ends in the end token, but for the pieces of a
text before its last. Neither holds a begin token: a seqio feature converter puts it
first (`bos_id=vocabulary.bos_id`), as the packer does.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from xinst_jax.data import fitting, prompts
from xinst_jax.data.examples import Pair
from xinst_jax.data.quiet_tensorflow import seqio, tf
from xinst_jax.data.row_source import TRAIN, Part, RowSource
from xinst_jax.data.vocab import Vocabulary
from xinst_jax.errors import UserError
from xinst_jax.languages import Language

LM, REVERSE, RATE, SFT = "xinst_lm", "xinst_reverse", "xinst_rate", "xinst_sft"
"""The mixtures' names; a language's task adds '_' and its code."""

_HELD_OUT_SHARE = 0.02
_SEED_STYLE = "seed"
_DOCUMENTS = "documents"
_ROW = "row"


@dataclasses.dataclass(frozen=True)
class Exchange:
    """What a row asks and answers, as text.

    Attributes:
      text: the text inside the prompt that may be cut at its end.
      frame: puts that text into the prompt.
      response: what is to be learnt.
    """

    text: str
    frame: Callable[[str], str]
    response: str


def register_lm(
    corpus: pathlib.Path,
    pairs: pathlib.Path,
    codes: Sequence[str],
    vocabulary: Vocabulary,
    *,
    length: int,
    temperature: float,
) -> None:
    """Registers `xinst_lm`: the corpus and the seed pairs as plain text.

    Two documents in 100 of the corpus are held out, and the held-out pairs.

    Args:
      corpus: the finished `corpus` directory.
      pairs: directory of seed pairs as texts: rows with id, lang, text and split.
      codes: language codes.
      vocabulary: the tokenizer.
      length: tokens of a packed row: longer texts go in pieces of as many.
      temperature: language i is drawn in proportion to n_i ** (1 / temperature), by
        its number n_i of training rows.

    Raises:
      UserError: no language has a row to train on.
    """
    pieces = functools.partial(_text_pieces, vocabulary=vocabulary, length=length)
    sources = {
        code: RowSource(
            code, [Part(corpus, held_out_share=_HELD_OUT_SHARE), Part(pairs)], ["text"]
        )
        for code in codes
    }
    features = {"targets": seqio.Feature(vocabulary, add_eos=True, dtype=tf.int32)}
    _register(LM, sources, lambda code: [pieces], features, temperature)


def register_reverse(
    pairs: pathlib.Path,
    codes: Sequence[str],
    vocabulary: Vocabulary,
    *,
    length: int,
    temperature: float,
) -> None:
    """Registers `xinst_reverse`: from a response to its instruction.

    Args:
      pairs: directory of rows with id, lang, instruction, output and split.
      codes: language codes.
      vocabulary: the tokenizer.
      length: tokens of a packed row; a response too long for its prompt to fit is cut
        at its end.
      temperature: as for `register_lm`.

    Raises:
      UserError: no language has a row to train on.
    """

    def exchange(instruction: str, output: str) -> Exchange:
        return Exchange(output, prompts.reverse, instruction)

    sources = {
        code: RowSource(code, [Part(pairs)], ["instruction", "output"])
        for code in codes
    }
    _register_pairs(REVERSE, sources, exchange, vocabulary, length, temperature)


def register_rate(
    rows: pathlib.Path,
    languages: Mapping[str, Language],
    vocabulary: Vocabulary,
    *,
    length: int,
    temperature: float,
) -> None:
    """Registers `xinst_rate`: from a pair to its level.

    Args:
      rows: directory of rows with id, lang, instruction, output, label and split.
      languages: languages by code.
      vocabulary: the tokenizer.
      length: tokens of a packed row; a response too long for its prompt to fit is cut
        at its end.
      temperature: as for `register_lm`.

    Raises:
      UserError: no language has a row to train on.
    """

    def exchange(instruction: str, output: str, lang: str, label: str) -> Exchange:
        frame = functools.partial(
            prompts.rate, instruction, language_name=languages[lang].name
        )
        return Exchange(output, frame, label)

    columns = ["instruction", "output", "lang", "label"]
    sources = {code: RowSource(code, [Part(rows)], columns) for code in languages}
    # The same for every label: where a prompt is cut must not tell which it has.
    reserve = max(len(vocabulary.encode(label)) for label in prompts.LABELS)
    _register_pairs(
        RATE, sources, exchange, vocabulary, length, temperature, reserve=reserve
    )


def register_sft(
    dataset: pathlib.Path,
    seed: pathlib.Path,
    languages: Mapping[str, Language],
    vocabulary: Vocabulary,
    *,
    length: int,
    temperature: float,
    min_score: float | None = None,
) -> None:
    """Registers `xinst_sft`: from an instruction to its response.

    Rows of the dataset ask "Answer in {language}." and are drawn by their weight; seed
    pairs ask for the style of an AI assistant too, and the held-out ones are the
    validation split.

    Args:
      dataset: the finished `dataset` directory: instruction, output, score, weight.
      seed: the finished `seed` directory.
      languages: languages by code.
      vocabulary: the tokenizer.
      length: tokens of a packed row; an instruction that takes more than the response
        leaves, and more than half, is cut at its end.
      temperature: as for `register_lm`.
      min_score: lowest score of a row of the dataset; None takes all.

    Raises:
      UserError: no language has a row to train on.
    """

    def exchange(instruction: str, output: str, lang: str, style: str) -> Exchange:
        frame = functools.partial(
            prompts.answer,
            language_name=languages[lang].name,
            seed_style=style == _SEED_STYLE,
        )
        return Exchange(instruction, frame, output)

    parts = [
        Part(dataset, min_score=min_score, weighted=True),
        Part(seed, style=_SEED_STYLE),
    ]
    sources = {
        code: RowSource(code, parts, ["instruction", "output", "lang"])
        for code in languages
    }
    _register_pairs(SFT, sources, exchange, vocabulary, length, temperature, ("style",))


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
        row: Any = example[_ROW]
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
        passthrough_features=[_DOCUMENTS, _ROW],
        # A cache would repeat the first shuffle.
        try_in_mem_cache=False,
    )
    drawn = 0.0
    for example in stream.as_numpy_iterator():
        drawn += float(example[_DOCUMENTS])
        # Half an example's room, for the rounding of the fractions.
        if drawn > documents + 0.5 * float(example[_DOCUMENTS]):
            return
        yield example


Preprocessor = Callable[[tf.data.Dataset], tf.data.Dataset]


def _register_pairs(
    name: str,
    sources: Mapping[str, RowSource],
    exchange: Callable[..., Exchange],
    vocabulary: Vocabulary,
    length: int,
    temperature: float,
    fields: Sequence[str] = (),
    reserve: int = 0,
) -> None:
    """Registers a mixture of exchanges.

    Args:
      exchange: takes a row's columns, then its `fields`.
      reserve: tokens at least that a prompt leaves to the response.
    """
    feature = seqio.Feature(vocabulary, add_eos=True, dtype=tf.int32)
    features = {
        "inputs": dataclasses.replace(feature, add_eos=False),
        "targets": feature,
    }

    def preprocessors(code: str) -> list[Preprocessor]:
        names = (*sources[code].columns, *fields)
        encode = functools.partial(
            _encoded,
            names=names,
            exchange=exchange,
            vocabulary=vocabulary,
            length=length,
            reserve=reserve,
        )
        return [_drawn_by_rate, encode] if sources[code].weighted else [encode]

    _register(name, sources, preprocessors, features, temperature)


def _register(
    name: str,
    sources: Mapping[str, RowSource],
    preprocessors: Callable[[str], list[Preprocessor]],
    features: Mapping[str, seqio.Feature],
    temperature: float,
) -> None:
    """Registers a task a language and their mixture, in place of any of these names."""
    rates = {}
    for code, source in sources.items():
        task = f"{name}_{code}"
        seqio.TaskRegistry.remove(task)
        if TRAIN not in source.splits:
            continue
        seqio.TaskRegistry.add(
            task,
            source=source,
            preprocessors=preprocessors(code),
            output_features=features,
            metric_fns=[],
            # seqio would shuffle behind its repetition, where one row comes again
            # before another has come at all; the source shuffles each one for itself.
            shuffle_buffer_size=None,
        )
        rates[task] = float(source.num_input_examples(TRAIN)) ** (1 / temperature)
    if not rates:
        raise UserError(
            f"{name} has no row to train on in {', '.join(sources)}. Look at what the "
            "stages before it dropped, and why, in their 'rejected' directories."
        )
    seqio.MixtureRegistry.remove(name)
    seqio.MixtureRegistry.add(name, list(rates.items()))


def _drawn_by_rate(dataset: tf.data.Dataset) -> tf.data.Dataset:
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


def _encoded(
    dataset: tf.data.Dataset,
    names: Sequence[str],
    exchange: Callable[..., Exchange],
    vocabulary: Vocabulary,
    length: int,
    reserve: int,
) -> tf.data.Dataset:
    """Rows {'instruction', ...} to {'inputs', 'targets', 'documents', 'row'}."""

    def encode(*values: bytes) -> list[np.ndarray]:
        prompt, response = encode_exchange(
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
            _DOCUMENTS: tf.constant(1.0),
            _ROW: row[_ROW],
        }

    return dataset.map(mapped, num_parallel_calls=tf.data.AUTOTUNE)


def encode_exchange(
    exchange: Exchange, vocabulary: Vocabulary, length: int, reserve: int = 0
) -> tuple[list[int], list[int]]:
    """Token ids of a prompt and a response, without special tokens.

    The prompt, with its begin token, may take what the response leaves of `length`, or
    half of it if that is more; where it is longer, the text inside is cut at its end. A
    prompt whose frame alone is longer stays whole, for the packer to refuse and count.

    Args:
      exchange: what is asked and answered.
      vocabulary: the tokenizer.
      length: tokens of a packed row.
      reserve: tokens at least that the prompt leaves to the response.
    """
    response = vocabulary.encode(exchange.response)
    begin = int(vocabulary.bos_id is not None)
    answer = max(reserve, min(len(response), length // 2))
    fitted = fitting.fit(
        exchange.text, exchange.frame, vocabulary.encode, length - begin - answer
    )
    if fitted is None:
        return vocabulary.encode(exchange.frame(exchange.text)), response
    return fitted.ids, response


def _text_pieces(
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
            return {"targets": targets, _DOCUMENTS: share, _ROW: row[_ROW]}

        return tf.data.Dataset.range(pieces).map(part)

    return dataset.flat_map(pieces_of)
