"""Weights, and the layers that are not attention.

Every layer is declared once for all blocks: a weight's leading axis L stacks them.
Inside the scan over blocks a module holds one block's slice, without that axis.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from xinst_jax.config import ModelConfig
from xinst_jax.mesh import ShardingRules
from xinst_jax.models.product import product

PRODUCTS = ("query", "key", "value", "out", "gate", "up", "down")
BLOCK, CONTEXT, LOW_RANK = "block", "context", "low_rank"
"""Names by which a rematerialisation policy knows what a block computes: its products
with weights, what enters it, what an attention kernel gives, and a low-rank adapter's
inner activations."""

Initializer = Callable[[jax.Array, tuple[int, ...], jnp.dtype, jax.P], jax.Array]


def normal(std: float) -> Initializer:
    """Draws a weight from a normal distribution of this standard deviation."""

    def init(
        key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype, spec: jax.P
    ) -> jax.Array:
        return std * jax.random.normal(key, shape, dtype, out_sharding=spec)

    return init


def ones(
    key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype, spec: jax.P
) -> jax.Array:
    """Starts a weight at one."""
    return jnp.ones(shape, dtype, out_sharding=spec)


def zeros(
    key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype, spec: jax.P
) -> jax.Array:
    """Starts a weight at zero."""
    return jnp.zeros(shape, dtype, out_sharding=spec)


def weight(
    config: ModelConfig,
    rules: ShardingRules,
    rngs: nnx.Rngs,
    shape: tuple[int, ...],
    axes: tuple[str, ...],
    init: Initializer,
) -> nnx.Param:
    """Declares a weight: its shape, its logical axes and its initialiser.

    It is made already divided over the mesh that is set.

    Raises:
      UserError: a dimension does not divide over its mesh axes.
    """
    spec = rules.divide(jax.sharding.get_abstract_mesh().shape, shape, axes)
    value = init(rngs.params(), shape, jnp.dtype(config.param_dtype), spec)
    return nnx.Param(value, axes=axes)


def whole(param: nnx.Param, rules: ShardingRules, dtype: jnp.dtype) -> jax.Array:
    """A weight in `dtype`, gathered along the model's width.

    The cast comes first, so that devices exchange the narrower numbers.
    """
    value = param[...].astype(dtype)
    return jax.reshard(value, _gathered(param, value.ndim, rules))


def _times(
    equation: str,
    x: jax.Array,
    param: nnx.Param,
    rules: ShardingRules,
    spec: jax.P,
) -> jax.Array:
    """The product with a weight that is `whole` while it is multiplied.

    Args:
      equation: einsum equation of activations and weight.
      x: activations in the compute dtype.
      param: the weight, or one block's slice of it.
      rules: how the weight is divided.
      spec: how the result is divided.
    """
    value = param[...].astype(x.dtype)
    gathered = _gathered(param, value.ndim, rules)
    return product(equation, x, value, spec, gathered=gathered)


def _gathered(param: nnx.Param, rank: int, rules: ShardingRules) -> jax.P:
    axes = param.get_metadata("axes")[-rank:]
    return rules.spec(*(None if axis == "embed" else axis for axis in axes))


class Adapted(nnx.Module):
    """A weight W with a change of low rank r beside it: W + scale * A B.

    Hu et al., arXiv 2106.09685, equation 3; agrees with peft's `lora.Linear`.

    Attributes:
      weight: W, which takes input axes to output axes.
      a: A, from the input axes to r.
      b: B, from r to the output axes.
      scale: alpha / r.
    """

    def __init__(self, weight: nnx.Param, a: nnx.Param, b: nnx.Param, scale: float):
        self.weight, self.a, self.b, self.scale = weight, a, b, scale


def multiply(
    equation: str,
    x: jax.Array,
    param: nnx.Param | Adapted,
    rules: ShardingRules,
    spec: jax.P,
    name: str,
) -> jax.Array:
    """The product of activations with a weight, in the activations' dtype.

    Args:
      equation: einsum equation of activations and weight.
      x: activations in the compute dtype.
      param: one block's slice of a weight, adapted or not.
      rules: how the weight is divided.
      spec: how the result is divided.
      name: the result's, one of `PRODUCTS`.
    """
    kept = param.weight if isinstance(param, Adapted) else param
    y = _times(equation, x, kept, rules, spec)
    if isinstance(param, Adapted):
        y = y + _low_rank(equation, x, param, rules, spec)
    return checkpoint_name(y, name)


def _low_rank(
    equation: str, x: jax.Array, param: Adapted, rules: ShardingRules, spec: jax.P
) -> jax.Array:
    """The product with scale * A B, through r numbers a token.

    Example: 'bnth,nhd->btd' becomes 'bnth,nhr->btr' and 'btr,rd->btd'.
    """
    operands, result = equation.split("->")
    left, right = operands.split(",")
    into = "".join(letter for letter in right if letter in left)
    out = "".join(letter for letter in right if letter not in left)
    rows = "".join(letter for letter in left if letter not in right)
    divided = dict(zip(left, leading_spec(x, x.ndim), strict=True))
    narrow = jax.P(*(divided[letter] for letter in rows), rules.rank)
    y = _times(f"{left},{into}r->{rows}r", x, param.a, rules, narrow)
    y = checkpoint_name(y * jnp.asarray(param.scale, x.dtype), LOW_RANK)
    return _times(f"{rows}r,r{out}->{result}", y, param.b, rules, spec)


def leading_spec(x: jax.Array, count: int) -> tuple[str | tuple[str, ...] | None, ...]:
    """How the first `count` dimensions of an array are divided: entries of a spec."""
    return tuple(jax.typeof(x).sharding.spec)[:count]


class RMSNorm(nnx.Module):
    """Root mean square normalisation over the last axis, in float32.

    Zhang and Sennrich, arXiv 1910.07467, equation 4; agrees with LlamaRMSNorm, and with
    `norm_offset` with GemmaRMSNorm, whose weight w scales by 1 + w.
    """

    def __init__(
        self, config: ModelConfig, rules: ShardingRules, axes: str, *, rngs: nnx.Rngs
    ):
        """Declares the scale.

        Args:
          config: the decoder's shape.
          rules: how arrays are divided.
          axes: of the scale: 'ld' (the model's width, in every block), 'd' (once) or
            'lh' (a head's width, in every block).
          rngs: keys of the initialisers.
        """
        self.config, self.name = config, f"scale_{axes}"
        known = {
            "l": ("layers", config.num_layers),
            "d": ("act_embed", config.embed_dim),
            "h": ("head_dim", config.head_dim),
        }
        names, shape = zip(*(known[letter] for letter in axes), strict=True)
        init = zeros if config.norm_offset else ones
        setattr(self, self.name, weight(config, rules, rngs, shape, names, init))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalises (..., D) to mean square 1 and scales it; the dtype stays."""
        scale = getattr(self, self.name)[...].astype(jnp.float32)
        if self.config.norm_offset:
            scale = 1.0 + scale
        wide = x.astype(jnp.float32)
        mean = jnp.mean(jnp.square(wide), axis=-1, keepdims=True)
        normed = wide * jax.lax.rsqrt(mean + self.config.norm_eps)
        return (normed * scale).astype(x.dtype)


class MLP(nnx.Module):
    """The gated feed-forward layer, down(activation(gate(x)) * up(x)).

    Shazeer, arXiv 2002.05202, section 2 (SwiGLU, GEGLU); agrees with LlamaMLP, and with
    'gelu_tanh' with GemmaMLP.
    """

    def __init__(self, config: ModelConfig, rules: ShardingRules, *, rngs: nnx.Rngs):
        self.config, self.rules = config, rules
        count, width, inner = config.num_layers, config.embed_dim, config.mlp_dim
        into = ((count, width, inner), ("layers", "embed", "mlp"), normal(width**-0.5))
        back = ((count, inner, width), ("layers", "mlp", "embed"))
        self.gate_ldf = weight(config, rules, rngs, *into)
        self.up_ldf = weight(config, rules, rngs, *into)
        self.down_lfd = weight(
            config, rules, rngs, *back, normal((2 * count * inner) ** -0.5)
        )

    def __call__(self, x_btd: jax.Array) -> jax.Array:
        """Maps (B, T, D) to (B, T, D); the dtype stays."""
        rules, rows = self.rules, leading_spec(x_btd, 2)
        inner, outer = jax.P(*rows, rules.mlp), jax.P(*rows, rules.act_embed)
        gate_btf = multiply("btd,df->btf", x_btd, self.gate_ldf, rules, inner, "gate")
        up_btf = multiply("btd,df->btf", x_btd, self.up_ldf, rules, inner, "up")
        if self.config.activation == "gelu_tanh":
            active_btf = jax.nn.gelu(gate_btf, approximate=True) * up_btf
        else:
            active_btf = jax.nn.silu(gate_btf) * up_btf
        return multiply("btf,fd->btd", active_btf, self.down_lfd, rules, outer, "down")
