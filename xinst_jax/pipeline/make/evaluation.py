"""Stages in which the tuned model is asked, and its answers are judged."""

import functools
import json
import pathlib
from typing import TYPE_CHECKING, Any

from xinst_jax import distributed, shards
from xinst_jax.config.judging import ENDPOINT
from xinst_jax.manifest import StageDirectory
from xinst_jax.pipeline import answering, question_files, rounds
from xinst_jax.pipeline.runner import Made
from xinst_jax.pipeline.workspace import Workspace

if TYPE_CHECKING:
    from xinst_jax.eval.judge import Pair
    from xinst_jax.eval.likelihood import ResponseLogprobs


def evaluation(workspace: Workspace, stage: StageDirectory) -> Made:
    """Answers of the tuned model and its opponents; losses on held-out responses."""
    from xinst_jax.eval import evaluate
    from xinst_jax.pipeline import text_models

    run, seed = workspace.run, workspace.seed(stage.stage)
    if distributed.is_primary():
        print_opponent_estimate(workspace)
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
            "base": _scorer(workspace, "base"),
            "tuned": _scorer(workspace, "model"),
        },
        samples=run.evaluate.samples,
        resamples=run.judge.bootstrap,
        wording=run.prompts,
    )
    ranked = _retrieval(workspace, stage)
    if not distributed.is_primary():
        return Made(counts)
    for code, (_, left_out) in held_out.items():
        if left_out:
            counts[code].notes["held_out_too_long"] = left_out
    record = json.loads((stage.path / evaluate.FIGURES).read_bytes())
    for code, found in ranked.items():
        record["languages"][code]["retrieval"] = found
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    shards.write_bytes(stage.path / evaluate.FIGURES, text.encode())
    print_figures(stage.path)
    return Made(counts)


def _retrieval(workspace: Workspace, stage: StageDirectory) -> dict[str, Any]:
    """By language, how well both models find the true instruction among others.

    Of several processes only process 0 reads the figures.
    """
    from xinst_jax.eval import retrieval
    from xinst_jax.pipeline import text_models

    run, seed = workspace.run, workspace.seed(f"{stage.stage}/retrieval")
    if not run.evaluate.retrieval_pairs:
        return {}

    @functools.cache
    def models() -> retrieval.Models:
        generator = f"generator/round-{rounds.last_trained(workspace)}"
        return retrieval.Models(
            generator=text_models.response_scorer(workspace, generator),
            tuned=text_models.response_scorer(workspace, "model"),
        )

    found = {}
    for code, language in run.language_table.items():
        directory = stage.path / "retrieval" / code
        pairs, _ = text_models.retrieval_pairs(workspace, code)
        most = run.evaluate.retrieval_pairs
        retrieval.run(directory, pairs, language, most, seed, models, run.prompts)
        if distributed.is_primary():
            found[code] = retrieval.figures(shards.read_rows(directory), seed)
    return found


def judgments(workspace: Workspace, stage: StageDirectory) -> Made:
    """Which answers a judge prefers, and how far it is to be trusted."""
    from xinst_jax.eval import evaluate, judging

    run = workspace.run
    languages = run.language_table
    rows = evaluate.read_answers(workspace.path("evaluation"), languages)
    written = answering.written_pairs(workspace.workdir, run.languages)
    put = judging.all_pairs(run.judge, rows, evaluate.TUNED, languages, written)
    remote = run.judge.judge == ENDPOINT
    if distributed.is_primary():
        print_judge_estimate(workspace, evaluated=True)
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
        print_win_rates(stage.path)
    return Made(counts)


def print_tables(workspace: Workspace) -> None:
    """Prints what a finished evaluation, and its judge, found."""
    shown = {"evaluation": print_figures}
    if workspace.run.judge.judge:
        shown["judgments"] = print_win_rates
    for name, show in shown.items():
        show(workspace.path(name))


def print_figures(directory: pathlib.Path) -> None:
    """Prints held-out losses, ranks, and one table of answers a question set."""
    from xinst_jax.eval import evaluate, retrieval, tables

    record = json.loads((directory / evaluate.FIGURES).read_bytes())
    console = tables.console()
    console.print(tables.likelihood(record))
    if any("retrieval" in figures for figures in record["languages"].values()):
        console.print(retrieval.table(record["languages"]))
    for name in record["sets"]:
        console.print(tables.fidelity(record, name))


def print_win_rates(directory: pathlib.Path, answers: bool = False) -> None:
    """Prints one table of judged pairs a question set, and where the page is.

    Args:
      directory: of the judgments.
      answers: print the figures of the answers themselves before.
    """
    from xinst_jax.eval import judging, tables

    record = json.loads((directory / judging.FIGURES).read_bytes())
    console = tables.console()
    for name in record["sets"] if answers else ():
        console.print(tables.fidelity(record, name))
    for name in record["sets"]:
        console.print(tables.win_rates(record, name))
    console.print(f"side by side: {directory / judging.PAGE}", highlight=False)


def print_opponent_estimate(workspace: Workspace) -> None:
    """Prints what the opponent's endpoint costs, if there is one; sends nothing."""
    from xinst_jax.eval import answers

    run = workspace.run
    if ENDPOINT not in run.evaluate.opponents:
        return
    asked = [
        answers.endpoint_request(question)
        for code, language in run.language_table.items()
        for _, _, question in answers.asked(
            question_files.sets(run), code, language, run.evaluate.samples
        )
    ]
    answering.print_estimate(workspace, "opponent", asked)


def print_judge_estimate(workspace: Workspace, *, evaluated: bool) -> None:
    """Prints what the judge's endpoint costs, if there is one; sends nothing.

    Args:
      workspace: the run.
      evaluated: whether the answers are made; else they are taken at their longest.
    """
    from xinst_jax.eval import evaluate, judge, judging

    run = workspace.run
    if run.judge.judge != ENDPOINT:
        return
    languages = run.language_table
    if evaluated:
        rows = evaluate.read_answers(workspace.path("evaluation"), languages)
        written = answering.written_pairs(workspace.workdir, run.languages)
        put = judging.all_pairs(run.judge, rows, evaluate.TUNED, languages, written)
        pairs = [pair for part in put.values() for pair in part]
        basis = ""
    else:
        pairs = _longest_pairs(workspace)
        basis = "; answers are not made yet: taken at their longest, nothing planted"
    shown = judge.comparisons(pairs, languages)
    asked = judge.requests(run.judge.prompt, shown)
    answering.print_estimate(workspace, "judge", asked, basis)


def _longest_pairs(workspace: Workspace) -> "list[Pair]":
    """The pairs that there can be, of answers as long as they can be."""
    from xinst_jax.eval import judge
    from xinst_jax.eval.judge import Pair

    run = workspace.run
    size = int(run.answer.max_new_tokens * run.judge.endpoint.bytes_per_token)
    return [
        Pair(
            *(judge.ANSWERS, of.name, row["id"], code, opponent),
            row["instruction"],
            # Each its own, for equal requests are counted once.
            f"{opponent} {row['id']}".ljust(size, "x"),
            f"{code} {row['id']}".ljust(size, "x"),
        )
        for opponent in run.evaluate.opponents
        for of in question_files.sets(run)
        for code, questions in of.questions.items()
        for row in questions
    ]


def _scorer(workspace: Workspace, stage: str) -> "ResponseLogprobs":
    """Scores held-out responses with a model that is loaded when first asked."""
    from xinst_jax.pipeline import text_models

    loaded = functools.cache(
        functools.partial(text_models.response_scorer, workspace, stage)
    )
    return lambda asked, responses: loaded()(asked, responses)
