"""Bulk generation of xinst_jax beside transformers' `generate`.

Both sides have one Llama-shaped model with the same random weights and continue the
same prompts greedily: one prompt; a batch of equal prompts; and the job as it is, rows
of mixed length that share their template, each written on by 20 to 60 tokens. The
sides have a process each and take turns, A B A B, one resting while the other works.
Medians of the turns are printed, the ratio of the medians, and of both sides:

- The share of the memory-bandwidth limit in decode: bytes of the weights and of the
  keys and values that a token must read, over what the time of a case beyond that of
  its first tokens would have let through. The bandwidth is measured in the run: the
  faster of both sides' sums over a long array.
- The share of the matmul peak in prefill: FLOPs that the prompts take at least over the
  time of a case with one new token a row. The peak is measured in the run too: the
  faster of both sides' products of two square matrices.

With --alone there is no peer: the shares are printed, of limits that JAX measures.

The tokens of both sides are compared: with float32 they must be equal in nine rows of
ten at least (a random model has near ties, which rounding decides), or no ratio is
printed.

    python tools/bench/generate.py --smoke
    python tools/bench/generate.py --shape cpu --repeats 5
    python tools/bench/generate.py --shape gpu --dtype bfloat16 --compile
    python tools/bench/generate.py --shape gpu_8b --dtype bfloat16 --alone
"""

import argparse
import multiprocessing
import os
import pathlib
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tools.bench.generate_sides import SHAPES, Case, Ours, Run, Theirs
from tools.bench.train import best_of
from xinst_jax.models import flops as flops_lib

_REST = 0.5
"""Seconds between turns, in which the other side's threads come to rest."""


def serve(connection: Connection, side: type, run: Run) -> None:
    """A side's process: makes its model, then does what it is asked until told None."""
    generator = side(run)
    cases = run.cases()
    connection.send("made")
    while (asked := connection.recv()) is not None:
        what, of = asked
        if what in ("all", "first"):
            case = cases[of] if what == "all" else cases[of].only_first()
            start = time.monotonic()
            tokens = generator.generate(of, case)
            connection.send((time.monotonic() - start, tokens))
        elif what == "matmul":
            connection.send(2 * of**3 / best_of(generator.matmul(of), 5))
        elif what == "stream":
            connection.send(of * 10**6 / best_of(generator.stream(of), 5))
        else:
            connection.send(generator.usage(of))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--cache_dtype", default="compute", help="xinst_jax' cache")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each side")
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    parser.add_argument(
        "--compile", action="store_true", help="transformers: static cache, compiled"
    )
    parser.add_argument(
        "--alone", action="store_true", help="xinst_jax without a peer: its shares"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="a tiny model and two turns: does it run?"
    )
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.shape, arguments.repeats = "smoke", 2
    if arguments.alone and arguments.compile:
        parser.error("--compile is for transformers, which --alone leaves out")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    with tempfile.TemporaryDirectory() as made:
        run = Run(
            arguments.shape,
            arguments.dtype,
            arguments.cache_dtype,
            arguments.compile,
            "" if arguments.alone else str(pathlib.Path(made) / "weights"),
        )
        if not run.on_gpu:
            os.environ.setdefault("JAX_PLATFORMS", "cpu")
        compare(run, arguments.repeats, arguments.only)


