"""Spherical k-means over the devices of a mesh.

Points and centroids are unit vectors and nearness is the cosine (Dhillon and Modha,
Machine Learning 42, 2001). Centroids start as the greedy k-means++ of Arthur and
Vassilvitskii, SODA 2007, section 7, which matters more than anything that follows: a
random start ends 10% worse and with empty clusters.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from xinst_jax.pipeline.diversity import blocks

_SAMPLE = 4096, 16
"""Points that the start is drawn from: at least so many, and so many per cluster."""

_RESEEDED = 64
"""Most empty clusters that get a new centroid in one iteration."""

_SAME = 1e-6
"""Cosine distance up to which two points are one: float32's rounding."""

_SETTLED = 1e-3
"""Share of the points that change their cluster below which bfloat16 has done its work:
fewer than that waver by its rounding."""


@dataclasses.dataclass(frozen=True)
class Clusters:
    """What k-means found.

    Attributes:
      centroids_ce: float32 unit vectors.
      cluster_n: int32 nearest centroid of each point; of equally near ones the first.
      cosine_n: float32 cosine of each point with it.
      iterations: how often the centroids were moved.
    """

    centroids_ce: np.ndarray
    cluster_n: np.ndarray
    cosine_n: np.ndarray
    iterations: int


def kmeans(
    points_ne: np.ndarray,
    clusters: int,
    iterations: int,
    key: jax.Array,
    mesh: jax.sharding.Mesh,
) -> Clusters:
    """Clusters unit vectors by Lloyd's iterations; the same key, the same clusters.

    Where the points take more than a block of each device, cosines are products of
    bfloat16, as matrix units want them, until few points change their cluster, and of
    float32 from there on; so a result that is at rest is at rest in float32. A cluster
    that runs empty starts again at the point farthest from its centroid: one stays
    empty only if there are fewer distinct points than clusters. The number of devices
    changes the order of float32 sums, and where bfloat16 begins to pay.

    Args:
      points_ne: float32 unit vectors, N > 0.
      clusters: number C of clusters.
      iterations: most iterations; it ends earlier when no point changes its cluster.
      key: draws the start.
      mesh: its devices, along all axes, divide the points.
    """
    return lloyd(points_ne, start(points_ne, clusters, key), iterations, mesh)


def lloyd(
    points_ne: np.ndarray,
    start_ce: np.ndarray,
    iterations: int,
    mesh: jax.sharding.Mesh,
) -> Clusters:
    """`kmeans` from given centroids on.

    Args:
      points_ne: float32 unit vectors, N > 0.
      start_ce: float32 unit vectors.
      iterations: most iterations.
      mesh: its devices, along all axes, divide the points.
    """
    points_ne = np.asarray(points_ne, np.float32)
    placed = blocks.divided(points_ne, len(start_ce), mesh)
    centroids_ce = blocks.replicated(start_ce, mesh)
    phases = [(jnp.float32, 0.0)]
    if len(placed[0]) > mesh.size:
        phases = [(jnp.bfloat16, _SETTLED * len(points_ne)), *phases]
    moved = 0
    with jax.set_mesh(mesh):
        for dtype, settled in phases:
            centroids_ce, more = _lloyd(
                *placed, centroids_ce, iterations - moved, settled, dtype
            )
            moved += int(more)
    del placed
    found_ce = np.asarray(centroids_ce)
    return Clusters(found_ce, *blocks.assign(points_ne, found_ce, mesh), moved)


@functools.partial(jax.jit, static_argnames="dtype")
def _lloyd(
    points_xne: jax.Array,
    weights_xn: jax.Array,
    centroids_ce: jax.Array,
    iterations: jax.Array,
    settled: jax.Array,
    dtype: Any,
) -> tuple[jax.Array, jax.Array]:
    """Moves the centroids until at most `settled` points change their cluster.

    Args:
      points_xne: blocks of points, divided over the devices.
      weights_xn: 1 for a point, 0 for filling.
      centroids_ce: where they start.
      iterations: most of them.
      settled: number of points.
      dtype: of the product.

    Returns:
      The centroids, and how often they were moved.
    """
    axes = jax.typeof(points_xne).sharding.mesh.axis_names
    return jax.shard_map(
        functools.partial(_lloyd_on_device, axes=axes, dtype=dtype),
        in_specs=(jax.P(axes), jax.P(axes), jax.P(), jax.P(), jax.P()),
        out_specs=(jax.P(), jax.P()),
    )(points_xne, weights_xn, centroids_ce, iterations, settled)


