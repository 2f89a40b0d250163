"""Pairs with another pair's instruction, put through a finished run's rater and rules.

    python tools/planted_pairs.py --workdir runs/small_cpu \\
        --gin_file gin/runs/small_cpu.gin --gin.LANGUAGES="('fi', 'sw', 'th', 'ur')"

takes the run's held-out seed pairs, which no rater was trained on, and the candidates
that its last round kept; gives a share of each the instruction of another of its pool
and language; scores all with the last round's rater, its mutual information and its
calibration, as the stage `rate` does; and prints how many
of the mismatched and of those left alone the rules and the scores drop, by language and
first reason. The scores asked for are the run's `min_score` and, in place of a quota,
the lowest score that it kept in the language.

What the run kept it would keep again: the candidates left alone show that the scores
come out as they did. The workdir is only read, also where an earlier version made it.
"""

import argparse
import os
import pathlib
import sys
from collections.abc import Sequence

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from xinst_jax import errors, manifest, run_file
from xinst_jax.config import RunConfig
from xinst_jax.errors import UserError
from xinst_jax.pipeline.workspace import Workspace


def main(arguments: Sequence[str]) -> int:
    """Plants, scores and prints; gives the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="--gin.NAME=VALUE overrides a macro of the gin file.",
    )
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--gin_file", required=True, help="the one the run is made by")
    parser.add_argument("--share", type=float, default=0.5, help="that is mismatched")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument(
        "--limit", type=int, help="pairs of each language and pool, to try things out"
    )
    options = parser.parse_args([a for a in arguments if not a.startswith("--gin.")])
    overrides = [a[len("--gin.") :] for a in arguments if a.startswith("--gin.")]
    if not 0 < options.share < 1:
        parser.error(f"--share {options.share}: expected between 0 and 1")
    if options.limit is not None and options.limit < 2:
        parser.error(f"--limit {options.limit}: expected 2 or more")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        run = run_file.load(options.gin_file, overrides, leave_open=True)
        print(_study(run, options))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return errors.MISTAKEN
    return 0


def _study(run: RunConfig, options: argparse.Namespace) -> str:
    # These import JAX, which is slow: not for --help.
    from tools.noise import pairs
    from xinst_jax.pipeline import rounds
    from xinst_jax.pipeline.make import answers

    workspace = Workspace(run, options.workdir)
    _check(workspace, run.rounds)
    # A round that was left out has no rater, and the rows of the settled one.
    number = rounds.last_trained(workspace)
    last = f"round-{number}"
    planted = pairs.mismatch(
        pairs.pools(workspace, last, options.limit), options.share, options.seed
    )
    if not planted:
        raise UserError(f"{options.workdir} has no held-out and no kept pair.")
    score_n = pairs.scores(
        workspace.path(f"ratings/{last}"), answers.signals(workspace, number), planted
    )
    bars = pairs.bars(workspace, last)
    return pairs.tables(planted, pairs.verdicts(planted, score_n, bars, run.rate))


def _check(workspace: Workspace, rounds: int) -> None:
    """Raises UserError unless the stages that are read are finished, and this run's."""
    workspace.check_owner()
    last = [f"{part}/round-{rounds}" for part in ("candidates", "rater", "ratings")]
    for name in ("seed", "tokenizer", "base", *last):
        record = manifest.read(workspace.path(name))
        if record is None:
            raise UserError(
                f"{workspace.path(name)} is not finished: finish the run, or give the "
                "gin file and the --gin overrides that it was made with."
            )
        made = {each["code"] for each in record["config"].get("languages", [])}
        if made and made != set(workspace.run.languages):
            raise UserError(
                f"{workspace.path(name)} was made for {', '.join(sorted(made))}, not "
                f"for {', '.join(workspace.run.languages)}: give the run's own "
                "languages (--gin.LANGUAGES in the files of gin/runs)."
            )
    _check_pmi_model(workspace, f"ratings/round-{rounds}")


def _check_pmi_model(workspace: Workspace, name: str) -> None:
    """Raises UserError where ratings have another model's mutual information."""
    record, given = manifest.read(workspace.path(name)), workspace.run.rate.pmi_model
    made = record["config"].get("rate", {}) if record else {}
    # Before there were followers, the field said whether the base model was asked.
    old = "base" if made.get("pmi") else "none"
    if made and made.get("pmi_model", old) != given:
        found = made.get("pmi_model", old)
        raise UserError(
            f"{workspace.path(name)} was rated with RateConfig.pmi_model = {found!r}, "
            f"and this run has {given!r}: give "
            f"--gin.RateConfig.pmi_model=\"'{found}'\"."
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
