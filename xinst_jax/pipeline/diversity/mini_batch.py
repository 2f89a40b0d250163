"""Mini-batch spherical k-means: a few passes, with only a batch on the devices.

Sculley, *Web-Scale K-Means Clustering*, WWW 2010: a centroid is the mean of all points
that any batch has assigned to it. What an earlier pass assigned counts half as much as
what this one does, for it was assigned to centroids that have moved since.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from xinst_jax.pipeline.diversity import blocks
from xinst_jax.pipeline.diversity.kmeans import Clusters, start

_KEPT = 0.5
"""What earlier passes count for."""

_GAIN = 1e-4
"""Least rise of the mean cosine, from pass to pass, for which another one is made."""


def mini_batch_kmeans(
    points_ne: np.ndarray,
    clusters: int,
    iterations: int,
    batch: int,
    key: jax.Array,
    mesh: jax.sharding.Mesh,
) -> Clusters:
    """Clusters unit vectors batch by batch; the same key gives the same clusters.

    For more points than the devices hold: they may be a memory map. A cluster that no
    point joins keeps its centroid, so that it may stay empty.

    Args:
      points_ne: float32 unit vectors, N > 0.
      clusters: number C of clusters.
      iterations: most passes over the points; it ends earlier when one gains little.
      batch: points of a batch.
      key: draws the start and the order of each pass.
      mesh: its devices, along all axes, divide each batch.
    """
    start_key, order_key = jax.random.split(key)
    start_ce = start(points_ne, clusters, start_key)
    words = np.asarray(jax.random.key_data(order_key), np.uint32).tolist()
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))
    centroids_ce = blocks.replicated(start_ce, mesh)
    sums_ce = blocks.replicated(np.zeros_like(start_ce), mesh)
    before, passes = -1.0, 0
    while passes < iterations:
        order_n, gained = rng.permutation(len(points_ne)), 0.0
        sums_ce = sums_ce * _KEPT
        for first in range(0, len(order_n), batch):
            rows_b = np.sort(order_n[first : first + batch])
            # A whole batch, also at the end: one shape, one program.
            points_be = np.zeros((batch, points_ne.shape[1]), np.float32)
            points_be[: len(rows_b)] = points_ne[rows_b]
            placed = blocks.divided(points_be, clusters, mesh, len(rows_b))
            with jax.set_mesh(mesh):
                centroids_ce, sums_ce, cosines = _update(*placed, centroids_ce, sums_ce)
            gained += float(cosines)
        passes += 1
        if gained / len(order_n) - before < _GAIN:
            break
        before = gained / len(order_n)
    found_ce = np.asarray(centroids_ce)
    return Clusters(found_ce, *_assigned(points_ne, found_ce, batch, mesh), passes)


@functools.partial(jax.jit, donate_argnums=(2, 3))
def _update(
    points_xne: jax.Array,
    weights_xn: jax.Array,
    centroids_ce: jax.Array,
    sums_ce: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The centroids and sums after a batch, and the sum of its cosines."""
    axes = jax.typeof(points_xne).sharding.mesh.axis_names

    def on_device(
        points_xne: jax.Array, weights_xn: jax.Array, centroids_ce: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        _, cosine_xn, own_ce, _ = blocks.summed(
            points_xne, weights_xn, centroids_ce, axes, jnp.bfloat16
        )
        return jax.lax.psum((own_ce, jnp.sum(cosine_xn * weights_xn)), axes)

    added_ce, cosines = jax.shard_map(
        on_device,
        in_specs=(jax.P(axes), jax.P(axes), jax.P()),
        out_specs=(jax.P(), jax.P()),
    )(points_xne, weights_xn, centroids_ce)
    sums_ce = sums_ce + added_ce
    length_c1 = jnp.linalg.norm(sums_ce, axis=1, keepdims=True)
    means_ce = sums_ce / jnp.maximum(length_c1, 1e-12)
    return jnp.where(length_c1 > 0, means_ce, centroids_ce), sums_ce, cosines


def _assigned(
    points_ne: np.ndarray,
    centroids_ce: np.ndarray,
    batch: int,
    mesh: jax.sharding.Mesh,
) -> tuple[np.ndarray, np.ndarray]:
    """Cluster and cosine of each point, a batch of them at a time."""
    found = [
        blocks.assign(
            np.asarray(points_ne[first : first + batch], np.float32), centroids_ce, mesh
        )
        for first in range(0, len(points_ne), batch)
    ]
    clusters, cosines = zip(*found, strict=True)
    return np.concatenate(clusters), np.concatenate(cosines)
