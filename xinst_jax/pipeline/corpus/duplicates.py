"""Which texts of all languages are one: maps and group-bys, of the best one kept."""

import collections
import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from xinst_jax.config import DuplicatesConfig
from xinst_jax.pipeline.corpus import near_duplicates
from xinst_jax.pipeline.corpus.documents import Row, Text
from xinst_jax.pipeline.executors.executor import Executor, Keyed, by_row
from xinst_jax.pipeline.rejects import Dropped

DUPLICATE, NEAR_DUPLICATE = "duplicate", "near_duplicate"
_ALL = b""


class _Light(NamedTuple):
    """What is known of a text without its text.

    Attributes:
      order: its place among all.
      code: its language.
      id: its id, in the end one that no other text of the language has.
      score: as `Text.score`.
      digest: equal for texts that differ in case and spacing alone.
      signature: its MinHash signature, as bytes.
      cluster: how many texts it stands for.
    """

    order: bytes
    code: str
    id: str
    score: float
    digest: bytes
    signature: bytes
    cluster: int = 1


class _Repeat(NamedTuple):
    """What a text was found to repeat.

    Attributes:
      order: the text's place.
      id: its own id.
      reason: `DUPLICATE` or `NEAR_DUPLICATE`.
      value: of what, in words.
      threshold: what would have been accepted.
    """

    order: bytes
    id: str
    reason: str
    value: str
    threshold: str


class _Size(NamedTuple):
    """How many texts the one at this place stands for."""

    order: bytes
    cluster: int


