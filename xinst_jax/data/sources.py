"""Raw rows of files, saved datasets or TFDS, each with the place that it stands at."""

from collections.abc import Iterator, Sequence

from xinst_jax.data import dataset_folders, row_files, storage, tfds_rows
from xinst_jax.data.raw_rows import Rejected, Row
from xinst_jax.errors import UserError

_PROBED_ROWS = 100


def patterns(path: str, code: str) -> list[str]:
    """The patterns of a configured path for one language.

    >>> patterns("web/{lang}/*.jsonl, tfds:wiki/{lang}", "fi")
    ['web/fi/*.jsonl', 'tfds:wiki/fi']
    """
    parts = (part.strip() for part in path.split(","))
    return [part.replace("{lang}", code) for part in parts if part]


def files(path: str, code: str) -> list[str]:
    """The files that a configured path names for one language, each once.

    Files that its patterns match, sorted; then those of saved datasets whose folders
    they match, each dataset's in its order.

    Raises:
      UserError: object storage cannot be asked, or a saved dataset is damaged.
    """
    named = {
        name
        for pattern in patterns(path, code)
        if not pattern.startswith(tfds_rows.PREFIX)
        for name in storage.matches(pattern)
    }
    found = {name: storage.is_file(name) for name in sorted(named)}
    plain = [name for name, is_file in found.items() if is_file]
    saved = [
        name
        for folder, is_file in found.items()
        if not is_file
        for name in dataset_folders.files(folder)
    ]
    return list(dict.fromkeys([*plain, *saved]))


def exists(path: str, code: str) -> bool:
    """Whether the path names a TFDS dataset or matches a file for the language."""
    named = any(p.startswith(tfds_rows.PREFIX) for p in patterns(path, code))
    return named or bool(files(path, code))


def digests(path: str, code: str) -> dict[str, str]:
    """What the rows depend on: a digest of each file, a TFDS builder's version.

    Raises:
      UserError: a file cannot be read, or a TFDS dataset is unknown or not prepared.
    """
    found = {name: storage.digest(name) for name in files(path, code)}
    for name in _tfds_names(path, code):
        found[tfds_rows.PREFIX + name] = tfds_rows.digest(name)
    return found


def preflight(path: str, code: str, fields: Sequence[Sequence[str]]) -> None:
    """Checks, by reading the first rows of each file, that there is something to read.

    Args:
      path: as configured, e.g. `CorpusConfig.path`.
      code: the language code that stands for '{lang}'.
      fields: alternative sets of fields; a row must have all fields of one of them.

    Raises:
      UserError: no file matches; a file or dataset cannot be opened, is empty, or none
        of its first rows has the fields.
    """
    found, names = files(path, code), _tfds_names(path, code)
    if not found and not names:
        tried = ", ".join(patterns(path, code)) or repr(path)
        raise UserError(
            f"No file for language {code!r}: nothing matches {tried}. Give the path of "
            "files that exist ('{lang}' stands for the language code), or leave the "
            "language out of RunConfig.languages."
        )
    seen = False
    for name in [*found, *(tfds_rows.PREFIX + name for name in names)]:
        if name.startswith(tfds_rows.PREFIX):
            rows = tfds_rows.read(name.removeprefix(tfds_rows.PREFIX))
        else:
            rows = row_files.read(name)
        seen |= _probe(name, rows, fields)
    if not seen:
        raise UserError(
            f"The corpus of language {code!r} is empty: {', '.join(found)} "
            "hold no row. Give files with at least one."
        )


def read(path: str, code: str) -> Iterator[Row | Rejected]:
    """The rows of all that a configured path names: files in order, then TFDS.

    A row that cannot be read is yielded as `Rejected` with reason 'not_json',
    'not_an_object' or 'not_utf8'; blank lines are passed over.

    Raises:
      UserError: a file ends before it should or is damaged as a whole.
    """
    for file in files(path, code):
        yield from row_files.read(file)
    for name in _tfds_names(path, code):
        yield from tfds_rows.read(name)


def _probe(
    name: str, rows: Iterator[Row | Rejected], fields: Sequence[Sequence[str]]
) -> bool:
    """Whether there is a row; raises if none of the first ones has the fields."""
    found: set[str] = set()
    bad: Rejected | None = None
    for number, row in enumerate(rows):
        if number >= _PROBED_ROWS:
            break
        if isinstance(row, Rejected):
            bad = bad or row
        elif any(all(field in row.fields for field in names) for names in fields):
            return True
        else:
            found |= set(map(str, row.fields))
    if not found and bad is None:
        return False
    wanted = " or ".join(" and ".join(map(repr, names)) for names in fields)
    where = f"fields {', '.join(sorted(found))}" if found else "no readable row"
    hint = f" {bad.place}: {bad.reason} ({bad.value})." if bad else ""
    raise UserError(
        f"{name}: found {where}, expected rows with {wanted}.{hint} Set the field "
        "names in the gin file to those of your rows."
    )


def _tfds_names(path: str, code: str) -> list[str]:
    return [
        pattern.removeprefix(tfds_rows.PREFIX)
        for pattern in patterns(path, code)
        if pattern.startswith(tfds_rows.PREFIX)
    ]
