"""A Slurm cluster of NVIDIA GPUs: one batch job, one process a GPU.

The code and its environment are set up once, from here, on the file system that all
nodes share; nodes that compute need no way to the internet.
"""

import dataclasses
import pathlib

from tools.pod import job as job_lib
from tools.pod.job import Job, Run

_NOTICE_SECONDS = 300


@dataclasses.dataclass(frozen=True)
class Launch:
    """A run on a Slurm cluster.

    Attributes:
      job: what runs.
      workdir: where, on the shared file system.
      place: where code and environment go, on the shared file system.
      nodes: how many.
      gpus: of each node.
      cpus: for each GPU.
      time: the job's limit, as Slurm writes it; it is queued again when that is over.
      options: further options of sbatch, as they are.
    """

    job: Job
    workdir: pathlib.PurePath
    place: pathlib.PurePath
    nodes: int
    gpus: int
    cpus: int
    time: str
    options: tuple[str, ...] = ()

    @property
    def code(self) -> pathlib.PurePath:
        """The directory of the code and its environment."""
        return self.place / self.job.commit

    def prepare(self) -> list[list[str]]:
        """The commands that set up code and environment; again, they are quick."""
        code, python = str(self.code), str(self.code / ".venv" / "bin" / "python")
        file = f"{code}.tar.gz"
        install = [python, "-m", "pip", "install", "--quiet"]
        requirements = ("requirements.txt", "requirements-cuda.txt")
        listed = [f"--requirement={self.code / name}" for name in requirements]
        encoder = f"--requirement={self.code / 'requirements-encoder.txt'}"
        return [
            ["mkdir", "-p", code],
            job_lib.archive(self.job.commit, file),
            ["tar", "-xzf", file, "-C", code],
            ["python3.11", "-m", "venv", str(self.code / ".venv")],
            [*install, *listed],
            [*install, "--no-deps", encoder],
        ]

    def submit(self) -> list[str]:
        """The command that queues the job, with the script on its standard input."""
        return ["sbatch", "--parsable"]

    def script(self) -> str:
        """The batch script."""
        options = [
            f"--job-name={self.job.name}",
            f"--nodes={self.nodes}",
            f"--ntasks-per-node={self.gpus}",
            f"--gpus-per-node={self.gpus}",
            f"--cpus-per-task={self.cpus}",
            f"--time={self.time}",
            f"--output={self.place}/{self.job.name}-%j.log",
            "--open-mode=append",
            "--requeue",
            # Before the time is over, to save; the script itself is not told.
            f"--signal=TERM@{_NOTICE_SECONDS}",
            *self.options,
        ]
        head = "\n".join(f"#SBATCH {option}" for option in options)
        values = {"CODE": str(self.code), "RESTARTS": self.job.restarts}
        command = (*self.job.command, f"--workdir={self.workdir}")
        return job_lib.script("slurm_batch.sh", values, command, head)


def plan(launch: Launch) -> str:
    """What is run, in words and commands."""
    prepare = "\n".join(map(job_lib.shown, launch.prepare()))
    return f"""\
# 1. Code and environment, on the shared file system.
{prepare}

# 2. The batch script below is queued; its log names the job's number.
{job_lib.shown(launch.submit())}

# The batch script
{launch.script()}"""


def start(launch: Launch, run: Run = job_lib.run) -> None:
    """Carries the plan out.

    Raises:
      UserError: a command failed.
    """
    for command in launch.prepare():
        job_lib.checked(run, command)
    number = job_lib.checked(run, launch.submit(), launch.script()).strip()
    job_lib.say(f"job {number}; log {launch.place}/{launch.job.name}-{number}.log")
