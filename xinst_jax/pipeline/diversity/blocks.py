"""Points divided over devices and read in blocks: all cosines are never held at once.

N points and C centroids have N x C cosines, more than the points themselves. A block of
rows is compared with all centroids, what comes out of it is summed up, and the next
block takes its place.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

COSINES = {"cpu": 1 << 20}
"""Most cosines held at once on a device, by platform: a core's share of the cache."""

_COSINES_ELSEWHERE = 1 << 24
"""Enough to keep an accelerator's matrix units at work; 64 MiB."""


def rows_of_block(clusters: int, mesh: jax.sharding.Mesh) -> int:
    """Most points that are compared with `clusters` centroids at once on a device."""
    platform = mesh.devices.flat[0].platform
    return max(1, COSINES.get(platform, _COSINES_ELSEWHERE) // clusters)


def shapes(count: int, clusters: int, mesh: jax.sharding.Mesh) -> tuple[int, int]:
    """Blocks and rows of a block for `count` points; the devices divide the blocks."""
    most = rows_of_block(clusters, mesh)
    even = -(-count // mesh.size)
    # Blocks of one size, the last of each device as full as the others.
    rows = -(-even // -(-even // most))
    return -(-count // (rows * mesh.size)) * mesh.size, rows


def divided(
    points_ne: np.ndarray,
    clusters: int,
    mesh: jax.sharding.Mesh,
    used: int | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Points and their weights on the devices, block by block.

    Args:
      points_ne: float32; may be a memory map, of which each process reads its part.
      clusters: number of centroids that they are to be compared with.
      mesh: its devices, along all axes, divide the blocks.
      used: how many of the points count; None for all. The others are zeros.

    Returns:
      Points (blocks, rows, E) and weights (blocks, rows) float32: 1, and 0 for the
      zeros that fill the last block.
    """
    count, width = points_ne.shape
    blocks, rows = shapes(count, clusters, mesh)
    used = count if used is None else used

    def part(index: tuple[slice, ...] | None) -> np.ndarray:
        start, stop = _bounds(index, blocks)
        own_ne = points_ne[start * rows : stop * rows]
        missing = (stop - start) * rows - len(own_ne)
        return np.pad(own_ne, ((0, missing), (0, 0))).reshape(-1, rows, width)

    def weights(index: tuple[slice, ...] | None) -> np.ndarray:
        start, stop = _bounds(index, blocks)
        number_n = np.arange(start * rows, stop * rows)
        return (number_n < used).astype(np.float32).reshape(-1, rows)

    sharding = NamedSharding(mesh, jax.P(mesh.axis_names))
    return (
        jax.make_array_from_callback((blocks, rows, width), sharding, part),
        jax.make_array_from_callback((blocks, rows), sharding, weights),
    )


def _bounds(index: tuple[slice, ...] | None, blocks: int) -> tuple[int, int]:
    """The first block of a device's part, and the one after its last."""
    assert index is not None
    start, stop, _ = index[0].indices(blocks)
    return start, stop


def replicated(array: np.ndarray, mesh: jax.sharding.Mesh) -> jax.Array:
    """An array on every device."""
    return jax.make_array_from_callback(
        array.shape, NamedSharding(mesh, jax.P()), array.__getitem__
    )


def nearest(
    points_ne: jax.Array, centroids_ce: jax.Array, dtype: Any
) -> tuple[jax.Array, jax.Array]:
    """The first of the nearest centroids of each point, and the cosine with it.

    Args:
      points_ne: float32 unit vectors.
      centroids_ce: likewise.
      dtype: what the product rounds its factors to; sums are float32.

    Returns:
      int32 (N,) and float32 (N,).
    """
    cosines_nc = jnp.einsum(
        "ne,ce->nc",
        points_ne.astype(dtype),
        centroids_ce.astype(dtype),
        precision=jax.lax.Precision.HIGHEST if dtype == jnp.float32 else None,
        preferred_element_type=jnp.float32,
    )
    best_n = jnp.max(cosines_nc, axis=1)
    # XLA:CPU's argmax is many times slower than a maximum and a minimum.
    numbers_c = jnp.arange(len(centroids_ce), dtype=jnp.int32)
    candidates_nc = jnp.where(cosines_nc == best_n[:, None], numbers_c, numbers_c[-1])
    return jnp.min(candidates_nc, axis=1), best_n


def summed(
    points_xne: jax.Array,
    weights_xn: jax.Array,
    centroids_ce: jax.Array,
    axes: tuple[str, ...],
    dtype: Any,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Each point's nearest centroid, and the sums over the points of each; inside a
    `shard_map`.

    Args:
      points_xne: the device's blocks of points.
      weights_xn: 1 for a point, 0 for filling.
      centroids_ce: float32 unit vectors.
      axes: the mesh axes that divide the blocks.
      dtype: as for `nearest`.

    Returns:
      Cluster (X, N) int32, cosine (X, N) float32; the device's own sums (C, E) and
      numbers (C,) of points, float32.
    """
    near_ce = centroids_ce.astype(dtype)

    def block(
        total: tuple[jax.Array, jax.Array], part: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
        points_ne, weights_n = part
        sums_ce, counts_c = total
        cluster_n, cosine_n = nearest(points_ne, near_ce, dtype)
        # What fills a block is zero, and adds nothing.
        sums_ce = sums_ce.at[cluster_n].add(points_ne)
        counts_c = counts_c.at[cluster_n].add(weights_n)
        return (sums_ce, counts_c), (cluster_n, cosine_n)

    none = jnp.zeros_like(centroids_ce), jnp.zeros(len(centroids_ce), jnp.float32)
    none = jax.lax.pcast(none, axes, to="varying")
    total, (cluster_xn, cosine_xn) = jax.lax.scan(block, none, (points_xne, weights_xn))
    return cluster_xn, cosine_xn, *total


def assign(
    points_ne: np.ndarray, centroids_ce: np.ndarray, mesh: jax.sharding.Mesh
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centroid (int32) of each point and the cosine with it (float32)."""
    points_xne, _ = divided(points_ne, len(centroids_ce), mesh)
    with jax.set_mesh(mesh):
        found = _assign(points_xne, replicated(centroids_ce, mesh))
    count = len(points_ne)
    cluster_n, cosine_n = (np.asarray(part)[:count] for part in found)
    return cluster_n, cosine_n


@jax.jit
def _assign(
    points_xne: jax.Array, centroids_ce: jax.Array
) -> tuple[jax.Array, jax.Array]:
    axes = jax.typeof(points_xne).sharding.mesh.axis_names

    def on_device(
        points_xne: jax.Array, centroids_ce: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        cluster_xn, cosine_xn = jax.lax.map(
            lambda points_ne: nearest(points_ne, centroids_ce, jnp.float32), points_xne
        )
        return cluster_xn.reshape(-1), cosine_xn.reshape(-1)

    found = jax.shard_map(
        on_device, in_specs=(jax.P(axes), jax.P()), out_specs=jax.P(axes)
    )(points_xne, centroids_ce)
    return jax.reshard(found, jax.P())
