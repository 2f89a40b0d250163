"""k-means of xinst_jax beside scikit-learn's and faiss': seconds of a Lloyd iteration.

All three cluster the same unit vectors from the same centroids. They take turns,
A B C A B C, and each turn is two runs, one of a single iteration and one of more: what
the longer run takes longer, over the iterations that it has more, is an iteration
without start-up, transfers and the last assignment. Medians are printed, how they
compare, and the inertia of each after the longer run, the sum of squared distances to
the mean of a cluster. Inertias must agree to 1%, or no ratio is printed.

xinst_jax and faiss normalise the centroids, scikit-learn does not. The side of a
package that is not installed is left out, and said to be.

    python tools/bench/kmeans.py
    python tools/bench/kmeans.py --smoke        # small, in seconds: does it run at all?
"""

import argparse
import dataclasses
import importlib.util
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Callable

# Threads that wait by spinning would take the other sides' time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import numpy as np

Side = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
"""Clusters points from centroids on, so many iterations; gives each point's cluster."""


@dataclasses.dataclass(frozen=True)
class Size:
    """What is clustered: points, their width, clusters; iterations of a long run."""

    points: int
    width: int
    clusters: int
    iterations: int


def ours(points_ne: np.ndarray, start_ce: np.ndarray, iterations: int) -> np.ndarray:
    """xinst_jax."""
    import jax

    from xinst_jax.config import MeshConfig
    from xinst_jax.mesh import make_mesh
    from xinst_jax.pipeline.diversity import kmeans

    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    found = kmeans.lloyd(points_ne, start_ce, iterations, mesh)
    if found.iterations != iterations:
        raise SystemExit(f"it was at rest after {found.iterations} iterations")
    return found.cluster_n


def of_scikit_learn(
    points_ne: np.ndarray, start_ce: np.ndarray, iterations: int
) -> np.ndarray:
    """scikit-learn's Lloyd."""
    import warnings

    import sklearn.cluster

    model = sklearn.cluster.KMeans(
        len(start_ce), init=start_ce, n_init=1, max_iter=iterations, tol=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(points_ne).labels_


def of_faiss(
    points_ne: np.ndarray, start_ce: np.ndarray, iterations: int
) -> np.ndarray:
    """faiss, spherical, on all points."""
    import faiss

    model = faiss.Kmeans(
        points_ne.shape[1],
        len(start_ce),
        niter=iterations,
        spherical=True,
        max_points_per_centroid=len(points_ne),
        min_points_per_centroid=1,
    )
    model.train(points_ne, init_centroids=start_ce)
    return model.index.search(points_ne, 1)[1][:, 0]


SIDES: dict[str, tuple[str, Side]] = {
    "xinst_jax": ("jax", ours),
    "scikit-learn": ("sklearn", of_scikit_learn),
    "faiss": ("faiss", of_faiss),
}


def data(size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors in groups that overlap, and some of them to start from."""
    rng = np.random.default_rng(0)
    centres_ce = rng.normal(size=(3 * size.clusters, size.width)).astype(np.float32)
    points_ne = centres_ce[rng.integers(0, len(centres_ce), size.points)]
    points_ne += 1.5 * rng.normal(size=points_ne.shape).astype(np.float32)
    points_ne /= np.linalg.norm(points_ne, axis=1, keepdims=True)
    rows = rng.choice(size.points, size.clusters, replace=False)
    return points_ne, points_ne[rows].copy()


def inertia(points_ne: np.ndarray, cluster_n: np.ndarray, clusters: int) -> float:
    """Sum of squared distances of unit vectors to the mean of their cluster."""
    sums_ce = np.zeros((clusters, points_ne.shape[1]))
    np.add.at(sums_ce, cluster_n, points_ne)
    counts_c = np.maximum(np.bincount(cluster_n, minlength=clusters), 1)
    return float(len(points_ne) - ((sums_ce**2).sum(axis=1) / counts_c).sum())


def timed(
    side: Side, *arguments: np.ndarray, iterations: int
) -> tuple[float, np.ndarray]:
    """Seconds of a run, and the clusters that it found."""
    begin = time.monotonic()
    found = side(*arguments, iterations)
    return time.monotonic() - begin, found


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--iterations", type=int, default=6, help="of a long run")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each side")
    parser.add_argument("--smoke", action="store_true", help="small; no figure counts")
    given = parser.parse_args()
    size = Size(given.points, given.width, given.clusters, given.iterations)
    repeats = given.repeats
    if given.smoke:
        size, repeats = Size(3000, 16, 20, 3), 1
    sides = {
        name: side
        for name, (package, side) in SIDES.items()
        if importlib.util.find_spec(package)
    }
    for name in SIDES.keys() - sides.keys():
        print(f"{name} is not installed and left out")
    compare(sides, size, repeats)


def compare(sides: dict[str, Side], size: Size, repeats: int) -> None:
    """Lets the sides take turns, and prints what an iteration took."""
    points_ne, start_ce = data(size)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    inertias: dict[str, float] = {}
    for turn in range(repeats + 1):
        for name, side in sides.items():
            short, _ = timed(side, points_ne, start_ce, iterations=1)
            long, found = timed(side, points_ne, start_ce, iterations=size.iterations)
            # The first turn compiles and warms up.
            if turn:
                seconds[name].append((long - short) / (size.iterations - 1))
            inertias[name] = inertia(points_ne, found, size.clusters)
    best = min(inertias.values())
    print(
        f"{size.points:,} x {size.width}, k = {size.clusters:,}, {os.cpu_count()} CPUs"
    )
    for name, taken in seconds.items():
        middle = statistics.median(taken)
        print(
            f"{name:13} {middle:.3f} s an iteration ({min(taken):.3f} to "
            f"{max(taken):.3f}, {len(taken)} turns), inertia {inertias[name]:.1f}"
        )
    if max(inertias.values()) > 1.01 * best:
        raise SystemExit("the inertias differ by more than 1%: no ratio means anything")
    own = statistics.median(seconds["xinst_jax"])
    for name, taken in seconds.items():
        if name != "xinst_jax":
            times = statistics.median(taken) / own
            print(f"xinst_jax is {times:.2f} times as fast as {name}")


if __name__ == "__main__":
    main()
