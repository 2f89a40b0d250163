"""A folder has its name only when it is whole, whatever happens on the way."""

import errno
import os
import shutil
import signal
import subprocess
import sys

import pytest

from xinst_jax.errors import UserError
from xinst_jax.hf import whole

# Stops for ever at the call that is named, once it was made so many times.
STOPPING = """
import pathlib, sys, time
from xinst_jax.hf import whole

owner, name, times = sys.argv[2].rsplit(".", 2)
module = {"whole.os": whole.os, "whole.pathlib.Path": pathlib.Path}[owner]
real, calls = getattr(module, name), []

def stop(*arguments):
    calls.append(name)
    if len(calls) == int(times):
        print("stopped", flush=True)
        time.sleep(600)
    return real(*arguments)

setattr(module, name, stop)
with whole.written_whole(pathlib.Path(sys.argv[1]), 0) as temporary:
    for file in ("one", "two"):
        whole.write_file(temporary / file, b"new")
print("not stopped", flush=True)
"""


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write(folder, *names):
    with whole.written_whole(folder, 0) as temporary:
        for name in names:
            whole.write_file(temporary / name, b"new")


@pytest.mark.parametrize(
    ("moment", "left"),
    [
        ("whole.os.fsync.1", {"old": b"old"}),
        ("whole.os.fsync.2", {"old": b"old"}),
        ("whole.pathlib.Path.rename.1", {"old": b"old"}),
        ("whole.pathlib.Path.rename.2", None),
        ("whole.os.fsync.4", {"one": b"new", "two": b"new"}),
    ],
)
def test_a_kill_at_any_moment_leaves_old_or_new_or_nothing(tmp_path, moment, left):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "old").write_bytes(b"old")
    child = subprocess.Popen(
        [sys.executable, "-c", STOPPING, str(folder), moment],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None and child.stdout.readline() == "stopped\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert (contents(folder) if folder.exists() else None) == left
    with pytest.raises(KeyError), whole.written_whole(folder, 0):
        raise KeyError
    assert contents(folder) == (left or {"old": b"old"})
    write(folder, "three")
    assert contents(folder) == {"three": b"new"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_disk_that_becomes_full_leaves_the_folder_as_it_was(tmp_path, monkeypatch):
    write(tmp_path / "out", "one")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on the disk while writing"):
        write(tmp_path / "out", "two")
    assert contents(tmp_path / "out") == {"one": b"new"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_too_small_a_disk_is_noticed_before_anything_is_written(tmp_path):
    room = shutil.disk_usage(tmp_path).total
    with (
        pytest.raises(UserError, match=r"it takes [\d.]+ GB and [\d.]+ GB are free"),
        whole.written_whole(tmp_path / "out", room + 1),
    ):
        raise AssertionError
    assert not any(tmp_path.iterdir())


def test_a_file_is_not_replaced_by_a_folder(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError, match="out is a file"):
        write(tmp_path / "out", "one")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_linked_folder_is_replaced_where_it_lies(tmp_path):
    write(tmp_path / "disk" / "real", "one")
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "real")
    write(tmp_path / "out", "two")
    assert (tmp_path / "out").is_symlink()
    assert contents(tmp_path / "disk" / "real") == {"two": b"new"}