def compare(run: Run, repeats: int, only: str) -> None:
    """Starts both sides, lets them take turns, and prints what they took."""
    context = multiprocessing.get_context("spawn")
    sides: dict[str, Connection] = {}
    made_by = {"xinst_jax": Ours, "transformers": Theirs}
    if run.alone:
        del made_by["transformers"]
    for name, side in made_by.items():
        sides[name], theirs = context.Pipe()
        context.Process(target=serve, args=(theirs, side, run), daemon=True).start()
        theirs.close()
        sides[name].recv()

    def ask(name: str, what: str, of: Any) -> Any:
        time.sleep(_REST)
        sides[name].send((what, of))
        return sides[name].recv()

    sizes = SHAPES[run.shape]
    peak = max(ask(name, "matmul", sizes["matmul"]) for name in sides)
    bandwidth = max(ask(name, "stream", sizes["megabytes"]) for name in sides)
    print(
        f"{run.shape}, {run.dtype}; matmul peak {peak / 1e9:.0f} GFLOP/s, bandwidth "
        f"{bandwidth / 1e9:.1f} GB/s; medians of {repeats} turns",
        flush=True,
    )
    cases = {name: case for name, case in run.cases().items() if only in name}
    for label, case in cases.items():
        seconds: dict[tuple[str, str], list[float]] = {}
        for turn in range(repeats + 1):
            made = {}
            for what in ("all", "first"):
                for name in sides:
                    taken, made[name, what] = ask(name, what, label)
                    if turn:  # the first turn compiles
                        seconds.setdefault((name, what), []).append(taken)
        if not run.alone:
            check(run, label, *(made[name, "all"] for name in sides))
        medians = {key: statistics.median(taken) for key, taken in seconds.items()}
        print_case(run, label, case, medians, (peak, bandwidth))
        print(f"    xinst_jax: {ask('xinst_jax', 'usage', label)}", flush=True)
    for connection in sides.values():
        connection.send(None)


def check(run: Run, label: str, ours: list, theirs: list) -> None:
    """Ends the run where the two sides do not write the same."""
    equal = sum(one == other for one, other in zip(ours, theirs, strict=True))
    if run.dtype == "float32" and equal < 0.9 * len(ours):
        sys.exit(f"{label}: only {equal} of {len(ours)} rows have the same tokens.")
    print(f"{label}: {equal} of {len(ours)} rows have the same tokens")


def print_case(
    run: Run,
    label: str,
    case: Case,
    medians: dict[tuple[str, str], float],
    limits: tuple[float, float],
) -> None:
    """Prints a line for each side, and the ratio of both."""
    peak, bandwidth = limits
    lengths = [len(prompt) for prompt in case.prompts]
    prefill = prefill_flops(run, lengths)
    decode = decode_bytes(run, case)
    if run.alone:
        print(f"{label}:")
    for name in dict.fromkeys(name for name, _ in medians):
        whole, first = medians[name, "all"], medians[name, "first"]
        later = whole - first
        # On a busy machine the first tokens alone can take longer than all.
        share = f"{decode / later / bandwidth:.0%}" if later > 0 else "unknown share"
        print(
            f"    {name:13}{whole:8.3f} s{len(lengths) / whole:9.2f} rows/s"
            f"{sum(case.new) / whole:10.1f} new tokens/s; decode "
            f"{share} of the bandwidth, prefill "
            f"{prefill / first / peak:.0%} of the matmul peak"
        )
    if run.alone:
        return
    ratio = medians["transformers", "all"] / medians["xinst_jax", "all"]
    print(f"    xinst_jax is {ratio:.2f} times as fast as transformers on {label}.")


def prefill_flops(run: Run, lengths: list[int]) -> float:
    """FLOPs that it takes at least to read prompts and to score one token after each.

    In the last block, of which nothing but keys and values is kept, only a prompt's
    last token needs the rest.
    """
    model, rows, tokens = run.model, len(lengths), sum(lengths)
    block = flops_lib.block_weights(model) // model.num_layers
    kept = 2 * model.embed_dim * model.num_kv_heads * model.head_dim
    weights = tokens * ((model.num_layers - 1) * block + kept) + rows * (block - kept)
    head = rows * model.embed_dim * model.vocab_size
    pairs = flops_lib.attended_pairs(model, lengths) / model.num_layers
    pairs = pairs * (model.num_layers - 1) + tokens
    return 2.0 * (weights + head) + 4.0 * model.num_heads * model.head_dim * pairs


def decode_bytes(run: Run, case: Case) -> float:
    """Bytes that the tokens after each row's first must read at least.

    The weights are read once for a full batch of rows, the keys and values of a row for
    each of its tokens, both in the dtype of the products.
    """
    model, width = run.model, 4 if run.dtype == "float32" else 2
    steps = sum(case.new) - len(case.new)
    weights = flops_lib.matmul_weights(model) * steps / case.batch
    kept = 2 * model.num_layers * model.num_kv_heads * model.head_dim
    read = sum(
        sum(range(len(prompt) + 1, len(prompt) + new))
        for prompt, new in zip(case.prompts, case.new, strict=True)
    )
    return width * (weights + kept * read)


if __name__ == "__main__":
    main()
