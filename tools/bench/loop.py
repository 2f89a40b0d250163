"""What the training loop costs over the bare step, and how long a save holds it up.

The loop is `train.loop.train` as stages run it: batches read from packed rows on disk a
step ahead, metrics fetched a step late, metrics.jsonl and TensorBoard, checkpoints. The
bare step is the same jitted update, on batches that lie on the device already, waited
for once at the end. They take turns, A B A B, each some steps long, in one process.

- Overhead: seconds a step of the loop (waiting for input and device, and all else; not
  compiling, nor saving) over those of the bare step; the median of the turns' ratios.
- Saves: one training with a checkpoint every `--interval` steps. Seconds for which a
  save kept the loop from going on, over the seconds of the steps between two saves; and
  a step of this training over one of the loop without saves, which is what writing in
  the background takes from the same cores.

    python tools/bench/loop.py
    python tools/bench/loop.py --shape smoke --steps 10 --interval 10 --repeats 2
"""

import argparse
import dataclasses
import functools
import os
import pathlib
import statistics
import sys
import tempfile
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import jax

from tools.bench.packing import BOS, EOS, Lengths, pairs
from xinst_jax.config import MeshConfig, ModelConfig, TrainConfig
from xinst_jax.data import packing
from xinst_jax.data.loader import Rows
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import decoder
from xinst_jax.models.decoder import Params
from xinst_jax.train import loop, optim, state, step

SHAPES: dict[str, tuple[dict[str, int], tuple[int, int]]] = {
    "smoke": (
        {
            "vocab_size": 512,
            "num_layers": 2,
            "embed_dim": 64,
            "mlp_dim": 172,
            "num_heads": 4,
            "num_kv_heads": 4,
            "head_dim": 16,
        },
        (2, 512),
    ),
    "small": (
        {
            "vocab_size": 8192,
            "num_layers": 4,
            "embed_dim": 256,
            "mlp_dim": 688,
            "num_heads": 4,
            "num_kv_heads": 4,
            "head_dim": 64,
        },
        (4, 512),
    ),
}
"""Sizes of the model, and (rows, tokens of a row) of a batch. A loop costs the same
whatever its step does: the smaller the step, the greater its share."""

RULES = ShardingRules()
_OF_A_STEP = ("input", "step", "other")


@dataclasses.dataclass(frozen=True)
class Bench:
    """What is trained, and on what.

    Attributes:
      model: the decoder's shape.
      mesh: one device.
      rows: packed rows on disk.
    """

    model: ModelConfig
    mesh: jax.sharding.Mesh
    rows: Rows

    def initial_params(self) -> Params:
        """Parameters to start from, new ones each time."""
        return decoder.init_params(self.model, RULES, self.mesh, jax.random.key(0))

    def batch(self, config: TrainConfig, number: int) -> step.Batch:
        """The batch of a step."""
        return self.rows.batch(number, config.global_batch, self.mesh, RULES, 0)

    def bare(self, config: TrainConfig) -> float:
        """Seconds a step of updates alone."""
        optimizer = optim.make_optimizer(config)
        # Named as the loop names it, so that it is the same function.
        update = step.make_train_step(self.model, RULES, optimizer, config, None)
        batches = [self.batch(config, number) for number in range(config.steps)]
        with jax.set_mesh(self.mesh):
            current = state.init_state(self.initial_params(), optimizer, self.mesh)
            jax.block_until_ready((current, batches))
            start = time.monotonic()
            for batch in batches:
                current, _ = update(current, batch)
            jax.block_until_ready(current)
            return (time.monotonic() - start) / config.steps

    def loop(self, config: TrainConfig) -> dict[str, float]:
        """Seconds of the loop by what they were spent on."""
        with tempfile.TemporaryDirectory() as directory:
            done = loop.train(
                model=self.model,
                rules=RULES,
                mesh=self.mesh,
                config=config,
                initial_params=self.initial_params,
                train_batch=functools.partial(self.batch, config),
                held_out=None,
                directory=pathlib.Path(directory),
                label="bench",
            )
        last = done.history[-1]
        return {
            name.removeprefix("run/seconds_in_"): seconds
            for name, seconds in last.items()
            if name.startswith("run/seconds_in_")
        }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--steps", type=int, default=40, help="of a turn")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each")
    parser.add_argument("--interval", type=int, default=100, help="steps of a save")
    arguments = parser.parse_args()
    sizes, (rows, length) = SHAPES[arguments.shape]
    model = ModelConfig(
        **sizes,
        max_length=length,
        tie_embeddings=False,
        compute_dtype="float32",
        remat="none",
    )
    config = TrainConfig(
        length=length,
        global_batch=rows,
        steps=arguments.steps,
        log_every=10,
        checkpoint_every=arguments.steps,
    )
    with tempfile.TemporaryDirectory() as made:
        directory = pathlib.Path(made)
        ids = [
            (one.tolist(), other.tolist())
            for one, other in pairs(Lengths(), 4000, model.vocab_size)
        ]
        packing.pack(ids, directory, length=length, bos=BOS, eos=EOS)
        mesh = make_mesh(MeshConfig(), jax.devices()[:1])
        bench = Bench(model, mesh, Rows(directory))
        print(f"{arguments.shape}: {rows} rows of {length} tokens, float32")
        without = print_overhead(bench, config, arguments.repeats)
        saving = dataclasses.replace(
            config,
            steps=3 * arguments.interval,
            checkpoint_every=arguments.interval,
        )
        print_saves(bench, saving, without)


def print_overhead(bench: Bench, config: TrainConfig, repeats: int) -> float:
    """The loop beside the bare step; seconds a step of the loop."""
    bench.bare(config)  # compiles
    bare, looped = [], []
    for _ in range(repeats):
        bare.append(bench.bare(config))
        seconds = bench.loop(config)
        looped.append(sum(seconds[kind] for kind in _OF_A_STEP) / config.steps)
    ratios = [one / other for one, other in zip(looped, bare, strict=True)]
    print(
        f"bare step {statistics.median(bare):.4f} s, in the loop "
        f"{statistics.median(looped):.4f} s: {statistics.median(ratios) - 1:+.1%} "
        f"(turns of {config.steps} steps: "
        + ", ".join(f"{ratio - 1:+.1%}" for ratio in ratios)
        + ")"
    )
    return statistics.median(looped)


def print_saves(bench: Bench, config: TrainConfig, without: float) -> None:
    """How long saves hold the loop up."""
    seconds = bench.loop(config)
    saves = config.steps // config.checkpoint_every
    steps = sum(seconds[kind] for kind in _OF_A_STEP)
    params = sum(leaf.nbytes for leaf in jax.tree.leaves(bench.initial_params()))
    blocked = seconds["checkpoint"]
    print(
        f"{saves} saves of {3 * params / 1e6:.0f} MB, one every "
        f"{config.checkpoint_every} steps: each holds the loop up for "
        f"{blocked / saves:.4f} s, {blocked / steps:.2%} of "
        f"the steps' time; a step {steps / config.steps:.4f} s, "
        f"{steps / config.steps / without - 1:+.1%} against no saves"
    )


if __name__ == "__main__":
    main()
