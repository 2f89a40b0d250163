"""What `generate.py` compares: one model, its prompts, and a generator of each kind.

Both continue the same prompts greedily, each row by a number of tokens of its own, as a
row that ends by itself would. xinst_jax does it with the engine of the pipeline;
transformers with `generate`, sorted by length into batches that are padded on the left,
where a stopping criterion ends each row and a batch ends with its last.
"""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from xinst_jax.config import DecodeConfig, MeshConfig, ModelConfig

_SMALL = {"num_layers": 8, "embed_dim": 512, "mlp_dim": 1376}
_GPU: dict[str, Any] = {
    "sizes": {
        "vocab_size": 128256,
        "num_layers": 16,
        "embed_dim": 2048,
        "mlp_dim": 8192,
    },
    "heads": {"num_heads": 32, "num_kv_heads": 8, "head_dim": 64},
    "prompt": 1024,
    "new": 64,
    "batch": 32,
    "mixed": {"rows": 256, "template": 40, "lengths": (300, 2000), "new": (20, 60)},
    "buckets": (512, 1024, 1536, 2048),
    "prefill": 8192,
    "matmul": 8192,
    "megabytes": 4096,
}
SHAPES: dict[str, dict[str, Any]] = {
    "smoke": {
        "sizes": {"vocab_size": 512, "num_layers": 2, "embed_dim": 64, "mlp_dim": 172},
        "heads": {"num_heads": 4, "num_kv_heads": 4, "head_dim": 16},
        "prompt": 24,
        "new": 6,
        "batch": 4,
        "mixed": {"rows": 12, "template": 8, "lengths": (12, 90), "new": (2, 6)},
        "buckets": (32, 64, 96),
        "prefill": 128,
        "matmul": 256,
        "megabytes": 8,
    },
    "cpu": {
        "sizes": {"vocab_size": 32000, **_SMALL},
        "heads": {"num_heads": 8, "num_kv_heads": 8, "head_dim": 64},
        "prompt": 256,
        "new": 64,
        "batch": 32,
        "mixed": {"rows": 256, "template": 40, "lengths": (80, 640), "new": (20, 60)},
        "buckets": (128, 256, 384, 512, 640),
        "prefill": 2048,
        "matmul": 2048,
        "megabytes": 512,
    },
    "gpu": _GPU,
    "gpu_8b": {
        **_GPU,
        "sizes": {
            "vocab_size": 128256,
            "num_layers": 32,
            "embed_dim": 4096,
            "mlp_dim": 14336,
        },
        "heads": {"num_heads": 32, "num_kv_heads": 8, "head_dim": 128},
        "batch": 64,
    },
}
"""Sizes and heads of the model; tokens of an equal prompt and of what is written after
it, rows of a batch; the mixed rows; buckets, and columns that prefill reads at once;
the width of the matrices that the matmul peak is measured with, and the size of the
array that the bandwidth is."""


@dataclasses.dataclass(frozen=True)
class Case:
    """Prompts, and how many tokens each is continued by.

    Attributes:
      prompts: token ids.
      new: tokens to be written after each.
      batch: rows that are worked on together.
      buckets: lengths that the engine compiles for.
    """

    prompts: tuple[tuple[int, ...], ...]
    new: tuple[int, ...]
    batch: int
    buckets: tuple[int, ...]

    def only_first(self) -> "Case":
        """The same with one new token a row: nearly all of it is prefill."""
        return dataclasses.replace(self, new=(1,) * len(self.new))


