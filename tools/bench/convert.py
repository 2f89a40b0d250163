"""Import and export of a Hugging Face folder, beside a plain copy of its weights.

Makes a Llama-shaped checkpoint of random bfloat16 numbers in shards of 1 GB, then
measures, in turn: copying its weights with fsync; importing it (to float32 parameters,
which take twice its size); exporting it (rounded to bfloat16, written with fsync,
opened again, renamed). The row `touch` is what the system asks for as much new memory
as the parameters take, written to once: part of every import, and on some virtual
machines most of it. Prints medians. The exported weights must be the files that were
imported, byte for byte. Weights are in the page cache when they are read.

Peak memory is the kernel's own: the process' resident high-water mark (VmHWM, reset
before each measurement through /proc/self/clear_refs), less what was resident before,
less (for the import) the parameters. Linux only. Needs free disk of three
times `--gigabytes`, and memory of five times.

    python tools/bench/convert.py --gigabytes 3.2 --repeats 3
"""

import argparse
import dataclasses
import filecmp
import json
import math
import os
import pathlib
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import jax
import ml_dtypes
import numpy as np
import tokenizers

from xinst_jax.config import MeshConfig, ModelConfig
from xinst_jax.hf import config as hf_config
from xinst_jax.hf import folder as hf_folder
from xinst_jax.hf import mapping, safetensors
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import decoder

SHARD_BYTES = 10**9
SPECIAL = hf_config.SpecialIds(bos=1, stops=(2,), pad=0)
RULES = ShardingRules()


def shape(gigabytes: float) -> ModelConfig:
    """Llama-3.2-1B's shape with an untied head, and blocks enough for the size."""
    model = ModelConfig(
        vocab_size=128256,
        num_layers=1,
        embed_dim=2048,
        mlp_dim=8192,
        num_heads=32,
        num_kv_heads=8,
        head_dim=64,
        tie_embeddings=False,
    )
    sizes = [sum(tensor_bytes(model, n).values()) for n in (1, 2)]
    more = math.ceil((gigabytes * 1e9 - sizes[0]) / (sizes[1] - sizes[0]))
    return with_layers(model, 1 + max(0, more))


def with_layers(model: ModelConfig, layers: int) -> ModelConfig:
    """The same shape with another number of blocks."""
    return ModelConfig(**{**vars(model), "num_layers": layers})


def tensors(model: ModelConfig, layers: int) -> dict[str, tuple[int, ...]]:
    """Shapes of a folder's tensors, by name."""
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    model = with_layers(model, layers)
    leaves = mapping.leaves(decoder.abstract_params(model, RULES, mesh))
    shapes = {path: leaf.shape for path, leaf in leaves.items()}
    placed = mapping.tensors(mapping.FAMILIES[model.family], shapes)
    return {
        name: row.tensor_shape(row.sizes(shapes[row.path]))
        for name, (row, _) in placed.items()
    }


def tensor_bytes(model: ModelConfig, layers: int) -> dict[str, int]:
    """Bytes of a folder's tensors, by name."""
    return {name: 2 * math.prod(of) for name, of in tensors(model, layers).items()}


