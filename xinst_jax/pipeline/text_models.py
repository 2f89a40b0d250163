"""Trained models as functions on text: tokens go in and out here and nowhere else."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from xinst_jax import shards
from xinst_jax.config import DecodeConfig, ModelConfig
from xinst_jax.data import fitting, prompts
from xinst_jax.data.vocab import Vocabulary
from xinst_jax.infer import score
from xinst_jax.infer.engine import Engine
from xinst_jax.models.decoder import Params
from xinst_jax.pipeline import training
from xinst_jax.pipeline.signals import Pair, Reading
from xinst_jax.pipeline.workspace import Workspace


def engine(workspace: Workspace, stage: str, config: DecodeConfig) -> Engine:
    """What generates with the model of a finished training stage."""
    params = training.trained_params(workspace, stage)
    return engine_of(workspace, params, workspace.model, workspace.vocabulary, config)


def engine_of(
    workspace: Workspace,
    params: Params,
    model: ModelConfig,
    vocabulary: Vocabulary,
    config: DecodeConfig,
) -> Engine:
    """What generates with a model, of the run or not, on the run's devices."""
    return Engine(
        params,
        model,
        workspace.rules,
        workspace.mesh,
        config,
        vocabulary.stop_ids,
        # A special token that no text becomes may have no row.
        min(vocabulary.vocab_size, model.vocab_size),
        vocabulary.decode,
    )


def rater(
    workspace: Workspace, stage: str, reading: Reading
) -> Callable[[Sequence[Pair]], np.ndarray]:
    """The rater of a finished training stage: pairs to log-probabilities of levels.

    Args:
      workspace: the run.
      stage: the rater's.
      reading: what is read is added to it.

    Returns:
      A function of (instruction, response, language code)s that gives float32
      (rows, labels) log-probabilities of `prompts.LABELS`. A response that is too long
      for the rater's training length is cut at its end.
    """
    run, prompt_of = workspace.run, rating_prompt(workspace)
    params = training.inference_params(workspace, stage)
    labels = label_ids(workspace)
    longest = _longest_rated(workspace)
    buckets = [size for size in run.generate.prompt_buckets if size < longest]

    def rate(pairs: Sequence[Pair]) -> np.ndarray:
        asked = [prompt_of(pair)[0] for pair in pairs]
        reading.tokens += sum(map(len, asked))
        return score.label_logprobs(
            params,
            workspace.model,
            workspace.rules,
            workspace.mesh,
            asked,
            labels,
            run.rate.batch_rows,
            [*buckets, longest],
        )

    return rate


def label_ids(workspace: Workspace) -> list[list[int]]:
    """Token ids of `prompts.LABELS`."""
    return [workspace.vocabulary.encode(label) for label in prompts.LABELS]


def rating_prompt(
    workspace: Workspace,
) -> Callable[[Pair], tuple[list[int], bool]]:
    """How the rater is asked: a function of (instruction, response, language code).

    Returns:
      A function that gives the prompt's token ids, and whether the response, or else
      the instruction, lost its end.
    """
    run, encode = workspace.run, workspace.vocabulary.encode_prompt
    longest = _longest_rated(workspace)

    def prompt_of(pair: Pair) -> tuple[list[int], bool]:
        instruction, response, code = pair
        name = run.language_table[code].name

        def frame(text: str) -> str:
            return prompts.rate(instruction, text, name, run.prompts)

        fitted = fitting.fit(response, frame, encode, longest)
        if fitted is not None:
            return fitted.ids, fitted.cut
        # An instruction that fills the whole prompt is no instruction: rate its start.
        return encode(frame(""))[:longest], True

    return prompt_of


def _longest_rated(workspace: Workspace) -> int:
    return workspace.run.rater.length - max(map(len, label_ids(workspace)))


def held_out_pairs(
    workspace: Workspace, language: str
) -> tuple[list[dict[str, Any]], int]:
    """A language's seed pairs that nothing is trained on.

    Returns:
      The pairs, their responses as far as they fit after their prompts in a fine-tuning
      row; and the number of those left out, whose prompt leaves no room for any.
    """
    rows = shards.read_rows(workspace.path("seed") / language)
    held_out = [row for row in rows if row["split"] == "held_out"]
    pairs = [
        row | {"output": fitting_text}
        for row in held_out
        if (fitting_text := _fitting_response(workspace, language, row))
    ]
    return pairs, len(held_out) - len(pairs)


def retrieval_pairs(
    workspace: Workspace, language: str
) -> tuple[list[dict[str, Any]], int]:
    """Held-out pairs of which each instruction can be scored with each response.

    Returns:
      The pairs, their responses as far as they fit with the longest instruction, into
      a row of the generator's training and into one of fine-tuning; and the number of
      those left out, whose instruction would take more than half a row.
    """
    run, vocabulary = workspace.run, workspace.vocabulary
    name = run.language_table[language].name
    pairs, left_out = held_out_pairs(workspace, language)
    asked, written = [], []
    for pair in pairs:
        prompt = prompts.answer(pair["instruction"], name, True, run.prompts)
        asked.append(len(vocabulary.encode_prompt(prompt)))
        written.append(len(vocabulary.encode(pair["instruction"])) + 1)
    usable = [
        number
        for number in range(len(pairs))
        if asked[number] <= run.sft.length // 2
        and written[number] <= run.generator.length // 2
    ]
    room = run.sft.length - max((asked[number] for number in usable), default=0) - 1
    limit = run.generator.length - max(
        (written[number] for number in usable), default=0
    )
    frame = functools.partial(prompts.reverse, wording=run.prompts)
    found = []
    for number in usable:
        encode, text = vocabulary.encode_prompt, pairs[number]["output"]
        fitted = fitting.fit(text, frame, encode, limit)
        if fitted:
            fitted = fitting.fit(fitted.text, str, vocabulary.encode, room)
        if fitted and fitted.text:
            found.append(pairs[number] | {"output": fitted.text})
    return found, left_out + len(pairs) - len(found)


def _fitting_response(
    workspace: Workspace, language: str, row: Mapping[str, str]
) -> str:
    run, vocabulary = workspace.run, workspace.vocabulary
    name = run.language_table[language].name
    prompt = prompts.answer(row["instruction"], name, True, run.prompts)
    room = run.sft.length - len(vocabulary.encode_prompt(prompt)) - 1
    fitted = fitting.fit(row["output"], str, vocabulary.encode, max(room, 0))
    return fitted.text if fitted else ""


def response_scorer(
    workspace: Workspace, stage: str
) -> Callable[[Sequence[str], Sequence[str]], tuple[np.ndarray, np.ndarray]]:
    """How likely a finished training stage's model finds responses after prompts.

    Returns:
      A function of prompts and responses that gives the summed log-probabilities of
      each response's tokens and end token, float32, and how many there are, int32.
      Prompt and response must fit a row of the stage's training (the base model: of
      fine-tuning), as `held_out_pairs` and `retrieval_pairs` make them.
    """
    run, vocabulary = workspace.run, workspace.vocabulary
    length = (run.generator if stage.startswith("generator/") else run.sft).length
    params = training.inference_params(workspace, stage)

    def logprobs(
        asked: Sequence[str], responses: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        prompt_ids = [vocabulary.encode_prompt(prompt) for prompt in asked]
        response_ids = [
            [*vocabulary.encode(response), vocabulary.eos_id] for response in responses
        ]
        return score.response_logprobs(
            params,
            workspace.model,
            workspace.rules,
            workspace.mesh,
            prompt_ids,
            response_ids,
            workspace.run.answer.batch_rows,
            length,
        )

    return logprobs
