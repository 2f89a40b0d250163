"""Weak scaling of the training step, as compiled: what each device does and sends.

    python tools/bench/scaling.py
    python tools/bench/scaling.py v5e-4 v5e-16 v5e-64 v5e-256 v5p-256x2

The rows of a batch grow with the devices, so under perfect scaling the FLOPs of a
device stay as they are, its share of the state shrinks, and the bytes that it sends
approach two gathers and one reduction of the weights. Fake CPU devices by default; of
them wall time would mean nothing, and none is taken. TPU topologies need libtpu, not a
TPU; 'x2' is two slices with data parallelism between them.
"""

import argparse
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROWS, LENGTH = 8, 512


def main() -> int:
    """Compiles the step for each topology and prints a line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "topologies", nargs="*", default=["cpu:1", "cpu:2", "cpu:4", "cpu:8"]
    )
    names = parser.parse_args().topologies
    from xinst_jax.aot import topology
    from xinst_jax.aot.build import Layout
    from xinst_jax.aot.report import report
    from xinst_jax.config import MeshConfig, ModelConfig, TrainConfig

    fake = all(name.startswith("cpu:") for name in names)
    model = ModelConfig(
        vocab_size=32000,
        num_layers=8,
        embed_dim=512,
        mlp_dim=1376,
        num_heads=8,
        num_kv_heads=8,
        tie_embeddings=False,
        # XLA:CPU sends bfloat16 arrays as float32, which would count twice.
        compute_dtype="float32" if fake else "bfloat16",
        # How much blockwise attention has to do could not be counted.
        attention="dense" if fake else "auto",
        remat="full",
    )
    topologies = []
    for name in names:
        one, _, slices = name.partition("x") if "-" in name else (name, "", "")
        topologies.append(topology.parse(one, int(slices or 1)))
    # Fake devices cannot be added once there are some.
    most = max((t.chips for t in topologies if t.chip is None), default=0)
    if most:
        topology.devices(topology.parse(f"cpu:{most}"))
    print(
        f"{model.num_layers} blocks, width {model.embed_dim}, vocabulary "
        f"{model.vocab_size}, {model.compute_dtype}, remat {model.remat}; {ROWS} rows "
        f"of {LENGTH} tokens a device"
    )
    print(f"{'':10}{'executed':>12}{'sent':>12}{'arguments':>12}{'temporaries':>12}")
    print(f"{'':10}{'GFLOP':>12}{'MB':>12}{'MiB':>12}{'MiB':>12}   (a device)")
    for name, devices in zip(names, topologies, strict=True):
        train = TrainConfig(length=LENGTH, global_batch=ROWS * devices.chips)
        found = report(Layout(model, train, MeshConfig(slice=devices.slices), devices))
        if found.memory is None:
            print(f"{name:10} does not fit")
            continue
        sent = sum(exchange.bytes for exchange in found.exchanges)
        kinds = ", ".join(
            f"{exchange.kind} {exchange.bytes / 1e6:,.1f} MB"
            for exchange in found.exchanges
        )
        print(
            f"{name:10}{found.executed / 1e9:>12,.2f}{sent / 1e6:>12,.2f}"
            f"{found.memory.arguments / 2**20:>12,.1f}"
            f"{found.memory.temporaries / 2**20:>12,.1f}   {kinds}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
