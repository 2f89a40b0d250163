"""Model sizes known by name."""

import dataclasses

from xinst_jax.config import ModelConfig


def tiny(vocab_size: int = 128, **overrides: int | float | str | bool) -> ModelConfig:
    """A float32 model of two blocks for tests, with four query heads to a key head.

    Args:
      vocab_size: rows of the embedding.
      **overrides: other fields of `ModelConfig`.
    """
    config = ModelConfig(
        vocab_size=vocab_size,
        num_layers=2,
        embed_dim=32,
        mlp_dim=48,
        num_heads=8,
        num_kv_heads=2,
        head_dim=8,
        max_length=256,
        rope_theta=500000.0,
        compute_dtype="float32",
    )
    return dataclasses.replace(config, **overrides)  # type: ignore[arg-type]
