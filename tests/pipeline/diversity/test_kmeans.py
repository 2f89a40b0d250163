"""Spherical k-means against scikit-learn."""

import sys

import jax
import numpy as np
import pytest
import sklearn.cluster
from jax.sharding import NamedSharding

from tools.bench import kmeans as bench
from xinst_jax.config import MeshConfig
from xinst_jax.mesh import make_mesh
from xinst_jax.pipeline.diversity import blocks
from xinst_jax.pipeline.diversity import kmeans as kmeans_lib
from xinst_jax.pipeline.diversity.blocks import assign
from xinst_jax.pipeline.diversity.kmeans import kmeans
from xinst_jax.pipeline.diversity.mini_batch import mini_batch_kmeans


def one_device() -> jax.sharding.Mesh:
    return make_mesh(MeshConfig(), jax.devices()[:1])


def eight_devices() -> jax.sharding.Mesh:
    return make_mesh(MeshConfig(slice=2, fsdp=2, tensor=2))


def unit(array: np.ndarray) -> np.ndarray:
    return (array / np.linalg.norm(array, axis=1, keepdims=True)).astype(np.float32)


def points(count: int, width: int, groups: int, noise: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres_ce = rng.normal(size=(groups, width))
    spread_ne = noise * rng.normal(size=(count, width))
    return unit(centres_ce[rng.integers(0, groups, count)] + spread_ne)


def inertia(points_ne: np.ndarray, cluster_n: np.ndarray) -> float:
    parts = [points_ne[cluster_n == cluster] for cluster in np.unique(cluster_n)]
    return sum(float(((part - part.mean(0)) ** 2).sum()) for part in parts)


def test_clusters_are_as_tight_as_scikit_learns():
    points_ne = points(2001, 16, 20, 1.0)
    ours, theirs = [], []
    for seed in range(8):
        found = kmeans(points_ne, 20, 50, jax.random.key(seed), one_device())
        ours.append(inertia(points_ne, found.cluster_n))
        oracle = sklearn.cluster.KMeans(20, n_init=1, random_state=seed)
        theirs.append(oracle.fit(points_ne).inertia_)
    assert np.mean(ours) < 1.01 * np.mean(theirs)
    assert np.min(ours) < 1.01 * np.min(theirs)


@pytest.mark.parametrize("mesh", [one_device, eight_devices])
def test_assignment_is_scikit_learns_for_the_same_centroids(mesh):
    points_ne = points(1003, 24, 12, 1.0)
    oracle = sklearn.cluster.KMeans(12, n_init=1, random_state=0).fit(points_ne)
    centroids_ce = oracle.cluster_centers_ = unit(oracle.cluster_centers_)
    cluster_n, cosine_n = assign(points_ne, centroids_ce, mesh())
    np.testing.assert_array_equal(cluster_n, oracle.predict(points_ne))
    expected_n = (points_ne * centroids_ce[cluster_n]).sum(1)
    np.testing.assert_allclose(cosine_n, expected_n, atol=1e-6)


@pytest.mark.parametrize("count", [1, 999])
def test_eight_devices_find_the_clusters_of_one(count):
    points_ne = points(count, 16, 7, 0.5)
    clusters = min(9, count)
    one = kmeans(points_ne, clusters, 50, jax.random.key(3), one_device())
    eight = kmeans(points_ne, clusters, 50, jax.random.key(3), eight_devices())
    np.testing.assert_array_equal(one.cluster_n, eight.cluster_n)
    np.testing.assert_allclose(one.centroids_ce, eight.centroids_ce, atol=1e-6)
    assert one.cluster_n.shape == one.cosine_n.shape == (count,)


def test_blocks_change_nothing(monkeypatch):
    points_ne = points(1001, 16, 7, 0.5)
    whole = kmeans(points_ne, 9, 50, jax.random.key(3), one_device())
    monkeypatch.setitem(blocks.COSINES, "cpu", 9 * 50)
    parts = kmeans(points_ne, 9, 50, jax.random.key(3), eight_devices())
    np.testing.assert_array_equal(whole.cluster_n, parts.cluster_n)
    np.testing.assert_allclose(whole.centroids_ce, parts.centroids_ce, atol=1e-6)


def test_the_key_decides_and_nothing_else():
    points_ne = points(600, 16, 30, 2.0)
    once, again, other = (
        kmeans(points_ne, 10, 50, jax.random.key(seed), one_device())
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(once.centroids_ce, again.centroids_ce)
    np.testing.assert_array_equal(once.cluster_n, again.cluster_n)
    assert (once.cluster_n != other.cluster_n).any()


def test_a_result_is_at_rest():
    points_ne = points(800, 16, 10, 0.5)
    found = kmeans(points_ne, 10, 50, jax.random.key(0), one_device())
    assert found.iterations < 50
    for cluster in range(10):
        mean_e = points_ne[found.cluster_n == cluster].sum(0, dtype=np.float64)
        mean_e /= np.linalg.norm(mean_e)
        np.testing.assert_allclose(found.centroids_ce[cluster], mean_e, atol=1e-5)


@pytest.mark.parametrize("mesh", [one_device, eight_devices])
def test_an_empty_cluster_starts_again_at_a_farthest_point(monkeypatch, mesh):
    points_ne = points(500, 16, 12, 0.2)
    oracle = sklearn.cluster.KMeans(12, n_init=5, random_state=0).fit(points_ne)
    start_ce = unit(oracle.cluster_centers_)
    start_ce[[4, 9]] = start_ce[2]
    monkeypatch.setattr(kmeans_lib, "start", lambda *_: start_ce)
    found = kmeans(points_ne, 12, 50, jax.random.key(0), mesh())
    assert len(np.unique(found.cluster_n)) == 12
    assert inertia(points_ne, found.cluster_n) < 1.001 * oracle.inertia_


def test_twelve_equal_starts_end_as_twelve_clusters(monkeypatch):
    points_ne = points(500, 16, 12, 0.2)
    monkeypatch.setattr(
        kmeans_lib, "start", lambda *_: np.repeat(points_ne[:1], 12, axis=0)
    )
    found = kmeans(points_ne, 12, 50, jax.random.key(0), eight_devices())
    assert len(np.unique(found.cluster_n)) == 12


def test_identical_points_share_a_cluster_and_leave_the_others_empty():
    points_ne = np.repeat(points(3, 16, 3, 0.5), 40, axis=0)
    found = kmeans(points_ne, 10, 50, jax.random.key(0), eight_devices())
    assert len(np.unique(found.cluster_n)) == 3
    assert all(len(np.unique(found.cluster_n[at : at + 40])) == 1 for at in (0, 40, 80))
    np.testing.assert_allclose(found.cosine_n, 1, atol=1e-6)


def test_the_start_is_drawn_from_a_sample_of_many_points(monkeypatch):
    points_ne = points(3000, 16, 10, 0.3)
    expected = kmeans(points_ne, 10, 50, jax.random.key(0), one_device())
    monkeypatch.setattr(kmeans_lib, "_SAMPLE", (400, 16))
    found = kmeans(points_ne, 10, 50, jax.random.key(0), one_device())
    tight = inertia(points_ne, expected.cluster_n)
    assert inertia(points_ne, found.cluster_n) < 1.05 * tight


def test_a_mini_batch_is_as_tight_as_scikit_learns():
    points_ne = points(2001, 16, 20, 1.0)
    ours, theirs = [], []
    for seed in range(6):
        key = jax.random.key(seed)
        found = mini_batch_kmeans(points_ne, 20, 30, 256, key, eight_devices())
        assert found.cluster_n.shape == found.cosine_n.shape == (2001,)
        ours.append(inertia(points_ne, found.cluster_n))
        oracle = sklearn.cluster.MiniBatchKMeans(
            20, n_init=1, batch_size=256, random_state=seed, max_iter=30
        )
        theirs.append(inertia(points_ne, oracle.fit(points_ne).labels_))
    assert np.mean(ours) < 1.01 * np.mean(theirs)


def test_the_devices_change_nothing_in_mini_batches():
    points_ne = points(700, 16, 7, 0.3)
    key = jax.random.key(1)
    one = mini_batch_kmeans(points_ne, 7, 20, 128, key, one_device())
    eight = mini_batch_kmeans(points_ne, 7, 20, 128, key, eight_devices())
    np.testing.assert_array_equal(one.cluster_n, eight.cluster_n)
    np.testing.assert_allclose(one.centroids_ce, eight.centroids_ce, atol=1e-5)


def test_millions_of_points_fit_and_their_cosines_are_never_held():
    count, clusters, mesh = 3_200_000, 1000, eight_devices()
    number, rows = blocks.shapes(count, clusters, mesh)
    assert number * rows < 1.001 * count and 500 <= rows <= 1100
    divided = NamedSharding(mesh, jax.P(mesh.axis_names))
    everywhere = NamedSharding(mesh, jax.P())

    def array(shape: tuple[int, ...], sharding: NamedSharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, np.float32, sharding=sharding)

    with jax.set_mesh(mesh):
        compiled = kmeans_lib._lloyd.lower(
            array((number, rows, 384), divided),
            array((number, rows), divided),
            array((clusters, 384), everywhere),
            50,
            0.0,
            dtype=jax.numpy.bfloat16,
        ).compile()
    memory = compiled.memory_analysis()
    own = 4 * count * 384 / 8
    assert memory.argument_size_in_bytes < 1.01 * own
    # A device's part of N x C float32 is 1.6 GB.
    assert memory.temp_size_in_bytes < 0.1 * (4 * count * clusters / 8)


def test_the_benchmark_compares_all_that_is_installed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["kmeans.py", "--smoke"])
    bench.main()
    shown = capsys.readouterr().out
    assert "times as fast as scikit-learn" in shown
    for name in bench.SIDES:
        assert name in shown
