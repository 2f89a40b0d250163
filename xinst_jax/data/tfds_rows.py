"""Rows of a TFDS dataset that lies prepared on this machine."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from xinst_jax.data.raw_rows import PREVIEW_CHARS, Rejected, Row
from xinst_jax.errors import UserError

PREFIX = "tfds:"
"""What a configured path begins with that names a dataset, not files."""


def digest(name: str) -> str:
    """SHA-256 of a dataset's full name, with its version, and of its splits' sizes.

    Raises:
      UserError: no such dataset, or it has not been prepared.
    """
    info = _builder(name).info
    record = {"name": info.full_name, "splits": _split_sizes(info)}
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def read(name: str) -> Iterator[Row | Rejected]:
    """The rows of the 'train' split, or of every split where there is none of it.

    Raises:
      UserError: no such dataset, or it has not been prepared.
    """
    import tensorflow_datasets as tfds

    builder = _builder(name)
    splits = sorted(builder.info.splits)
    number = 0
    for split in ["train"] if "train" in splits else splits:
        if builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD:
            records = iter(builder.as_data_source(split))
        else:
            config = tfds.ReadConfig(interleave_cycle_length=1)
            dataset = builder.as_dataset(split, read_config=config)
            records = dataset.as_numpy_iterator()
        for record in records:
            number += 1
            yield _decoded(record, f"{PREFIX}{name}:{number}")


def _builder(name: str) -> Any:
    """The prepared TFDS builder of a name.

    Raises:
      UserError: no such dataset, or it has not been prepared.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, try_gcs=False)
    except (
        tfds.core.registered.DatasetNotFoundError,
        ValueError,
        AssertionError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"Unknown TFDS dataset {name!r}: {reason}. Expected "
            "'tfds:NAME[/CONFIG][:VERSION]' of a dataset that tensorflow_datasets "
            "knows, or that lies under TFDS_DATA_DIR."
        ) from error
    if not builder.is_prepared():
        raise UserError(
            f"The TFDS dataset {name!r} is not prepared in {builder.data_dir}. Prepare "
            f"it first: tensorflow_datasets.builder({name!r}).download_and_prepare()."
        )
    return builder


def _split_sizes(info: Any) -> dict[str, int]:
    return {name: split.num_examples for name, split in sorted(info.splits.items())}


def _decoded(record: dict[str, Any], place: str) -> Row | Rejected:
    """A TFDS example with its bytes as text and its scalars as Python numbers."""
    fields: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, bytes):
            try:
                fields[name] = value.decode("utf-8")
            except UnicodeDecodeError as error:
                found = f"{name}: byte 0x{value[error.start]:02x} at {error.start}"
                preview = value.decode("utf-8", "replace")[:PREVIEW_CHARS]
                return Rejected(place, "not_utf8", found, "UTF-8", preview)
        else:
            fields[name] = value.item() if getattr(value, "ndim", None) == 0 else value
    return Row(fields, place)
