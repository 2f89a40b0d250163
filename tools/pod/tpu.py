"""Cloud TPU: one queued resource of one or several slices, whose hosts start the run.

A startup script on every host mounts the bucket, sets up the environment and runs the
command; it leaves its log and its exit status in the bucket. From here the resource is
asked for, watched, asked for again when it was preempted, and given back at the end.
"""

import dataclasses
import pathlib
import tempfile
import time
from collections.abc import Callable

from tools.pod import job as job_lib
from tools.pod.accelerators import Slice
from tools.pod.job import Bucket, Job, Run
from xinst_jax.errors import PREEMPTED, UserError

_GONE = ("SUSPENDED", "FAILED")
_LOOK_SECONDS = 60.0
_TRIES = 30
_NOT_SET_UP = 70
_OTHER_HOSTS = 2


@dataclasses.dataclass(frozen=True)
class Launch:
    """A run on Cloud TPU.

    Attributes:
      job: what runs.
      workdir: where.
      slice: on what.
      slices: how many of them.
      project: the Google Cloud project.
      zone: where the TPUs are.
      capacity: 'spot', 'reserved' or 'on-demand'.
      options: further options of `queued-resources create`, as they are.
    """

    job: Job
    workdir: Bucket
    slice: Slice
    slices: int
    project: str
    zone: str
    capacity: str
    options: tuple[str, ...] = ()

    @property
    def hosts(self) -> int:
        """How many hosts run the command."""
        return self.slices * self.slice.hosts

    @property
    def left(self) -> str:
        """The directory in the bucket for what the hosts leave."""
        return f"{self.workdir.path}.launch/{self.job.name}"

    def script(self) -> str:
        """The hosts' startup script."""
        values = {
            "BUCKET": self.workdir.name,
            "ARCHIVE": job_lib.archived(self.job, self.workdir),
            "LAUNCH": self.left,
            "RESTARTS": self.job.restarts,
        }
        workdir = f"/mnt/xinst/{self.workdir.path}"
        command = (*self.job.command, f"--workdir={workdir}")
        return job_lib.script("tpu_vm.sh", values, command)

    def create(self, script: str) -> list[str]:
        """The command that asks for the slices.

        Args:
          script: file of the startup script.
        """
        nodes = [f"--node-id={self.job.name}"]
        if self.slices > 1:
            nodes = [f"--node-count={self.slices}", f"--node-prefix={self.job.name}"]
        kind = [] if self.capacity == "on-demand" else [f"--{self.capacity}"]
        return [
            *self._resource("create"),
            *nodes,
            f"--accelerator-type={self.slice.type}",
            f"--runtime-version={self.slice.runtime}",
            *kind,
            f"--metadata-from-file=startup-script={script}",
            *self.options,
        ]

    def state(self) -> list[str]:
        """The command that prints the resource's state."""
        return [*self._resource("describe"), "--format=value(state.state)"]

    def delete(self) -> list[str]:
        """The command that gives the slices back."""
        return [*self._resource("delete"), "--force", "--quiet"]

    def forget(self) -> list[str]:
        """The command that removes exit statuses of hosts before."""
        place = self.workdir.url(self.left, "status")
        return ["gcloud", "storage", "rm", "--recursive", place]

    def statuses(self) -> list[str]:
        """The command that prints the exit statuses of the hosts that have ended."""
        return ["gcloud", "storage", "cat", self.workdir.url(self.left, "status", "*")]

    def logs(self) -> list[str]:
        """The command that gathers the hosts' logs."""
        source = self.workdir.url(self.left, "logs")
        return ["gcloud", "storage", "cp", "--recursive", source, self.gathered]

    @property
    def gathered(self) -> str:
        """Where the logs go, here."""
        return f"runs/{self.job.name}"

    def _resource(self, verb: str) -> list[str]:
        return [
            *("gcloud", "compute", "tpus", "queued-resources", verb, self.job.name),
            *(f"--project={self.project}", f"--zone={self.zone}"),
        ]


def plan(launch: Launch) -> str:
    """What `start` runs, in words and commands."""
    upload = job_lib.upload(launch.job, launch.workdir, "FILE.tar.gz")
    uploads = "\n".join(map(job_lib.shown, upload))
    return f"""\
# 1. Is it running already, since somebody stopped watching it? Then go on with 4.
{job_lib.shown(launch.state())}

# 2. The code goes into the bucket.
{uploads}

# 3. {launch.slices} x {launch.slice.type}: {launch.hosts} hosts are asked for.
{job_lib.shown(launch.forget())}
{job_lib.shown(launch.create("STARTUP.sh"))}

# 4. Every {_LOOK_SECONDS:.0f} seconds: is it still there, and which hosts have ended?
{job_lib.shown(launch.state())}
{job_lib.shown(launch.statuses())}

# 5. If it is {" or ".join(_GONE)}: it is given back, and asked for again (3), at most
#    {launch.job.restarts} times.
{job_lib.shown(launch.delete())}

# 6. If all hosts have ended, or one with another status than 0: logs are gathered, and
#    it is given back. At {_NOT_SET_UP} (a host could not be set up) it is asked for
#    again (3), at most {_OTHER_HOSTS} times.
{job_lib.shown(launch.logs())}
{job_lib.shown(launch.delete())}

# What fails in 4 to 6, but for the logs, is tried {_TRIES} times, every
# {_LOOK_SECONDS:.0f} seconds.
# Until the last command has succeeded, the slices cost.

# STARTUP.sh
{launch.script()}"""