def _lloyd_on_device(
    points_xne: jax.Array,
    weights_xn: jax.Array,
    centroids_ce: jax.Array,
    iterations: jax.Array,
    settled: jax.Array,
    *,
    axes: tuple[str, ...],
    dtype: Any,
) -> tuple[jax.Array, jax.Array]:
    def move(
        state: tuple[jax.Array, jax.Array, jax.Array, jax.Array],
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        centroids_ce, before_xn, step, _ = state
        cluster_xn, cosine_xn, *sums = blocks.summed(
            points_xne, weights_xn, centroids_ce, axes, dtype
        )
        sums_ce, counts_c = jax.lax.psum(sums, axes)
        length_c1 = jnp.linalg.norm(sums_ce, axis=1, keepdims=True)
        means_ce = sums_ce / jnp.maximum(length_c1, 1e-12)
        moved_ce = jnp.where(length_c1 > 0, means_ce, centroids_ce)
        moved_ce, reseeded = _reseeded(
            moved_ce, counts_c == 0, points_xne, weights_xn, cosine_xn, axes
        )
        changed = jnp.sum(weights_xn * (cluster_xn != before_xn))
        active = (jax.lax.psum(changed, axes) > settled) | reseeded
        return moved_ce, cluster_xn, step + 1, active

    def unfinished(
        state: tuple[jax.Array, jax.Array, jax.Array, jax.Array],
    ) -> jax.Array:
        return state[3] & (state[2] < iterations)

    nowhere_xn = jnp.full_like(weights_xn, -1, jnp.int32)
    first = (centroids_ce, nowhere_xn, jnp.int32(0), jnp.bool(True))
    centroids_ce, _, steps, _ = jax.lax.while_loop(unfinished, move, first)
    return centroids_ce, steps


def _reseeded(
    centroids_ce: jax.Array,
    empty_c: jax.Array,
    points_xne: jax.Array,
    weights_xn: jax.Array,
    cosine_xn: jax.Array,
    axes: tuple[str, ...],
) -> tuple[jax.Array, jax.Array]:
    """Gives the first empty clusters the farthest points; says whether any got one."""

    def search() -> tuple[jax.Array, jax.Array]:
        far_re, distance_r = _farthest(points_xne, weights_xn, cosine_xn, axes)
        return _reseed(centroids_ce, empty_c, far_re, distance_r)

    # The search takes longer than the rest of an update, and is seldom needed.
    return jax.lax.cond(
        jnp.any(empty_c), search, lambda: (centroids_ce, jnp.bool(False))
    )


def _farthest(
    points_xne: jax.Array,
    weights_xn: jax.Array,
    cosine_xn: jax.Array,
    axes: tuple[str, ...],
) -> tuple[jax.Array, jax.Array]:
    """The points farthest from their centroids, over all devices, farthest first.

    Returns:
      The points (R, E) and their cosine distances (R,); of equally far points the one
      with the lowest number is first, whichever device holds it.
    """
    points_ne = points_xne.reshape(-1, points_xne.shape[-1])
    distance_n = jnp.where(weights_xn > 0, 1 - cosine_xn, -1.0).reshape(-1)
    count = min(_RESEEDED, len(distance_n))
    distance_r, rows_r = jax.lax.top_k(distance_n, count)
    devices, device = jax.lax.axis_size(axes), jax.lax.axis_index(axes)

    def gather(own: jax.Array) -> jax.Array:
        apart = jnp.zeros((devices, *own.shape), own.dtype).at[device].set(own)
        return jax.lax.psum(apart, axes).reshape(-1, *own.shape[1:])

    distance_r, order_r = jax.lax.top_k(gather(distance_r), count)
    return gather(points_ne[rows_r])[order_r], distance_r


def _reseed(
    centroids_ce: jax.Array,
    empty_c: jax.Array,
    far_re: jax.Array,
    distance_r: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Gives the first empty clusters the farthest points; says whether any got one."""
    turn_c = jnp.cumsum(empty_c) - 1
    last = len(far_re) - 1
    row_c = jnp.clip(turn_c, 0, last)
    gets_c = empty_c & (turn_c <= last) & (distance_r[row_c] > _SAME)
    return jnp.where(gets_c[:, None], far_re[row_c], centroids_ce), jnp.any(gets_c)


def start(points_ne: np.ndarray, clusters: int, key: jax.Array) -> np.ndarray:
    """The first centroids (C, E), drawn from a sample of the points.

    One device of each process computes it; of process 0's result all go on, since
    compilers may differ from host to host in the order of sums.
    """
    sample_key, draw_key = jax.random.split(key)
    count = max(_SAMPLE[0], _SAMPLE[1] * clusters)
    if len(points_ne) > count:
        rows = jax.random.choice(sample_key, len(points_ne), (count,), replace=False)
        points_ne = points_ne[np.sort(np.asarray(rows))]
    drawn_ce = _plus_plus(points_ne, clusters, draw_key)
    return np.asarray(multihost_utils.broadcast_one_to_all(drawn_ce))


@functools.partial(jax.jit, static_argnames="clusters")
def _plus_plus(points_ne: jax.Array, clusters: int, key: jax.Array) -> jax.Array:
    """Greedy k-means++: each centroid the best of a few points drawn by distance."""
    trials = 2 + int(math.log(clusters))
    first_key, key = jax.random.split(key)
    first_e = points_ne[jax.random.randint(first_key, (), 0, len(points_ne))]

    def distances(to_te: jax.Array) -> jax.Array:
        cosines_tn = jnp.einsum(
            "te,ne->tn", to_te, points_ne, precision=jax.lax.Precision.HIGHEST
        )
        return jnp.where(cosines_tn < 1 - _SAME, 1 - cosines_tn, 0.0)

    def draw(nearest_n: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        summed_n = jnp.cumsum(nearest_n)
        at_t = jax.random.uniform(key, (trials,)) * summed_n[-1]
        rows_t = jnp.searchsorted(summed_n, at_t, side="right")
        drawn_te = points_ne[jnp.clip(rows_t, 0, len(points_ne) - 1)]
        closer_tn = jnp.minimum(nearest_n, distances(drawn_te))
        best = jnp.argmin(jnp.sum(closer_tn, axis=1))
        return closer_tn[best], drawn_te[best]

    keys = jax.random.split(key, clusters - 1)
    _, others_ce = jax.lax.scan(draw, distances(first_e[None])[0], keys)
    return jnp.concatenate([first_e[None], others_ce])