def make_checkpoint(folder: pathlib.Path, model: ModelConfig) -> None:
    """Writes the folder that is imported."""
    folder.mkdir()
    shapes = tensors(model, model.num_layers)
    sizes = tensor_bytes(model, model.num_layers)
    plan = safetensors.plan_shards(sizes, SHARD_BYTES)
    rng = np.random.default_rng(0)

    def parts(names: list[str]) -> Iterator[np.ndarray]:
        for name in names:
            bits = rng.integers(0, 2**16, math.prod(shapes[name]), np.uint16)
            # Without the exponent's highest bit every number is finite, below 2.
            yield (bits & np.uint16(0xBFFF)).view(ml_dtypes.bfloat16)

    for file, names in plan.items():
        described = {name: ("BF16", shapes[name]) for name in names}
        safetensors.write_parts(folder / file, described, parts(names))
    index = safetensors.index_record(plan, sizes, sum(sizes.values()) // 2)
    (folder / safetensors.INDEX).write_text(json.dumps(index))
    record = hf_config.config_record(model, model.vocab_size, SPECIAL, "bfloat16", {})
    (folder / hf_config.CONFIG).write_text(json.dumps(record))


def copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies the weights' files, as `cp` and `sync` do."""
    target.mkdir()
    for path in sorted(source.glob("*.safetensors")):
        shutil.copyfile(path, target / path.name)
        with (target / path.name).open("rb") as file:
            os.fsync(file.fileno())


def touch(size: int) -> None:
    """Takes new memory and writes to every page of it once."""
    np.zeros(size, np.uint8)[::4096] = 1


def export(params: decoder.Params, model: ModelConfig, target: pathlib.Path) -> None:
    """Exports with a tokenizer of a few words."""
    words = tokenizers.models.WordLevel({"a": 0, "b": 1, "c": 2}, unk_token="a")
    hf_folder.export_folder(
        target,
        params,
        model,
        dtype="bfloat16",
        vocab_size=model.vocab_size,
        special=SPECIAL,
        tokenizer={"tokenizer.json": tokenizers.Tokenizer(words).to_str().encode()},
        card="",
        shard_bytes=SHARD_BYTES,
    )


@dataclasses.dataclass
class Measured:
    """What one piece of work took.

    Attributes:
      seconds: by the clock.
      processor: seconds of processor time, of all threads.
      memory: bytes resident at its most, beyond those before.
    """

    seconds: float
    processor: float
    memory: int


def measure(work: Callable[..., Any], *arguments: Any) -> tuple[Any, Measured]:
    """What work gives, and what it took."""
    os.sync()
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    resident_before = resident("VmRSS")
    start, start_processor = time.monotonic(), time.process_time()
    result = work(*arguments)
    return result, Measured(
        time.monotonic() - start,
        time.process_time() - start_processor,
        resident("VmHWM") - resident_before,
    )


def resident(field: str) -> int:
    """Bytes of a field of /proc/self/status."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith(field))
    return int(line.split()[1]) * 1024


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--gigabytes", type=float, default=3.2, help="size of the checkpoint"
    )
    parser.add_argument("--repeats", type=int, default=3, help="rounds of measurement")
    parser.add_argument(
        "--devices", type=int, default=1, help="fake devices that share the parameters"
    )
    parser.add_argument(
        "--directory",
        type=pathlib.Path,
        default=pathlib.Path("runs"),
        help="the files are made in a new folder here, removed at the end; %(default)s "
        "is not under version control",
    )
    arguments = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", arguments.devices)
    arguments.directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.directory) as made:
        run(pathlib.Path(made), shape(arguments.gigabytes), arguments.repeats)


def run(directory: pathlib.Path, model: ModelConfig, repeats: int) -> None:
    """Makes the checkpoint, measures and prints."""
    source = directory / "source"
    make_checkpoint(source, model)
    mesh = make_mesh(MeshConfig())
    files = sorted(path.name for path in source.glob("*.safetensors"))
    size = sum((source / name).stat().st_size for name in files)
    largest = max((source / name).stat().st_size for name in files)
    print(
        f"{size / 1e9:.2f} GB in {len(files)} files, the largest {largest / 1e9:.2f} "
        f"GB; the largest tensor "
        f"{max(tensor_bytes(model, model.num_layers).values()) / 1e9:.2f} GB"
    )
    found: dict[str, list[Measured]] = {
        name: [] for name in ("copy", "import", "touch", "export")
    }
    for _ in range(repeats):
        found["copy"].append(measure(copy, source, directory / "copy")[1])
        shutil.rmtree(directory / "copy")
        params, took = measure(hf_folder.import_params, source, model, RULES, mesh)
        arrays = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
        took.memory -= arrays
        found["import"].append(took)
        took = measure(touch, arrays)[1]
        took.memory -= arrays
        found["touch"].append(took)
        out = directory / "out"
        found["export"].append(measure(export, params, model, out)[1])
        del params
        # Memory that arrays shared with numpy is let go at the next computation.
        jax.block_until_ready(jax.numpy.zeros(1))
        if filecmp.cmpfiles(source, out, files, shallow=False)[0] != files:
            sys.exit("The exported weights are not those that were imported.")
        shutil.rmtree(out)
    print_medians(found, size)


def print_medians(found: dict[str, list[Measured]], size: int) -> None:
    """Prints a table, a row for each piece of work."""

    def median(name: str, field: str) -> float:
        return statistics.median(getattr(one, field) for one in found[name])

    print("        seconds  GB/s  of copy  processor seconds  GB beyond arrays")
    for name in found:
        seconds = median(name, "seconds")
        print(
            f"{name:8}{seconds:7.2f}{size / 1e9 / seconds:6.2f}"
            f"{seconds / median('copy', 'seconds'):9.2f}"
            f"{median(name, 'processor'):19.2f}{median(name, 'memory') / 1e9:18.3f}"
        )


if __name__ == "__main__":
    main()
