"""Stages in which the tuned model is asked, and its answers are judged."""

import json
from typing import TYPE_CHECKING

from xinst_jax import distributed, manifest
from xinst_jax.config.judging import ENDPOINT
from xinst_jax.manifest import StageDirectory
from xinst_jax.pipeline import answering, question_files
from xinst_jax.pipeline.runner import Made
from xinst_jax.pipeline.workspace import Workspace

if TYPE_CHECKING:
    from xinst_jax.eval.endpoint import Request


def evaluation(workspace: Workspace, stage: StageDirectory) -> Made:
    """Answers of the tuned model and its opponents; losses on held-out responses."""
    from xinst_jax.eval import evaluate, tables
    from xinst_jax.pipeline import text_models

    run, seed = workspace.run, workspace.seed(stage.stage)
    if ENDPOINT in run.evaluate.opponents and distributed.is_primary():
        print_estimates(workspace, judging=False)
    held_out = {
        code: text_models.held_out_pairs(workspace, code) for code in run.languages
    }
    counts = evaluate.run(
        stage,
        question_files.sets(run),
        run.language_table,
        answering.tuned(workspace, seed),
        answering.opponents(workspace, seed),
        {code: pairs for code, (pairs, _) in held_out.items()},
        {
            "base": text_models.response_scorer(workspace, "base"),
            "tuned": text_models.response_scorer(workspace, "model"),
        },
        samples=run.evaluate.samples,
        resamples=run.judge.bootstrap,
    )
    if not distributed.is_primary():
        return Made(counts)
    for code, (_, left_out) in held_out.items():
        if left_out:
            counts[code].notes["held_out_too_long"] = left_out
    record = json.loads((stage.path / evaluate.FIGURES).read_bytes())
    console = tables.console()
    console.print(tables.likelihood(record))
    for name in record["sets"]:
        console.print(tables.fidelity(record, name))
    return Made(counts)


def judgments(workspace: Workspace, stage: StageDirectory) -> Made:
    """Which answers a judge prefers, and how far it is to be trusted."""
    from xinst_jax.eval import evaluate, judging

    run = workspace.run
    languages = run.language_table
    rows = evaluate.read_answers(workspace.path("evaluation"), languages)
    written = answering.written_pairs(workspace.workdir, run.languages)
    put = judging.all_pairs(run.judge, rows, evaluate.TUNED, languages, written)
    remote = run.judge.judge == ENDPOINT
    if remote and distributed.is_primary():
        print_estimates(workspace, answering_too=False)
    counts = judging.run(
        stage,
        run.judge,
        rows,
        evaluate.TUNED,
        languages,
        put,
        answering.judge(workspace),
        judge_name=answering.judge_name(workspace),
        title=run.name,
        remote=remote,
    )
    if distributed.is_primary():
        print_win_rates(stage)
    return Made(counts)


def print_win_rates(stage: StageDirectory) -> None:
    """Prints one table a question set, and where the page is."""
    from xinst_jax.eval import judging, tables

    record = json.loads((stage.path / judging.FIGURES).read_bytes())
    console = tables.console()
    for name in record["sets"]:
        console.print(tables.win_rates(record, name))
    console.print(f"side by side: {stage.path / judging.PAGE}", highlight=False)


def print_estimates(
    workspace: Workspace, *, answering_too: bool = True, judging: bool = True
) -> None:
    """Prints what the endpoints would cost; sends nothing.

    Args:
      workspace: the run.
      answering_too: the opponent's endpoint, if there is one.
      judging: the judge's, if there is one.
    """
    from xinst_jax.eval import answers, tables

    run, console = workspace.run, tables.console()

    def tell(role: str, requests: "list[Request]", basis: str = "") -> None:
        estimate = answering.endpoint(workspace, role).estimate(requests)
        console.print(f"  {role}: {estimate}{basis}", highlight=False)

    if answering_too and ENDPOINT in run.evaluate.opponents:
        asked = [
            answers.endpoint_request(question)
            for code, language in run.language_table.items()
            for _, _, question in answers.asked(
                question_files.sets(run), code, language, run.evaluate.samples
            )
        ]
        tell("opponent", asked)
    if judging and run.judge.judge == ENDPOINT:
        made = manifest.read(workspace.path("evaluation")) is not None
        basis = "" if made else " (answers are not made yet: taken at their longest)"
        tell("judge", _judge_requests(workspace, made), basis)


def _judge_requests(workspace: Workspace, made: bool) -> "list[Request]":
    """What the judge is asked; of answers not made yet, as long as they can be."""
    from xinst_jax.eval import evaluate, judge, judging
    from xinst_jax.eval.judge import Pair

    run = workspace.run
    languages = run.language_table
    written = answering.written_pairs(workspace.workdir, run.languages)
    if made:
        rows = evaluate.read_answers(workspace.path("evaluation"), languages)
        put = judging.all_pairs(run.judge, rows, evaluate.TUNED, languages, written)
        pairs = [pair for part in put.values() for pair in part]
    else:
        size = int(run.answer.max_new_tokens * run.judge.endpoint.bytes_per_token)
        pairs = [
            Pair(
                *(judge.ANSWERS, of.name, row["id"], code, opponent),
                row["instruction"],
                f"{opponent} {row['id']}".ljust(size, "x"),
                f"{code} {row['id']}".ljust(size, "x"),
            )
            for opponent in run.evaluate.opponents
            for of in question_files.sets(run)
            for code, questions in of.questions.items()
            for row in questions
        ]
    shown = judge.comparisons(pairs, languages)
    return judge.requests(run.judge.prompt, shown)
