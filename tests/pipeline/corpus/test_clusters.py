"""Clusters are what links connect, as a search through all of them finds it."""

import itertools
import random

import pytest

from xinst_jax.pipeline.corpus import clusters, documents
from xinst_jax.pipeline.corpus.clusters import Light, Link, Repeat, Size
from xinst_jax.pipeline.executors.local import Local


def connected(count, pairs):
    """Each number's cluster, by walking from one to the next."""
    beside = {n: set() for n in range(count)}
    for one, other in pairs:
        beside[one].add(other)
        beside[other].add(one)
    found, seen = [], set()
    for start in range(count):
        if start not in seen:
            cluster, walk = set(), [start]
            while walk:
                at = walk.pop()
                if at not in cluster:
                    cluster.add(at)
                    walk += beside[at]
            seen |= cluster
            found.append(cluster)
    return [cluster for cluster in found if len(cluster) > 1]


def chain(rng, count):
    order = rng.sample(range(count), count)
    return list(itertools.pairwise(order))


GRAPHS = {
    "one long chain": chain,
    "a hub": lambda rng, count: [
        (count // 2, n) for n in range(count) if 2 * n != count
    ],
    "some": lambda rng, count: [tuple(rng.sample(range(count), 2)) for _ in range(55)],
    "none": lambda rng, count: [],
}


@pytest.mark.parametrize("graph", list(GRAPHS))
def test_clusters_their_best_and_their_repeats(tmp_path, graph):
    rng = random.Random(4)
    count = 120
    pairs = {tuple(sorted(pair)) for pair in GRAPHS[graph](rng, count)}
    scores = [rng.choice([0.1, 0.5, 0.9]) for _ in range(count)]
    lights = [
        Light(documents.place(0, n, 0), "fi", f"t{n}", scores[n], b"", b"", 1 + n % 2)
        for n in range(count)
    ]
    best_first = [sorted(pair, key=lambda n: (-scores[n], n)) for pair in pairs]
    likeness = {tuple(pair): rng.uniform(0.8, 1) for pair in best_first}
    links = [
        Link(likeness[one, other], lights[one], lights[other])
        for one, other in best_first
    ]
    with Local(tmp_path, workers=1) as executor:
        executor.put(links, "links")
        made = list(executor.stream(clusters.repeats(executor, "links", 0.8)))
    sizes = {row.order: row.cluster for row in made if isinstance(row, Size)}
    repeats = {row.id: row for row in made if isinstance(row, Repeat)}
    assert len(sizes) + len(repeats) == len(made)
    expected = connected(count, pairs)
    assert len(sizes) == len(expected)
    assert len(repeats) == sum(map(len, expected)) - len(expected)
    for cluster in expected:
        best, *others = sorted(cluster, key=lambda n: (-scores[n], n))
        assert sizes[lights[best].order] == sum(1 + n % 2 for n in cluster)
        for n in others:
            own = [s for pair, s in likeness.items() if n in pair]
            like = likeness.get((best, n))
            said = f"{max(own) if like is None else like:.3f} to t{best}"
            said += "" if like is not None else " (to another of its cluster)"
            assert repeats[f"t{n}"].value == said
