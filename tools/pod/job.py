"""What all launches have in common: a commit, a command, a script for every host."""

import dataclasses
import pathlib
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from xinst_jax.errors import UserError

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOSTS = pathlib.Path(__file__).parent / "hosts"

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
_BUCKET = re.compile(r"gs://([a-z0-9][-_.a-z0-9]{1,220}[a-z0-9])/(.+)")

Run = Callable[[Sequence[str], str], subprocess.CompletedProcess[str]]
"""Runs a command with a text as its input; gives its status and what it printed."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A command of xinst_jax, to be run by every process of a launch.

    Attributes:
      name: of the launch; lower-case letters, digits and hyphens, at most 40.
      commit: the full name of the commit to run.
      command: the verb and its options, without --workdir.
      restarts: how often it is started again where it ended with a status that asks
        for that (75: preempted, or another process was lost).
    """

    name: str
    commit: str
    command: tuple[str, ...]
    restarts: int

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UserError(
                f"--name {self.name!r}: expected lower-case letters, digits and "
                "hyphens, a letter first, at most 40 characters."
            )
        if not self.command:
            raise UserError(
                "No command. Give the verb and its options after --, for example: -- "
                "pipeline --gin_file gin/runs/quickstart.gin"
            )
        given = [word for word in self.command if word.partition("=")[0] == "--workdir"]
        if given:
            raise UserError("Give --workdir before the --, not with the command.")


@dataclasses.dataclass(frozen=True)
class Bucket:
    """A place in Cloud Storage.

    Attributes:
      name: the bucket.
      path: the directory in it.
    """

    name: str
    path: str

    def url(self, *parts: str) -> str:
        """The gs:// address of something in the bucket."""
        return "/".join((f"gs://{self.name}", *parts))


def bucket(workdir: str) -> Bucket:
    """Where a workdir is that is given as gs://BUCKET/DIRECTORY.

    Raises:
      UserError: it is not of that form.
    """
    match = _BUCKET.fullmatch(workdir.rstrip("/"))
    if not match:
        raise UserError(
            f"--workdir {workdir!r}: expected gs://BUCKET/DIRECTORY, a directory in a "
            "bucket with a hierarchical namespace."
        )
    return Bucket(*match.groups())


def resolve(commit: str) -> str:
    """The full name of a commit of this repository.

    Raises:
      UserError: there is no such commit.
    """
    found = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--verify", f"{commit}^{{commit}}"],
        capture_output=True,
        text=True,
    )
    if found.returncode:
        raise UserError(f"--commit {commit!r}: {found.stderr.strip()}")
    return found.stdout.strip()


def archive(commit: str, file: str) -> list[str]:
    """The command that packs a commit's files; it runs in the repository."""
    return ["git", "archive", "--format=tar.gz", f"--output={file}", commit]


def archived(job: Job, workdir: Bucket) -> str:
    """Where the code lies in the workdir's bucket."""
    return f"{workdir.path}.launch/{job.commit}.tar.gz"


def upload(job: Job, workdir: Bucket, file: str) -> list[list[str]]:
    """The commands that put the code into the bucket.

    Args:
      job: names the commit.
      workdir: says which bucket.
      file: where the packed code lies for a moment.
    """
    place = workdir.url(archived(job, workdir))
    return [archive(job.commit, file), ["gcloud", "storage", "cp", file, place]]


def script(
    name: str, values: Mapping[str, str | int], command: Sequence[str], head: str = ""
) -> str:
    """A script of `hosts/` with its variables set, ready to be run.

    Args:
      name: its file.
      values: the variables that it asks for.
      command: what it runs after `python -m xinst_jax`, as the array COMMAND.
      head: lines that come first.
    """
    first, _, body = (HOSTS / name).read_text().partition("\n")
    lines = [first, *([head] if head else [])]
    lines += [f"{key}={shlex.quote(str(value))}" for key, value in values.items()]
    lines += ["COMMAND=(", *(f"  {shlex.quote(word)}" for word in command), ")"]
    return "\n".join([*lines, body])


def shown(command: Sequence[str]) -> str:
    """A command as a shell would read it, an option a line."""
    lines: list[list[str]] = [[]]
    for word in command:
        if word.startswith("--") and len(lines[-1]) > 1:
            lines.append([])
        lines[-1].append(shlex.quote(word))
    return " \\\n  ".join(map(" ".join, lines))


def run(command: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a command in the repository, with a text as its input."""
    return subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT)


def checked(run: Run, command: Sequence[str], text: str = "") -> str:
    """What a command prints.

    Raises:
      UserError: it failed.
    """
    done = run(command, text)
    if done.returncode:
        raise UserError(
            f"This command ended with status {done.returncode}:\n{shown(command)}\n"
            f"{done.stderr.strip()}"
        )
    return done.stdout


def say(text: str) -> None:
    """Tells the user."""
    print(text, file=sys.stderr, flush=True)
