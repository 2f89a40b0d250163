"""Rows of a TFDS dataset that lies prepared on this machine."""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from xinst_jax.data.raw_rows import PREVIEW_CHARS, Rejected, Row
from xinst_jax.errors import UserError

PREFIX = "tfds:"
"""What a configured path begins with that names a dataset, not files."""


_NAMED = re.compile(r"(?P<builder>[^\[\]]+)(?:\[(?P<split>.+)\])?")
_EXPECTED = "'tfds:NAME[/CONFIG][:VERSION]', behind it a split in brackets or none,"
_SHOWN_SPLITS = 20


def digest(name: str) -> str:
    """SHA-256 of a dataset's full name and version, its splits' sizes and the split.

    Raises:
      UserError: no such dataset or split, or it has not been prepared.
    """
    builder, split = _named(name)
    info = builder.info
    record = {"name": info.full_name, "splits": _split_sizes(info), "split": split}
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def read(name: str) -> Iterator[Row | Rejected]:
    """The rows of the split that the name has in brackets, or of the split 'train'.

    Args:
      name: what stands behind `PREFIX`: 'wiki/fi', 'c4/multilingual[fi]',
        'c4/multilingual[fi[:10%]+fi-validation]'; in the brackets a split, slices or a
        sum of them, as TFDS writes them.

    Raises:
      UserError: no such dataset or split, or it has not been prepared.
    """
    import tensorflow_datasets as tfds

    builder, split = _named(name)
    if builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD:
        records = iter(builder.as_data_source(split))
    else:
        config = tfds.ReadConfig(interleave_cycle_length=1)
        dataset = builder.as_dataset(split, read_config=config)
        records = dataset.as_numpy_iterator()
    for number, record in enumerate(records, 1):
        yield _decoded(record, f"{PREFIX}{name}:{number}")


def _named(name: str) -> tuple[Any, str]:
    """The prepared TFDS builder of a name, and the split to read.

    Raises:
      UserError: no such dataset or split, or it has not been prepared.
    """
    match = _NAMED.fullmatch(name)
    if match is None:
        raise UserError(
            f"{PREFIX + name!r} is no name of a TFDS dataset. Expected {_EXPECTED} "
            "such as 'tfds:c4/multilingual[fi]'."
        )
    builder = _builder(match["builder"])
    split = match["split"] or "train"
    try:
        builder.info.splits[split]
    except (KeyError, ValueError) as error:
        found = sorted(builder.info.splits)
        more = f" and {len(found) - _SHOWN_SPLITS} more" * (len(found) > _SHOWN_SPLITS)
        raise UserError(
            f"{PREFIX + name!r} has no split {split!r}; it has "
            f"{', '.join(found[:_SHOWN_SPLITS])}{more}. Name one, or a slice of it, in "
            f"brackets: '{PREFIX}{match['builder']}[{found[0]}]'; '{{lang}}' in them "
            "stands for the language code."
        ) from error
    return builder, split


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
            f"Unknown TFDS dataset {name!r}: {reason}. Expected {_EXPECTED} of a "
            "dataset that tensorflow_datasets knows, or that lies under TFDS_DATA_DIR."
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
