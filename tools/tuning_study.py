"""What refinement and diversification do to a tuned model's loss on held-out responses.

    python tools/tuning_study.py --workdir runs/small_cpu --output runs/tuning_study \\
        --gin_file gin/runs/small_cpu.gin --gin.LANGUAGES="('fi', 'sw', 'th', 'ur')"

takes a finished run and its gin file, and for each seed draws three sets of pairs from
its last round, of each language as many as diversification draws with that seed:

    random       of all candidates
    refined      of those that rating and rules kept, at random
    diversified  of those, from their clusters, by the run's own DiversifyConfig

The base model is tuned on each together with the seed pairs, as the stage `model` does
it, and the loss on the run's held-out seed pairs is measured before and after. The seed
decides what is drawn and in which order it is trained on; a seed's sets share it, so
that differences are taken seed by seed. Every gin field of `diversify` and `sft` can be
overridden: `--gin.DiversifyConfig.per_cluster=6` studies larger sets.

The workdir is read as it is, also where it was made by an earlier version; how its
configuration differs from today's is printed. Everything is written under --output, a
directory for each seed and set; the same command again goes on where it was stopped.
"""

import argparse
import os
import pathlib
import sys
from collections.abc import Sequence

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from xinst_jax import errors, run_file
from xinst_jax.errors import UserError
from xinst_jax.pipeline.workspace import Workspace


def main(arguments: Sequence[str]) -> int:
    """Runs the study and prints its tables; gives the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="--gin.NAME=VALUE overrides a macro of the gin file, "
        "--gin.Class.field=VALUE a field.",
    )
    parser.add_argument(
        "--workdir", type=pathlib.Path, required=True, help="the run's; only read"
    )
    parser.add_argument("--gin_file", required=True, help="the one the run is made by")
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        required=True,
        help="directory of the study, made if missing; holds two checkpoints a tuning",
    )
    parser.add_argument("--seeds", type=int, default=3, help="how many; 3 by default")
    parser.add_argument("--steps", type=int, help="of each tuning, to try things out")
    parser.add_argument(
        "--only_seed_pairs",
        action="store_true",
        help="tune on the seed pairs alone too, for comparison",
    )
    options = parser.parse_args([a for a in arguments if not a.startswith("--gin.")])
    overrides = [a[len("--gin.") :] for a in arguments if a.startswith("--gin.")]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.seeds < 1:
        parser.error(f"--seeds {options.seeds}: expected 1 or more")
    if options.steps is not None:
        # Later ones win.
        overrides.append(f"sft/TrainConfig.steps = {options.steps}")
    try:
        run = run_file.load(options.gin_file, overrides, leave_open=True)
        home = Workspace(run, options.output)
        home.name_programs()
        # These import JAX, which is told by then where it keeps compiled programs.
        import rich.console

        from tools.tuning import paired, study

        console = rich.console.Console()
        given = study.Study(run, options.workdir, options.output)
        given.check(console)
        with home.lock():
            home.claim()
            with home.kept_programs():
                seeds = range(run.seed, run.seed + options.seeds)
                record = study.study(given, seeds, options.only_seed_pairs, console)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return errors.MISTAKEN
    except errors.Preempted as notice:
        print(f"preempted: {notice}", file=sys.stderr)
        return errors.PREEMPTED
    print(f"{paired.tables(record)}\n\n{study.seen_words(record)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
