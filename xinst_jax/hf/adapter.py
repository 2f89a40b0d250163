"""A LoRA adapter's folder in the format of Hugging Face's peft, written and read.

Such a folder holds `adapter_config.json`, which says where the adapter is laid over the
base model and how it is scaled, and `adapter_model.safetensors`, with a matrix
`lora_A.weight` (rank, inputs) and a matrix `lora_B.weight` (outputs, rank) for each
projection that it changes. Agrees with peft 0.21.
"""

import json
import math
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from xinst_jax import distributed
from xinst_jax.config import PROJECTIONS, LoraConfig, ModelConfig
from xinst_jax.errors import UserError
from xinst_jax.hf import mapping, text_half, whole
from xinst_jax.hf.mapping import Row
from xinst_jax.hf.text_half import Layout
from xinst_jax.mesh import ShardingRules
from xinst_jax.models.decoder import Params
from xinst_jax.train import lora as lora_lib

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"

_PREFIX = "base_model.model."
_FLOATS = (np.float32, np.float16, ml_dtypes.bfloat16)
_ADVICE = (
    f"Compare r and target_modules in its {CONFIG} with RunConfig.base_model: it is to "
    "be the model that the adapter was trained on."
)
_PLAIN: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "init_lora_weights": (True, False, None, "gaussian", "orthogonal", "eva"),
    "bias": ("none", None),
    "fan_in_fan_out": (False, None),
    "lora_bias": (False, None),
    "use_rslora": (True, False, None),
    "use_dora": (False, None),
    "use_qalora": (False, None),
    "use_bdlora": (False, None),
    "alora_invocation_tokens": (None,),
    "arrow_config": (None,),
    "kasa_config": (None,),
    "monteclora_config": (None,),
    "modules_to_save": (None, []),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "layer_replication": (None, []),
    "target_parameters": (None, []),
    "trainable_token_indices": (None, []),
}
"""What an adapter to the base model as it is has, if it is nothing but A and B; None
where the key may be absent.

The initialisations that are not here (pissa, olora, corda, loftq, lora_ga, mica) start
from the base's own weights, and most of them rewrite it: the adapter then belongs to
another base than the folder that it names.
"""


def export_adapter(
    folder: pathlib.Path,
    adapters: Params,
    model: ModelConfig,
    rules: ShardingRules,
    mesh: jax.sharding.Mesh,
    lora: LoraConfig,
    *,
    base_name: str,
    files: Mapping[str, bytes],
    layout: Layout = text_half.PLAIN,
) -> None:
    """Writes an adapter's folder, whole or not at all; equal ones give equal bytes.

    Numbers are float32, as they were trained. A caller from Python with several
    processes calls this in all of them, and the first one writes.

    Args:
      folder: where it goes; one that exists is replaced.
      adapters: what was trained, sharded or not.
      model: the decoder's shape.
      rules: how logical axes lie on the mesh.
      mesh: the devices.
      lora: what the adapters are.
      base_name: the base model's name on the hub, or its path.
      files: further files, by name: the tokenizer's, the card.
      layout: how transformers names the base model's modules (`text_half.modules`).

    Raises:
      UserError: a number is not finite, the disk is full.
    """
    rows = _rows(model, rules, mesh, lora, layout)
    leaves = {
        path: distributed.to_host(leaf)
        for path, leaf in mapping.leaves(adapters).items()
    }
    shapes = {path: leaf.shape for path, leaf in leaves.items()}
    tensors = {
        name: np.ascontiguousarray(row.to_tensor(leaves[row.path][block]))
        for name, (row, block) in mapping.tensors(rows, shapes).items()
    }
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise UserError(
                f"{name} holds NaN or infinity: the checkpoint is of no use. Look at "
                "its training's losses."
            )
    record = _record(lora, [_module(row) for row in rows], base_name, layout)
    contents = {
        **files,
        WEIGHTS: safetensors.numpy.save(tensors, metadata={"format": "pt"}),
        CONFIG: (json.dumps(record, indent=2, sort_keys=True) + "\n").encode(),
    }
    if not distributed.is_primary():
        return
    with whole.written_whole(folder, sum(map(len, contents.values()))) as temporary:
        for name, content in contents.items():
            whole.write_file(temporary / name, content)
        _compare(tensors, temporary / WEIGHTS)


