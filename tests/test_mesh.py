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


@dataclasses.dataclass(frozen=True)
class _FakeGpu:
    id: int
    slice_index: int
    process_index: int
    platform: str = "gpu"
    device_kind: str = "NVIDIA H100 80GB HBM3"


def _gpus(nodes, gpus_of_a_node):
    """One process a GPU, dealt to the nodes in turn: neighbours by number are apart."""
    return [
        _FakeGpu(id=number, slice_index=number % nodes, process_index=number)
        for number in range(nodes * gpus_of_a_node)
    ]


@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        (MeshConfig(), (1, 32, 1, 1)),
        (MeshConfig(tensor=8), (1, 4, 1, 8)),
        (MeshConfig(sequence=2, tensor=4), (1, 4, 2, 4)),
        (MeshConfig(slice=4), (4, 8, 1, 1)),
        (MeshConfig(slice=2, tensor=2), (2, 8, 1, 2)),
    ],
)
def test_axes_of_gpus_span_nodes_and_tensor_stays_inside_one(config, sizes):
    devices = _gpus(nodes=4, gpus_of_a_node=8)
    mesh = make_mesh(config, devices)
    assert tuple(mesh.shape.values()) == sizes
    assert set(mesh.axis_types) == {AxisType.Explicit}
    assert set(mesh.devices.flat) == set(devices)
    for group in mesh.devices.reshape(-1, sizes[-1]):
        assert len({device.slice_index for device in group}) == 1
    for index, group in enumerate(mesh.devices):
        a_slice = 4 // sizes[0]
        nodes = set(range(index * a_slice, (index + 1) * a_slice))
        assert {device.slice_index for device in group.flat} == nodes


def test_tensor_spans_nodes_of_gpus_that_are_too_small_for_it():
    mesh = make_mesh(MeshConfig(tensor=8), _gpus(nodes=4, gpus_of_a_node=4))
    for index, group in enumerate(mesh.devices.reshape(2, 8)):
        assert [device.slice_index for device in group] == [2 * index] * 4 + [
            2 * index + 1
        ] * 4


def test_gpus_of_one_node_lie_by_their_numbers():
    devices = _gpus(nodes=1, gpus_of_a_node=8)
    mesh = make_mesh(MeshConfig(tensor=2), devices[::-1])
    assert [device.id for device in mesh.devices.flat] == list(range(8))


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
