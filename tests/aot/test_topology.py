"""Topologies by the names that Google Cloud and JAX give them."""

import importlib.util

import pytest

from xinst_jax.aot import topology
from xinst_jax.errors import UserError


@pytest.mark.parametrize(
    ("name", "chip", "shape"),
    [
        ("v4-64", "v4", (2, 4, 4)),
        ("v5e-64", "v5e", (8, 8)),
        ("v5e:8x8", "v5e", (8, 8)),
        ("v5e-256", "v5e", (16, 16)),
        ("v5p-64", "v5p", (2, 4, 4)),
        ("v5p:4x4x4", "v5p", (4, 4, 4)),
        ("v5p-256", "v5p", (4, 4, 8)),
        ("v6e-64", "v6e", (8, 8)),
    ],
)
def test_a_name_is_a_chip_and_a_shape(name, chip, shape):
    found = topology.parse(name)
    assert found.chip is not None and found.chip.name == chip
    assert found.shape == shape


def test_v4_and_v5p_are_named_by_cores_and_slices_multiply():
    assert topology.parse("v5e-64").chips == 64
    assert topology.parse("v5p-64").chips == 32
    assert topology.parse("v5p-256", slices=2).chips == 256


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("v9-8", "v5e-64"),
        ("v5e", "v5e-64"),
        ("v5p-7", r"v5p-64"),
        ("v5e-48", "v5e-64"),
        ("v5e:4x4x4", "2 axes"),
    ],
)
def test_a_name_that_is_none_is_told_what_is(name, told):
    with pytest.raises(UserError, match=told):
        topology.parse(name)


def test_rings_close_where_the_wires_are():
    v5e, v5p = topology.parse("v5e-64").chip, topology.parse("v5p-64").chip
    assert v5e.wraps((8, 16)) == (False, True)
    assert v5p.wraps((2, 4, 4)) == (False, False, False)
    assert v5p.wraps((4, 4, 8)) == (True, True, True)


def test_without_the_tpu_compiler_one_is_told_what_to_install(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: name != "libtpu" and found(name)
    )
    with pytest.raises(UserError, match=r"requirements-tpu\.txt.*cpu:64"):
        topology.devices(topology.parse("v5e-64"))


def test_fake_devices_are_as_many_as_asked_for_or_an_error():
    assert len(topology.devices(topology.parse("cpu:4"))) == 4
    with pytest.raises(UserError, match="JAX_NUM_CPU_DEVICES=64"):
        topology.devices(topology.parse("cpu:64"))
