"""What a stage made: its manifest, and the rule by which it is up to date.

A manifest is a pure function of what was made, so that two runs that made the same have
the same bytes; when it was made, and how long that took, is kept apart in the workdir's
`timings.jsonl`.

What a stage left half-done goes on where all that it depends on is as it was. Where
something else is asked for its directory is emptied, but for the shards of keyed jobs
(`infer.jobs`): each says what it was made from, and the job takes or replaces it.
"""

import dataclasses
import fnmatch
import importlib.metadata
import json
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow.parquet as pq

from xinst_jax import config as config_lib
from xinst_jax import shards
from xinst_jax.errors import UserError

MANIFEST = "manifest.json"
JOB = "job.json"
"""What the shards of a keyed job are made from, beside them."""

LINEAGE = "xinst_run.json"
"""What a published folder was made from, in it."""

_STARTED = "started.json"
_PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "seqio", "sentencepiece")


@dataclasses.dataclass
class Counts:
    """How many rows went in and out of a stage, and why the others did not.

    Attributes:
      rows_in: rows read.
      rows_out: rows written.
      dropped: rows not written, by reason; a row that was cut or repaired but kept is
        not among them.
      notes: other figures worth a line in the report, by name.
    """

    rows_in: int = 0
    rows_out: int = 0
    dropped: dict[str, int] = dataclasses.field(default_factory=dict)
    notes: dict[str, float | int | str] = dataclasses.field(default_factory=dict)

    def drop(self, reason: str, rows: int = 1) -> None:
        """Counts `rows` as dropped for `reason`."""
        self.dropped[reason] = self.dropped.get(reason, 0) + rows


