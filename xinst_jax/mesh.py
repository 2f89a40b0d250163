"""Where things live: the device mesh, and the rules that divide arrays over it."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh

from xinst_jax.config import MeshConfig
from xinst_jax.errors import UserError

AXES = ("slice", "fsdp", "sequence", "tensor")


def make_mesh(
    config: MeshConfig, devices: Sequence[jax.Device] | None = None
) -> jax.sharding.Mesh:
    """The mesh of explicit axes `AXES` over the devices.

    GPUs lie in the order of their nodes, the last axis innermost: `tensor` stays inside
    a node where a node's GPUs are a multiple of it, and any axis may span nodes.

    Args:
      config: devices along each axis; one may be -1 and takes what the others leave.
      devices: the devices to use, all of JAX's by default.

    Raises:
      UserError: the sizes do not give exactly the number of devices, or the devices
        belong to several TPU slices and `slice` is not their number.
    """
    devices = list(jax.devices() if devices is None else devices)
    sizes = _fill([getattr(config, axis) for axis in AXES], len(devices))
    explicit = (AxisType.Explicit,) * len(AXES)
    if devices[0].platform == "gpu":
        # What XLA calls a GPU's slice is its node, or the nodes that NVLink joins to
        # one: NCCL crosses it, so unlike a TPU's slice it need not bound an axis.
        grid = np.asarray(sorted(devices, key=_node)).reshape(sizes)
        return Mesh(grid, AXES, explicit)
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    if slices == 1:
        grid = mesh_utils.create_device_mesh(
            sizes, devices, allow_split_physical_axes=True
        )
        return Mesh(grid, AXES, explicit)
    if sizes[0] != slices:
        raise UserError(
            f"MeshConfig.slice = {sizes[0]}, but the devices belong to {slices} TPU "
            f"slices: set it to {slices}."
        )
    grid = mesh_utils.create_hybrid_device_mesh(
        (1, *sizes[1:]), (slices, 1, 1, 1), devices, allow_split_physical_axes=True
    )
    return Mesh(grid, AXES, explicit)


def _node(device: jax.Device) -> tuple[int, int]:
    """Sorts GPUs by their node, and by their number inside it."""
    return getattr(device, "slice_index", 0), device.id


def _fill(sizes: list[int], count: int) -> tuple[int, ...]:
    """`sizes` with its -1 replaced, so that their product is `count`.

    Example: [1, -1, 1, 2] and 8 devices give (1, 4, 1, 2).
    """
    named = ", ".join(f"{axis}={size}" for axis, size in zip(AXES, sizes, strict=True))
    wild = sizes.count(-1)
    if wild > 1 or any(size < 1 and size != -1 for size in sizes):
        raise UserError(
            f"MeshConfig({named}): sizes are positive, and at most one is -1."
        )
    known = math.prod(size for size in sizes if size != -1)
    if count % known or (not wild and known != count):
        raise UserError(
            f"MeshConfig({named}) asks for {'a multiple of ' if wild else ''}{known} "
            f"devices, and there are {count}. Change the sizes so that their product "
            f"is {count}, or set one to -1."
        )
    return tuple(count // known if size == -1 else size for size in sizes)


_Axis = str | tuple[str, ...] | None


@dataclasses.dataclass(frozen=True)
class ShardingRules:
    """The mesh axis (or axes, or none) that each logical axis is divided over."""

    # rows of a batch
    batch: _Axis = ("slice", "fsdp")
    # positions in a sequence
    length: _Axis = "sequence"
    # stacked decoder blocks, scanned over
    layers: _Axis = None
    # width of the model in weights, gathered just before a weight is multiplied
    embed: _Axis = "fsdp"
    # width of the model in activations
    act_embed: _Axis = None
    # width of the feed-forward layer
    mlp: _Axis = "tensor"
    # query heads
    heads: _Axis = "tensor"
    # key and value heads
    kv_heads: _Axis = "tensor"
    # width of one head
    head_dim: _Axis = None
    # rank of a low-rank adapter
    rank: _Axis = None
    # rows of the embedding, columns of the logits
    vocab: _Axis = "tensor"

    def spec(self, *names: str | None) -> jax.P:
        """The partition of an array whose dimensions have these logical names.

        Args:
          *names: a field of these rules for each dimension; None is not divided.

        Raises:
          UserError: a mesh axis would divide two dimensions.
        """
        axes = [getattr(self, name) if name else None for name in names]
        used = [axis for entry in axes for axis in axis_names(entry)]
        twice = sorted({axis for axis in used if used.count(axis) > 1})
        if twice:
            raise UserError(
                f"ShardingRules put two of the logical axes {names} on the mesh axis "
                f"{', '.join(twice)}; an array's dimensions need different ones."
            )
        return jax.P(*axes)

    def divide(
        self, mesh: Mapping[str, int], shape: Sequence[int], names: Sequence[str | None]
    ) -> jax.P:
        """The partition of an array of this shape, once it is known to divide evenly.

        Args:
          mesh: size of each mesh axis (a mesh's `shape`).
          shape: the array's dimensions.
          names: their logical names.

        Raises:
          UserError: a dimension is not a multiple of the devices it is divided over.
        """
        for size, name in zip(shape, names, strict=True):
            axes = axis_names(getattr(self, name)) if name else ()
            parts = math.prod(mesh[axis] for axis in axes)
            if size % parts:
                raise UserError(
                    f"{size} along the logical axis {name!r} cannot be divided over "
                    f"{parts} devices (mesh axes {', '.join(axes)}). Change that size, "
                    "or MeshConfig."
                )
        return self.spec(*names)


def axis_names(entry: _Axis) -> tuple[str, ...]:
    """The mesh axes that an entry of a `PartitionSpec` names.

    >>> axis_names(("slice", "fsdp")), axis_names("tensor"), axis_names(None)
    (('slice', 'fsdp'), ('tensor',), ())
    """
    if entry is None:
        return ()
    return (entry,) if isinstance(entry, str) else entry


def devices(axes: _Axis) -> int:
    """Over how many devices of the mesh that is set these mesh axes divide."""
    sizes = jax.sharding.get_abstract_mesh().shape
    return math.prod(sizes[axis] for axis in axis_names(axes))


def platform() -> str:
    """The kind of device that the mesh that is set is made of: 'cpu', 'gpu', 'tpu'."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return device.platform if device else jax.default_backend()
