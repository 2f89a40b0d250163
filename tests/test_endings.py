"""How a command ends where input or output fails: for good, or to be started again."""

import errno
import os

import pytest

from xinst_jax import __main__ as command_line
from xinst_jax.errors import MISTAKEN, PREEMPTED, UserError

_PASSING = ("EIO", "ESTALE", "ETIMEDOUT", "ECONNRESET", "EHOSTUNREACH", "ENETDOWN")
_LASTING = ("ENOENT", "EACCES", "EPERM", "ENOSPC", "EDQUOT", "EROFS", "ENOTDIR")


def _error(name: str) -> OSError:
    number = getattr(errno, name)
    return OSError(number, os.strerror(number), "/mnt/runs/a")


def _raised(error: Exception, cause: Exception | None = None):
    def run() -> int:
        raise error from cause

    return run


@pytest.mark.parametrize("name", _PASSING)
def test_what_may_pass_ends_with_the_status_that_is_started_again(name):
    ending = command_line._ending(_raised(_error(name)))
    assert ending.status == PREEMPTED
    assert "/mnt/runs/a" in ending.message and "same command again" in ending.message


@pytest.mark.parametrize("name", _LASTING)
def test_what_stays_as_it_is_ends_as_a_mistake(name):
    ending = command_line._ending(_raised(_error(name)))
    assert ending == (
        MISTAKEN,
        f"error: /mnt/runs/a: {os.strerror(getattr(errno, name))}",
    )


def test_an_error_told_in_words_ends_as_its_cause_does():
    told = UserError("text/fi.jsonl.gz cannot be read")
    for name, status in (("ESTALE", PREEMPTED), ("EACCES", MISTAKEN)):
        ending = command_line._ending(_raised(told, _error(name)))
        assert ending.status == status
        assert "text/fi.jsonl.gz cannot be read" in ending.message
    assert command_line._ending(_raised(told)).status == MISTAKEN
    assert command_line._ending(_raised(told, ValueError())).status == MISTAKEN


def test_a_file_system_that_fails_for_a_moment_costs_a_start_and_no_more(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "programs"))
    command = ["seed", "--workdir", str(tmp_path / "run")]
    command += ["--gin_file", "gin/runs/quickstart.gin", "--gin.LANGUAGES=('fi',)"]
    with monkeypatch.context() as patch:

        def fails(file: int) -> None:
            raise _error("EIO")

        patch.setattr(os, "fsync", fails)
        assert command_line.main(command) == PREEMPTED
    assert "same command again" in capsys.readouterr().err
    assert not (tmp_path / "run" / "seed" / "manifest.json").exists()
    assert command_line.main(command) == 0
    assert (tmp_path / "run" / "seed" / "manifest.json").exists()
