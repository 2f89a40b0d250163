"""Datasets that Hugging Face's `datasets` has saved to a folder: its Arrow files."""

from collections.abc import Iterator
from typing import Any

from xinst_jax.data import storage
from xinst_jax.errors import UserError

_DATASET, _DICTIONARY = "state.json", "dataset_dict.json"


def files(folder: str) -> list[str]:
    """The Arrow files of a folder by `save_to_disk`, in order; none if it is no such.

    Of a `DatasetDict` those of the split 'train', or of all its splits where there is
    none of that name.

    Raises:
      UserError: what the folder says of itself cannot be read.
    """
    folder = folder.rstrip("/")
    if storage.is_file(f"{folder}/{_DICTIONARY}"):
        splits = sorted(_names(f"{folder}/{_DICTIONARY}", "splits"))
        chosen = ["train"] if "train" in splits else splits
        return [name for split in chosen for name in _arrow(f"{folder}/{split}")]
    if storage.is_file(f"{folder}/{_DATASET}"):
        return list(_arrow(folder))
    return []


def _arrow(folder: str) -> Iterator[str]:
    for entry in _names(f"{folder}/{_DATASET}", "_data_files"):
        name = entry.get("filename") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            raise UserError(
                f"{folder}/{_DATASET}: found {entry!r} in '_data_files', expected an "
                "object with 'filename'. Save the dataset again with save_to_disk."
            )
        yield f"{folder}/{name}"


def _names(file: str, key: str) -> list[Any]:
    record = storage.read_json(file)
    found = record.get(key) if isinstance(record, dict) else None
    if not isinstance(found, list):
        raise UserError(
            f"{file}: found no list {key!r}. Save the dataset again with save_to_disk."
        )
    return found