def import_adapter(
    folder: pathlib.Path,
    model: ModelConfig,
    rules: ShardingRules,
    mesh: jax.sharding.Mesh,
) -> tuple[LoraConfig, Params]:
    """What an adapter's folder holds: its configuration and its numbers, as float32.

    An adapter to a model that also reads images is read as one to its text half.

    Args:
      folder: as peft's `save_pretrained` or `export_adapter` write it.
      model: the shape of the decoder that it is laid over.
      rules: how logical axes lie on the mesh.
      mesh: the devices.

    Raises:
      UserError: a tensor is missing, left over, of another shape or not of floats; the
        adapter is not a plain LoRA; the weights are damaged or pickled.
    """
    record = check(folder)
    path = folder / WEIGHTS
    tensors = _read(path)
    for name, tensor in tensors.items():
        if tensor.dtype not in _FLOATS:
            raise UserError(
                f"{path}: the tensor {name} is of the type {tensor.dtype}; expected "
                "bfloat16, float16 or float32."
            )
    whole_model = _PREFIX + text_half.MODULES.name("model.")
    of_half = any(name.startswith(whole_model) for name in tensors)
    layout = text_half.MODULES if of_half else text_half.PLAIN
    every = LoraConfig(record["r"], _alpha(record), PROJECTIONS)
    named = {re.sub(r"\.\d+\.", ".{layer}.", name, count=1) for name in tensors}
    lora = LoraConfig(
        every.rank,
        every.alpha,
        tuple(
            _stem(row)
            for row in _rows(model, rules, mesh, every, layout)
            if row.name in named and "lora_A" in row.name
        )
        or PROJECTIONS,
    )
    rows = {row.path: row for row in _rows(model, rules, mesh, lora, layout)}
    abstract = lora_lib.abstract_adapters(model, rules, mesh, lora)
    shapes = {path: leaf.shape for path, leaf in mapping.leaves(abstract).items()}
    expected = {
        name: row.tensor_shape(row.sizes(shapes[row.path]))
        for name, (row, _) in mapping.tensors(rows.values(), shapes).items()
    }
    found = {name: tensor.shape for name, tensor in tensors.items()}
    mapping.check(expected, found, path, _ADVICE)

    def leaf(key: Any, wanted: jax.ShapeDtypeStruct) -> jax.Array:
        row = rows[jax.tree_util.keystr(key, simple=True, separator="/")]
        parts = [
            _part(row, tensors[name], row.sizes(wanted.shape))
            for name in row.names(wanted.shape)
        ]
        value = np.stack(parts).astype(np.float32)
        return jax.make_array_from_callback(
            wanted.shape, wanted.sharding, lambda index: value[index]
        )

    return lora, jax.tree_util.tree_map_with_path(leaf, abstract)


def merge_folder(
    folder: pathlib.Path,
    model: ModelConfig,
    rules: ShardingRules,
    mesh: jax.sharding.Mesh,
    params: Params,
) -> Params:
    """Weights with a folder's adapter merged into them; their memory is taken over.

    Raises:
      UserError: as `import_adapter` does.
    """
    lora, adapters = import_adapter(folder, model, rules, mesh)
    return lora_lib.merge(model, rules, mesh, lora, params, adapters)


def check(folder: pathlib.Path) -> dict[str, Any]:
    """The folder's adapter_config.json, once it is known that it can be imported.

    Raises:
      UserError: a file is missing, or the adapter is not a plain LoRA to the base model
        as it is; the message names the file and the key.
    """
    path = folder / CONFIG
    if not path.is_file() or not (folder / WEIGHTS).is_file():
        raise UserError(
            f"{folder} is not the folder of a LoRA adapter: expected {CONFIG} and "
            f"{WEIGHTS} in it. Pickled weights ({WEIGHTS.partition('.')[0]}.bin) are "
            "not read, since they can run any code."
        )
    try:
        record = json.loads(path.read_bytes())
        rank, alpha = record["r"], record["lora_alpha"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not the configuration of a LoRA adapter ({error!r})."
        ) from error
    # Not isinstance: JSON's true is an int too.
    if type(rank) is not int or rank < 1:
        raise UserError(f"{path}: r = {rank!r}; expected a whole number above 0.")
    if type(alpha) not in (int, float) or not 0 < alpha < math.inf:
        raise UserError(f"{path}: lora_alpha = {alpha!r}; expected a number above 0.")
    for key, allowed in _PLAIN.items():
        if (found := record.get(key)) not in allowed:
            supported = ", ".join(repr(value) for value in allowed if value is not None)
            raise UserError(
                f"{path}: {key} = {found!r}; supported: {supported or 'none'}. Merge "
                "the adapter into its base model with peft, and import that."
            )
    return record


