"""A folder that is written whole, or not at all."""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator

from xinst_jax import shards
from xinst_jax.errors import UserError


@contextlib.contextmanager
def written_whole(folder: pathlib.Path, size: int) -> Iterator[pathlib.Path]:
    """Gives a new directory, which takes the folder's place when all went well.

    It lies beside the folder under a hidden name; an interrupted one is removed the
    next time. What the folder held before is removed last.

    Args:
      folder: the final place.
      size: bytes that will be written, or a little fewer.

    Raises:
      UserError: the place is a file's; the disk has less room, or becomes full.
    """
    folder = folder.resolve()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; a folder was to be written there.")
    temporary = folder.with_name(f".{folder.name}.tmp")
    former = folder.with_name(f".{folder.name}.old")
    _clear(folder, temporary, former)
    try:
        with shards.told_when_full(folder):
            temporary.mkdir(parents=True)
            _check_room(folder, temporary, size)
            yield temporary
            shards.directory_to_disk(temporary)
            if folder.exists():
                folder.rename(former)
            temporary.rename(folder)
            shards.directory_to_disk(folder.parent)
    finally:
        _clear(folder, temporary, former)


def _check_room(folder: pathlib.Path, temporary: pathlib.Path, size: int) -> None:
    free = shutil.disk_usage(temporary).free
    if free < size:
        raise UserError(
            f"No space left on the disk for {folder}: it takes {size / 1e9:.2f} GB "
            f"and {free / 1e9:.2f} GB are free. Free some space and run the same "
            "command again."
        )


def _clear(folder: pathlib.Path, temporary: pathlib.Path, former: pathlib.Path) -> None:
    """Puts back what was moved away if nothing took its place; removes the rest."""
    if former.exists() and not folder.exists():
        former.rename(folder)
    for left in (temporary, former):
        shutil.rmtree(left, ignore_errors=True)


def write_file(path: pathlib.Path, content: bytes) -> None:
    """Writes a file and waits until it is on the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
