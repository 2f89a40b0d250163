"""Layouts that fit a topology, best first: the cheap estimate chooses what is compiled.

Compiling takes minutes and there are hundreds of layouts. An estimate of memory and
time from shapes alone leaves out what cannot fit and orders the rest; the compiler has
the last word on those that are promising.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator

from xinst_jax.aot.build import Layout
from xinst_jax.aot.report import Report, report
from xinst_jax.config import MeshConfig, ModelConfig, TrainConfig
from xinst_jax.config.model import REMAT
from xinst_jax.errors import UserError
from xinst_jax.models import flops as flops_lib
from xinst_jax.train import lora

_ROOM = 1.05
"""Share of the memory that an estimate may take: it errs by some tenths, most often
downwards."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a layout may take, from shapes alone.

    Attributes:
      layout: the layout.
      memory: bytes a chip.
      seconds: of a step, at the roofline.
      apart: seconds of a step that computes and sends one after the other.
    """

    layout: Layout
    memory: float
    seconds: float
    apart: float

    @property
    def promising(self) -> bool:
        """Whether it may fit."""
        chip = self.layout.topology.chip
        return chip is not None and self.memory <= _ROOM * chip.hbm_bytes


def candidates(layout: Layout) -> Iterator[Layout]:
    """Layouts of the same step on the same topology that divide evenly.

    FSDP alone, and with up to eight devices along `tensor` or `sequence` in their
    place; every rematerialisation policy, `offload` only if it is the layout's own,
    since what passes between chip and host is not counted; as many microbatches as the
    rows allow.
    """
    policies = [
        p for p in REMAT if p in ("none", "minimal", "full", layout.model.remat)
    ]
    slices = layout.topology.slices
    inner = layout.topology.chips // slices
    for tensor in (1, 2, 4, 8):
        for sequence in (1, 2, 4, 8):
            if inner % (tensor * sequence) or (tensor > 1 and sequence > 1):
                continue
            fsdp = inner // (tensor * sequence)
            mesh = MeshConfig(slices, fsdp, sequence, tensor)
            if not _divides(layout.model, layout.train, mesh):
                continue
            for microbatches in _microbatches(layout.train, slices * fsdp):
                train = dataclasses.replace(layout.train, microbatches=microbatches)
                for remat in policies:
                    model = dataclasses.replace(layout.model, remat=remat)
                    yield dataclasses.replace(
                        layout, model=model, train=train, mesh=mesh
                    )


def ranked(layout: Layout) -> list[Estimate]:
    """The candidates, those that may fit first, the fastest first among these.

    Of those as fast at the roofline, first come those with less behind what binds.
    """
    return sorted(
        map(estimate, candidates(layout)),
        key=lambda one: (
            not one.promising,
            one.seconds,
            one.apart,
            one.memory,
        ),
    )


def _divides(model: ModelConfig, train: TrainConfig, mesh: MeshConfig) -> bool:
    by_tensor = (model.num_heads, model.num_kv_heads, model.mlp_dim, model.vocab_size)
    return (
        all(size % mesh.tensor == 0 for size in by_tensor)
        and model.embed_dim % mesh.fsdp == 0
        and train.length % mesh.sequence == 0
        and train.global_batch % (mesh.slice * mesh.fsdp) == 0
    )


def _microbatches(train: TrainConfig, parts: int) -> Iterator[int]:
    """1, 2, 4, ... while every part of the batch has rows for all devices."""
    count = 1
    while train.global_batch % (count * parts) == 0:
        yield count
        count *= 2


def estimate(layout: Layout) -> Estimate:
    """Memory and time of a layout, to choose what to compile; neither is reported.

    Memory: parameters, two moments and gradients, one block gathered twice, what the
    policy keeps of the activations, one chunk of logits. Time: the dearest of products
    with what is computed again, memory, links.
    """
    model, train, mesh = layout.model, layout.train, layout.mesh
    chip = layout.topology.chip
    assert chip is not None
    weights = flops_lib.matmul_weights(model)
    if not model.tie_embeddings:
        weights += model.vocab_size * model.embed_dim
    shards = mesh.fsdp * mesh.tensor
    rows = train.global_batch // train.microbatches / (mesh.slice * mesh.fsdp)
    tokens = rows * train.length / mesh.sequence
    trained = lora.count(model, train.lora) if train.lora.rank else weights
    memory = 16.0 * trained / shards + (
        2.0 * weights / shards if train.lora.rank else 0
    )
    memory += 2 * _gathered(model) / mesh.tensor
    memory += model.num_layers * tokens * _kept(model, mesh.tensor)
    memory += tokens * _kept(dataclasses.replace(model, remat="none"), mesh.tensor)
    chunk = min(tokens, train.logit_chunk)
    memory += 3 * 4.0 * chunk * model.vocab_size / mesh.tensor
    return Estimate(layout, memory, *_seconds(layout, weights, tokens))


def _gathered(model: ModelConfig) -> float:
    """Bytes of the largest weights as they are multiplied: a block, and the table."""
    block = flops_lib.block_weights(model) / model.num_layers
    return 2.0 * (block + model.vocab_size * model.embed_dim)


def _kept(model: ModelConfig, tensor: int) -> float:
    """Bytes a token and block that the backward pass reads, in bfloat16."""
    width, head = model.embed_dim, model.head_dim
    if model.remat not in ("none", "minimal"):
        return 2.0 * width
    projected = (model.num_heads + 2 * model.num_kv_heads) * head
    kept = 2 * width + (projected + 2 * model.mlp_dim) / tensor
    if model.remat == "none":
        kept += 2 * width + (2 * model.num_heads * head + model.mlp_dim) / tensor
    return 2.0 * kept


def _recomputed(model: ModelConfig) -> float:
    """Weights of the blocks that the backward pass multiplies with once more.

    Not the way back from the feed-forward width: nothing needs its product again.
    """
    way_up = 2.0 * model.num_layers * model.embed_dim * model.mlp_dim
    return {
        "none": 0.0,
        "minimal": 0.0,
        "offload": way_up,
        "full": flops_lib.block_weights(model) - way_up / 2,
    }[model.remat]


def _seconds(layout: Layout, weights: float, tokens: float) -> tuple[float, float]:
    model, train, mesh = layout.model, layout.train, layout.mesh
    chip, count = layout.topology.chip, layout.topology.chips
    assert chip is not None
    full = flops_lib.flops_per_token(model, train.length)
    again = 2.0 * _recomputed(model)
    all_tokens = train.global_batch * train.length
    compute = (full + again) * all_tokens / count / chip.peak_flops
    shape = layout.topology.shape
    wires = [
        2 if wraps else 1
        for size, wraps in zip(shape, chip.wraps(shape), strict=True)
        if size > 1
    ]
    # A single chip has no link, and nothing to send. FSDP walks along all axes of the
    # torus, the few devices of the others along one.
    links = chip.link_bandwidth * max(sum(wires), 1)
    one_axis = chip.link_bandwidth * max([1, *wires])
    # Forward, backward and the gradient, each in bfloat16, in every microbatch.
    by_fsdp = 3 * 2.0 * weights / mesh.tensor * (1 - 1 / mesh.fsdp)
    # Of a block's activations, in float32: two all-reduces forward, and backward one of
    # each product that reads them, as libtpu 0.0.42.1 compiles it.
    by_tensor = 7 * 2 * 4.0 * tokens * model.embed_dim * model.num_layers
    by_tensor *= 1 - 1 / mesh.tensor
    keys = 2 * model.num_kv_heads * model.head_dim / mesh.tensor
    by_sequence = 4 * 2.0 * tokens * keys * model.num_layers * (mesh.sequence - 1)
    exchanged = by_fsdp / links + (by_tensor + by_sequence) / one_axis
    exchanged *= train.microbatches
    network = 0.0
    if mesh.slice > 1:
        share = 2 * 2.0 * weights / mesh.fsdp / mesh.tensor * (1 - 1 / mesh.slice)
        network = train.microbatches * share / chip.network_bandwidth
    return max(compute, exchanged, network), compute + exchanged + network


def search(
    layout: Layout, compiles: int, say: Callable[[str], None]
) -> list[tuple[Layout, Report]]:
    """Compiles the most promising layouts; those that fit come back, best first.

    Args:
      layout: the step and the topology; its own mesh, policy and microbatches are
        looked at only if they are among `candidates`.
      compiles: most layouts to compile.
      say: takes a line on what is being done.

    Raises:
      UserError: the topology is of fake devices, or no layout divides over it.
    """
    chip = layout.topology.chip
    if chip is None:
        raise UserError(
            "--search needs a TPU topology: fake devices have no memory and no speed "
            "to choose by."
        )
    everything = ranked(layout)
    if not everything:
        raise UserError(
            f"No layout of {layout.train.global_batch} rows of {layout.train.length} "
            f"tokens divides over {layout.topology.chips} chips. Make "
            "TrainConfig.global_batch a multiple of their number, or use fewer chips."
        )
    promising = [one for one in everything if one.promising]
    say(f"{len(everything)} layouts divide, {len(promising)} may fit")
    found = []
    for candidate, made in tried(promising, compiles, say):
        if made.roofline is None:
            over = (made.needed - chip.hbm_bytes) / 2**30
            say(f"  does not fit, by {over:.2f} GiB")
            continue
        say(f"  fits; at least {made.roofline.seconds:.3f} s a step")
        found.append((candidate.layout, made))
    return sorted(found, key=_least_seconds)


def tried(
    candidates: list[Estimate], compiles: int, say: Callable[[str], None]
) -> Iterator[tuple[Estimate, Report]]:
    """Compiles candidates in their order, and learns from those that do not fit.

    If one needs more than was estimated, the estimates of those after it are multiplied
    by as much, and who has no room then is passed over.

    Args:
      candidates: estimates for one topology, most promising first.
      compiles: most of them to compile.
      say: takes a line on what is being done.
    """
    factor, compiled = 1.0, 0
    for candidate in candidates:
        chip = candidate.layout.topology.chip
        if compiled == compiles or chip is None:
            return
        if candidate.memory * factor > _ROOM * chip.hbm_bytes:
            continue
        compiled += 1
        say(f"compiling {compiled} of at most {compiles}: {_words(candidate)}")
        made = report(candidate.layout)
        if made.roofline is None:
            factor = max(factor, made.needed / candidate.memory)
        yield candidate, made


def _least_seconds(found: tuple[Layout, Report]) -> float:
    least = found[1].roofline
    return least.seconds if least else math.inf


def _words(candidate: Estimate) -> str:
    mesh, train = candidate.layout.mesh, candidate.layout.train
    return (
        f"slice {mesh.slice}, fsdp {mesh.fsdp}, sequence {mesh.sequence}, tensor "
        f"{mesh.tensor}, {train.microbatches} microbatches, remat "
        f"{candidate.layout.model.remat}"
    )
