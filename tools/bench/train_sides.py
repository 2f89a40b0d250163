"""What `train.py` compares: one model, its batches, and a trainer of each kind.

xinst_jax runs the step that training runs; PyTorch runs LlamaForCausalLM in a plain
loop, with scaled dot-product attention under a mask of the rows' segments.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from xinst_jax.config import MeshConfig, ModelConfig, TrainConfig

SHAPES: dict[str, dict[str, Any]] = {
    "smoke": {
        "sizes": {"vocab_size": 512, "num_layers": 2, "embed_dim": 64, "mlp_dim": 172},
        "heads": {"num_heads": 4, "num_kv_heads": 4, "head_dim": 16},
        "rows": (2, 128),
        "matmul": 256,
        "unroll": 1,
    },
    "cpu": {
        "sizes": {
            "vocab_size": 32000,
            "num_layers": 8,
            "embed_dim": 512,
            "mlp_dim": 1376,
        },
        "heads": {"num_heads": 8, "num_kv_heads": 8, "head_dim": 64},
        "rows": (8, 512),
        "matmul": 2048,
        "unroll": 8,
    },
    "gpu": {
        "sizes": {
            "vocab_size": 128256,
            "num_layers": 16,
            "embed_dim": 2048,
            "mlp_dim": 8192,
        },
        "heads": {"num_heads": 32, "num_kv_heads": 8, "head_dim": 64},
        "rows": (4, 4096),
        "matmul": 8192,
        "unroll": 1,
    },
}
"""Sizes, heads, (rows, tokens of a row) of a batch, the width of the matrices that the
peak is measured with, and blocks that xinst_jax' scan works through at once. `gpu` has
the 1.24 billion parameters of Llama 3.2 1B."""

TOKENS_OF_A_PAIR, SPREAD, PROMPT = 336, 0.6, 0.1
"""Mean tokens of a pair, sigma of their logarithm, share of them in the prompt."""


@dataclasses.dataclass(frozen=True)
class Run:
    """What both sides are told.

    Attributes:
      shape: a key of `SHAPES`.
      dtype: of the products, 'float32' or 'bfloat16'; parameters are float32.
      remat: xinst_jax' rematerialisation policy.
      attention: xinst_jax' attention.
      compiled: whether PyTorch's forward pass goes through torch.compile.
      folder: where the first weights are handed over.
    """

    shape: str
    dtype: str
    remat: str
    attention: str
    compiled: bool
    folder: str

    @property
    def model(self) -> ModelConfig:
        """The shape of the model."""
        of = SHAPES[self.shape]
        return ModelConfig(
            **of["sizes"],
            **of["heads"],
            max_length=of["rows"][1],
            tie_embeddings=self.shape == "gpu",
            compute_dtype=self.dtype,
            remat=self.remat,
            attention=self.attention,
            unroll=of["unroll"],
        )

    @property
    def train(self) -> TrainConfig:
        """How it is trained."""
        rows, length = SHAPES[self.shape]["rows"]
        return TrainConfig(
            length=length,
            global_batch=rows,
            steps=1000,
            learning_rate=3e-4,
            warmup_steps=0,
            final_lr_share=1.0,
        )


def cpu_devices(rows: int) -> str:
    """As how many devices JAX shows a CPU: one a core, if rows divide by them."""
    cores = len(os.sched_getaffinity(0))
    return str(max(count for count in range(1, cores + 1) if rows % count == 0))


def batch_of(run: Run, number: int) -> dict[str, np.ndarray]:
    """The `number`-th batch of packed rows, the same on both sides."""
    rng = np.random.default_rng(number)
    shape = SHAPES[run.shape]["rows"]
    tokens_bt = rng.integers(3, run.model.vocab_size, (shape[0], shape[1] + 1))
    segments_bt, positions_bt = np.zeros((2, *shape), np.int32)
    weights_bt = np.zeros(shape, np.float32)
    for row in range(shape[0]):
        start, segment = 0, 1
        while start < shape[1]:
            drawn = TOKENS_OF_A_PAIR * rng.lognormal(-(SPREAD**2) / 2, SPREAD)
            size = min(max(int(drawn), 8), shape[1] - start)
            end = start + size
            segments_bt[row, start:end] = segment
            positions_bt[row, start:end] = np.arange(size)
            # The last token of a segment predicts nothing.
            weights_bt[row, start + int(PROMPT * size) : end - 1] = 1
            start, segment = end, segment + 1
    return {
        "tokens": tokens_bt[:, :-1].astype(np.int32),
        "targets": tokens_bt[:, 1:].astype(np.int32),
        "segment_ids": segments_bt,
        "positions": positions_bt,
        "loss_weights": weights_bt,
    }


class Ours:
    """xinst_jax: the jitted step of training."""

    def __init__(self, run: Run):
        import jax
        import tokenizers

        from xinst_jax.hf import config as hf_config
        from xinst_jax.hf import folder as hf_folder
        from xinst_jax.mesh import ShardingRules, make_mesh
        from xinst_jax.models import decoder
        from xinst_jax.train import optim, state, step

        self.jax, self.run, model = jax, run, run.model
        rules, self.mesh = ShardingRules(), make_mesh(MeshConfig(), jax.devices())
        self.rows = jax.sharding.NamedSharding(self.mesh, rules.spec("batch", "length"))
        params = decoder.init_params(model, rules, self.mesh, jax.random.key(0))
        words = tokenizers.models.WordLevel({"a": 0, "b": 1, "c": 2}, unk_token="a")
        hf_folder.export_folder(
            pathlib.Path(run.folder),
            params,
            model,
            dtype="float32",
            vocab_size=model.vocab_size,
            special=hf_config.SpecialIds(bos=1, stops=(2,), pad=0),
            tokenizer={"tokenizer.json": tokenizers.Tokenizer(words).to_str().encode()},
            card="",
            shard_bytes=10**9,
        )
        optimizer = optim.make_optimizer(run.train)
        self.state = state.init_state(params, optimizer, self.mesh)
        self.update = step.make_train_step(model, rules, optimizer, run.train)

    def step(self, batch: dict[str, np.ndarray]) -> float:
        """One update; the batch's loss before it."""
        placed = self.jax.device_put(batch, self.rows)
        with self.jax.set_mesh(self.mesh):
            self.state, metrics = self.update(self.state, placed)
        loss = float(metrics["loss"])
        self.jax.block_until_ready(self.state)
        return loss

    def matmul(self, width: int) -> Callable[[], Any]:
        """A product of two square matrices of this width."""
        x = self.jax.random.normal(self.jax.random.key(0), (width, width))
        x = x.astype(self.run.dtype)
        product = self.jax.jit(
            lambda x: self.jax.lax.dot(x, x, preferred_element_type="float32")
        )
        return lambda: product(x).block_until_ready()

    def gpu_peak(self) -> int:
        """Bytes that the device's allocator held at most; 0 on a CPU."""
        stats = self.jax.devices()[0].memory_stats()
        return stats["peak_bytes_in_use"] if stats else 0


