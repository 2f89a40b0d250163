"""How full best fit packs instruction pairs, how fast, and what it is worth in a step.

Pairs have the paper's lengths: instructions of 100 characters in the mean, responses of
1,145 with a standard deviation of 540, lognormal, at 3.6 characters a token (both
configurable). Printed are

- for 10,000, 100,000 and 1,000,000 pairs: rows, fill, and pairs a second of processor
  time, once with all pairs packed against each other and once in windows of 131,072, as
  `packing.pack` does. Linear means that the last column stays as it is;
- what the whole of `packing.pack` takes, examples made and rows written to disk;
- response tokens/s of one training step on packed rows, on rows of one pair padded to
  the whole length, and on batches padded to their longest pair (to a multiple of 128),
  in turns A B C A B C: the step of training, a small Llama-shaped model, float32.

    python tools/bench/packing.py
    python tools/bench/packing.py --repeats 0        # without the training step
"""

import argparse
import dataclasses
import inspect
import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import numpy as np

from xinst_jax.data import best_fit, loader, packing
from xinst_jax.data.examples import example

COUNTS = (10_000, 100_000, 1_000_000)
WINDOW = inspect.signature(packing.pack).parameters["window"].default
WRITTEN = 20_000
VOCABULARY, BOS, EOS = 8192, 1, 2
LONGEST = 128
"""Batches padded to their longest pair have a length that this divides, so that not
every batch is compiled for."""


@dataclasses.dataclass(frozen=True)
class Lengths:
    """Characters of instructions and responses, and how many are a token.

    Attributes:
      instruction, response: (mean, standard deviation), in characters.
      per_token: characters of a token.
    """

    instruction: tuple[float, float] = (100.0, 50.0)
    response: tuple[float, float] = (1145.0, 540.0)
    per_token: float = 3.6

    def draw(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, ...]:
        """Tokens of `count` instructions, and of as many responses."""
        return tuple(
            np.ceil(_lognormal(rng, *of, count) / self.per_token).astype(np.int64)
            for of in (self.instruction, self.response)
        )


def _lognormal(
    rng: np.random.Generator, mean: float, deviation: float, count: int
) -> np.ndarray:
    """Numbers of a lognormal distribution with this mean and standard deviation."""
    sigma2 = np.log1p((deviation / mean) ** 2)
    return rng.lognormal(np.log(mean) - sigma2 / 2, np.sqrt(sigma2), count)


def in_windows(lengths_e: np.ndarray, length: int) -> int:
    """Rows of examples that are packed window by window."""
    return sum(
        int(best_fit.assign(lengths_e[start : start + WINDOW], length).max()) + 1
        for start in range(0, lengths_e.size, WINDOW)
    )


def at_once(lengths_e: np.ndarray, length: int) -> int:
    """Rows of examples that are all packed against each other."""
    return int(best_fit.assign(lengths_e, length).max()) + 1


def print_fill(lengths: Lengths, length: int) -> None:
    """Fill and speed by the number of pairs; the median of five."""
    print(f"{'':14}{'pairs':>10}{'rows':>9}{'fill':>9}{'pairs/s':>14}{'':3}(processor)")
    for name, rows_of in (("at once", at_once), ("in windows", in_windows)):
        for count in COUNTS:
            instruction_e, response_e = lengths.draw(
                np.random.default_rng(count), count
            )
            # As `examples.example` has it: what begins a text, and both; cut to a row.
            sizes_e = np.minimum(1 + instruction_e + response_e, length)
            seconds = []
            for _ in range(5):
                start = time.process_time()
                rows = rows_of(sizes_e, length)
                seconds.append(time.process_time() - start)
            fill = sizes_e.sum() / (rows * length)
            speed = count / statistics.median(seconds)
            print(f"{name:14}{count:>10,}{rows:>9,}{fill:>9.4%}{speed:>14,.0f}")


