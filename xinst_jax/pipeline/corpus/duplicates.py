"""Which texts of all languages are one: maps and group-bys, of the best one kept."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from xinst_jax.config import DuplicatesConfig
from xinst_jax.pipeline import numbering
from xinst_jax.pipeline.corpus import clusters, near_duplicates
from xinst_jax.pipeline.corpus.clusters import Light, Repeat, Size
from xinst_jax.pipeline.corpus.documents import Row, Text
from xinst_jax.pipeline.executors.executor import Executor, Keyed, by_row, itself
from xinst_jax.pipeline.rejects import Dropped

DUPLICATE = "duplicate"
_ONCE, _LINKS = "once", "links"


def unique(
    executor: Executor,
    names: Sequence[str],
    threshold: float,
    config: DuplicatesConfig = near_duplicates.DEFAULT,
) -> Any:
    """Rows whose texts are each there once, under ids that no two of a language share.

    Equal texts are those that differ in case and spacing alone; nearly equal those that
    are linked by pairs of an estimated similarity of at least the threshold. The one
    with the best score is kept, of equally good ones the first; it records how many
    there were. Languages are not told apart.

    Args:
      executor: carries out the work.
      names: what the executor keeps `Row`s under.
      threshold: Jaccard similarity of character n-grams from which two texts are one.
      config: what the similarity is estimated by.

    Returns:
      (order, `Row`) pairs in the executor's own form.
    """
    signing = functools.partial(_light, config)
    light = executor.map("signing", signing, executor.read(*names))
    by_id = Keyed(light, by_row(_by_id))
    named = executor.group("giving ids", _numbered, by_id, by=_order)
    by_digest = Keyed(named, by_row(_by_digest))
    once = executor.group("equal texts", _best_of_equal, by_digest, by=clusters.rank)
    executor.save(once, _ONCE)
    by_band = Keyed(executor.read(_ONCE), functools.partial(_by_band, config))
    pairs = executor.group("bands", _pairs_of_band, by_band, by=itself)
    pairs = executor.group("pairs", _once, Keyed(pairs, by_row(_by_pair)))
    signed = executor.group(
        "signatures of pairs",
        _signed,
        Keyed(pairs, by_row(_by_both)),
        Keyed(executor.read(_ONCE), by_row(_by_order)),
        by=_is_pair,
    )
    links = executor.group(
        "comparing",
        functools.partial(_linked, threshold),
        Keyed(signed, by_row(_as_pair)),
        by=clusters.rank,
    )
    executor.save(links, _LINKS)
    found = clusters.repeats(executor, _LINKS, threshold)
    return executor.group(
        "keeping the best",
        _decided,
        Keyed(executor.read(*names), by_row(_by_order)),
        Keyed(executor.read(_ONCE), by_row(_by_order)),
        Keyed(found, by_row(_by_order)),
    )


def _light(config: DuplicatesConfig, rows: list[Row]) -> Iterator[Light]:
    texts = [(row, row.found) for row in rows if isinstance(row.found, Text)]
    found = [text.text for _, text in texts]
    signatures_nk = near_duplicates.signatures(found, config)
    for (row, text), signature_k in zip(texts, signatures_nk, strict=True):
        spelled = " ".join(text.text.casefold().split())
        yield Light(
            order=row.order,
            code=row.code,
            id=text.id,
            score=text.score,
            digest=hashlib.sha256(spelled.encode()).digest()[:16],
            signature=signature_k.tobytes(),
        )


def _by_id(light: Light) -> Iterable[tuple[bytes, Light]]:
    return [(f"{light.code}/{light.id}".encode("utf-8", "replace"), light)]


def _order(light: Light) -> bytes:
    return light.order


def _numbered(key: bytes, values: Iterator[Light]) -> Iterator[Light]:
    for number, light in enumerate(values, 1):
        yield light._replace(id=numbering.numbered(light.id, number))


def _by_digest(light: Light) -> Iterable[tuple[bytes, Light]]:
    return [(light.digest, light)]


def _best_of_equal(key: bytes, values: Iterator[Light]) -> Iterator[Light | Repeat]:
    best, count = next(values), 1
    for light in values:
        value = f"of {clusters.name(best, light)}"
        yield Repeat(light.order, light.id, DUPLICATE, value, "not equal")
        count += 1
    yield best._replace(cluster=count)


def _by_band(
    config: DuplicatesConfig, rows: list[Light | Repeat]
) -> Iterator[tuple[bytes, Any]]:
    lights = [row for row in rows if isinstance(row, Light)]
    if not lights:
        return
    signatures = [light.signature for light in lights]
    keys_nb = near_duplicates.band_keys(signatures, config)
    for light, keys_b in zip(lights, keys_nb, strict=True):
        rank = clusters.rank(light)
        for key in keys_b:
            yield key, rank


def _pairs_of_band(
    key: bytes, values: Iterator[tuple[float, bytes]]
) -> Iterator[tuple[bytes, bytes]]:
    """Each text with the best of its band, and with the next better one."""
    _, best = next(values)
    before = best
    for _, order in values:
        yield best, order
        if before is not best:
            yield before, order
        before = order


def _by_pair(pair: tuple[bytes, bytes]) -> Iterable[tuple[bytes, None]]:
    return [(b"".join(pair), None)]


def _once(key: bytes, values: Iterator[None]) -> Iterator[bytes]:
    yield key


def _by_both(pair: bytes) -> Iterable[tuple[bytes, bytes]]:
    half = len(pair) // 2
    return [(pair[:half], pair), (pair[half:], pair)]


def _by_order(row: Any) -> Iterable[tuple[bytes, Any]]:
    return [(row.order, row)]


def _is_pair(value: Any) -> bool:
    return isinstance(value, bytes)


def _signed(order: bytes, values: Iterator[Any]) -> Iterator[tuple[bytes, Light]]:
    """The pairs that a text is in, of which there may be many, with what is known."""
    light = next(values)
    yield from ((pair, light) for pair in values)


def _as_pair(row: tuple[bytes, Light]) -> Iterable[tuple[bytes, Light]]:
    return [row]


def _linked(
    threshold: float, key: bytes, values: Iterator[Light]
) -> Iterator[clusters.Link]:
    best, other = values
    similarity = near_duplicates.similarity(best.signature, other.signature)
    if similarity >= threshold:
        ends = (light._replace(signature=b"") for light in (best, other))
        yield clusters.Link(similarity, *ends)


def _decided(order: bytes, values: Iterator[Any]) -> Iterator[tuple[bytes, Row]]:
    """A row with what was found of its text."""
    of_one = {type(value): value for value in values}
    row = of_one[Row]
    found = row.found
    if Light in of_one:
        light = of_one[Light]
        found = dataclasses.replace(found, id=light.id, cluster=light.cluster)
    if Size in of_one:
        found = dataclasses.replace(found, cluster=of_one[Size].cluster)
    if Repeat in of_one:
        repeat = of_one[Repeat]
        found = Dropped(
            repeat.id, repeat.reason, repeat.value, repeat.threshold, found.text
        )
    yield order, dataclasses.replace(row, found=found)