def unique(
    executor: Executor,
    rows: Any,
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
      rows: `Row`s in the executor's own form.
      threshold: Jaccard similarity of character n-grams from which two texts are one.
      config: what the similarity is estimated by.

    Returns:
      (order, `Row`) pairs in the executor's own form.
    """
    light = executor.map("signing", functools.partial(_light, config), rows)
    named = executor.group("giving ids", _numbered, Keyed(light, by_row(_by_id)))
    once = executor.group(
        "equal texts", _best_of_equal, Keyed(named, by_row(_by_digest))
    )
    by_band = functools.partial(_by_band, config)
    pairs = executor.group("bands", _pairs_of_band, Keyed(once, by_band))
    pairs = executor.group("pairs", _once, Keyed(pairs, by_row(_by_pair)))
    signed = executor.group(
        "signatures of pairs",
        _signed,
        Keyed(pairs, by_row(_by_both)),
        Keyed(once, by_row(_by_order)),
    )
    links = executor.group(
        "comparing",
        functools.partial(_linked, threshold),
        Keyed(signed, by_row(_as_pair)),
    )
    found = executor.group(
        "clusters",
        functools.partial(_clusters, threshold),
        Keyed(links, by_row(_to_all)),
    )
    return executor.group(
        "keeping the best",
        _decided,
        Keyed(rows, by_row(_by_order)),
        Keyed(once, by_row(_by_order)),
        Keyed(found, by_row(_by_order)),
    )


def _light(config: DuplicatesConfig, rows: list[Row]) -> Iterator[_Light]:
    texts = [(row, row.found) for row in rows if isinstance(row.found, Text)]
    found = [text.text for _, text in texts]
    signatures_nk = near_duplicates.signatures(found, config)
    for (row, text), signature_k in zip(texts, signatures_nk, strict=True):
        spelled = " ".join(text.text.casefold().split())
        yield _Light(
            order=row.order,
            code=row.code,
            id=text.id,
            score=text.score,
            digest=hashlib.sha256(spelled.encode()).digest()[:16],
            signature=signature_k.tobytes(),
        )


def _by_id(light: _Light) -> Iterable[tuple[bytes, _Light]]:
    return [(f"{light.code}/{light.id}".encode("utf-8", "replace"), light)]


def _numbered(key: bytes, values: list[_Light]) -> Iterator[_Light]:
    """The first keeps its id; of the others' the n-th gets '~n'."""
    for number, light in enumerate(sorted(values, key=lambda light: light.order), 1):
        if number > 1:
            light = light._replace(id=f"{light.id}~{number}")
        yield light


def _by_digest(light: _Light) -> Iterable[tuple[bytes, _Light]]:
    return [(light.digest, light)]


def _best_of_equal(key: bytes, values: list[_Light]) -> Iterator[_Light | _Repeat]:
    if len(values) == 1:
        yield values[0]
        return
    best, *others = sorted(values, key=_rank)
    yield best._replace(cluster=len(values))
    for light in others:
        value = f"of {_name(best, light)}"
        yield _Repeat(light.order, light.id, DUPLICATE, value, "not equal")


def _rank(light: _Light) -> tuple[float, bytes]:
    return -light.score, light.order


def _name(light: _Light, beside: _Light) -> str:
    """A text's id, with its language where that is another's."""
    return light.id if light.code == beside.code else f"{light.code}/{light.id}"


def _by_band(
    config: DuplicatesConfig, rows: list[_Light | _Repeat]
) -> Iterator[tuple[bytes, Any]]:
    lights = [row for row in rows if isinstance(row, _Light)]
    if not lights:
        return
    signatures = [light.signature for light in lights]
    keys_nb = near_duplicates.band_keys(signatures, config)
    for light, keys_b in zip(lights, keys_nb, strict=True):
        rank = _rank(light)
        for key in keys_b:
            yield key, rank


def _pairs_of_band(key: bytes, values: list[Any]) -> Iterator[tuple[bytes, bytes]]:
    """Each text with the best of its band, and with the next better one."""
    if len(values) == 1:
        return
    orders = [order for _, order in sorted(values)]
    yield from ((orders[0], order) for order in orders[1:])
    yield from itertools.pairwise(orders[1:])


def _by_pair(pair: tuple[bytes, bytes]) -> Iterable[tuple[bytes, None]]:
    return [(b"".join(pair), None)]


def _once(key: bytes, values: list[None]) -> Iterator[bytes]:
    yield key


def _by_both(pair: bytes) -> Iterable[tuple[bytes, bytes]]:
    half = len(pair) // 2
    return [(pair[:half], pair), (pair[half:], pair)]


def _by_order(row: Any) -> Iterable[tuple[bytes, Any]]:
    return [(row.order, row)]


def _signed(order: bytes, values: list[Any]) -> Iterator[tuple[bytes, _Light]]:
    if len(values) == 1:
        return
    pairs = [value for value in values if isinstance(value, bytes)]
    for light in values:
        if isinstance(light, _Light):
            yield from ((pair, light) for pair in sorted(pairs))


def _as_pair(row: tuple[bytes, _Light]) -> Iterable[tuple[bytes, _Light]]:
    return [row]


def _linked(
    threshold: float, key: bytes, values: list[_Light]
) -> Iterator[tuple[float, _Light, _Light]]:
    best, other = sorted(values, key=_rank)
    similarity = near_duplicates.similarity(best.signature, other.signature)
    if similarity >= threshold:
        yield similarity, best._replace(signature=b""), other._replace(signature=b"")


def _to_all(link: Any) -> Iterable[tuple[bytes, Any]]:
    return [(_ALL, link)]


def _clusters(
    threshold: float, key: bytes, links: list[tuple[float, _Light, _Light]]
) -> Iterator[_Repeat | _Size]:
    """Each cluster's best text and its repeats: the parts that links connect."""
    lights = {light.order: light for _, *ends in links for light in ends}
    parent = {order: order for order in lights}

    def root(order: bytes) -> bytes:
        while parent[order] != order:
            parent[order] = parent[parent[order]]
            order = parent[order]
        return order

    # What each is most like, and to the best of its cluster by preference.
    likeness: dict[tuple[bytes, bytes], float] = {}
    nearest: dict[bytes, float] = collections.defaultdict(float)
    for similarity, one, other in links:
        parent[root(other.order)] = root(one.order)
        likeness[one.order, other.order] = similarity
        for light in (one, other):
            nearest[light.order] = max(nearest[light.order], similarity)
    members: dict[bytes, list[_Light]] = collections.defaultdict(list)
    for order in sorted(lights):
        members[root(order)].append(lights[order])
    for cluster in members.values():
        best, *others = sorted(cluster, key=_rank)
        yield _Size(best.order, sum(light.cluster for light in cluster))
        for light in others:
            like = likeness.get((best.order, light.order))
            found = f"{nearest[light.order] if like is None else like:.3f}"
            via = "" if like is not None else " (to another of its cluster)"
            value = f"{found} to {_name(best, light)}{via}"
            yield _Repeat(
                light.order, light.id, NEAR_DUPLICATE, value, f"< {threshold}"
            )


def _decided(order: bytes, values: list[Any]) -> Iterator[tuple[bytes, Row]]:
    """A row with what was found of its text."""
    row = next(value for value in values if isinstance(value, Row))
    found = row.found
    if isinstance(found, Text):
        light = next((v for v in values if isinstance(v, _Light)), None)
        if light is not None:
            found = dataclasses.replace(found, id=light.id, cluster=light.cluster)
        for value in values:
            if isinstance(value, _Size):
                found = dataclasses.replace(found, cluster=value.cluster)
        for repeat in values:
            if isinstance(repeat, _Repeat):
                text = found.text
                found = Dropped(
                    repeat.id, repeat.reason, repeat.value, repeat.threshold, text
                )
                break
    yield order, dataclasses.replace(row, found=found)
