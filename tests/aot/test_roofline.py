"""The roofline is arithmetic on bytes, links and peaks."""

import types

import numpy as np
import pytest

from xinst_jax.aot import topology
from xinst_jax.aot.collectives import Exchange
from xinst_jax.aot.roofline import link_bandwidth, roofline
from xinst_jax.mesh import AXES


def grid(shape, sizes):
    """A mesh whose devices lie on a torus in the order of their coordinates."""
    places = [
        types.SimpleNamespace(coords=place)
        for _ in range(sizes[0])
        for place in np.ndindex(*shape)
    ]
    devices = np.empty(len(places), object)
    devices[:] = places
    return types.SimpleNamespace(
        devices=devices.reshape(sizes),
        axis_names=AXES,
        shape=dict(zip(AXES, sizes, strict=True)),
    )


def gathering(axes, group, sent=1e9):
    return Exchange("all-gather", axes, group, 1, sent)


@pytest.mark.parametrize(
    ("name", "sizes", "axes", "links"),
    [
        # Two axes without rings; one of them; both closed; three closed.
        ("v5e:8x8", (1, 64, 1, 1), ("fsdp",), 2),
        ("v5e:8x8", (1, 8, 1, 8), ("tensor",), 1),
        ("v5e:16x16", (1, 256, 1, 1), ("fsdp",), 4),
        ("v5p:4x4x4", (1, 64, 1, 1), ("fsdp",), 6),
    ],
)
def test_an_exchange_has_the_links_of_the_axes_it_spans(name, sizes, axes, links):
    found = topology.parse(name)
    exchange = gathering(axes, 8)
    bandwidth = link_bandwidth(found, found.chip, grid(found.shape, sizes), exchange)
    assert bandwidth == links * found.chip.link_bandwidth


def test_the_slowest_binds():
    found = topology.parse("v5e:8x8")
    mesh = grid(found.shape, (1, 64, 1, 1))
    least = roofline(found, mesh, 197e12, 0.819e12 / 2, [gathering(("fsdp",), 64, 9e9)])
    assert (least.compute, least.memory, least.network) == (1.0, 0.5, 0.0)
    assert least.links == pytest.approx(0.1)
    assert (least.seconds, least.binds) == (1.0, "compute")


def test_between_slices_each_chip_sends_its_part_over_the_network():
    found = topology.parse("v5e:8x8", slices=2)
    mesh = grid(found.shape, (2, 64, 1, 1))
    array, group = 128e9, 128
    reduced = Exchange(
        "all-reduce", ("slice", "fsdp"), group, 1, 2 * array * (group - 1) / group
    )
    least = roofline(found, mesh, 0.0, 0.0, [reduced])
    # Scatter and gather inside the slice, and between slices two times half a part.
    assert least.links == pytest.approx(2 * array * 63 / 64 / (2 * 45e9))
    assert least.network == pytest.approx(2 * array / 64 / 2 / 3.125e9)
