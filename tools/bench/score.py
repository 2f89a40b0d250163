"""Packed scoring beside the training's forward pass and beside padded scoring.

One decoder scores the same instruction pairs (lognormal lengths, 336 tokens in the
mean, as in tools/bench/train.py) three ways, which take turns, A B C A B C, in one
process:

- packed: `score.response_logprobs`, many pairs a row, its packing counted;
- padded: one pair a row, as many rows together, padded to the next power of two above
  the longest of them;
- forward: the loss of a training's evaluation over the packed rows, which is the
  forward pass that training runs, with the head over every position.

Printed are the median seconds, tokens a second (of pairs; padding is not counted) and
two ratios: packed to forward, the goal being 0.9 at least, and packed to padded. What
packed and padded scoring say of each pair must agree, or no ratio is printed.

A second table scores three labels of two tokens after each instruction: packed, where
the labels share the instruction's prefill, beside a pair for each label.

    python tools/bench/score.py --repeats 7
    python tools/bench/score.py --shape gpu --dtype bfloat16
    python tools/bench/score.py --smoke
"""

import argparse
import dataclasses
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import numpy as np

MEAN_TOKENS, SIGMA = 336, 0.6
INSTRUCTION_SHARE = 0.1
LABELS = [[11, 5], [12, 6], [13, 7]]

SHAPES: dict[str, dict[str, int]] = {
    name: dict(
        zip(("layers", "width", "vocab", "rows", "length", "pairs"), sizes, strict=True)
    )
    for name, sizes in {
        "smoke": (1, 32, 64, 2, 128, 6),
        "cpu": (4, 256, 8192, 4, 1024, 48),
        "gpu": (16, 2048, 32000, 16, 2048, 512),
    }.items()
}
"""Of each shape the model's and the batch's; `pairs` are scored in a turn."""


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Token ids of instructions and of responses."""

    prompts: list[list[int]]
    responses: list[list[int]]

    @property
    def tokens(self) -> int:
        """Of all of them."""
        return sum(map(len, [*self.prompts, *self.responses]))


def draw(shape: Mapping[str, int]) -> Pairs:
    """Pairs no longer than a row, their lengths lognormal."""
    rng = np.random.default_rng(0)
    mean = min(MEAN_TOKENS, shape["length"] // 3)
    drawn = rng.lognormal(np.log(mean) - SIGMA**2 / 2, SIGMA, shape["pairs"])
    sizes = np.clip(drawn, 16, shape["length"]).astype(int)
    texts = [rng.integers(0, shape["vocab"], size).tolist() for size in sizes]
    cuts = [max(8, int(len(text) * INSTRUCTION_SHARE)) for text in texts]
    return Pairs(
        [text[:cut] for text, cut in zip(texts, cuts, strict=True)],
        [text[cut:] for text, cut in zip(texts, cuts, strict=True)],
    )


def turns(sides: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each side, a turn each at a time, after one not counted."""
    for side in sides.values():
        side()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            start = time.monotonic()
            side()
            seconds[name].append(time.monotonic() - start)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--repeats", type=int, default=7, help="turns of each side")
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="a model of one block, once each: for tests",
    )
    arguments = parser.parse_args()
    if arguments.shape != "gpu" or arguments.smoke:
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
    name = "smoke" if arguments.smoke else arguments.shape
    compare(name, arguments.dtype, 1 if arguments.smoke else arguments.repeats)


