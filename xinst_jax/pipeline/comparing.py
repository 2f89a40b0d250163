"""Two runs against each other: their tuned models' answers, put to one judge."""

import pathlib
from collections.abc import Sequence

import jax
import rich.console

from xinst_jax import __version__, manifest
from xinst_jax import config as config_lib
from xinst_jax.config.judging import ENDPOINT
from xinst_jax.errors import UserError
from xinst_jax.pipeline import answering, raw_files
from xinst_jax.pipeline.make import evaluation as evaluation_make
from xinst_jax.pipeline.workspace import Workspace

STAGE = "comparison"


def run(
    workspace: Workspace,
    runs: Sequence[pathlib.Path],
    console: rich.console.Console,
    *,
    dry: bool = False,
) -> None:
    """Writes `comparison/` in the workdir: what `judgments/` holds, between two runs.

    Args:
      workspace: whose configuration names the judge; its workdir takes the result.
      runs: workdirs of two evaluated runs; the first is the one that wins or loses.
      console: where progress is said.
      dry: only say what it would cost.

    Raises:
      UserError: no judge is configured that can be had here, a run is not evaluated or
        they were asked different questions.
    """
    from xinst_jax.eval import evaluate, judge, judging

    if jax.process_count() > 1:
        raise UserError("compare runs in one process; start it on one host.")
    config = workspace.run.judge
    if not config.judge or config.judge in answering.STAGES:
        raise UserError(
            "compare needs JudgeConfig.judge = 'endpoint' or the path of a Hugging "
            f"Face folder, found {config.judge!r}."
        )
    languages = workspace.run.language_table
    inputs, rows = {}, {}
    for name, path in zip(_names(runs), runs, strict=True):
        record = manifest.read(path / "evaluation")
        if record is None:
            raise UserError(
                f"{path} holds no finished evaluation; make it with the verb "
                "'evaluate' first."
            )
        lacking = sorted(set(languages) - set(record["counts"]))
        if lacking:
            raise UserError(
                f"{path} was not evaluated in {', '.join(lacking)}; leave it out of "
                "RunConfig.languages."
            )
        inputs[name] = manifest.content_digest(record)
        answers = evaluate.read_answers(path / "evaluation", languages)
        rows[name] = answers[evaluate.TUNED]
    ours = next(iter(rows))
    written = answering.written_pairs(runs[0], tuple(languages))
    put = judging.all_pairs(config, rows, ours, languages, written)
    if config.judge == ENDPOINT:
        shown = judge.comparisons([p for part in put.values() for p in part], languages)
        asked = judge.requests(config.prompt, shown)
        answering.print_estimate(workspace, "judge", asked)
    if dry:
        return
    stage = manifest.StageDirectory(
        workspace.path(STAGE),
        STAGE,
        {
            "xinst_jax": __version__,
            "judge": config_lib.as_record(config),
            "buckets": list(workspace.run.answer.prompt_buckets),
            "model": config_lib.as_record(workspace.run.model),
            "languages": workspace.run.language_records,
            "names": list(rows),
        },
        {**inputs, **raw_files.folder_digests(answering.folders((config.judge,)))},
    )
    if not stage.finished():
        stage.begin()
        counts = judging.run(
            stage,
            config,
            rows,
            ours,
            languages,
            put,
            answering.judge(workspace),
            judge_name=answering.judge_name(workspace),
            title=" against ".join(rows),
            remote=config.judge == ENDPOINT,
        )
        stage.finish(counts)
    evaluation_make.print_win_rates(stage.path, answers=True)


def _names(runs: Sequence[pathlib.Path]) -> list[str]:
    """What two runs are called: their folders' names, told apart."""
    names = [path.resolve().name for path in runs]
    return names if len(set(names)) == len(names) else ["A", "B"]