@dataclasses.dataclass(frozen=True)
class Run:
    """What both sides are told.

    Attributes:
      shape: a key of `SHAPES`.
      dtype: of the products, 'float32' or 'bfloat16'.
      cache_dtype: of xinst_jax' cache.
      compiled: whether transformers has a static cache and compiles.
      folder: where the weights are handed over; '' where xinst_jax is alone.
    """

    shape: str
    dtype: str
    cache_dtype: str
    compiled: bool
    folder: str

    @property
    def on_gpu(self) -> bool:
        """Whether it is a GPU's work."""
        return self.shape.startswith("gpu")

    @property
    def alone(self) -> bool:
        """Whether xinst_jax has no peer."""
        return not self.folder

    @property
    def model(self) -> ModelConfig:
        """The shape of the model."""
        of = SHAPES[self.shape]
        return ModelConfig(
            **of["sizes"],
            **of["heads"],
            max_length=4096,
            compute_dtype=self.dtype,
        )

    def cases(self) -> dict[str, Case]:
        """What is measured, by name; the same on both sides."""
        of, rng = SHAPES[self.shape], np.random.default_rng(0)
        mixed = of["mixed"]
        template = self._drawn(rng, mixed["template"])
        sizes = rng.integers(*mixed["lengths"], mixed["rows"]) - len(template)
        new = rng.integers(mixed["new"][0], mixed["new"][1] + 1, mixed["rows"])
        equal = [self._drawn(rng, of["prompt"]) for _ in range(of["batch"])]

        def same(rows: int) -> Case:
            return Case(tuple(equal[:rows]), (of["new"],) * rows, rows, (of["prompt"],))

        return {
            "batch 1": same(1),
            f"batch {of['batch']}": same(of["batch"]),
            f"{mixed['rows']} mixed rows": Case(
                tuple(template + self._drawn(rng, size) for size in sizes),
                tuple(new.tolist()),
                of["batch"],
                of["buckets"],
            ),
        }

    def _drawn(self, rng: np.random.Generator, size: int) -> tuple[int, ...]:
        return tuple(rng.integers(3, self.model.vocab_size, size).tolist())


