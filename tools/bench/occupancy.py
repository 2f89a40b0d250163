"""How much of the engine's work is padding, on lengths as the paper's are.

Prompts and what is written after them have the lengths of X-Instruction's published
dataset (the statistics table of its README, means over ten languages): documents of
1,145 characters with a standard deviation of 530, kept between 300 and 2,000 as in the
paper; instructions of 102 with a standard deviation of 85. Characters are taken as
tokens by `--document_chars` and 4 an English token. A tiny model continues them, since
what is counted depends on lengths alone: the share of prefill's columns that is
padding, and of the slots' time that had no row.

    python tools/bench/occupancy.py
    python tools/bench/occupancy.py --rows 1024   # a shard of the default size
"""

import argparse
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np

from xinst_jax.config import DecodeConfig, MeshConfig
from xinst_jax.infer.engine import Engine
from xinst_jax.mesh import ShardingRules, make_mesh
from xinst_jax.models import decoder
from xinst_jax.models.presets import tiny

_TEMPLATE, _MOST_NEW = 60, 128


def lengths(rows: int, document_chars: float) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of each prompt, and of what is written after it."""
    rng = np.random.default_rng(0)
    drawn = rng.normal(1145, 530, 20 * rows)
    chars = drawn[(drawn >= 300) & (drawn <= 2000)][:rows]
    # Log-normal: instructions are positive, and a few of them long.
    spread = np.log(1 + (85 / 102) ** 2)
    written = rng.lognormal(np.log(102) - spread / 2, spread**0.5, rows)
    prompts = _TEMPLATE + (chars / document_chars).astype(int)
    return prompts, np.clip((written / 4).astype(int), 1, _MOST_NEW)


def main() -> None:
    """Continues the rows, and prints what was counted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--batch_rows", type=int, default=64, help="slots")
    parser.add_argument(
        "--document_chars",
        type=float,
        default=2.0,
        help="characters a token of the documents",
    )
    arguments = parser.parse_args()
    prompts, new = lengths(arguments.rows, arguments.document_chars)
    model = tiny(vocab_size=64, max_length=4096)
    rules, mesh = ShardingRules(), make_mesh(MeshConfig(), jax.devices()[:1])
    params = decoder.init_params(model, rules, mesh, jax.random.key(0))
    engine = Engine(
        params,
        model,
        rules,
        mesh,
        DecodeConfig(
            max_new_tokens=_MOST_NEW,
            temperature=0,
            batch_rows=arguments.batch_rows,
            prompt_buckets=(256, 512, 1024, 1920),
        ),
        stop_ids=(),
        vocab_limit=64,
    )
    engine.generate(
        [[3] * length for length in prompts],
        [str(row) for row in range(arguments.rows)],
        seed=0,
        max_new_tokens=new.tolist(),
    )
    print(
        f"prompts of {prompts.min()} to {prompts.max()} tokens, {prompts.mean():.0f} "
        f"in the mean; {new.mean():.1f} tokens written in the mean\n{engine.usage}"
    )


if __name__ == "__main__":
    main()
