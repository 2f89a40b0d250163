"""The models that are asked or judge: this run's own, folders and endpoints."""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xinst_jax import distributed, run_file, shards
from xinst_jax.config.judging import ENDPOINT
from xinst_jax.data import prompts
from xinst_jax.errors import UserError
from xinst_jax.eval import answers as answers_lib
from xinst_jax.eval import judge as judge_lib
from xinst_jax.eval import tables, verdicts
from xinst_jax.eval.answers import Answer, AnswerAll, Answerer, Question
from xinst_jax.eval.endpoint import Endpoint, Request
from xinst_jax.eval.judge import Judge
from xinst_jax.pipeline.workspace import Workspace

if TYPE_CHECKING:
    from xinst_jax.config import ModelConfig
    from xinst_jax.data.vocab import Vocabulary
    from xinst_jax.models.decoder import Params

STAGES = ("base", "model")
"""This run's own models that can be named."""


@dataclasses.dataclass(frozen=True)
class LocalModel:
    """A model with its tokenizer.

    Attributes:
      shape: the decoder's.
      params: its weights.
      vocabulary: its tokenizer.
    """

    shape: "ModelConfig"
    params: "Params"
    vocabulary: "Vocabulary"


def local_model(workspace: Workspace, name: str) -> LocalModel:
    """Loads a model of the run, or one of a Hugging Face folder.

    Args:
      workspace: the run.
      name: 'base', 'model', or a folder's path.

    Raises:
      UserError: the folder holds no model that the decoder computes.
    """
    from xinst_jax.data import vocab
    from xinst_jax.hf import config as hf_config
    from xinst_jax.hf import folder as folder_lib
    from xinst_jax.hf import tokenizer as hf_tokenizer
    from xinst_jax.pipeline import training

    if name in STAGES:
        params = training.trained_params(workspace, name)
        return LocalModel(workspace.model, params, workspace.vocabulary)
    folder, own = run_file.project_path(name), workspace.run.model
    hf_tokenizer.check_no_code(folder)
    shape = hf_config.read(folder).computed_as(own)
    params = folder_lib.import_params(folder, shape, workspace.rules, workspace.mesh)
    return LocalModel(shape, params, vocab.load_vocabulary(folder))


def folders(names: Sequence[str]) -> tuple[str, ...]:
    """Of names of models, those that are paths."""
    return tuple(name for name in names if name not in (*STAGES, ENDPOINT))


def folder_name(name: str) -> str:
    """What a model named by its folder is called in tables and files."""
    return name if name in (*STAGES, ENDPOINT) else pathlib.PurePath(name).name


def tuned(workspace: Workspace, seed: int) -> Answerer:
    """The run's tuned model as one that answers."""
    return _local(workspace, "model", seed)


def opponents(workspace: Workspace, seed: int) -> dict[str, Answerer]:
    """What the tuned model is compared with, by name.

    Raises:
      UserError: two have the same name.
    """
    found: dict[str, Answerer] = {}
    for name in workspace.run.evaluate.opponents:
        called = folder_name(name)
        if called in found:
            raise UserError(
                f"EvaluateConfig.opponents has two folders called {called!r}; rename "
                "one, or link to it by another name."
            )
        found[called] = (
            _remote(workspace) if name == ENDPOINT else _local(workspace, name, seed)
        )
    return found


def endpoint(workspace: Workspace, role: str) -> Endpoint:
    """A configured endpoint, its completions and its ledger in the workdir.

    Args:
      workspace: the run.
      role: 'judge', 'opponent' or 'translator'.
    """
    run = workspace.run
    configs = {
        "judge": run.judge.endpoint,
        "opponent": run.evaluate.endpoint,
        "translator": run.seed_pairs.translate.endpoint,
    }
    return Endpoint(configs[role], workspace.path("completions") / role)


def print_estimate(
    workspace: Workspace, role: str, requests: Sequence[Request], basis: str = ""
) -> None:
    """Prints what requests to an endpoint would cost; sends nothing.

    Args:
      workspace: the run.
      role: as for `endpoint`.
      requests: what would be asked.
      basis: what the estimate rests on, to be said behind it.
    """
    estimate = endpoint(workspace, role).estimate(requests)
    tables.console().print(f"  {role}: {estimate}{basis}", highlight=False)


def judge(workspace: Workspace) -> Judge:
    """The configured judge."""
    config = workspace.run.judge
    if config.judge == ENDPOINT:
        return judge_lib.endpoint_judge(endpoint(workspace, "judge"), config.prompt)
    return _local_judge(workspace, local_model(workspace, config.judge))


