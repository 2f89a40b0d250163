"""How much an instruction helps a model to predict its response.

The pointwise mutual information of the two, a token of the response:

    (log p(response | instruction) - log p(response)) / tokens

Both terms come from one model. Without its instruction a response is read behind what
that model reads responses behind: a follower has learnt them after the answer prompt,
so the prompt stays as it is and only the instruction in it is empty. Were the prompt
left out, the difference would hold what the frame alone tells, the language that it
names above all, whatever the instruction. A base model has learnt documents, and
begins one.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xinst_jax.data import exchanges, prompts
from xinst_jax.data.exchanges import Exchange
from xinst_jax.infer import score
from xinst_jax.pipeline import training
from xinst_jax.pipeline.signals import Pair, Reading
from xinst_jax.pipeline.workspace import Workspace

Readings = tuple[list[int], list[int], list[int]]
"""Token ids: the instruction in its frame, the frame without it, the response."""


def of_stage(
    workspace: Workspace, stage: str, reading: Reading
) -> Callable[[Sequence[Pair]], np.ndarray]:
    """A finished stage's model as a function that measures it.

    Args:
      workspace: the run.
      stage: 'follower/round-k' or 'base'.
      reading: what is read is added to it.

    Returns:
      A function of (instruction, response, language code)s that gives float32 (rows,),
      nats a token.
    """
    params = training.inference_params(workspace, stage)
    readings, length = _readings(workspace, stage)

    def logprobs(before: Sequence[list[int]], responses: Sequence[list[int]]) -> Any:
        reading.tokens += sum(map(len, before)) + sum(map(len, responses))
        return score.response_logprobs(
            params,
            workspace.model,
            workspace.rules,
            workspace.mesh,
            before,
            responses,
            workspace.run.rate.batch_rows,
            length,
        )

    def measure(pairs: Sequence[Pair]) -> np.ndarray:
        read = [readings(pair) for pair in pairs]
        asked, alone, responses = map(list, zip(*read, strict=True))
        with_n, tokens_n = logprobs(asked, responses)
        without_n, _ = logprobs(alone, responses)
        return ((with_n - without_n) / tokens_n).astype(np.float32)

    return measure


def work(workspace: Workspace, stage: str) -> Callable[[Pair], list[tuple[int, int]]]:
    """What a stage's model has to do for a pair: a function that counts its tokens.

    Returns:
      A function of a pair that gives, with its instruction and without, the tokens
      that are read and those that are predicted. A response's last is not read.
    """
    readings, _ = _readings(workspace, stage)

    def of_pair(pair: Pair) -> list[tuple[int, int]]:
        *before, response = map(len, readings(pair))
        return [(tokens + response - 1, response) for tokens in before]

    return of_pair


def _readings(
    workspace: Workspace, stage: str
) -> tuple[Callable[[Pair], Readings], int]:
    """What a stage's model reads of a pair, and the tokens of a row that holds it."""
    run = workspace.run
    if stage == "base":
        return _of_documents(workspace, run.rater.length), run.rater.length
    return _of_answers(workspace, run.follower.length), run.follower.length


def _of_documents(workspace: Workspace, length: int) -> Callable[[Pair], Readings]:
    """A pair as the base model reads it: a text, after the beginning of sequence.

    After the end of sequence where a tokenizer has no beginning. What does not fit is
    cut at its end: the response, or an instruction that leaves it no token.
    """
    vocabulary = workspace.vocabulary
    alone = vocabulary.encode_prompt("") or [vocabulary.eos_id]

    def readings(pair: Pair) -> Readings:
        instruction, response, _ = pair
        asked = vocabulary.encode_prompt(prompts.pair(instruction, ""))[: length - 1]
        ids = [*vocabulary.encode(response), vocabulary.eos_id]
        return asked, alone, ids[: length - max(len(asked), len(alone))]

    return readings


def _of_answers(workspace: Workspace, length: int) -> Callable[[Pair], Readings]:
    """A pair as a follower reads it: the answer prompt, then the response.

    In the style of the seed, which every round's follower has learnt, and which the
    tuned model is asked in. What does not fit is cut as in training: an instruction
    that takes more than the response leaves, and more than half, at its end, and then
    the response.
    """
    run, vocabulary = workspace.run, workspace.vocabulary
    begin = vocabulary.encode_prompt("")

    def readings(pair: Pair) -> Readings:
        instruction, response, code = pair
        name = run.language_table[code].name

        def frame(text: str) -> str:
            return prompts.answer(text, name, True, run.prompts)

        exchange = Exchange(instruction, frame, response)
        prompt, ids = exchanges.encode(exchange, vocabulary, length)
        asked = [*begin, *prompt][: length - 1]
        alone = vocabulary.encode_prompt(frame(""))[: length - 1]
        ids = [*ids, vocabulary.eos_id]
        return asked, alone, ids[: length - max(len(asked), len(alone))]

    return readings
