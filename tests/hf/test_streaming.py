"""Import and export hold little beyond the weights, read only what they must, and stop
without harm: each in processes of its own."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

from tests import coordinated

# What the processes have in common; `params` is made without compiling anything.
COMMON = """
import json, os, pathlib, sys
import jax
import numpy as np

folder = pathlib.Path(sys.argv[1])
jax.config.update("jax_num_cpu_devices", int(sys.argv[2]))

from xinst_jax import distributed

distributed.start()

import tokenizers
from xinst_jax.config import MeshConfig
from xinst_jax.hf import config as config_lib
from xinst_jax.hf import folder as folder_lib
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import decoder, presets

RULES = ShardingRules()

def random_params(model, mesh):
    rng = np.random.default_rng(0)
    def leaf(of):
        array = rng.random(of.shape, np.float32)
        return jax.make_array_from_callback(of.shape, of.sharding, array.__getitem__)
    return jax.tree.map(leaf, decoder.abstract_params(model, RULES, mesh))

def export(out, params, model, **changes):
    words = {f"w{i}": i for i in range(40)}
    words = tokenizers.models.WordLevel(words, unk_token="w0")
    settings = {
        "dtype": "bfloat16",
        "vocab_size": model.vocab_size,
        "special": config_lib.SpecialIds(bos=1, stops=(2,), pad=0),
        "tokenizer": {"tokenizer.json": tokenizers.Tokenizer(words).to_str().encode()},
        "card": "",
        "shard_bytes": 10**9,
    }
    folder_lib.export_folder(out, params, model, **settings | changes)
"""

MEMORY = """
model = presets.tiny(
    vocab_size=8192, num_layers=8, embed_dim=768, mlp_dim=4096, num_heads=12,
    num_kv_heads=12, head_dim=64,
)
mesh = make_mesh(MeshConfig(), jax.devices()[:1])

def status(field):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024

def peak(work, *arguments):
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    result = work(*arguments)
    return result, status("VmHWM") - before

# The code itself is loaded before it is measured.
small = presets.tiny(vocab_size=40)
export(folder, random_params(small, mesh), small)
folder_lib.import_params(folder, small, RULES, mesh)

params = jax.block_until_ready(random_params(model, mesh))
size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
_, exporting = peak(export, folder, params, model)
again, importing = peak(folder_lib.import_params, folder, model, RULES, mesh)
print(json.dumps({
    "largest": max(leaf.nbytes for leaf in jax.tree.leaves(params)),
    "size": size, "exporting": exporting, "importing": importing - size,
}))
"""


def run(code: str, folder: pathlib.Path, devices: int, **variables: str):
    return subprocess.Popen(
        [sys.executable, "-c", COMMON + code, str(folder), str(devices)],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen) -> str:
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0
    return output.splitlines()[-1]


@pytest.mark.skipif(
    not pathlib.Path("/proc/self/clear_refs").exists(), reason="needs Linux"
)
def test_neither_way_holds_as_much_as_one_leaf_beyond_the_weights(tmp_path):
    found = json.loads(said(run(MEMORY, tmp_path / "out", 1)))
    assert found["size"] > 350e6 and found["largest"] > 100e6
    assert found["importing"] < 95e6, found
    assert found["exporting"] < 60e6, found


SHARDED = """
model = presets.tiny(vocab_size=40, tie_embeddings=False)
mesh = make_mesh(MeshConfig(fsdp=4, tensor=2))
preadv, counts = os.preadv, []

def counted(*arguments):
    counts.append(preadv(*arguments))
    return counts[-1]

os.preadv = counted
params = folder_lib.import_params(folder, model, RULES, mesh)
own = 0
for leaf in jax.tree.leaves(params):
    parts = {str(shard.index): shard.data.nbytes for shard in leaf.addressable_shards}
    own += sum(parts.values())
export(folder.with_name("two"), params, model, shard_bytes=9_000)
everything = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
print(json.dumps([sum(counts), own, everything]))
"""


def test_two_processes_read_their_own_bytes_and_write_the_same_folder(tmp_path):
    folder = tmp_path / "in"
    made = """
model = presets.tiny(vocab_size=40, tie_embeddings=False)
mesh = make_mesh(MeshConfig(), jax.devices()[:1])
export(folder, random_params(model, mesh), model, dtype="float32")
export(folder.with_name("one"), random_params(model, mesh), model, shard_bytes=9_000)
"""
    run(made, folder, 1).wait(timeout=300)
    processes = [
        run(SHARDED, folder, 4, **environment)
        for environment in coordinated.environments(2)
    ]
    for process in processes:
        read, own, everything = json.loads(said(process))
        assert read == own < 0.6 * everything
    one, two = tmp_path / "one", tmp_path / "two"
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in two.iterdir())
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


STOPPING = """
import time
from xinst_jax.hf import safetensors

model = presets.tiny(vocab_size=40)
mesh = make_mesh(MeshConfig(), jax.devices()[:1])
params = random_params(model, mesh)
export(folder, params, model)
write_parts = safetensors.write_parts

def stop(path, tensors, parts):
    def some():
        yield next(parts)
        print("stopped", flush=True)
        time.sleep(600)
    write_parts(path, tensors, some() if "00003" in path.name[:11] else parts)

safetensors.write_parts = stop
export(folder, params, model, dtype="float32", shard_bytes=9_000)
"""


def test_a_kill_amid_the_weights_leaves_the_former_folder(tmp_path):
    folder = tmp_path / "out"
    process = run(STOPPING, folder, 1)
    assert process.stdout is not None and process.stdout.readline() == "stopped\n"
    assert len([*(tmp_path / ".out.tmp").glob("model-*")]) == 3
    process.send_signal(signal.SIGKILL)
    process.wait()
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    assert len(tensors) == 2 + 9 * 2
    assert all(np.isfinite(t.astype(np.float32)).all() for t in tensors.values())
