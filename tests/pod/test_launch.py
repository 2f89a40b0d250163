"""What a launch runs, held against files that people have read; its shell scripts."""

import dataclasses
import pathlib
import subprocess
import sys

import pytest
import yaml

from tools.pod import __main__ as pod
from tools.pod import accelerators, tpu
from tools.pod import job as job_lib
from xinst_jax.errors import UserError

_GOLDEN = pathlib.Path(__file__).parent / "golden"
_COMMIT = "0123456789abcdef0123456789abcdef01234567"
_COMMAND = [
    *("--", "pipeline", "--gin_file", "gin/runs/quickstart.gin"),
    "--gin.LANGUAGES=('fi', 'th')",
]
_BUCKET = ["--name", "x8b", "--workdir", "gs://my-bucket/runs/x8b"]
_TPU = ["--project", "my-project", "--zone", "us-west4-a"]
_LAUNCHES = {
    "tpu_slice": ["tpu", *_BUCKET, *_TPU, "--slice", "v5e-64", "--capacity", "spot"],
    "tpu_two_slices": [
        *("tpu", *_BUCKET, *_TPU, "--slice", "v5p-256", "--slices", "2"),
        *("--capacity", "reserved", "--restarts", "3"),
        "--option=--service-account=trainer@my-project.iam.gserviceaccount.com",
    ],
    "gke_two_slices": [
        *("gke", *_BUCKET, "--slice", "v6e-64", "--slices", "2"),
        *("--service_account", "trainer", "--spot"),
    ],
    "slurm": [
        *("slurm", "--name", "x8b", "--workdir", "/shared/runs/x8b"),
        *("--place", "/shared/code", "--nodes", "4", "--gpus", "8"),
        *("--option=--partition=h100", "--option=--account=lab"),
    ],
}


@pytest.fixture(autouse=True)
def commit(monkeypatch):
    monkeypatch.setattr(job_lib, "resolve", lambda name: _COMMIT)


def _plan(capsys, arguments: list[str]) -> str:
    assert pod.main([*arguments, "--dry-run", *_COMMAND]) == 0
    return capsys.readouterr().out


