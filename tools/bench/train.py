"""A training step of xinst_jax beside the same in transformers and PyTorch.

Both sides train one Llama-shaped model, from the same weights, on the same packed rows:
instruction pairs of lognormal length (336 tokens in the mean), one after another until
a row is full, loss on the responses. AdamW, clipping and learning rate are those of
TrainConfig. xinst_jax runs the step that training runs, on a CPU with a device a core
and blocks unrolled (docs/devices.md); PyTorch runs LlamaForCausalLM with scaled
dot-product attention under a mask of the rows' segments, in float32 or under bfloat16
autocast, compiled if asked.

Each side has a process of its own. They take turns, A B A B, a step at a time, one
resting while the other works; medians are printed, the ratio of the medians, and:

- MFU, the share of the machine's matmul peak: the faster of both sides' products of two
  square matrices, in the dtype of the run. FLOPs are 6 for each weight and token, and
  those of attention counted three ways: `full` over whole rows, `causal` over half of
  them, `segments` over the pairs of tokens that packed segments really see.
- Peak memory: on a CPU the process' resident high-water mark once its model is made,
  libraries included; on a GPU what the allocator held at most.

The losses of both sides at every step are compared: they must agree, or no ratio is
printed.

    python tools/bench/train.py --shape cpu --dtype float32 --repeats 7
    python tools/bench/train.py --shape gpu --dtype bfloat16 --compile
"""

import argparse
import multiprocessing
import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import numpy as np

from tools.bench.train_sides import (
    SHAPES,
    Ours,
    Run,
    Theirs,
    batch_of,
    cpu_devices,
)
from xinst_jax.models import flops as flops_lib


def serve(connection: Connection, side: type, run: Run) -> None:
    """A side's process: makes its model, then does what it is asked until told None."""
    trainer = side(run)
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    connection.send("made")
    while (asked := connection.recv()) is not None:
        what, number = asked
        if what == "step":
            batch = batch_of(run, number)
            start = time.monotonic()
            loss = trainer.step(batch)
            connection.send((time.monotonic() - start, loss))
        elif what == "matmul":
            product = trainer.matmul(number)
            connection.send(2 * number**3 / best_of(product, 5))
        else:
            connection.send(trainer.gpu_peak() or most_resident())


def best_of(work: Callable[[], Any], repeats: int) -> float:
    """Fewest seconds that some work took, after one time that is not counted."""
    work()
    seconds = []
    for _ in range(repeats):
        start = time.monotonic()
        work()
        seconds.append(time.monotonic() - start)
    return min(seconds)


def most_resident() -> int:
    """Bytes of memory that this process had at most since clear_refs was written."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def flops(run: Run, batch: dict[str, np.ndarray]) -> dict[str, float]:
    """FLOPs of a step, forward and backward, by how attention is counted."""
    model, (rows, length) = run.model, batch["tokens"].shape
    sizes = [
        size
        for row in batch["segment_ids"]
        for size in np.unique_counts(row).counts.tolist()
    ]
    pairs = {
        "full": flops_lib.attended_pairs(model, [length] * rows, causal=False),
        "causal": flops_lib.attended_pairs(model, [length] * rows),
        "segments": flops_lib.attended_pairs(model, sizes),
    }
    return {
        name: flops_lib.training_flops(model, rows * length, count).total
        for name, count in pairs.items()
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--repeats", type=int, default=7, help="steps of each side")
    parser.add_argument("--remat", default="none", help="xinst_jax' policy")
    parser.add_argument("--attention", default="auto", help="xinst_jax' attention")
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    arguments = parser.parse_args()
    if arguments.shape != "gpu":
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    rows = SHAPES[arguments.shape]["rows"][0]
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", cpu_devices(rows))
    with tempfile.TemporaryDirectory() as made:
        run = Run(
            arguments.shape,
            arguments.dtype,
            arguments.remat,
            arguments.attention,
            arguments.compile,
            str(pathlib.Path(made) / "weights"),
        )
        compare(run, arguments.repeats)


def compare(run: Run, repeats: int) -> None:
    """Starts both sides, lets them take turns, and prints what they took."""
    context = multiprocessing.get_context("spawn")
    sides: dict[str, Connection] = {}
    for name, side in (("xinst_jax", Ours), ("transformers", Theirs)):
        sides[name], theirs = context.Pipe()
        context.Process(target=serve, args=(theirs, side, run), daemon=True).start()
        theirs.close()
        sides[name].recv()

    def ask(name: str, what: str, number: int = 0) -> Any:
        sides[name].send((what, number))
        return sides[name].recv()

    width = SHAPES[run.shape]["matmul"]
    peak = max(ask(name, "matmul", width) for name in sides)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(repeats + 1):
        taken = {name: ask(name, "step", number) for name in sides}
        losses = [loss for _, loss in taken.values()]
        if abs(losses[0] - losses[1]) > (1e-3 if run.dtype == "float32" else 3e-2):
            sys.exit(f"Step {number}: the losses differ, {losses[0]} and {losses[1]}.")
        for name, (second, _) in taken.items():
            if number:  # the first step compiles
                seconds[name].append(second)
    memory = {name: ask(name, "memory") for name in sides}
    for connection in sides.values():
        connection.send(None)
    print_table(run, seconds, memory, peak)


def print_table(
    run: Run, seconds: dict[str, list[float]], memory: dict[str, int], peak: float
) -> None:
    """Prints a row for each side, and the ratio."""
    # Every batch has other segments; the medians are of the same ones on both sides.
    counted = [
        flops(run, batch_of(run, number))
        for number in range(1, len(next(iter(seconds.values()))) + 1)
    ]
    rows, length = SHAPES[run.shape]["rows"]
    print(
        f"{run.shape}, {rows} rows of {length} tokens, {run.dtype}; matmul peak "
        f"{peak / 1e9:.0f} GFLOP/s; medians of {len(counted)} steps"
    )
    print(
        "              seconds  tokens/s  MFU full  causal  segments  peak memory, GB"
    )
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    for name, median in medians.items():
        shares = (
            statistics.median(one[how] for one in counted) / median / peak
            for how in ("full", "causal", "segments")
        )
        full, causal, segments = (f"{100 * share:.1f}%" for share in shares)
        print(
            f"{name:13}{median:8.3f}{rows * length / median:10.0f}{full:>10}"
            f"{causal:>8}{segments:>10}{memory[name] / 1e9:17.2f}"
        )
    ratio = medians["transformers"] / medians["xinst_jax"]
    print(f"xinst_jax does {ratio:.2f} times the tokens/s of transformers.")


if __name__ == "__main__":
    main()