class Ours:
    """xinst_jax: the engine of the pipeline."""

    def __init__(self, run: Run):
        import jax
        import tokenizers

        from xinst_jax.hf import config as hf_config
        from xinst_jax.hf import folder as hf_folder
        from xinst_jax.infer.engine import Engine
        from xinst_jax.mesh import ShardingRules, make_mesh
        from xinst_jax.models import decoder

        self.jax, self.run, model = jax, run, run.model
        rules, mesh = ShardingRules(), make_mesh(MeshConfig(), jax.devices()[:1])
        params = decoder.init_params(model, rules, mesh, jax.random.key(0))
        if not run.alone:
            words = tokenizers.models.WordLevel({"a": 0, "b": 1, "c": 2}, unk_token="a")
            tokenizer = tokenizers.Tokenizer(words).to_str().encode()
            hf_folder.export_folder(
                pathlib.Path(run.folder),
                params,
                model,
                dtype="float32",
                vocab_size=model.vocab_size,
                special=hf_config.SpecialIds(bos=1, stops=(2,), pad=0),
                tokenizer={"tokenizer.json": tokenizer},
                card="",
                shard_bytes=10**9,
            )
        params = decoder.compute_params(model, rules, mesh, params)

        def made(case: Case) -> Engine:
            decode = DecodeConfig(
                max_new_tokens=max(case.new),
                temperature=0,
                batch_rows=case.batch,
                prompt_buckets=case.buckets,
                prefill_columns=SHAPES[run.shape]["prefill"],
                cache_dtype=run.cache_dtype,
            )
            return Engine(
                params, model, rules, mesh, decode, (), vocab_limit=model.vocab_size
            )

        self._made = made
        self._engines: dict[str, Engine] = {}

    def _engine(self, name: str) -> Any:
        """A case's engine; the last one's slots and weights go before it is made."""
        if name not in self._engines:
            self._engines.clear()
            self._engines[name] = self._made(self.run.cases()[name])
        return self._engines[name]

    def generate(self, name: str, case: Case) -> list[list[int]]:
        """The new tokens of each row."""
        ids = [str(row) for row in range(len(case.prompts))]
        made = self._engine(name).generate(
            case.prompts, ids, seed=0, max_new_tokens=case.new
        )
        return [one.tokens for one in made]

    def usage(self, name: str) -> str:
        """How the slots were used in a case, all its turns together."""
        return str(self._engine(name).usage)

    def matmul(self, width: int) -> Callable[[], Any]:
        """A product of two square matrices of this width."""
        x = self.jax.random.normal(self.jax.random.key(0), (width, width))
        x = x.astype(self.run.dtype)
        product = self.jax.jit(
            lambda x: self.jax.lax.dot(x, x, preferred_element_type="float32")
        )
        return lambda: product(x).block_until_ready()

    def stream(self, megabytes: int) -> Callable[[], Any]:
        """A sum over an array of this size, which reads it once."""
        x = self.jax.numpy.ones(megabytes * 10**6 // 4, "float32")
        total = self.jax.jit(self.jax.numpy.sum)
        return lambda: total(x).block_until_ready()


class Theirs:
    """transformers' `generate`."""

    def __init__(self, run: Run):
        import torch
        import transformers

        self.torch, self.transformers, self.run = torch, transformers, run
        self.device = "cuda" if run.on_gpu else "cpu"
        self.model = transformers.LlamaForCausalLM.from_pretrained(
            run.folder, dtype=getattr(torch, run.dtype), attn_implementation="sdpa"
        ).to(self.device)
        self.model.eval()

    def generate(self, name: str, case: Case) -> list[list[int]]:
        """The new tokens of each row."""
        order = sorted(
            range(len(case.prompts)), key=lambda row: -len(case.prompts[row])
        )
        made: dict[int, list[int]] = {}
        for start in range(0, len(order), case.batch):
            rows = order[start : start + case.batch]
            for row, tokens in zip(rows, self._batch(case, rows), strict=True):
                made[row] = tokens[: case.new[row]]
        return [made[row] for row in range(len(order))]

    def _batch(self, case: Case, rows: list[int]) -> list[list[int]]:
        torch = self.torch
        width = max(len(case.prompts[row]) for row in rows)
        tokens_bt = torch.zeros(len(rows), width, dtype=torch.long)
        mask_bt = torch.zeros(len(rows), width, dtype=torch.long)
        for place, row in enumerate(rows):
            prompt = case.prompts[row]
            tokens_bt[place, width - len(prompt) :] = torch.tensor(prompt)
            mask_bt[place, width - len(prompt) :] = 1
        ends_b = torch.tensor([width + case.new[row] for row in rows]).to(self.device)

        def ended(input_ids: Any, scores: Any, **kwargs: Any) -> Any:
            return input_ids.shape[1] >= ends_b

        # None as the end token would be filled in from the model: no token is this one.
        settings = self.transformers.GenerationConfig(
            do_sample=False,
            max_new_tokens=max(case.new[row] for row in rows),
            eos_token_id=self.run.model.vocab_size,
            pad_token_id=0,
            cache_implementation="static" if self.run.compiled else None,
        )
        with torch.inference_mode():
            found_bt = self.model.generate(
                tokens_bt.to(self.device),
                attention_mask=mask_bt.to(self.device),
                generation_config=settings,
                stopping_criteria=[ended],
            )
        return found_bt[:, width:].tolist()

    def usage(self, name: str) -> str:
        """Nothing is counted here."""
        return ""

    def matmul(self, width: int) -> Callable[[], Any]:
        """A product of two square matrices of this width."""
        dtype = getattr(self.torch, self.run.dtype)
        x = self.torch.randn(width, width, device=self.device).to(dtype)
        return lambda: self._finished(x @ x)

    def stream(self, megabytes: int) -> Callable[[], Any]:
        """A sum over an array of this size, which reads it once."""
        x = self.torch.ones(megabytes * 10**6 // 4, device=self.device)
        return lambda: self._finished(x.sum())

    def _finished(self, _: Any) -> None:
        if self.device == "cuda":
            self.torch.cuda.synchronize()
