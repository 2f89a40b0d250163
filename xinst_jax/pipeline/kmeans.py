"""Spherical k-means over the devices of a mesh.

Points and centroids are unit vectors and nearness is the cosine (Dhillon and Modha,
Machine Learning 42, 2001). Centroids start as the greedy k-means++ of Arthur and
Vassilvitskii, SODA 2007, section 7, which matters more than anything that follows: a
random start ends 10% worse and with empty clusters.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding

_SIMILARITIES = 1 << 22
"""Most cosines between points and centroids held at once on a device."""

_SAMPLE = 4096, 16
"""Points that the start is drawn from: at least so many, and so many per cluster."""

_RESEEDED = 64
"""Most empty clusters that get a new centroid in one iteration."""

_SAME = 1e-6
"""Cosine distance up to which two points are one: float32's rounding."""


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
    """Clusters unit vectors; the same key gives the same clusters.

    A cluster that runs empty starts again at the point farthest from its centroid, so
    that one stays empty only if there are fewer distinct points than clusters. The
    number of devices changes nothing but the order of float32 sums.

    Args:
      points_ne: float32 unit vectors, N > 0.
      clusters: number C of clusters.
      iterations: most iterations; it ends earlier when no point changes its cluster.
      key: draws the start.
      mesh: its devices, along all axes, divide the points.
    """
    points_ne = np.asarray(points_ne, np.float32)
    # One device of each process computes it; of process 0's result all go on, since
    # compilers may differ from host to host in the order of sums.
    start_ce = multihost_utils.broadcast_one_to_all(_start(points_ne, clusters, key))
    with jax.set_mesh(mesh):
        centroids_ce, moved = _lloyd(*_placed(points_ne, start_ce, mesh), iterations)
    cluster_n, cosine_n = assign(points_ne, np.asarray(centroids_ce), mesh)
    return Clusters(np.asarray(centroids_ce), cluster_n, cosine_n, int(moved))


