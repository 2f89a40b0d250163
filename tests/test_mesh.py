"""Meshes have the devices that were asked for, and rules divide arrays over them."""

import dataclasses

import jax
import pytest
from jax.sharding import AxisType

from xinst_jax.config import MeshConfig
from xinst_jax.errors import UserError
from xinst_jax.mesh import AXES, ShardingRules, make_mesh


@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        (MeshConfig(), (1, 8, 1, 1)),
        (MeshConfig(fsdp=-1, tensor=2), (1, 4, 1, 2)),
        (MeshConfig(slice=2, fsdp=2, sequence=2, tensor=-1), (2, 2, 2, 1)),
    ],
)
def test_minus_one_takes_the_devices_that_are_left(config, sizes):
    mesh = make_mesh(config)
    assert mesh.axis_names == AXES
    assert tuple(mesh.shape.values()) == sizes
    assert set(mesh.axis_types) == {AxisType.Explicit}
    assert {device.id for device in mesh.devices.flat} == set(range(8))


@pytest.mark.parametrize(
    "config",
    [
        MeshConfig(fsdp=3),
        MeshConfig(fsdp=-1, tensor=3),
        MeshConfig(fsdp=4),
        MeshConfig(fsdp=-1, tensor=-1),
        MeshConfig(fsdp=0),
    ],
)
def test_sizes_that_do_not_give_the_devices_are_refused(config):
    with pytest.raises(UserError, match="MeshConfig"):
        make_mesh(config)


@dataclasses.dataclass(frozen=True)
class _FakeTpu:
    id: int
    slice_index: int
    process_index: int = 0
    platform: str = "cpu"
    device_kind: str = "cpu"


def test_tpu_slices_lie_along_the_slice_axis():
    devices = [_FakeTpu(id=number, slice_index=number % 2) for number in range(8)]
    mesh = make_mesh(MeshConfig(slice=2, fsdp=-1, tensor=2), devices)
    assert tuple(mesh.shape.values()) == (2, 2, 1, 2)
    for index in range(2):
        assert {device.slice_index for device in mesh.devices[index].flat} == {index}
    with pytest.raises(UserError, match="2 TPU slices"):
        make_mesh(MeshConfig(slice=4, fsdp=2), devices)


def test_rules_name_mesh_axes_and_refuse_one_twice():
    rules = ShardingRules()
    assert rules.spec("batch", "length", "act_embed") == jax.P(
        ("slice", "fsdp"), "sequence", None
    )
    assert rules.spec("embed", None, "heads") == jax.P("fsdp", None, "tensor")
    with pytest.raises(UserError, match="tensor"):
        rules.spec("heads", "vocab")
    with pytest.raises(UserError, match="fsdp"):
        rules.spec("batch", "embed")


def test_a_dimension_that_does_not_divide_is_refused_by_name():
    rules, mesh = ShardingRules(), make_mesh(MeshConfig(fsdp=2, tensor=4))
    assert rules.divide(mesh.shape, (6, 8), ("embed", "heads")) == jax.P(
        "fsdp", "tensor"
    )
    with pytest.raises(UserError, match=r"2 along the logical axis 'kv_heads'.*4"):
        rules.divide(mesh.shape, (6, 2), ("embed", "kv_heads"))
