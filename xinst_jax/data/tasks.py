"""The training tasks as seqio mixtures.

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
from collections.abc import Callable, Mapping, Sequence

from xinst_jax.config import PromptConfig
from xinst_jax.data import preprocessors, prompts
from xinst_jax.data.exchanges import Exchange
from xinst_jax.data.preprocessors import Preprocessor
from xinst_jax.data.quiet_tensorflow import seqio, tf
from xinst_jax.data.row_source import TRAIN, Part, RowSource
from xinst_jax.data.vocab import Vocabulary
from xinst_jax.errors import UserError
from xinst_jax.languages import Language

LM, REVERSE, RATE, SFT = "xinst_lm", "xinst_reverse", "xinst_rate", "xinst_sft"
"""The mixtures' names; a language's task adds '_' and its code."""

_HELD_OUT_SHARE = 0.02
_SEED_STYLE = "seed"


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
    pieces = functools.partial(
        preprocessors.text_pieces, vocabulary=vocabulary, length=length
    )
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
    wording: PromptConfig = prompts.PAPER,
) -> None:
    """Registers `xinst_reverse`: from a response to its instruction.

    Args:
      pairs: directory of rows with id, lang, instruction, output and split.
      codes: language codes.
      vocabulary: the tokenizer.
      length: tokens of a packed row; a response too long for its prompt to fit is cut
        at its end.
      temperature: as for `register_lm`.
      wording: the prompts.

    Raises:
      UserError: no language has a row to train on.
    """

    frame = functools.partial(prompts.reverse, wording=wording)

    def exchange(instruction: str, output: str) -> Exchange:
        return Exchange(output, frame, instruction)

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
    wording: PromptConfig = prompts.PAPER,
) -> None:
    """Registers `xinst_rate`: from a pair to its level.

    Args:
      rows: directory of rows with id, lang, instruction, output, label and split.
      languages: languages by code.
      vocabulary: the tokenizer.
      length: tokens of a packed row; a response too long for its prompt to fit is cut
        at its end.
      temperature: as for `register_lm`.
      wording: the prompts.

    Raises:
      UserError: no language has a row to train on.
    """

    def exchange(instruction: str, output: str, lang: str, label: str) -> Exchange:
        frame = functools.partial(
            prompts.rate,
            instruction,
            language_name=languages[lang].name,
            wording=wording,
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
    web: pathlib.Path,
    seed: pathlib.Path,
    languages: Mapping[str, Language],
    vocabulary: Vocabulary,
    *,
    length: int,
    temperature: float,
    min_score: float | None = None,
    wording: PromptConfig = prompts.PAPER,
) -> None:
    """Registers `xinst_sft`: from an instruction to its response.

    Pairs made from web text ask "Answer in {language}." and are drawn by their weight;
    seed pairs ask for the style of an AI assistant too, and the held-out ones are the
    validation split.

    Args:
      web: directory of pairs made from web text: the finished `dataset`, or rows with
        id, lang, instruction and output; score and weight count where they are there.
      seed: the finished `seed` directory.
      languages: languages by code.
      vocabulary: the tokenizer.
      length: tokens of a packed row; an instruction that takes more than the response
        leaves, and more than half, is cut at its end.
      temperature: as for `register_lm`.
      min_score: lowest score of a pair made from web text; None takes all.
      wording: the prompts.

    Raises:
      UserError: no language has a row to train on.
    """

    def exchange(instruction: str, output: str, lang: str, style: str) -> Exchange:
        frame = functools.partial(
            prompts.answer,
            language_name=languages[lang].name,
            seed_style=style == _SEED_STYLE,
            wording=wording,
        )
        return Exchange(instruction, frame, output)

    parts = [
        Part(web, min_score=min_score, weighted=True),
        Part(seed, style=_SEED_STYLE),
    ]
    sources = {
        code: RowSource(code, parts, ["instruction", "output", "lang"])
        for code in languages
    }
    _register_pairs(SFT, sources, exchange, vocabulary, length, temperature, ("style",))


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

    def steps(code: str) -> list[Preprocessor]:
        names = (*sources[code].columns, *fields)
        encode = functools.partial(
            preprocessors.encoded,
            names=names,
            exchange=exchange,
            vocabulary=vocabulary,
            length=length,
            reserve=reserve,
        )
        return (
            [preprocessors.drawn_by_rate, encode]
            if sources[code].weighted
            else [encode]
        )

    _register(name, sources, steps, features, temperature)


def _register(
    name: str,
    sources: Mapping[str, RowSource],
    steps: Callable[[str], list[Preprocessor]],
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
            preprocessors=steps(code),
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