def assign(
    points_ne: np.ndarray, centroids_ce: np.ndarray, mesh: jax.sharding.Mesh
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centroid (int32) of each point and the cosine with it (float32)."""
    with jax.set_mesh(mesh):
        cluster_n, cosine_n = _assign(*_placed(points_ne, centroids_ce, mesh))
    count = len(points_ne)
    return np.asarray(cluster_n)[:count], np.asarray(cosine_n)[:count]


def _placed(
    points_ne: np.ndarray, centroids_ce: np.ndarray, mesh: jax.sharding.Mesh
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Points, their weights and centroids on the devices.

    Points become (blocks, rows, E), blocks divided over the devices. What fills the
    last block has weight 0.
    """
    count, width = points_ne.shape
    most = max(1, _SIMILARITIES // len(centroids_ce))
    rows = min(most, -(-count // mesh.size))
    blocks = -(-count // (rows * mesh.size)) * mesh.size
    missing = blocks * rows - count
    padded_ne = np.pad(points_ne, ((0, missing), (0, 0)))
    weights_n = np.pad(np.ones(count, np.float32), (0, missing))
    divided = NamedSharding(mesh, jax.P(mesh.axis_names))

    def put(array: np.ndarray, sharding: NamedSharding) -> jax.Array:
        return jax.make_array_from_callback(array.shape, sharding, array.__getitem__)

    return (
        put(padded_ne.reshape(blocks, rows, width), divided),
        put(weights_n.reshape(blocks, rows), divided),
        put(centroids_ce, NamedSharding(mesh, jax.P())),
    )


def _nearest(
    points_ne: jax.Array, centroids_ce: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The first of the nearest centroids of each point, and the cosine with it."""
    cosines_nc = jnp.einsum(
        "ne,ce->nc", points_ne, centroids_ce, precision=jax.lax.Precision.HIGHEST
    )
    best_n = jnp.max(cosines_nc, axis=1)
    # XLA:CPU's argmax is many times slower than a maximum and a minimum.
    numbers_c = jnp.arange(len(centroids_ce), dtype=jnp.int32)
    candidates_nc = jnp.where(cosines_nc == best_n[:, None], numbers_c, numbers_c[-1])
    return jnp.min(candidates_nc, axis=1), best_n


def _all_nearest(
    points_xne: jax.Array, centroids_ce: jax.Array
) -> tuple[jax.Array, jax.Array]:
    def block(points_ne: jax.Array) -> tuple[jax.Array, jax.Array]:
        return _nearest(points_ne, centroids_ce)

    cluster_xn, cosine_xn = jax.lax.map(block, points_xne)
    return cluster_xn.reshape(-1), cosine_xn.reshape(-1)


@jax.jit
def _assign(
    points_xne: jax.Array, weights_xn: jax.Array, centroids_ce: jax.Array
) -> tuple[jax.Array, jax.Array]:
    del weights_xn
    axes = jax.typeof(points_xne).sharding.mesh.axis_names
    found = jax.shard_map(
        _all_nearest, in_specs=(jax.P(axes), jax.P()), out_specs=jax.P(axes)
    )(points_xne, centroids_ce)
    return jax.reshard(found, jax.P())


@functools.partial(jax.jit, static_argnames="iterations")
def _lloyd(
    points_xne: jax.Array,
    weights_xn: jax.Array,
    centroids_ce: jax.Array,
    iterations: int,
) -> tuple[jax.Array, jax.Array]:
    """Moves the centroids until no point changes its cluster; says how often."""
    axes = jax.typeof(points_xne).sharding.mesh.axis_names
    return jax.shard_map(
        functools.partial(_lloyd_on_device, axes=axes, iterations=iterations),
        in_specs=(jax.P(axes), jax.P(axes), jax.P()),
        out_specs=(jax.P(), jax.P()),
    )(points_xne, weights_xn, centroids_ce)


def _lloyd_on_device(
    points_xne: jax.Array,
    weights_xn: jax.Array,
    centroids_ce: jax.Array,
    *,
    axes: tuple[str, ...],
    iterations: int,
) -> tuple[jax.Array, jax.Array]:
    points_ne = points_xne.reshape(-1, points_xne.shape[-1])
    weights_n = weights_xn.reshape(-1)

    def move(
        state: tuple[jax.Array, jax.Array, jax.Array, jax.Array],
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        centroids_ce, before_n, step, _ = state
        cluster_n, cosine_n = _all_nearest(points_xne, centroids_ce)
        sums_ce, counts_c = _sums(
            points_ne, weights_n, cluster_n, len(centroids_ce), axes
        )
        length_c1 = jnp.linalg.norm(sums_ce, axis=1, keepdims=True)
        means_ce = sums_ce / jnp.maximum(length_c1, 1e-12)
        moved_ce = jnp.where(length_c1 > 0, means_ce, centroids_ce)
        far_re, distance_r = _farthest(points_ne, weights_n, cosine_n, axes)
        moved_ce, reseeded = _reseed(moved_ce, counts_c == 0, far_re, distance_r)
        changed = jnp.sum(weights_n * (cluster_n != before_n))
        active = (jax.lax.psum(changed, axes) > 0) | reseeded
        return moved_ce, cluster_n, step + 1, active

    def unfinished(
        state: tuple[jax.Array, jax.Array, jax.Array, jax.Array],
    ) -> jax.Array:
        return state[3] & (state[2] < iterations)

    nowhere_n = jnp.full_like(weights_n, -1, jnp.int32)
    first = (centroids_ce, nowhere_n, jnp.int32(0), jnp.bool(True))
    centroids_ce, _, steps, _ = jax.lax.while_loop(unfinished, move, first)
    return centroids_ce, steps


def _sums(
    points_ne: jax.Array,
    weights_n: jax.Array,
    cluster_n: jax.Array,
    clusters: int,
    axes: tuple[str, ...],
) -> tuple[jax.Array, jax.Array]:
    """Sum and number of each cluster's points, over all devices."""
    sums_ce = jax.ops.segment_sum(
        points_ne * weights_n[:, None], cluster_n, num_segments=clusters
    )
    counts_c = jax.ops.segment_sum(weights_n, cluster_n, num_segments=clusters)
    return jax.lax.psum((sums_ce, counts_c), axes)


def _farthest(
    points_ne: jax.Array,
    weights_n: jax.Array,
    cosine_n: jax.Array,
    axes: tuple[str, ...],
) -> tuple[jax.Array, jax.Array]:
    """The points farthest from their centroids, over all devices, farthest first.

    Returns:
      The points (R, E) and their cosine distances (R,); of equally far points the one
      with the lowest number is first, whichever device holds it.
    """
    distance_n = jnp.where(weights_n > 0, 1 - cosine_n, -1.0)
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


def _start(points_ne: np.ndarray, clusters: int, key: jax.Array) -> np.ndarray:
    """The first centroids, drawn from a sample of the points."""
    sample_key, draw_key = jax.random.split(key)
    count = max(_SAMPLE[0], _SAMPLE[1] * clusters)
    if len(points_ne) > count:
        rows = jax.random.choice(sample_key, len(points_ne), (count,), replace=False)
        points_ne = points_ne[np.sort(np.asarray(rows))]
    return np.asarray(_plus_plus(points_ne, clusters, draw_key))


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