def pairs(
    lengths: Lengths, count: int, vocabulary: int = VOCABULARY
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of random token ids, none of them special."""
    rng = np.random.default_rng(0)
    sizes = zip(*lengths.draw(rng, count), strict=True)
    return [
        (rng.integers(3, vocabulary, one), rng.integers(3, vocabulary, other))
        for one, other in sizes
    ]


def print_whole(
    made: list[tuple[np.ndarray, np.ndarray]], directory: pathlib.Path, length: int
) -> None:
    """What packing to disk takes."""
    given = [(one.tolist(), other.tolist()) for one, other in made]
    start, processor = time.monotonic(), time.process_time()
    packed = packing.pack(given, directory, length=length, bos=BOS, eos=EOS)
    seconds, processor = time.monotonic() - start, time.process_time() - processor
    print(
        f"packing.pack, to disk: {len(given):,} pairs, {packed.tokens:,} tokens, in "
        f"{seconds:.2f} s, {processor:.2f} s of processor time: "
        f"{len(given) / processor:,.0f} pairs/s; fill {packed.fill:.4%}"
    )


def padded(
    made: list[tuple[np.ndarray, np.ndarray]], rows: int, length: int, longest: bool
) -> Iterator[dict[str, np.ndarray]]:
    """Batches of one pair a row, as wide as a row or as their longest pair."""
    for start in range(0, len(made) - rows + 1, rows):
        examples = [
            example(one.tolist(), other.tolist(), BOS, EOS, length)
            for one, other in made[start : start + rows]
        ]
        most = max(one.tokens_t.size for one in examples)
        width = -(-most // LONGEST) * LONGEST if longest else length
        laid = np.stack([packing.lay_out([one], width) for one in examples])
        batch = {name: laid[name] for name in laid.dtype.names or ()}
        yield batch | {"positions": loader.positions(batch["segment_ids"])}


def packed_rows(directory: pathlib.Path, rows: int) -> Iterator[dict[str, np.ndarray]]:
    """Batches of packed rows, in the order that training has."""
    there = loader.Rows(directory)
    for step in range(len(there) // rows):
        yield there.read(there.row_numbers(step, rows, 0))


class Step:
    """The step that training runs, of a small model."""

    def __init__(self, rows: int, length: int):
        import jax

        from xinst_jax.config import MeshConfig, ModelConfig, TrainConfig
        from xinst_jax.mesh import ShardingRules, make_mesh
        from xinst_jax.models import decoder
        from xinst_jax.train import optim, state, step

        self.jax = jax
        self.model = ModelConfig(
            vocab_size=VOCABULARY,
            num_layers=4,
            embed_dim=256,
            mlp_dim=688,
            num_heads=4,
            num_kv_heads=4,
            head_dim=64,
            max_length=length,
            compute_dtype="float32",
            remat="none",
        )
        train = TrainConfig(length=length, global_batch=rows)
        rules, self.mesh = ShardingRules(), make_mesh(MeshConfig(), jax.devices()[:1])
        params = decoder.init_params(self.model, rules, self.mesh, jax.random.key(0))
        optimizer = optim.make_optimizer(train)
        self.state = state.init_state(params, optimizer, self.mesh)
        self.update = step.make_train_step(self.model, rules, optimizer, train)
        self.rows = jax.sharding.NamedSharding(self.mesh, rules.spec("batch", "length"))

    def __call__(self, batch: dict[str, np.ndarray]) -> float:
        """Seconds of an update."""
        start = time.monotonic()
        placed: Any = self.jax.device_put(batch, self.rows)
        with self.jax.set_mesh(self.mesh):
            self.state, _ = self.update(self.state, placed)
        self.jax.block_until_ready(self.state)
        return time.monotonic() - start


def print_steps(
    made: list[tuple[np.ndarray, np.ndarray]],
    directory: pathlib.Path,
    rows: int,
    length: int,
    repeats: int,
) -> None:
    """Response tokens/s of a step, by how its batch is made."""
    step = Step(rows, length)
    kinds = {
        "packed": packed_rows(directory, rows),
        "padded to their longest": padded(made, rows, length, longest=True),
        "padded to a row": padded(made, rows, length, longest=False),
    }
    batches = {
        name: [next(found) for _ in range(repeats)] for name, found in kinds.items()
    }
    shapes = set()
    for batch in (one for several in batches.values() for one in several):
        if batch["tokens"].shape not in shapes:
            shapes.add(batch["tokens"].shape)
            step(batch)  # compiles
    tokens, seconds = dict.fromkeys(kinds, 0.0), dict.fromkeys(kinds, 0.0)
    slots = dict.fromkeys(kinds, 0)
    for number in range(repeats):
        for name in kinds:
            batch = batches[name][number]
            seconds[name] += step(batch)
            tokens[name] += float(batch["loss_weights"].sum())
            slots[name] += batch["tokens"].size
    print(
        f"step: {step.model.num_layers} blocks, width {step.model.embed_dim}, float32, "
        f"{rows} rows a batch, {repeats} steps of each kind"
    )
    print(f"{'':26}{'response share':>15}{'response tokens/s':>19}{'packed does':>13}")
    for name in kinds:
        speed = tokens[name] / seconds[name]
        times = tokens["packed"] / seconds["packed"] / speed
        share = tokens[name] / slots[name]
        print(f"{name:26}{share:>15.1%}{speed:>19,.0f}{times:>12.2f}x")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--length", type=int, default=2048, help="tokens of a row")
    parser.add_argument("--per-token", type=float, default=3.6, help="characters")
    parser.add_argument("--rows", type=int, default=4, help="of a step's batch")
    parser.add_argument("--repeats", type=int, default=5, help="steps of each kind")
    arguments = parser.parse_args()
    lengths = Lengths(per_token=arguments.per_token)
    print(f"rows of {arguments.length} tokens; {lengths}")
    print_fill(lengths, arguments.length)
    made = pairs(lengths, WRITTEN)
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory)
        print_whole(made, path, arguments.length)
        if arguments.repeats:
            print_steps(made, path, arguments.rows, arguments.length, arguments.repeats)


if __name__ == "__main__":
    main()
