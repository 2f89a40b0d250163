"""Supervised fine-tuning by xinst_jax beside TRL's SFTTrainer, on the same pairs.

Both sides train one Llama-shaped model, from the same weights, on the same instruction
pairs (of the paper's lengths, random ids), loss on the responses and their end token.
xinst_jax packs them to disk with `packing.pack`, reads each step's rows, runs the step
that training runs (on a CPU as in train.py) and reads its metrics, one after the
other. TRL packs with
`packing=True, packing_strategy='bfd'`, its best fit, and trains through SFTTrainer on
scaled dot-product attention, AdamW, without gradient checkpointing (its default, which
computes more) and without saving; a step's time is that between two of its callbacks,
so that loading and logging count there too. Learning rate, batch, row length are equal.

Each side has a process of its own; they take turns, A B A B, a step at a time. Counted
are response tokens a second: targets with a loss weight in the batch over the step's
seconds. Printed are the sums over all steps but the first. The first losses, before any
update, must agree to 0.1, or no ratio is printed.

TRL is not among the project's requirements (requirements-bench.txt):

    pip install --no-deps --target runs/trl -r requirements-bench.txt
    PYTHONPATH=runs/trl python tools/bench/sft.py --shape cpu --repeats 7
    PYTHONPATH=runs/trl python tools/bench/sft.py --shape cpu --dtype bfloat16
"""

import argparse
import collections
import dataclasses
import multiprocessing
import os
import pathlib
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import numpy as np

from tools.bench.packing import BOS, EOS, Lengths, pairs
from tools.bench.train_sides import SHAPES, cpu_devices
from xinst_jax.config import MeshConfig, ModelConfig, TrainConfig
from xinst_jax.data import packing

PAD = 0