def start(
    launch: Launch,
    run: Run = job_lib.run,
    wait: Callable[[float], None] = time.sleep,
) -> int:
    """Carries the plan out; gives the run's exit status.

    Args:
      launch: the run.
      run: runs a command.
      wait: waits for so many seconds.

    Raises:
      UserError: a command failed that must not, every time that it was tried.
    """
    found = run(launch.state(), "").returncode == 0
    with tempfile.TemporaryDirectory() as temporary:
        if not found:
            # Who has just given the command is there to mend it.
            _upload(launch, temporary, run, wait, tries=1)
        try:
            return _conducted(launch, temporary, found, run, wait)
        except BaseException:
            job_lib.say(
                f"{launch.job.name} is not watched any more, and perhaps not given "
                "back: if it is there, it costs. Start the same launch again to go on, "
                f"or give it back with:\n{job_lib.shown(launch.delete())}"
            )
            raise


def _conducted(
    launch: Launch,
    temporary: str,
    found: bool,
    run: Run,
    wait: Callable[[float], None],
) -> int:
    """Asks, watches, gives back, and asks again; gives the run's exit status."""
    other_hosts, restarts = _OTHER_HOSTS, launch.job.restarts
    if not found:
        _create(launch, temporary, run, wait, tries=1)
    while True:
        status = _watched(launch, run, wait)
        if status is not None:
            _gather(launch, status, run)
        _insist(launch.delete(), run, wait, _TRIES, done="NOT_FOUND")
        if status == _NOT_SET_UP and other_hosts:
            other_hosts -= 1
        elif status is not None:
            return status
        elif restarts:
            restarts -= 1
        else:
            given = launch.job.restarts
            job_lib.say(f"{launch.job.name}: given up after {given} restarts")
            return PREEMPTED
        _upload(launch, temporary, run, wait, _TRIES)
        _create(launch, temporary, run, wait, _TRIES)


def _gather(launch: Launch, status: int, run: Run) -> None:
    """Copies the hosts' logs; no failure of it keeps the slices."""
    (job_lib.ROOT / launch.gathered).mkdir(parents=True, exist_ok=True)
    place = f"{launch.gathered}/logs"
    if run(launch.logs(), "").returncode:
        place = f"{launch.workdir.url(launch.left, 'logs')}, and could not be copied"
    job_lib.say(f"status {status}; logs are in {place}")


def _upload(
    launch: Launch, temporary: str, run: Run, wait: Callable[[float], None], tries: int
) -> None:
    """Puts the code into the bucket."""
    code = str(pathlib.Path(temporary) / "code.tar.gz")
    for command in job_lib.upload(launch.job, launch.workdir, code):
        _insist(command, run, wait, tries)


def _create(
    launch: Launch, temporary: str, run: Run, wait: Callable[[float], None], tries: int
) -> None:
    """Asks for the slices."""
    run(launch.forget(), "")  # where there are any
    script = pathlib.Path(temporary) / "startup.sh"
    script.write_text(launch.script())
    _insist(launch.create(str(script)), run, wait, tries, done="ALREADY_EXISTS")


def _insist(
    command: list[str],
    run: Run,
    wait: Callable[[float], None],
    tries: int,
    done: str | None = None,
) -> None:
    """Runs a command again where it fails, since networks do; not for ever.

    Args:
      command: the command.
      run: runs it.
      wait: waits for so many seconds.
      tries: how often it may fail.
      done: what it says where a try before, though it failed, has done the work.

    Raises:
      UserError: it failed every time.
    """
    for number in range(1, tries + 1):
        try:
            job_lib.checked(run, command)
        except UserError as error:
            if number > 1 and done and done in str(error):
                return
            if number == tries:
                raise
            job_lib.say(f"{error}\nTry {number} of {tries}; the next in a minute.")
            wait(_LOOK_SECONDS)
        else:
            return


def _watched(launch: Launch, run: Run, wait: Callable[[float], None]) -> int | None:
    """How it ended: with a status, or None where its hosts were taken away.

    Raises:
      UserError: it cannot be looked at any more.
    """
    told, failed = "", 0
    while True:
        wait(_LOOK_SECONDS)
        # A look that fails, for the network's sake, is made again; not for ever.
        look = run(launch.state(), "")
        failed = failed + 1 if look.returncode else 0
        if failed == _TRIES:
            raise UserError(
                f"{launch.job.name} could not be looked at {failed} times in a row. "
                "Was it deleted?"
            )
        state = look.stdout.strip()
        if state and state != told:
            job_lib.say(f"{launch.job.name}: {state}")
            told = state
        if state in _GONE:
            return None
        ended = [int(word) for word in run(launch.statuses(), "").stdout.split()]
        if any(ended):
            # That a host was not set up may pass; what another ended with does not.
            return max(
                ended, key=lambda status: (status not in (0, _NOT_SET_UP), status)
            )
        if len(ended) == launch.hosts:
            return 0