@dataclasses.dataclass(frozen=True)
class StageDirectory:
    """One stage's directory under the workdir.

    Attributes:
      path: the directory.
      stage: the stage's name, e.g. 'ratings/round-1'.
      config: what the stage was told, ready for JSON.
      inputs: digest of each input's manifest, or of the files a first stage reads.
      keyed: names of its directories that hold shards of keyed jobs, e.g. 'scores/fi'.
    """

    path: pathlib.Path
    stage: str
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    keyed: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Digest of everything the stage's content depends on."""
        return config_lib.digest(
            {"stage": self.stage, "config": self.config, "inputs": dict(self.inputs)}
        )

    def finished(self) -> bool:
        """Whether the directory holds this very stage, whole."""
        manifest = read(self.path)
        return manifest is not None and manifest["fingerprint"] == self.fingerprint

    def why_stale(self) -> str:
        """In words, what differs between the finished directory and this stage."""
        manifest = read(self.path)
        if manifest is None:
            return "not made yet"
        changed = sorted(
            _differences(manifest["config"], config_lib.as_record(self.config))
        )
        if changed:
            return "changed: " + "; ".join(changed[:4])
        names = sorted(
            name
            for name in set(manifest["inputs"]) | set(self.inputs)
            if manifest["inputs"].get(name) != self.inputs.get(name)
        )
        return "input changed: " + ", ".join(names)

    def removed(self) -> bool:
        """Whether `begin` removes what is here, finished or half-done."""
        known = _fingerprint(self.path / _STARTED)
        return (self.path / MANIFEST).exists() or known not in (None, self.fingerprint)

    def key(self, without: Sequence[str]) -> dict[str, Any]:
        """The settings and the inputs' digests that the rows of a job depend on.

        Example: {'config/generate/top_p': 0.9, 'inputs/tokenizer': '5e88…'}.

        Args:
          without: patterns, as `fnmatch` reads them, of those that change no row, such
            as 'config/generate/batch_rows' and 'inputs/ratings/*'.
        """
        parts = {"config": config_lib.as_record(self.config), "inputs": self.inputs}
        return {
            name: value for name, value in _leaves(parts) if not _matches(name, without)
        }

    def keyed_alike(self, without: Sequence[str], again: Sequence[str]) -> bool:
        """Whether the keyed shards here can still be used.

        Args:
          without: as for `key`.
          again: names of inputs that are made again before this stage.
        """
        if not all(_matches(f"inputs/{name}", without) for name in again):
            return False
        now = json.loads(_json(self.key(without)))
        notes = [self.path / name / JOB for name in self.keyed]
        keys = [_noted_key(note) for note in notes if note.exists()]
        return bool(keys) and all(
            name in key and key[name] == value
            for key in keys
            for name, value in now.items()
        )

    def begin(self, redo: bool = False) -> bool:
        """Readies the directory for writing; True if something in it goes on.

        What another configuration, or another input, left here is removed first, but
        for what lies in the directories of `keyed`.

        Args:
          redo: nothing that the directory is said to be goes on, since an input was
            made again; keyed shards say for themselves what they were made from.
        """
        started = self.path / _STARTED
        resumable = (
            not redo
            and not (self.path / MANIFEST).exists()
            and _fingerprint(started) == self.fingerprint
        )
        if not resumable:
            # These first: what is left of a directory half removed must not pass for
            # a stage, whole or half-done.
            for name in (_STARTED, MANIFEST):
                (self.path / name).unlink(missing_ok=True)
            self.clear(self.keyed)
            record = {"stage": self.stage, "fingerprint": self.fingerprint}
            shards.write_bytes(started, _json(record))
        return resumable or any((self.path / name).exists() for name in self.keyed)

    def clear(self, keep: Sequence[str] = ()) -> None:
        """Empties the directory, but for the record that the stage is begun.

        Args:
          keep: names of directories in it that stay as they are.
        """
        kept = {self.path / _STARTED, *(self.path / name for name in keep)}
        around = {parent for path in kept for parent in path.parents}

        def empty(directory: pathlib.Path) -> None:
            for path in directory.iterdir():
                if path in around:
                    empty(path)
                elif path in kept:
                    continue
                elif path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()

        if self.path.exists():
            # The names that are gone, before what they spoke of.
            shards.directory_to_disk(self.path)
            empty(self.path)

    def finish(self, counts: Mapping[str, Counts], digest: str | None = None) -> str:
        """Writes the manifest, the last file of the directory.

        Args:
          counts: counts by language, or under 'all'.
          digest: digest of the content where the files themselves cannot give it
            (checkpoints); otherwise that of every file is recorded.

        Returns:
          The manifest's own digest.
        """
        files: dict[str, Any] = {}
        if digest is None:
            for path in shards.each_file(self.path):
                if path.name == _STARTED:
                    continue
                record: dict[str, Any] = {"sha256": shards.file_digest(path)}
                if path.suffix == ".parquet":
                    record["rows"] = pq.read_metadata(path).num_rows
                files[path.relative_to(self.path).as_posix()] = record
        manifest = {
            "stage": self.stage,
            "fingerprint": self.fingerprint,
            "config": config_lib.as_record(self.config),
            "inputs": dict(sorted(self.inputs.items())),
            "counts": {
                name: dataclasses.asdict(count) for name, count in counts.items()
            },
            "content": digest or config_lib.digest(files),
            "files": files,
            "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        }
        # One rename ends the stage, so that it is never both started and finished.
        shards.write_bytes(self.path / _STARTED, _json(manifest))
        (self.path / _STARTED).replace(self.path / MANIFEST)
        shards.directory_to_disk(self.path)
        return content_digest(manifest)


def read(directory: pathlib.Path) -> dict[str, Any] | None:
    """A finished directory's manifest, or None where there is none.

    Raises:
      UserError: the manifest is not JSON.
    """
    path = directory / MANIFEST
    try:
        record = json.loads(path.read_bytes())
        if not {"stage", "fingerprint", "config", "inputs", "content"} <= set(record):
            raise ValueError("fields are missing")
        return record
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{path} is damaged ({error}). Remove the directory {directory} to make it "
            "again."
        ) from error


def is_begun(directory: pathlib.Path) -> bool:
    """Whether a stage was begun there and is not finished."""
    return (directory / _STARTED).exists()


def _fingerprint(started: pathlib.Path) -> str | None:
    """That of a half-done stage; None where its record is missing or damaged."""
    try:
        return json.loads(started.read_bytes())["fingerprint"]
    except (OSError, ValueError, TypeError, KeyError):
        return None


def content_digest(manifest: Mapping[str, Any]) -> str:
    """Digest of what a manifest's stage made: how later stages know their input."""
    return config_lib.digest(
        {name: manifest[name] for name in ("stage", "fingerprint", "content")}
    )


def _noted_key(note: pathlib.Path) -> dict[str, Any]:
    """The key that a job noted; of a damaged note one that is nobody's."""
    try:
        return dict(json.loads(note.read_bytes())["key"])
    except (ValueError, TypeError, KeyError):
        return {}


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _json(record: Any) -> bytes:
    return (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode()


def _leaves(record: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested records, each with its path: 'config/rate/keep_share'."""
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{place}{name}/")
        else:
            yield place + name, value


def _differences(old: Any, new: Any, name: str = "") -> set[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        found: set[str] = set()
        for key in set(old) | set(new):
            path = f"{name}.{key}" if name else key
            found |= _differences(old.get(key), new.get(key), path)
        return found
    return set() if old == new else {f"{name} {old!r} -> {new!r}"}
