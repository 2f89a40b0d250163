"""What decontamination found in a run: which sets, where, how often, and by what."""

import collections
import pathlib
from collections.abc import Iterable

import pyarrow.compute as pc
import pyarrow.parquet as pq

from xinst_jax import manifest, shards
from xinst_jax.config import DecontaminationConfig
from xinst_jax.hf.dataset_card import Contamination
from xinst_jax.pipeline.corpus import decontamination
from xinst_jax.pipeline.corpus.decontamination import CONTAMINATED

_COMMONEST = 3


def hits(
    directories: Iterable[pathlib.Path], codes: Iterable[str]
) -> list[Contamination]:
    """What the stages of some directories dropped, by set, the most frequent first.

    Args:
      directories: of finished stages that have rows under `rejected/`.
      codes: languages.
    """
    codes = tuple(codes)
    rows: dict[tuple[str, str], collections.Counter[str]] = {}
    grams: dict[tuple[str, str], collections.Counter[str]] = {}
    for directory in directories:
        record = manifest.read(directory)
        if record is None:
            continue
        for code in codes:
            for found in _values(directory / "rejected" / code):
                name, _, gram = found.rpartition(": ")
                key = (name, record["stage"])
                rows.setdefault(key, collections.Counter())[code] += 1
                grams.setdefault(key, collections.Counter())[gram] += 1
    ranked = sorted(rows, key=lambda key: (-rows[key].total(), key))
    return [
        Contamination(*key, dict(rows[key]), tuple(grams[key].most_common(_COMMONEST)))
        for key in ranked
    ]


def sets(directories: Iterable[pathlib.Path]) -> list[str]:
    """The evaluation sets that stages looked for, each once, with how, in words.

    A stage that does not say how many items it looked for gives its files' names alone.
    """
    found: dict[str, None] = {}
    for directory in directories:
        record = manifest.read(directory)
        config = record["config"] if record else {}
        said = dict.fromkeys(map(str, decontamination.read_coverage(directory)))
        for part in (config, config.get("corpus", {}), config.get("seed_pairs", {})):
            for path in part.get("evaluation_sets", ()) if not said else ():
                found[pathlib.PurePath(path).name] = None
        found |= said
    return list(found)


def lengths(directories: Iterable[pathlib.Path]) -> DecontaminationConfig:
    """How much of an item the stages let no text have, all the same."""
    for directory in directories:
        record = manifest.read(directory)
        config = record["config"] if record else {}
        for part in (config, config.get("corpus", {})):
            if changed := part.get("decontamination"):
                return DecontaminationConfig(**changed)
    return DecontaminationConfig()


def _values(directory: pathlib.Path) -> Iterable[str]:
    """What was found in each row that was dropped for it."""
    if not shards.complete(directory):
        return
    for path in shards.shard_paths(directory):
        table = pq.read_table(path, columns=["reason", "value"])
        chosen = table.filter(pc.equal(table["reason"], CONTAMINATED))
        yield from chosen["value"].to_pylist()