def _shellcheck(*files: str, text: str | None = None) -> None:
    program = pathlib.Path(sys.executable).parent / "shellcheck"
    done = subprocess.run(
        [str(program), *files], input=text, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", _LAUNCHES)
def test_a_dry_run_prints_the_commands_of_the_golden_file(capsys, name):
    # What changed is right? python -m tools.pod ... --dry-run writes the new file.
    assert _plan(capsys, _LAUNCHES[name]) == (_GOLDEN / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", _LAUNCHES)
def test_shellcheck_finds_nothing_in_what_hosts_run(capsys, name):
    plan = _plan(capsys, _LAUNCHES[name])
    if name.startswith("gke"):
        manifest = yaml.safe_load(plan.partition("# The manifest\n")[2])
        job = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]
        container = job["template"]["spec"]["containers"][0]
        bash, option, script = container["command"]
        assert (bash, option) == ("bash", "-c")
    else:
        script = plan[plan.index("#!/bin/bash") :]
    _shellcheck("-", text=script)


def test_shellcheck_finds_nothing_in_the_scripts_themselves():
    _shellcheck(*map(str, sorted(job_lib.HOSTS.glob("*.sh"))))


def test_words_reach_the_host_as_they_were_given():
    words = ["--gin.A='x y'", '--gin.B="$HOME" `id`', "--gin.C=\\n;&|*?", "--gin.D=ä"]
    script = job_lib.script("gke_pod.sh", {"ARCHIVE": "a b'c"}, words)
    head = script.partition("\n# ")[0]
    done = subprocess.run(
        ["bash", "-c", head + '\nprintf "%s\\0" "$ARCHIVE" "${COMMAND[@]}"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\0")[:-1] == ["a b'c", *words]


def test_a_slice_has_the_chips_of_its_name():
    for name, hosts, chips in (
        ("v4-64", 8, 32),
        ("v5e-8", 1, 8),
        ("v5e-64", 16, 64),
        ("v5e-256", 64, 256),
        ("v5p-256", 32, 128),
        ("v6e-64", 16, 64),
    ):
        found = accelerators.named(name)
        sides = [int(side) for side in found.topology.split("x")]
        product = 1
        for side in sides:
            product *= side
        assert (found.hosts, product) == (hosts, chips)
        assert found.hosts * found.host_chips == chips


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tpu", *_BUCKET, *_TPU, "--slice", "v5e-65"], "v5e-N with N = 1, 4"),
        (["tpu", *_BUCKET, *_TPU, "--slice", "v9-8"], "expected one of v4-N"),
        (
            ["tpu", "--name", "X", *_BUCKET[2:], *_TPU, "--slice", "v5e-8"],
            "lower-case letters",
        ),
        (
            [
                *("gke", "--name", "x", "--workdir", "/tmp", "--slice", "v5e-8"),
                *("--service_account", "a"),
            ],
            "expected gs://BUCKET/DIRECTORY",
        ),
        (
            [
                *("slurm", "--name", "x", "--workdir", "runs", "--place", "/p"),
                *("--nodes", "1", "--gpus", "1"),
            ],
            "expected an absolute path",
        ),
        (
            [
                *("slurm", "--name", "x", "--workdir", "/r", "--place", "/p"),
                *("--nodes", "0", "--gpus", "1"),
            ],
            "--nodes = 0; expected at least 1",
        ),
    ],
)
def test_a_mistake_is_told_before_anything_runs(capsys, arguments, message):
    assert pod.main([*arguments, *_COMMAND]) == 2
    assert message in capsys.readouterr().err


def test_a_command_is_needed_and_has_no_workdir_of_its_own(capsys):
    for command, message in (([], "No command"), (["--workdir=x"], "before the --")):
        assert pod.main([*_LAUNCHES["slurm"], "--", *command]) == 2
        assert message in capsys.readouterr().err


class _Cloud:
    """Answers gcloud's commands: at each look the next (state, exit statuses).

    Attributes:
      failures: for a verb, what its next tries fail with.
      verbs: of the commands that changed something, or tried to.
    """

    def __init__(self, looks: list[tuple[str, str]], running: bool = False):
        self._looks, self._running = iter(looks), running
        self._statuses = ""
        self.failures: dict[str, list[str]] = {}
        self.verbs: list[str] = []

    def __call__(self, command, text):
        verb = command[4] if "queued-resources" in command else command[2]
        verb = "archive" if command[0] == "git" else verb
        if self.failures.get(verb):
            self.verbs.append(verb)
            error = self.failures[verb].pop(0)
            return subprocess.CompletedProcess(command, 1, "", error)
        state = ""
        if verb == "describe" and self._running:
            state, self._statuses = next(self._looks)
        elif verb in ("create", "delete"):
            self._running = verb == "create"
        if verb not in ("describe", "cat"):
            self.verbs.append(verb)
        failed = verb == "describe" and not self._running
        out = self._statuses if verb == "cat" else state
        return subprocess.CompletedProcess(command, int(failed), out, "")


def _launch(tmp_path, monkeypatch) -> tpu.Launch:
    monkeypatch.setattr(job_lib, "ROOT", tmp_path)
    return tpu.Launch(
        job=job_lib.Job("x", _COMMIT, ("pipeline",), restarts=2),
        workdir=job_lib.bucket("gs://bucket/run"),
        slice=accelerators.named("v5e-16"),
        slices=1,
        project="p",
        zone="z",
        capacity="spot",
    )


def test_a_preempted_slice_is_asked_for_again_until_all_hosts_have_ended(
    tmp_path, monkeypatch
):
    cloud = _Cloud(
        [
            ("WAITING_FOR_RESOURCES", ""),
            ("ACTIVE", ""),
            ("SUSPENDED", ""),
            ("ACTIVE", "0\n0\n0\n"),
            ("ACTIVE", "0\n0\n0\n0\n"),
        ]
    )
    launch = _launch(tmp_path, monkeypatch)
    assert tpu.start(launch, cloud, wait=lambda seconds: None) == 0
    asked = ["archive", "cp", "rm", "create"]
    assert cloud.verbs == [*asked, "delete", *asked, "cp", "delete"]


def test_a_failed_host_ends_the_launch_with_its_status(tmp_path, monkeypatch):
    cloud = _Cloud([("ACTIVE", ""), ("ACTIVE", "2\n")])
    launch = _launch(tmp_path, monkeypatch)
    assert tpu.start(launch, cloud, wait=lambda seconds: None) == 2
    assert cloud.verbs[-2:] == ["cp", "delete"]


def test_a_launch_that_runs_is_watched_and_not_asked_for_again(tmp_path, monkeypatch):
    cloud = _Cloud([("ACTIVE", ""), ("ACTIVE", "0\n0\n0\n0\n")], running=True)
    launch = _launch(tmp_path, monkeypatch)
    assert tpu.start(launch, cloud, wait=lambda seconds: None) == 0
    assert cloud.verbs == ["cp", "delete"]


def test_a_launch_that_is_preempted_too_often_gives_up(tmp_path, monkeypatch):
    cloud = _Cloud([("SUSPENDED", "")] * 3)
    launch = _launch(tmp_path, monkeypatch)
    assert tpu.start(launch, cloud, wait=lambda seconds: None) == 75
    assert cloud.verbs.count("create") == 3 and cloud.verbs[-1] == "delete"


def test_a_launch_that_is_not_there_any_more_is_not_watched_for_ever(
    tmp_path, monkeypatch
):
    cloud = _Cloud([("ACTIVE", "")])
    cloud_ends = lambda command, text: (  # noqa: E731
        cloud(command, text)
        if cloud.verbs.count("create") == 0 or "describe" not in command
        else subprocess.CompletedProcess(command, 1, "", "not found")
    )
    launch = _launch(tmp_path, monkeypatch)
    with pytest.raises(UserError, match="could not be looked at 30 times in a row"):
        tpu.start(launch, cloud_ends, wait=lambda seconds: None)


_NETWORK = "ERROR: gcloud crashed (ConnectionError): Name or service not known"
_GONE = "ERROR: (gcloud.compute.tpus.queued-resources.delete) NOT_FOUND: no such thing"


@pytest.mark.parametrize("failures", [[_NETWORK] * 5, [_NETWORK, _GONE]])
def test_giving_back_is_tried_until_it_succeeds(tmp_path, monkeypatch, failures):
    cloud = _Cloud([("ACTIVE", "0\n0\n0\n0\n")])
    cloud.failures["delete"] = list(failures)
    waits: list[float] = []
    launch = _launch(tmp_path, monkeypatch)
    assert tpu.start(launch, cloud, wait=waits.append) == 0
    # Where one that failed has done it after all, the next finds nothing.
    tries = len(failures) + (failures[-1] is _NETWORK)
    assert cloud.verbs.count("delete") == tries and cloud.verbs[-1] == "delete"
    assert waits == [60.0] * tries


def test_a_slice_that_is_not_given_back_is_told_with_the_command_that_does(
    tmp_path, monkeypatch, capsys
):
    cloud = _Cloud([("ACTIVE", "2\n")])
    cloud.failures["delete"] = [_NETWORK] * 100
    launch = _launch(tmp_path, monkeypatch)
    with pytest.raises(UserError, match="Name or service not known"):
        tpu.start(launch, cloud, wait=lambda seconds: None)
    assert cloud.verbs.count("delete") == 30
    told = capsys.readouterr().err
    assert "status 2" in told
    assert told.rstrip().endswith(job_lib.shown(launch.delete()))
    assert "if it is there, it costs" in told


def test_a_launch_that_is_interrupted_says_that_the_slice_still_costs(
    monkeypatch, capsys
):
    def interrupted(seconds):
        raise KeyboardInterrupt

    start, cloud = tpu.start, _Cloud([])
    monkeypatch.setattr(tpu, "start", lambda launch: start(launch, cloud, interrupted))
    assert pod.main([*_LAUNCHES["tpu_slice"], *_COMMAND]) == 130
    assert "if it is there, it costs" in capsys.readouterr().err


def test_asking_again_is_tried_again_and_asking_first_is_not(tmp_path, monkeypatch):
    launch = _launch(tmp_path, monkeypatch)
    cloud = _Cloud([("SUSPENDED", ""), ("ACTIVE", "0\n0\n0\n0\n")])

    def network_fails_after_the_first(command, text):
        if cloud.verbs[-1:] == ["delete"] and not cloud.failures:
            cloud.failures = {"cp": [_NETWORK] * 2, "create": [_NETWORK] * 3}
        return cloud(command, text)

    fails = network_fails_after_the_first
    assert tpu.start(launch, fails, wait=lambda seconds: None) == 0
    again = ["archive", *["cp"] * 3, "rm", *["create"] * 4]
    assert cloud.verbs[5:-2] == again

    cloud = _Cloud([])
    cloud.failures["create"] = ["ERROR: quota exceeded"]
    with pytest.raises(UserError, match="quota exceeded"):
        tpu.start(launch, cloud, wait=lambda seconds: None)
    assert cloud.verbs == ["archive", "cp", "rm", "create"]


def test_a_slice_with_a_host_that_cannot_be_set_up_is_asked_for_again_twice(
    tmp_path, monkeypatch
):
    launch = _launch(tmp_path, monkeypatch)
    cloud = _Cloud([("ACTIVE", "70\n"), ("ACTIVE", "0\n0\n0\n0\n")])
    assert tpu.start(launch, cloud, wait=lambda seconds: None) == 0
    asked = ["archive", "cp", "rm", "create"]
    assert cloud.verbs == [*asked, "cp", "delete", *asked, "cp", "delete"]

    for restarts in (20, 0):  # which are for slices that are taken away
        cloud = _Cloud([("ACTIVE", "70\n")] * 3)
        job = dataclasses.replace(launch.job, restarts=restarts)
        launch = dataclasses.replace(launch, job=job)
        assert tpu.start(launch, cloud, wait=lambda seconds: None) == 70
        assert cloud.verbs.count("create") == 3 and cloud.verbs[-1] == "delete"


def test_a_mistake_in_the_first_upload_leaves_nothing_that_costs(
    tmp_path, monkeypatch, capsys
):
    launch, cloud = _launch(tmp_path, monkeypatch), _Cloud([])
    cloud.failures["cp"] = ["no such bucket"]
    with pytest.raises(UserError, match="no such bucket"):
        tpu.start(launch, cloud, wait=lambda seconds: None)
    assert cloud.verbs == ["archive", "cp"]
    assert "it costs" not in capsys.readouterr().err


def test_logs_that_cannot_be_copied_keep_no_slice(tmp_path, monkeypatch, capsys):
    launch = _launch(tmp_path, monkeypatch)
    cloud = _Cloud([("ACTIVE", "0\n0\n0\n0\n")] * 2, running=True)
    cloud.failures["cp"] = ["the network is down"]
    assert tpu.start(launch, cloud, wait=lambda seconds: None) == 0
    assert cloud.verbs == ["cp", "delete"]
    assert "gs://bucket/run.launch/x/logs, and could" in capsys.readouterr().err


def test_a_mistake_of_another_host_weighs_more_than_one_that_was_not_set_up(
    tmp_path, monkeypatch
):
    cloud = _Cloud([("ACTIVE", "70\n2\n0\n")])
    launch = _launch(tmp_path, monkeypatch)
    assert tpu.start(launch, cloud, wait=lambda seconds: None) == 2


def test_an_unknown_commit_is_an_error(monkeypatch):
    monkeypatch.undo()
    with pytest.raises(UserError, match="--commit 'no-such-branch'"):
        job_lib.resolve("no-such-branch")
