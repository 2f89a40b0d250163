"""FLOPs of training a decoder, counted from its shape: the one formula of the project.

Counted are matrix products, two operations a multiplication, as a mathematician would
do them: what rematerialisation computes again is not work done, and norms, rotations
and softmax are under a hundredth of it. Looking a token up costs nothing. Chowdhery et
al., *PaLM*, arXiv 2204.02311, appendix B, with attention counted pair by pair.
"""

import dataclasses
from collections.abc import Iterable

from xinst_jax.config import ModelConfig


@dataclasses.dataclass(frozen=True)
class Flops:
    """FLOPs by what they are spent on.

    Attributes:
      blocks: products with the blocks' weights, and with adapters where there are.
      head: products with the head's weights.
      attention: scores and their use.
    """

    blocks: float
    head: float
    attention: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.blocks + self.head + self.attention


def block_weights(model: ModelConfig) -> int:
    """Weights of all blocks that a token is multiplied with."""
    heads = model.head_dim * (2 * model.num_heads + 2 * model.num_kv_heads)
    return model.num_layers * model.embed_dim * (heads + 3 * model.mlp_dim)


def matmul_weights(model: ModelConfig) -> int:
    """Weights that a token is multiplied with, the head's among them.

    Example: 6,607,077,376 for Llama 2 7B, whose embedding's 131 million do not count.
    """
    return block_weights(model) + model.embed_dim * model.vocab_size


def attended_pairs(
    model: ModelConfig, lengths: Iterable[int], *, causal: bool = True
) -> int:
    """Pairs of a query and a key that it sees, over all blocks.

    Example: a sequence of 3 tokens in a model of one block has 6 pairs (its tokens see
    1, 2 and 3), 5 under a window of 2, and 9 with `causal=False`.

    Args:
      model: the decoder's shape.
      lengths: tokens of each sequence; in packed rows, of each segment.
      causal: False counts every pair of a sequence, as if nothing were masked.
    """
    pairs = 0
    for length in lengths:
        for windowed in model.windowed_layers:
            if causal:
                seen = min(model.window, length) if windowed else length
                pairs += seen * (seen + 1) // 2 + (length - seen) * seen
            else:
                pairs += length * length
    return pairs


def training_flops(
    model: ModelConfig,
    tokens: int,
    pairs: int,
    *,
    adapters: int = 0,
    predicted: int | None = None,
) -> Flops:
    """FLOPs of the forward and the backward pass over a batch.

    A product with a weight is one forward and two backward: for its input and for the
    weight. Under adapters of A numbers the weights below have no gradient, which leaves
    two, and A has all three. A pair is N heads' score and use: 4 N H forward.

    Args:
      model: the decoder's shape.
      tokens: of the batch, padding included if it is multiplied too.
      pairs: from `attended_pairs`.
      adapters: numbers in the adapters, where those are what is trained.
      predicted: tokens for which the head computes logits, all by default.
    """
    passes = 2 if adapters else 3
    logits = tokens if predicted is None else predicted
    head = model.embed_dim * model.vocab_size
    return Flops(
        blocks=2.0 * tokens * (passes * block_weights(model) + 3 * adapters),
        head=2.0 * logits * passes * head,
        attention=12.0 * model.num_heads * model.head_dim * pairs,
    )


def forward_flops(
    model: ModelConfig, tokens: int, pairs: int, *, predicted: int | None = None
) -> Flops:
    """FLOPs of the forward pass alone; arguments as for `training_flops`."""
    whole = training_flops(model, tokens, pairs, predicted=predicted)
    return Flops(whole.blocks / 3, whole.head / 3, whole.attention / 3)


def flops_per_token(
    model: ModelConfig, length: int, adapters: int = 0, *, causal: bool = False
) -> float:
    """FLOPs of a token's share in the forward and backward pass of a whole row.

    Args:
      model: the decoder's shape.
      length: tokens of the row, taken as one sequence.
      adapters: numbers in the adapters, where those are what is trained.
      causal: whether only the pairs that a mask shows count, rather than all.
    """
    pairs = attended_pairs(model, [length], causal=causal)
    return training_flops(model, length, pairs, adapters=adapters).total / length