class Theirs:
    """transformers' LlamaForCausalLM in a plain PyTorch loop."""

    def __init__(self, run: Run):
        import torch
        import transformers

        self.torch, self.run, config = torch, run, run.train
        self.device = "cuda" if run.shape == "gpu" else "cpu"
        self.model = transformers.LlamaForCausalLM.from_pretrained(
            run.folder, dtype=torch.float32, attn_implementation="sdpa"
        ).to(self.device)
        self.model.train()
        self.forward = torch.compile(self.model) if run.compiled else self.model
        matrices = [p for p in self.model.parameters() if p.ndim > 1]
        others = [p for p in self.model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": config.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
            betas=(config.b1, config.b2),
            eps=1e-8,
            fused=True,
        )

    def step(self, batch: dict[str, np.ndarray]) -> float:
        """One update; the batch's loss before it."""
        torch = self.torch
        placed = {
            name: torch.from_numpy(value).to(self.device)
            for name, value in batch.items()
        }
        segments_bt = placed["segment_ids"]
        causal_tt = torch.ones(
            segments_bt.shape[1], segments_bt.shape[1], dtype=torch.bool
        ).tril()
        same_btt = segments_bt[:, :, None] == segments_bt[:, None]
        with torch.autocast(
            self.device, torch.bfloat16, enabled=self.run.dtype == "bfloat16"
        ):
            logits_btv = self.forward(
                input_ids=placed["tokens"].long(),
                attention_mask=(same_btt & causal_tt.to(self.device))[:, None],
                position_ids=placed["positions"].long(),
                use_cache=False,
            ).logits
        losses = torch.nn.functional.cross_entropy(
            logits_btv.flatten(0, 1).float(),
            placed["targets"].flatten().long(),
            reduction="none",
        )
        weights = placed["loss_weights"].flatten()
        loss = (losses * weights).sum() / weights.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(
            self.model.parameters(), self.run.train.clip_norm
        )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.device == "cuda":
            torch.cuda.synchronize()
        return loss.item()

    def matmul(self, width: int) -> Callable[[], Any]:
        """A product of two square matrices of this width."""
        torch = self.torch
        x = torch.randn(width, width, device=self.device)
        x = x.to(getattr(torch, self.run.dtype))

        def product() -> None:
            x @ x
            if self.device == "cuda":
                torch.cuda.synchronize()

        return product

    def gpu_peak(self) -> int:
        """Bytes that the device's allocator held at most; 0 on a CPU."""
        return self.torch.cuda.max_memory_allocated() if self.device == "cuda" else 0
