"""What hosts run, with programs of the system that fail as they do there."""

import pathlib
import subprocess

import pytest

from tools.pod import job as job_lib

_PLACES = ("/opt/xinst", "/mnt/xinst", "/var/log/xinst.log")
_SAID = """#!/bin/bash
echo "$(basename "$0") $*" >>"$SAID"
"""
_PYTHON = f"{_SAID}exit 3\n"


def _program(directory: pathlib.Path, name: str, body: str = _SAID) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(body)
    (directory / name).chmod(0o755)


def _failing(name: str, times: int, status: int) -> str:
    """A program that fails so often before it does what it should."""
    return f"""{_SAID}
[ "$(grep --count "^{name} " "$SAID")" -gt {times} ] || exit {status}
"""


class _Host:
    """A machine whose programs note how they were called.

    Attributes:
      root: the directory of all that a script reads and writes.
      calls: how programs were called, in order.
    """

    def __init__(self, root: pathlib.Path):
        self.root, self._said = root, root / "said"
        # What a script does every minute beside the run must take some time.
        _program(
            root / "bin", "sleep", f'{_SAID}[ "$1" != 60 ] || exec /bin/sleep 0.2\n'
        )
        _program(root / "bin", "tar")

    def program(self, name: str, body: str = _SAID) -> None:
        """Adds or replaces a program."""
        _program(self.root / "bin", name, body)

    def run(self, script: str) -> int:
        """Runs a script, with its places in this root; gives its status."""
        for place in _PLACES:
            script = script.replace(place, f"{self.root}{place}")
        path = f"{self.root / 'bin'}:/usr/bin:/bin"
        environment = {"PATH": path, "SAID": str(self._said)}
        return subprocess.run(["bash", "-c", script], env=environment).returncode

    @property
    def calls(self) -> list[str]:
        lines = self._said.read_text().splitlines()
        return [line for line in lines if line != "sleep 60"]

    def pauses(self) -> list[int]:
        """The seconds that the script has waited."""
        return [int(line[6:]) for line in self.calls if line.startswith("sleep ")]


@pytest.fixture
def host(tmp_path) -> _Host:
    return _Host(tmp_path)


def _pod() -> str:
    return job_lib.script("gke_pod.sh", {"ARCHIVE": "code.tar.gz"}, ["pipeline"])


@pytest.mark.parametrize(("program", "status"), [("pip", 1), ("tar", 2)])
def test_a_pod_is_set_up_again_where_that_fails(host, program, status):
    host.program("pip")
    host.program("python", _PYTHON)
    host.program(program, _failing(program, 4, status))
    assert host.run(_pod()) == 3
    assert host.pauses() == [20, 40, 80, 160]
    assert host.calls[-1] == "python -u -m xinst_jax pipeline"


@pytest.mark.parametrize(("program", "status"), [("pip", 1), ("tar", 2)])
def test_a_pod_that_cannot_be_set_up_asks_for_another_start(host, program, status):
    host.program("pip")
    host.program("python", _PYTHON)
    host.program(program, _failing(program, 100, status))
    assert host.run(_pod()) == 75
    assert host.pauses() == [20, 40, 80, 160]
    assert not [line for line in host.calls if line.startswith("python ")]


def _tpu_vm(host: _Host, statuses: str) -> str:
    """The script of a TPU VM whose verb ends with these statuses, start by start."""
    host.program("mountpoint")
    host.program("hostname", "#!/bin/bash\necho host-0\n")
    # Of uv: an environment whose python is the verb.
    python = f"""{_SAID}
statuses=({statuses})
exit "${{statuses[$(grep --count "^python " "$SAID") - 1]}}"
"""
    place = host.root / "opt/xinst"
    _program(place / "uv/bin", "uv")
    _program(place / "venv/bin", "python", python)
    (host.root / "mnt/xinst").mkdir(parents=True)
    (host.root / "var/log").mkdir(parents=True)
    values = {"BUCKET": "b", "ARCHIVE": "code.tar.gz", "LAUNCH": "l", "RESTARTS": 2}
    return job_lib.script("tpu_vm.sh", values, ["pipeline"])


def _left(host: _Host) -> str:
    return (host.root / "mnt/xinst/l/status/host-0").read_text()


@pytest.mark.parametrize(("program", "status"), [("python3", 1), ("tar", 2)])
def test_a_tpu_vm_is_set_up_again_where_that_fails(host, program, status):
    script = _tpu_vm(host, "0")
    host.program("python3")
    host.program(program, _failing(program, 4, status))
    host.run(script)
    assert host.pauses() == [20, 40, 80, 160]
    assert host.calls.count("python -u -m xinst_jax pipeline") == 1
    assert _left(host) == "0\n"


def test_a_tpu_vm_that_cannot_be_set_up_leaves_70(host):
    script = _tpu_vm(host, "0")
    host.program("python3", _failing("python3", 100, 1))
    host.run(script)
    assert host.pauses() == [20, 40, 80, 160]
    assert _left(host) == "70\n"


@pytest.mark.parametrize(
    ("statuses", "starts", "left"), [("75 134 0", 3, "0"), ("2", 1, "2")]
)
def test_a_tpu_vm_starts_the_verb_again_where_its_status_asks_for_it(
    host, statuses, starts, left
):
    script = _tpu_vm(host, statuses)
    host.program("python3")
    host.run(script)
    assert host.calls.count("python -u -m xinst_jax pipeline") == starts
    assert host.pauses() == [90] * (starts - 1)
    assert _left(host) == f"{left}\n"
