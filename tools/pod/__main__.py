"""Starts a run on a Cloud TPU, on GKE or on a Slurm cluster: docs/launching.md.

    python -m tools.pod tpu --dry-run --name x8b --slice v5e-64 --project P --zone Z \
        --workdir gs://BUCKET/x8b -- pipeline --gin_file gin/runs/NAME.gin
"""

import argparse
import pathlib
import re
import sys
from collections.abc import Sequence

from tools.pod import accelerators, gke, slurm, tpu
from tools.pod import job as job_lib
from tools.pod.job import Job
from xinst_jax.errors import INTERRUPTED, UserError

_LINE = re.compile(r"[^\s'\"\\]+")


def main(arguments: Sequence[str] | None = None) -> int:
    """Starts a run, or prints what would be run; gives the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    at = given.index("--") if "--" in given else len(given)
    options = _parser().parse_args(given[:at])
    try:
        job = Job(
            name=options.name,
            commit=job_lib.resolve(options.commit),
            command=tuple(given[at + 1 :]),
            restarts=options.restarts,
        )
        return _WHERE[options.where](options, job)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.pod",
        description="Starts a run on many hosts. What follows -- is the verb and its "
        "options, as on one machine, without --workdir.",
    )
    wheres = parser.add_subparsers(dest="where", required=True, metavar="WHERE")
    on_tpu = wheres.add_parser("tpu", help="a Cloud TPU slice, or several")
    on_gke = wheres.add_parser("gke", help="TPU nodes of a GKE cluster")
    on_slurm = wheres.add_parser("slurm", help="GPU nodes of a Slurm cluster")
    for command in (on_tpu, on_gke, on_slurm):
        command.add_argument("--name", required=True, help="of the launch")
        command.add_argument("--workdir", required=True, help="of the run")
        command.add_argument("--commit", default="HEAD", help="what to run")
        command.add_argument(
            "--restarts", type=int, default=20, help="at most, after preemptions"
        )
        command.add_argument(
            "--dry-run",
            "--dry_run",
            action="store_true",
            help="print what would be run; run nothing",
        )
    for command in (on_tpu, on_gke):
        command.add_argument("--slice", required=True, help="for example v5e-64")
        command.add_argument("--slices", type=int, default=1, help="how many")
    on_tpu.add_argument("--project", required=True)
    on_tpu.add_argument("--zone", required=True)
    on_tpu.add_argument(
        "--capacity", choices=("spot", "reserved", "on-demand"), default="on-demand"
    )
    on_gke.add_argument("--image", default="python:3.11-bookworm")
    on_gke.add_argument("--service_account", required=True)
    on_gke.add_argument("--namespace", default="default")
    on_gke.add_argument("--spot", action="store_true")
    on_slurm.add_argument(
        "--place", required=True, help="directory for code and environment"
    )
    on_slurm.add_argument("--nodes", type=int, required=True)
    on_slurm.add_argument("--gpus", type=int, required=True, help="of each node")
    on_slurm.add_argument("--cpus", type=int, default=8, help="for each GPU")
    on_slurm.add_argument("--time", default="24:00:00", help="limit of one start")
    for command, of in ((on_tpu, "gcloud"), (on_slurm, "sbatch")):
        command.add_argument(
            "--option",
            action="append",
            default=[],
            help=f"a further one for {of}, as --option=--partition=long; repeatable",
        )
    return parser


def _tpu(options: argparse.Namespace, job: Job) -> int:
    launch = tpu.Launch(
        job=job,
        workdir=job_lib.bucket(options.workdir),
        slice=accelerators.named(options.slice),
        slices=_count("--slices", options.slices),
        project=options.project,
        zone=options.zone,
        capacity=options.capacity,
        options=tuple(options.option),
    )
    if options.dry_run:
        print(tpu.plan(launch), end="")
        return 0
    return tpu.start(launch)


def _gke(options: argparse.Namespace, job: Job) -> int:
    launch = gke.Launch(
        job=job,
        workdir=job_lib.bucket(options.workdir),
        slice=accelerators.named(options.slice),
        slices=_count("--slices", options.slices),
        image=options.image,
        service_account=options.service_account,
        namespace=options.namespace,
        spot=options.spot,
    )
    if options.dry_run:
        print(gke.plan(launch), end="")
        return 0
    gke.start(launch)
    return 0


def _slurm(options: argparse.Namespace, job: Job) -> int:
    for name in ("workdir", "place"):
        path = getattr(options, name)
        if not pathlib.PurePath(path).is_absolute() or not _LINE.fullmatch(path):
            raise UserError(
                f"--{name} {path!r}: expected an absolute path on the file system that "
                "all nodes share, without spaces or quotes (sbatch's lines know none)."
            )
    for option in (options.time, *options.option):
        if not _LINE.fullmatch(option):
            raise UserError(f"{option!r}: sbatch's lines know no spaces or quotes.")
    launch = slurm.Launch(
        job=job,
        workdir=pathlib.PurePath(options.workdir),
        place=pathlib.PurePath(options.place),
        nodes=_count("--nodes", options.nodes),
        gpus=_count("--gpus", options.gpus),
        cpus=_count("--cpus", options.cpus),
        time=options.time,
        options=tuple(options.option),
    )
    if options.dry_run:
        print(slurm.plan(launch), end="")
        return 0
    slurm.start(launch)
    return 0


def _count(name: str, value: int) -> int:
    if value < 1:
        raise UserError(f"{name} = {value}; expected at least 1.")
    return value


_WHERE = {"tpu": _tpu, "gke": _gke, "slurm": _slurm}

if __name__ == "__main__":
    sys.exit(main())