def _rows(
    model: ModelConfig,
    rules: ShardingRules,
    mesh: jax.sharding.Mesh,
    lora: LoraConfig,
    layout: Layout,
) -> list[Row]:
    """The table of an adapter's tensors, made from that of the weights they change."""
    with jax.set_mesh(mesh):
        targets = lora_lib.targets(model, rules, lora)
    weights = {"/".join((*target.module, target.weight)): target for target in targets}
    rows = []
    for row in mapping.FAMILIES[model.family]:
        if target := weights.get(row.path):
            outputs, inputs = row.dimensions
            module = _PREFIX + layout.name(row.name).removesuffix(".weight")
            place = "/".join(target.module)
            rows += [
                Row(
                    f"{module}.lora_A.weight",
                    f"{place}/{target.a.name}",
                    f"r({inputs})",
                ),
                Row(
                    f"{module}.lora_B.weight",
                    f"{place}/{target.b.name}",
                    f"({outputs})r",
                ),
            ]
    return rows


def _module(row: Row) -> str:
    """What peft calls the projection: 'q_proj'."""
    return row.name.split(".")[-3]


def _stem(row: Row) -> str:
    """What we call the projection: 'query' of 'layers/attention/query_a_ldr'."""
    return row.path.rpartition("/")[2].partition("_")[0]


def _targets(modules: Sequence[str], layout: Layout) -> list[str] | str:
    """What peft calls `target_modules`: the projections' names.

    Parts that are left out have projections of the same names: there it is an
    expression that a module's whole name has to match.
    """
    names = sorted(set(modules))
    if not layout.left_out:
        return names
    blocks = re.escape(layout.name("model.layers."))
    return rf"{blocks}\d+\.\w+\.({'|'.join(names)})"


def _record(
    lora: LoraConfig, modules: Sequence[str], base_name: str, layout: Layout
) -> dict[str, object]:
    """The adapter_config.json, ready for JSON; peft fills in the rest."""
    return {
        "alpha_pattern": {},
        "base_model_name_or_path": base_name,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "lora_alpha": int(lora.alpha) if lora.alpha == int(lora.alpha) else lora.alpha,
        "lora_dropout": 0.0,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": lora.rank,
        "rank_pattern": {},
        "target_modules": _targets(modules, layout),
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": False,
    }


def _alpha(record: Mapping[str, Any]) -> float:
    """Our alpha: rank-stabilised adapters are scaled by alpha / sqrt(r) instead."""
    factor = math.sqrt(record["r"]) if record.get("use_rslora") else 1.0
    return float(record["lora_alpha"]) * factor


def _part(row: Row, tensor: np.ndarray, sizes: Mapping[str, int]) -> np.ndarray:
    wanted = {letter: slice(0, size) for letter, size in sizes.items()}
    return row.from_tensor(lambda index: tensor[index], wanted, sizes)


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """All tensors of a file, in its dtypes."""
    try:
        return safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is not a whole safetensors file ({error}). Download or copy it "
            "again."
        ) from error


def _compare(tensors: Mapping[str, np.ndarray], path: pathlib.Path) -> None:
    """Opens what was written and compares it."""
    written = _read(path)
    expected = {name: tensor.shape for name, tensor in tensors.items()}
    found = {name: tensor.shape for name, tensor in written.items()}
    mapping.check(expected, found, path, "The disk or a copy has damaged it.")
    wrong = [
        name for name in tensors if not np.array_equal(tensors[name], written[name])
    ]
    if wrong:
        raise UserError(f"{path}: {', '.join(wrong[:8])} are not as they were written.")