@dataclasses.dataclass(frozen=True)
class Run:
    """What both sides are told.

    Attributes:
      shape: a key of `train_sides.SHAPES`.
      dtype: of the products; parameters are float32.
      rows: of a batch.
      length: tokens of a row.
      steps: that will be made at most.
      folder: where weights and packed rows lie.
    """

    shape: str
    dtype: str
    rows: int
    length: int
    steps: int
    folder: str

    @property
    def model(self) -> ModelConfig:
        """The shape of the model."""
        of = SHAPES[self.shape]
        return ModelConfig(
            **of["sizes"],
            **of["heads"],
            max_length=self.length,
            tie_embeddings=False,
            compute_dtype=self.dtype,
            remat="none",
            unroll=of["unroll"],
        )

    @property
    def train(self) -> TrainConfig:
        """How it is trained."""
        return TrainConfig(
            length=self.length,
            global_batch=self.rows,
            steps=1000,
            learning_rate=3e-4,
            warmup_steps=0,
            final_lr_share=1.0,
        )

    def pairs(self) -> list[tuple[list[int], list[int]]]:
        """Pairs for all steps, and for full rows: (prompt ids, response ids)."""
        # A pair takes some 350 tokens; TRL packs a thousand pairs against each other.
        count = max(2000, (self.steps + 2) * self.rows * self.length // 250)
        made = pairs(Lengths(), count, self.model.vocab_size)
        return [(one.tolist(), other.tolist()) for one, other in made]


class Ours:
    """xinst_jax: packed rows from disk, and the jitted step of training."""

    def __init__(self, run: Run):
        import jax
        import tokenizers

        from xinst_jax.data.loader import Rows
        from xinst_jax.hf import config as hf_config
        from xinst_jax.hf import folder as hf_folder
        from xinst_jax.mesh import ShardingRules, make_mesh
        from xinst_jax.models import decoder
        from xinst_jax.train import optim, state, step

        self.jax, self.run, model = jax, run, run.model
        self.rules = ShardingRules()
        self.mesh = make_mesh(MeshConfig(), jax.devices())
        params = decoder.init_params(model, self.rules, self.mesh, jax.random.key(0))
        words = tokenizers.models.WordLevel({"a": 0, "b": 1, "c": 2}, unk_token="a")
        hf_folder.export_folder(
            pathlib.Path(run.folder) / "weights",
            params,
            model,
            dtype="float32",
            vocab_size=model.vocab_size,
            special=hf_config.SpecialIds(bos=BOS, stops=(EOS,), pad=PAD),
            tokenizer={"tokenizer.json": tokenizers.Tokenizer(words).to_str().encode()},
            card="",
            shard_bytes=10**9,
        )
        packed = pathlib.Path(run.folder) / "rows"
        packing.pack(run.pairs(), packed, length=run.length, bos=BOS, eos=EOS)
        self.packed = Rows(packed)
        optimizer = optim.make_optimizer(run.train)
        self.state = state.init_state(params, optimizer, self.mesh)
        self.update = step.make_train_step(model, self.rules, optimizer, run.train)

    def serve(self, connection: Connection) -> None:
        """A step whenever it is told to: (seconds, response tokens, loss)."""
        number = 0
        while connection.recv():
            start = time.monotonic()
            batch = self.packed.batch(number, self.run.rows, self.mesh, self.rules, 0)
            with self.jax.set_mesh(self.mesh):
                self.state, metrics = self.update(self.state, batch)
            loss = float(metrics["loss"])
            self.jax.block_until_ready(self.state)
            seconds = time.monotonic() - start
            connection.send((seconds, float(metrics["weight"]), loss))
            number += 1


class Theirs:
    """TRL's SFTTrainer, packing by best fit."""

    def __init__(self, run: Run):
        import datasets
        import tokenizers
        import torch
        import transformers
        import trl

        config = run.train
        model = transformers.LlamaForCausalLM.from_pretrained(
            str(pathlib.Path(run.folder) / "weights"),
            dtype=torch.float32,
            attn_implementation="sdpa",
        )
        words = {"<pad>": PAD, "<s>": BOS, "</s>": EOS}
        inner = tokenizers.Tokenizer(
            tokenizers.models.WordLevel(words, unk_token="<pad>")
        )
        tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_object=inner,
            bos_token="<s>",
            eos_token="</s>",
            pad_token="<pad>",
        )
        rows = [
            {
                "input_ids": [BOS, *prompt, *response, EOS],
                "completion_mask": [0] * (1 + len(prompt)) + [1] * (len(response) + 1),
            }
            for prompt, response in run.pairs()
        ]
        self.responses: collections.deque[int] = collections.deque()
        self.trainer = trl.SFTTrainer(
            model=model,
            args=trl.SFTConfig(
                output_dir=str(pathlib.Path(run.folder) / "trl"),
                packing=True,
                packing_strategy="bfd",
                max_length=run.length,
                completion_only_loss=True,
                per_device_train_batch_size=run.rows,
                max_steps=run.steps + 2,
                learning_rate=config.learning_rate,
                lr_scheduler_type="constant",
                weight_decay=config.weight_decay,
                adam_beta1=config.b1,
                adam_beta2=config.b2,
                max_grad_norm=config.clip_norm,
                optim="adamw_torch_fused",
                gradient_checkpointing=False,
                bf16=run.dtype == "bfloat16",
                use_cpu=True,
                dataloader_num_workers=0,
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=tokenizer,
        )
        collate = self.trainer.data_collator

        def counted(examples: Any) -> Any:
            batch = collate(examples)
            # Its loss is of labels after the first of a row.
            self.responses.append(int((batch["labels"][:, 1:] != -100).sum()))
            return batch

        self.trainer.data_collator = counted

    def serve(self, connection: Connection) -> None:
        """A step whenever it is told to: (seconds, response tokens, loss)."""
        import transformers

        responses = self.responses

        class Gate(transformers.TrainerCallback):
            """Stops the trainer before each step until it is told to go on."""

            def __init__(self) -> None:
                self.since, self.loss = 0.0, float("nan")

            def on_step_begin(self, *_: Any, **__: Any) -> None:
                if self.since:
                    seconds = time.monotonic() - self.since
                    connection.send((seconds, responses.popleft(), self.loss))
                if not connection.recv():
                    raise SystemExit
                self.since = time.monotonic()

            def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
                self.loss = logs.get("loss", self.loss)

        self.trainer.add_callback(Gate())
        self.trainer.train()


def serve(connection: Connection, side: type, run: Run) -> None:
    """A side's process: makes its trainer, then steps as it is told."""
    trainer = side(run)
    connection.send("made")
    trainer.serve(connection)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=("smoke", "cpu"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rows", type=int, default=2, help="of a batch")
    parser.add_argument("--length", type=int, default=1024, help="tokens of a row")
    parser.add_argument("--repeats", type=int, default=7, help="steps of each side")
    arguments = parser.parse_args()
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", cpu_devices(arguments.rows))
    with tempfile.TemporaryDirectory() as folder:
        compare(
            Run(
                arguments.shape,
                arguments.dtype,
                arguments.rows,
                arguments.length,
                arguments.repeats + 1,
                folder,
            )
        )


def compare(run: Run) -> None:
    """Starts both sides, lets them take turns, and prints what they did."""
    context = multiprocessing.get_context("spawn")
    sides: dict[str, Connection] = {}
    processes = []
    for name, side in (("xinst_jax", Ours), ("TRL", Theirs)):
        sides[name], theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, side, run), daemon=True)
        process.start()
        processes.append(process)
        theirs.close()
        sides[name].recv()
    taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in sides}
    for _ in range(run.steps):
        for name, connection in sides.items():
            connection.send(True)
            taken[name].append(connection.recv())
    for connection, process in zip(sides.values(), processes, strict=True):
        connection.send(False)
        process.join()
    first = [steps[0][2] for steps in taken.values()]
    if not abs(first[0] - first[1]) <= 0.1:
        sys.exit(f"The first losses differ: {first[0]} and {first[1]}.")
    print_table(run, taken)


def print_table(run: Run, taken: dict[str, list[tuple[float, float, float]]]) -> None:
    """Prints a row for each side, and the ratio."""
    print(
        f"{run.shape}, {run.rows} rows of {run.length} tokens a batch, {run.dtype}; "
        f"{run.steps - 1} steps of each side"
    )
    print("            s a step  responses of a batch  response tokens/s   first loss")
    speeds = {}
    for name, steps in taken.items():
        seconds, tokens, _ = np.array(steps[1:]).sum(axis=0)
        speeds[name] = tokens / seconds
        share = tokens / (len(steps) - 1) / (run.rows * run.length)
        print(
            f"{name:10}{seconds / (len(steps) - 1):10.3f}{share:>22.1%}"
            f"{speeds[name]:>19.1f}{steps[0][2]:>13.3f}"
        )
    ratio = speeds["xinst_jax"] / speeds["TRL"]
    print(f"xinst_jax does {ratio:.2f} times the response tokens/s of TRL.")


if __name__ == "__main__":
    main()
