"""The decoder's shape, and the devices that it lies on."""

import dataclasses

from xinst_jax.config.fields import (
    Typed,
    not_negative,
    one_of,
    operational,
    positive,
    registered,
)
from xinst_jax.errors import UserError

FAMILIES = (
    "llama",
    "mistral",
    "gemma",
    "gemma2",
    "gemma3_text",
    "qwen2",
    "qwen3",
)
"""The kinds of model that the decoder computes, as Hugging Face's `model_type`."""

ATTENTION = ("auto", "splash", "triton", "blockwise", "dense")
"""The names of what computes attention over packed rows."""

REMAT = ("none", "minimal", "offload", "full")
"""The names of what the backward pass recomputes, from nothing to everything."""


@registered
@dataclasses.dataclass(frozen=True)
class ModelConfig(Typed):
    """The decoder's shape.

    Zero turns a window, a soft cap or a second base off. What each family sets is in
    `models.presets`.

    Attributes:
      family: the kind of model, as Hugging Face names it in `model_type`.
      vocab_size: rows of the embedding; at least the tokenizer's size. Extra rows are
        padding, never predicted, and sliced off on export.
      num_layers: decoder blocks.
      embed_dim: model width D.
      mlp_dim: feed-forward width F.
      num_heads: query heads N.
      num_kv_heads: key/value heads K; N must be a multiple of it.
      head_dim: width H of a head.
      max_length: longest sequence, in tokens, that the positions are made for.
      activation: of the feed-forward layer's gate: 'silu' or 'gelu_tanh'.
      norm_offset: whether RMSNorm multiplies by 1 + weight rather than by the weight.
      norm_eps: added to the mean square in RMSNorm.
      post_norms: whether what attention and feed-forward layer give is normalised too,
        before it is added.
      qk_norm: whether each head's queries and keys are normalised before they are
        rotated.
      qkv_bias: whether queries, keys and values have a bias.
      query_pre_attn_scalar: queries are multiplied by this to the power -1/2; 0 takes
        head_dim.
      attention_soft_cap: c, where attention scores s become c * tanh(s / c).
      final_soft_cap: the same of the logits.
      embedding_scale: whether embeddings are multiplied by the square root of D.
      tie_embeddings: whether the output head is the embedding's transpose.
      window: tokens that a windowed block's query sees, its own included.
      full_every: with a window, blocks number full_every, 2 * full_every, ... (counted
        from 1) see everything; 0 leaves all blocks windowed.
      rope_theta: base of the rotary frequencies.
      local_rope_theta: base in windowed blocks, which `rope_scaling` leaves alone; 0
        turns them as the others.
      rope_scaling: how the frequencies are changed for longer texts: 'none', 'linear'
        (all divided by rope_factor) or 'llama3' (the slow ones are).
      rope_factor: what they are divided by.
      rope_low_freq_factor: for 'llama3': frequencies of fewer turns than this within
        rope_original_length are divided,
      rope_high_freq_factor: those of more than this are kept, and between them goes a
        ramp.
      rope_original_length: for 'llama3': positions, in tokens, of the model before its
        frequencies were changed.
      compute_dtype: dtype of activations and of the weights as multiplied.
      param_dtype: dtype in which parameters are kept and updated; float32 wherever all
        of them are trained.
      attention: what computes attention over packed rows: 'auto' (splash on a TPU; on a
        GPU triton where it can compute the model; else blockwise, or dense for rows of
        a few tokens), 'splash' (a TPU's kernel), 'triton' (a GPU's, without windows and
        soft caps), 'blockwise' (block by block, in memory linear in length) or 'dense'
        (all scores at once).
      remat: what the backward pass recomputes: 'none', 'minimal' (all but the outputs
        of matrix products and of attention), 'offload' (as 'full', but a block's input
        and attention's products wait in the host's memory) or 'full' (the whole block).
      unroll: blocks that a turn of the scan over blocks works through. More of them
        take longer to compile; all at once, nothing is copied in and out of stacks,
        which a CPU is faster by.
    """

    family: str = "llama"
    vocab_size: int = 32000
    num_layers: int = 4
    embed_dim: int = 256
    mlp_dim: int = 688
    num_heads: int = 4
    num_kv_heads: int = 2
    head_dim: int = 64
    max_length: int = 2048
    activation: str = "silu"
    norm_offset: bool = False
    norm_eps: float = 1e-5
    post_norms: bool = False
    qk_norm: bool = False
    qkv_bias: bool = False
    query_pre_attn_scalar: float = 0.0
    attention_soft_cap: float = 0.0
    final_soft_cap: float = 0.0
    embedding_scale: bool = False
    tie_embeddings: bool = True
    window: int = 0
    full_every: int = 0
    rope_theta: float = 10000.0
    local_rope_theta: float = 0.0
    rope_scaling: str = "none"
    rope_factor: float = 1.0
    rope_low_freq_factor: float = 1.0
    rope_high_freq_factor: float = 4.0
    rope_original_length: int = 8192
    compute_dtype: str = "bfloat16"
    param_dtype: str = "float32"
    attention: str = operational("auto")
    remat: str = operational("minimal")
    unroll: int = operational(1)

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "vocab_size", "num_layers", "embed_dim", "mlp_dim", "num_heads")
        positive(self, "num_kv_heads", "head_dim", "max_length", "rope_theta", "unroll")
        positive(self, "norm_eps", "rope_original_length", "rope_low_freq_factor")
        not_negative(self, "query_pre_attn_scalar", "attention_soft_cap")
        not_negative(self, "final_soft_cap", "window", "full_every", "local_rope_theta")
        one_of(self, "family", FAMILIES)
        one_of(self, "activation", ("silu", "gelu_tanh"))
        one_of(self, "rope_scaling", ("none", "linear", "llama3"))
        one_of(self, "attention", ATTENTION)
        one_of(self, "remat", REMAT)
        one_of(self, "compute_dtype", ("bfloat16", "float32"))
        one_of(self, "param_dtype", ("bfloat16", "float32"))
        if self.num_heads % self.num_kv_heads:
            raise UserError(
                f"ModelConfig.num_heads = {self.num_heads} is not a multiple of "
                f"num_kv_heads = {self.num_kv_heads}."
            )
        if self.head_dim % 2:
            raise UserError(
                f"ModelConfig.head_dim = {self.head_dim} is odd; rotary positions turn "
                "pairs of coordinates."
            )
        self._check_windows()
        self._check_rope_scaling()

    def computed_as(self, other: "ModelConfig") -> "ModelConfig":
        """This shape with another's dtypes, attention, `remat` and `unroll`."""
        return dataclasses.replace(
            self,
            compute_dtype=other.compute_dtype,
            param_dtype=other.param_dtype,
            attention=other.attention,
            remat=other.remat,
            unroll=other.unroll,
        )

    @property
    def windowed_layers(self) -> tuple[bool, ...]:
        """Whether each block sees only the tokens of its window."""
        every = self.full_every
        return tuple(
            self.window > 0 and not (every and number % every == 0)
            for number in range(1, self.num_layers + 1)
        )

    def _check_windows(self) -> None:
        for name in ("full_every", "local_rope_theta"):
            if getattr(self, name) and not self.window:
                raise UserError(
                    f"ModelConfig.{name} = {getattr(self, name)!r} is about windowed "
                    "blocks, but ModelConfig.window is 0; set both or neither."
                )
        if self.full_every == 1:
            raise UserError(
                "ModelConfig.full_every = 1 leaves no block windowed; set window = 0 "
                "instead."
            )

    def _check_rope_scaling(self) -> None:
        if self.rope_factor < 1 or (
            self.rope_scaling == "none" and self.rope_factor != 1
        ):
            raise UserError(
                f"ModelConfig.rope_factor = {self.rope_factor} with rope_scaling = "
                f"{self.rope_scaling!r}; expected 1 or more, and 1 with 'none'."
            )
        if self.rope_high_freq_factor <= self.rope_low_freq_factor:
            raise UserError(
                "ModelConfig.rope_high_freq_factor must be greater than "
                f"rope_low_freq_factor, found {self.rope_high_freq_factor} and "
                f"{self.rope_low_freq_factor}."
            )


@registered
@dataclasses.dataclass(frozen=True)
class MeshConfig(Typed):
    """How many devices along each mesh axis; one may be -1, which takes what is left.

    Attributes:
      slice: TPU slices (or groups of hosts) joined by the slower network: data
        parallel.
      fsdp: devices over which batch and parameters are both divided.
      sequence: devices over which the length of a sequence is divided.
      tensor: devices over which heads, feed-forward width and vocabulary are divided.
    """

    slice: int = 1
    fsdp: int = -1
    sequence: int = 1
    tensor: int = 1