def judge_name(workspace: Workspace) -> str:
    """What the configured judge is called."""
    config = workspace.run.judge
    if config.judge == ENDPOINT:
        return f"{config.endpoint.model} at {config.endpoint.url}"
    return folder_name(config.judge)


def written_pairs(
    workdir: pathlib.Path, languages: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Seed pairs that nothing is trained on, by language, whole."""
    return {
        code: [
            row
            for row in shards.read_rows(workdir / "seed" / code)
            if row["split"] == "held_out"
        ]
        for code in languages
        if shards.complete(workdir / "seed" / code)
    }


def _remote(workspace: Workspace) -> Answerer:
    config = workspace.run.evaluate.endpoint
    settings = {
        "source": config.url,
        "model": config.model,
        "temperature": config.temperature,
        "top_p": config.top_p,
        "max_tokens": config.max_tokens,
        "prompt": "the paper's, of its ChatGPT baseline",
    }
    return Answerer(
        settings,
        lambda _: answers_lib.from_endpoint(endpoint(workspace, "opponent")),
        remote=True,
    )


def _local(workspace: Workspace, name: str, seed: int) -> Answerer:
    decode, wording = workspace.run.answer, workspace.run.prompts
    asked = "the paper's, in the style of an AI assistant"
    settings = {
        "source": "this run" if name in STAGES else name,
        "model": folder_name(name),
        "temperature": decode.temperature,
        "top_p": decode.top_p,
        "top_k": decode.top_k,
        "min_p": decode.min_p,
        "no_repeat_ngram": decode.no_repeat_ngram,
        "stop_strings": list(decode.stop_strings),
        "max_tokens": decode.max_new_tokens,
        "seed": seed,
        "prompt": asked if wording == prompts.PAPER else prompts.chat(wording),
    }
    return Answerer(settings, functools.partial(_generating, workspace, name, seed))


def _generating(
    workspace: Workspace, name: str, seed: int, every: Sequence[Question]
) -> AnswerAll:
    from xinst_jax.pipeline import text_models

    local = local_model(workspace, name)
    vocabulary, run = local.vocabulary, workspace.run
    engine = text_models.engine_of(
        workspace, local.params, local.shape, vocabulary, run.answer
    )

    def prompt_of(question: Question) -> list[int]:
        return vocabulary.encode_prompt(answers_lib.prompt(question, run.prompts))

    for question in every:
        if len(tokens := prompt_of(question)) > engine.longest_prompt:
            raise UserError(
                f"Question {question.row_id} is {len(tokens)} tokens with its prompt, "
                f"and {folder_name(name)} is asked at most {engine.longest_prompt}. "
                "Give answer/DecodeConfig.prompt_buckets a longer one, or shorten the "
                "question."
            )

    def generated(questions: Sequence[Question]) -> list[Answer]:
        tokens = list(map(prompt_of, questions))
        ids = [question.row_id for question in questions]
        return [
            Answer(
                vocabulary.decode(one.tokens) if one.text is None else one.text,
                one.logprob,
                len(one.tokens),
                one.finish,
            )
            for one in engine.generate(tokens, ids, seed)
        ]

    def answer(questions: Sequence[Question]) -> list[Answer]:
        answers = generated(questions[engine.replica :: engine.replicas])
        if engine.replicas == 1:
            return answers
        said = distributed.from_each(
            "answers", [engine.replica, answers] if engine.leads else None
        )
        of_replica = dict(one for one in said if one)
        return [
            Answer(*of_replica[row % engine.replicas][row // engine.replicas])
            for row in range(len(questions))
        ]

    return answer


def _local_judge(workspace: Workspace, local: LocalModel) -> Judge:
    from xinst_jax.infer import score

    vocabulary, config = local.vocabulary, workspace.run.judge
    labels = [vocabulary.encode(letter) for letter in verdicts.LETTERS]
    longest = local.shape.max_length - max(map(len, labels))
    buckets = [size for size in workspace.run.answer.prompt_buckets if size < longest]

    def fits(text: str) -> bool:
        return len(vocabulary.encode_prompt(text)) <= longest

    def label_logprobs(texts: list[str]) -> np.ndarray:
        return score.label_logprobs(
            local.params,
            local.shape,
            workspace.rules,
            workspace.mesh,
            [vocabulary.encode_prompt(text) for text in texts],
            labels,
            config.batch_rows,
            [*buckets, longest],
        )

    return judge_lib.local_judge(label_logprobs, fits, config.prompt)