def compare(name: str, dtype: str, repeats: int) -> None:
    """Makes the model, lets the sides take turns, and prints what they took."""
    import jax

    from xinst_jax.config import MeshConfig, ModelConfig
    from xinst_jax.infer import score
    from xinst_jax.mesh import ShardingRules, make_mesh
    from xinst_jax.models import decoder

    shape = SHAPES[name]
    width, rows, length = shape["width"], shape["rows"], shape["length"]
    head = min(64, width // 4)
    model = ModelConfig(
        vocab_size=shape["vocab"],
        num_layers=shape["layers"],
        embed_dim=width,
        mlp_dim=width * 8 // 3 // 16 * 16,
        num_heads=width // head,
        num_kv_heads=width // head // 2,
        head_dim=head,
        max_length=length,
        compute_dtype=dtype,
        remat="none",
    )
    rules, mesh = ShardingRules(), make_mesh(MeshConfig(fsdp=1), jax.devices()[:1])
    made = decoder.init_params(model, rules, mesh, jax.random.key(0))
    params = decoder.compute_params(model, rules, mesh, made)
    pairs = draw(shape)
    scorer = (params, model, rules, mesh)

    def packed() -> np.ndarray:
        both = (pairs.prompts, pairs.responses)
        return score.response_logprobs(*scorer, *both, rows, length)[0]

    def padded() -> np.ndarray:
        """A pair a row: no room is left behind any of them."""
        found = []
        for start in range(0, len(pairs.prompts), rows):
            here = slice(start, start + rows)
            found.append(padded_logprobs(scorer, pairs, here, rows))
        return np.concatenate(found)

    forward, places = training_forward(scorer, pairs, rows, length)
    apart = np.abs(packed() - padded()).max() / max(map(len, pairs.responses))
    if apart > (1e-5 if dtype == "float32" else 3e-2):
        sys.exit(f"Packed and padded scores differ by {apart:.2g} a token.")
    medians = turns({"packed": packed, "padded": padded, "forward": forward}, repeats)
    print(
        f"{name}, {dtype}, {jax.devices()[0].device_kind}: {len(pairs.prompts)} pairs "
        f"of {pairs.tokens} tokens in {places} packed columns "
        f"({100 * (1 - pairs.tokens / places):.1f}% padding); medians of {repeats}"
    )
    print(f"{'':10}{'seconds':>10}{'tokens/s':>12}")
    for side, seconds in medians.items():
        print(f"{side:10}{seconds:10.3f}{pairs.tokens / seconds:12.0f}")
    ratio = medians["forward"] / medians["packed"]
    print(f"packed does {ratio:.2f} times the forward pass' tokens/s,")
    print(f"and {medians['padded'] / medians['packed']:.2f} times those of padded.")
    labels(scorer, pairs, rows, length, repeats)


def padded_logprobs(scorer: tuple, pairs: Pairs, here: slice, rows: int) -> np.ndarray:
    """Scores of a batch of pairs, each in a row of its own."""
    import jax

    from xinst_jax.infer.score_rows import score_rows

    params, model, rules, mesh = scorer
    both = list(zip(pairs.prompts[here], pairs.responses[here], strict=True))
    longest = max(len(prompt) + len(response) for prompt, response in both)
    shape = (rows, max(64, 1 << (longest - 1).bit_length()))
    tokens_bt, segments_bt, columns_bm, targets_bm = np.zeros((4, *shape), np.int32)
    for place, (prompt, response) in enumerate(both):
        ids = [*prompt, *response]
        tokens_bt[place, : len(ids)] = ids
        segments_bt[place, : len(ids)] = 1
        columns_bm[place, : len(response)] = len(prompt) - 1 + np.arange(len(response))
        targets_bm[place, : len(response)] = response
    positions_bt = np.broadcast_to(np.arange(shape[1], dtype=np.int32), shape)
    chunks = -(-max(len(response) for _, response in both) // 64)
    with jax.set_mesh(mesh):
        logprobs_bm, _ = score_rows(
            params,
            tokens_bt,
            segments_bt,
            positions_bt,
            None,
            columns_bm,
            targets_bm,
            np.int32(chunks),
            model=model,
            rules=rules,
            chunk=64,
        )
    found_bm = np.asarray(jax.device_get(logprobs_bm), np.float64)
    return np.array(
        [
            found_bm[place, : len(response)].sum()
            for place, (_, response) in enumerate(both)
        ]
    )


def training_forward(
    scorer: tuple, pairs: Pairs, rows: int, length: int
) -> tuple[Callable[[], float], int]:
    """The loss over the packed rows, and the columns of those rows."""
    import jax
    import jax.numpy as jnp

    from xinst_jax.infer import packs
    from xinst_jax.models.decoder import bind
    from xinst_jax.train.loss import token_loss

    params, model, rules, mesh = scorer
    each = [[response] for response in pairs.responses]
    plan = packs.plan(pairs.prompts, each, length)
    batches = list(plan.batches(rows))

    @jax.jit
    def loss(params: Any, tokens_bt: Any, segments_bt: Any, positions_bt: Any) -> Any:
        decoder = bind(model, rules, params)
        x_btd = decoder(tokens_bt, segments_bt, positions_bt)
        targets_bt = jnp.roll(tokens_bt, -1, axis=1)
        weights_bt = jnp.asarray(segments_bt > 0, jnp.float32)
        return token_loss(decoder, x_btd, targets_bt, weights_bt, 1024)[0]

    def run() -> float:
        with jax.set_mesh(mesh):
            running = [
                loss(params, one.tokens_bt, one.segment_ids_bt, one.positions_bt)
                for one in batches
            ]
        return float(sum(jax.device_get(running)))

    return run, len(batches) * rows * length


def labels(scorer: tuple, pairs: Pairs, rows: int, length: int, repeats: int) -> None:
    """Three labels after each prompt: forked behind it, or a pair each."""
    from xinst_jax.infer import score

    whole = zip(pairs.prompts, pairs.responses, strict=True)
    prompts = [[*prompt, *response][: length - 8] for prompt, response in whole]

    def forked() -> np.ndarray:
        return score.label_logprobs(*scorer, prompts, LABELS, rows, (length,))

    def apart() -> np.ndarray:
        found = [
            score.response_logprobs(
                *scorer, prompts, [label] * len(prompts), rows, length
            )[0]
            for label in LABELS
        ]
        return np.stack(found, axis=1)

    medians = turns({"forked": forked, "apart": apart}, repeats)
    print(f"{'':10}{'seconds':>10}{'prompts/s':>12}   three labels of two tokens")
    for side, seconds in medians.items():
        print(f"{side:10}{seconds:10.3f}{len(prompts) / seconds:12.1f}")
    print(
        f"forked does {medians['apart'] / medians['forked']:.2f} times the prompts/s."
    )


if __name__ == "__main__":
    main()
