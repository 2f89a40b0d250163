"""Clusters of texts: what links of two connect, however indirectly, and its best one.

All of it is group-bys, so that no process holds the links. Which texts are connected is
found by large and small stars in turn (R. Kiveris et al., Connected Components in
MapReduce and Beyond, 2014): each text is linked to the first of those that it knows
until what is left are stars around the first text of each cluster.
"""

import functools
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

from xinst_jax.pipeline.executors.executor import Executor, Keyed, by_row, itself

NEAR_DUPLICATE = "near_duplicate"
# What stands for no text, but for the fact that a star changed.
_CHANGED = (b"", b"")


class Light(NamedTuple):
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


class Link(NamedTuple):
    """Two texts that are nearly one, and how similar they are; the better one first."""

    similarity: float
    best: Light
    other: Light


class Repeat(NamedTuple):
    """What a text was found to repeat.

    Attributes:
      order: the text's place.
      id: its own id.
      reason: one word, countable.
      value: of what, in words.
      threshold: what would have been accepted.
    """

    order: bytes
    id: str
    reason: str
    value: str
    threshold: str


class Size(NamedTuple):
    """How many texts the one at this place stands for."""

    order: bytes
    cluster: int


class _Near(NamedTuple):
    """A text, what it is most like, and the best of its cluster."""

    best: Light
    light: Light
    similarity: float


_Edge: TypeAlias = tuple[bytes, bytes]
"""Two texts' places, the later one first."""


def rank(light: Light) -> tuple[float, bytes]:
    """What texts are sorted by, the best first."""
    return -light.score, light.order


def name(light: Light, beside: Light) -> str:
    """A text's id, with its language where that is another's."""
    return light.id if light.code == beside.code else f"{light.code}/{light.id}"


def repeats(executor: Executor, links: str, threshold: float) -> Any:
    """Each cluster's best text and its repeats.

    Args:
      executor: carries out the work.
      links: what it keeps `Link`s under.
      threshold: similarity from which texts were linked, to be told.

    Returns:
      `Size`s and `Repeat`s in the executor's own form.
    """
    stars = _stars(executor, links)
    members = executor.group(
        "members of clusters",
        _member,
        Keyed(executor.read(links), by_row(_to_ends)),
        Keyed(executor.read(stars), by_row(_itself_once)),
        by=_is_known,
    )
    found = executor.group(
        "clusters", _best_of_cluster, Keyed(members, by_row(_itself_once)), by=_rank
    )
    return executor.group(
        "naming repeats",
        functools.partial(_repeat, threshold),
        Keyed(found, by_row(_by_pair)),
        Keyed(executor.read(links), by_row(_by_ends)),
    )


def _stars(executor: Executor, links: str) -> str:
    """The name of edges from each text of a cluster to the first one of it."""
    stars, pairs = links, by_row(_edge_of_link)
    for number in itertools.count(1):
        known = Keyed(executor.read(stars), pairs)
        large = executor.group(f"linking {number}", _large_star, known, by=itself)
        small = executor.group(
            f"linking {number}, again",
            _small_star,
            Keyed(large, by_row(_itself_once)),
            by=itself,
        )
        before, stars, pairs = stars, f"stars-{number}", by_row(_both_ways)
        executor.save(small, stars)
        if before != links:
            executor.remove(before)
        changes = executor.map("changes", by_row(_change), executor.read(stars))
        if not any(True for _ in executor.stream(changes)):
            break
    return stars


def _edge_of_link(link: Link) -> Iterable[_Edge]:
    return _both_ways((link.best.order, link.other.order))


def _both_ways(edge: _Edge) -> Iterable[_Edge]:
    one, other = edge
    return [(one, other), (other, one)] if edge != _CHANGED else []


def _itself_once(row: Any) -> Iterable[Any]:
    return [row]


def _large_star(order: bytes, values: Iterator[bytes]) -> Iterator[_Edge]:
    """The later ones of what a text knows, with the first."""
    least = before = next(values)
    least = min(order, least)
    if before > order:
        yield before, least
    for other in values:
        if other != before and other > order:
            yield other, least
        before = other
    if least < order < before:
        yield _CHANGED


def _small_star(order: bytes, values: Iterator[bytes]) -> Iterator[_Edge]:
    """A text and the earlier ones that it knows, with the first of those."""
    if not order:
        yield _CHANGED
        return
    least = before = next(values)
    yield order, least
    for other in values:
        if other != before:
            yield other, least
        before = other
    if before != least:
        yield _CHANGED


def _change(edge: _Edge) -> Iterable[_Edge]:
    return [edge] if edge == _CHANGED else []


def _to_ends(link: Link) -> Iterable[tuple[bytes, tuple[float, Light]]]:
    return [(end.order, (link.similarity, end)) for end in (link.best, link.other)]


def _is_known(value: bytes | tuple[float, Light]) -> bool:
    return not isinstance(value, bytes)


def _member(
    order: bytes, values: Iterator[bytes | tuple[float, Light]]
) -> Iterator[tuple[bytes, tuple[float, Light]]]:
    """What a text is most like, behind the first of its cluster."""
    first, similarity, light = order, 0.0, None
    for value in values:
        if isinstance(value, bytes):
            first = value
        else:
            similarity, light = max(similarity, value[0]), value[1]
    if light is not None:
        yield first, (similarity, light)


def _rank(value: tuple[float, Light]) -> tuple[float, bytes]:
    return rank(value[1])


def _best_of_cluster(
    first: bytes, values: Iterator[tuple[float, Light]]
) -> Iterator[_Near | Size]:
    _, best = next(values)
    size = best.cluster
    for similarity, light in values:
        yield _Near(best, light, similarity)
        size += light.cluster
    yield Size(best.order, size)


def _by_pair(row: _Near | Size) -> Iterable[tuple[bytes, _Near | Size]]:
    if isinstance(row, Size):
        return [(row.order, row)]
    return [(row.best.order + row.light.order, row)]


def _by_ends(link: Link) -> Iterable[tuple[bytes, float]]:
    return [(link.best.order + link.other.order, link.similarity)]


def _repeat(
    threshold: float, key: bytes, values: Iterator[_Near | Size | float]
) -> Iterator[Repeat | Size]:
    """What a text repeats, with its likeness to that where the two were compared."""
    near: _Near | None = None
    like: float | None = None
    for value in values:
        if isinstance(value, Size):
            yield value
        elif isinstance(value, _Near):
            near = value
        else:
            like = value
    if near is not None:
        found = f"{near.similarity if like is None else like:.3f}"
        via = "" if like is not None else " (to another of its cluster)"
        said = f"{found} to {name(near.best, near.light)}{via}"
        yield Repeat(
            near.light.order, near.light.id, NEAR_DUPLICATE, said, f"< {threshold}"
        )
