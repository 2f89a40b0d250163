"""Files on this machine, or in object storage by URL: found, opened, told apart."""

import contextlib
import io
import json
import pathlib
from collections.abc import Iterator
from glob import glob
from typing import Any, BinaryIO

from xinst_jax import shards
from xinst_jax.errors import UserError


def is_remote(name: str) -> bool:
    """Whether it is a URL, such as 'gs://BUCKET/FILE', and no path on this machine."""
    return "://" in name


def matches(pattern: str) -> list[str]:
    """Names of the files and folders that a pattern with '*', '?' or '**' matches.

    Raises:
      UserError: the storage of a URL cannot be asked.
    """
    if not is_remote(pattern):
        # pathlib's own glob refuses absolute patterns.
        return sorted(glob(pattern, recursive=True))  # noqa: PTH207
    with _told(pattern):
        system, path = _system(pattern)
        return sorted(map(system.unstrip_protocol, system.glob(path)))


def is_file(name: str) -> bool:
    """Whether there is a file of that name; False for a folder.

    Raises:
      UserError: the storage of a URL cannot be asked.
    """
    if not is_remote(name):
        return pathlib.Path(name).is_file()
    with _told(name):
        system, path = _system(name)
        return bool(system.isfile(path))


def opened(name: str) -> BinaryIO:
    """A file's bytes, to be read from the start on or from anywhere.

    Raises:
      OSError: there is no such file on this machine, or it may not be read.
      UserError: the storage of a URL cannot be asked, or has no such file.
    """
    if not is_remote(name):
        return pathlib.Path(name).open("rb")
    with _told(name):
        system, path = _system(name)
        return io.BufferedReader(system.open(path, "rb"), 1 << 20)


def read_json(name: str) -> Any:
    """What a small JSON file holds.

    Raises:
      UserError: it cannot be read, or is no JSON.
    """
    try:
        with opened(name) as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{name} cannot be read as JSON: {error}.") from error


def digest(name: str) -> str:
    """SHA-256 of a file; of one in object storage, what that says of its version.

    The storage's word (an ETag, a generation, a time of writing) saves a download.

    Raises:
      UserError: the file cannot be read.
    """
    if is_remote(name):
        with _told(name):
            system, path = _system(name)
            return f"{system.checksum(path)}"
    try:
        return shards.file_digest(pathlib.Path(name))
    except OSError as error:
        raise UserError(f"{name} cannot be read: {error.strerror}.") from error


def _system(name: str) -> tuple[Any, str]:
    """The file system that a URL names, and the path in it."""
    import fsspec

    return fsspec.core.url_to_fs(name)


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """Tells what goes wrong with a URL as one error."""
    try:
        yield
    except ImportError as error:
        raise UserError(
            f"{name} is in object storage that needs a package: {error}. "
            "gs:// and s3:// are read where requirements-sources.txt is installed."
        ) from error
    except Exception as error:  # Each storage has errors of its own, of no common kind.
        raise UserError(
            f"{name} cannot be read: {type(error).__name__}: {error}. Check the "
            "address, and that this machine has credentials to read it."
        ) from error
