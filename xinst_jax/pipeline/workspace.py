"""A run's directory, and what its stages share: vocabulary, model shape, mesh."""

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import json
import os
import pathlib
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from xinst_jax import config as config_lib
from xinst_jax import run_file, shards
from xinst_jax.errors import UserError

if TYPE_CHECKING:
    import jax

    from xinst_jax.data.vocab import Vocabulary
    from xinst_jax.mesh import ShardingRules

_RUN = "run.json"
_TIMINGS = "timings.jsonl"
_PROGRAMS = ".programs"


@dataclasses.dataclass(frozen=True)
class Workspace:
    """One run in its workdir; what is slow to load is loaded when asked for.

    Attributes:
      run: the run's configuration.
      workdir: the directory that holds one directory a stage.
    """

    run: config_lib.RunConfig
    workdir: pathlib.Path

    def path(self, stage: str) -> pathlib.Path:
        """The directory of a stage."""
        return self.workdir / stage

    def seed(self, stage: str) -> int:
        """The stage's own seed, 31 bits, from the run's seed and the stage's name."""
        text = f"{self.run.seed}/{stage}".encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:4], "big") >> 1

    @functools.cached_property
    def vocabulary(self) -> "Vocabulary":
        """The run's tokenizer."""
        from xinst_jax.data import vocab

        return vocab.load_vocabulary(self.path("tokenizer"))

    @functools.cached_property
    def model(self) -> config_lib.ModelConfig:
        """The decoder's shape: the run's own, or that of the imported base model.

        Raises:
          UserError: the tokenizer gives ids that the embedding has no rows for, or a
            training's rows are longer than the model's positions.
        """
        model = model_shape(self.run)
        config_lib.check_lengths(self.run, model)
        needed = self.vocabulary.needed_rows
        if needed > model.vocab_size:
            raise UserError(
                f"The tokenizer needs {needed} rows, but the model's embedding has "
                f"only {model.vocab_size}: they do not belong together. Raise "
                "ModelConfig.vocab_size, or give the tokenizer of the checkpoint."
            )
        return model

    @functools.cached_property
    def mesh(self) -> "jax.sharding.Mesh":
        """The devices."""
        from xinst_jax import mesh

        return mesh.make_mesh(self.run.mesh)

    @functools.cached_property
    def rules(self) -> "ShardingRules":
        """Which logical axis lies on which mesh axis."""
        from xinst_jax import mesh

        return mesh.ShardingRules()

    def claim(self) -> None:
        """Makes the workdir this run's own.

        Raises:
          UserError: it belongs to another run, or holds files that no run wrote.
        """
        record = self.workdir / _RUN
        if record.exists():
            self.check_owner()
            return
        if self.workdir.exists() and any(
            path.name not in (".lock", f".{_RUN}.tmp")
            for path in self.workdir.iterdir()
        ):
            raise UserError(
                f"{self.workdir} holds files but no {_RUN}: it is not a run's workdir. "
                "Choose an empty or a new directory."
            )
        shards.write_bytes(record, json.dumps({"name": self.run.name}).encode())

    def check_owner(self) -> None:
        """Raises UserError if the workdir belongs to another run."""
        record = self.workdir / _RUN
        if not record.exists():
            return
        try:
            owner = json.loads(record.read_bytes())["name"]
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(
                f'{record} is damaged. Write {{"name": "{self.run.name}"}} to it '
                "if the workdir belongs to this run, or choose another --workdir."
            ) from error
        if owner != self.run.name:
            raise UserError(
                f"{self.workdir} was made by the run {owner!r}, and this gin file "
                f"describes {self.run.name!r}. Choose another --workdir, or the "
                "gin file that the workdir was made with."
            )

    def check_devices(self) -> None:
        """Raises UserError unless every batch of the run divides over the devices."""
        from xinst_jax.infer import placement

        sizes: dict[str, tuple[int, ...]] = {}
        for name in self.run.trainings:
            config = getattr(self.run, name)
            field = f"{name}/TrainConfig.global_batch / microbatches, or length"
            sizes[field] = (config.microbatch_rows, config.length)
        # Held-out pairs are scored in batches of `answer`, on all devices.
        sizes["answer/DecodeConfig.batch_rows"] = (self.run.answer.batch_rows,)
        sizes["RateConfig.batch_rows"] = (self.run.rate.batch_rows,)
        for field, size in sizes.items():
            self._check_divides(field, self.mesh.shape, size)
        for name in ("generate", "answer"):
            decode = getattr(self.run, name)
            shape = placement.replica_shape(self.mesh, decode.placement)
            field = f"{name}/DecodeConfig.batch_rows"
            self._check_divides(field, shape, (decode.batch_rows,))

    def _check_divides(
        self, field: str, mesh: Mapping[str, int], size: tuple[int, ...]
    ) -> None:
        try:
            self.rules.divide(mesh, size, ("batch", "length")[: len(size)])
        except UserError as error:
            raise UserError(f"{field}: {error}") from error

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps a second process out of the workdir while the block runs.

        Raises:
          UserError: another process is at work in it, or it cannot be written.
        """
        try:
            self.workdir.mkdir(parents=True, exist_ok=True)
            file = (self.workdir / ".lock").open("w")
        except OSError as error:
            raise UserError(f"--workdir {self.workdir}: {error.strerror}.") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(
                    f"Another process is at work in {self.workdir}; wait for it, or "
                    "choose another --workdir."
                ) from error
            yield

    def name_programs(self) -> None:
        """Has JAX keep compiled programs in the workdir, unless it was told where.

        Called before anything is compiled: JAX looks for the place once.
        """
        if "JAX_COMPILATION_CACHE_DIR" in os.environ:
            return
        programs = str((self.workdir / _PROGRAMS).absolute())
        os.environ["JAX_COMPILATION_CACHE_DIR"] = programs
        # JAX, where it is imported already, does not read its environment again.
        import jax

        jax.config.update("jax_compilation_cache_dir", programs)

    @contextlib.contextmanager
    def kept_programs(self) -> Iterator[None]:
        """Keeps the compiled programs of the block whole, for the next start.

        JAX does not write them atomically: where a process was killed, the program
        written last may be torn, and is removed.
        """
        programs = self.workdir / _PROGRAMS
        programs.mkdir(exist_ok=True)
        in_use = programs / "in-use"
        if in_use.exists():
            written = sorted(programs.glob("*-cache"), key=lambda p: p.stat().st_mtime)
            for path in written[-1:]:
                path.unlink()
        in_use.touch()
        try:
            yield
        except Exception:
            in_use.unlink()
            raise
        in_use.unlink()

    @contextlib.contextmanager
    def timed(self, stage: str, resumed: bool) -> Iterator[None]:
        """Adds a line on the block's wall seconds to the workdir's timings.jsonl."""
        start = time.monotonic()
        yield
        line: dict[str, Any] = {
            "stage": stage,
            "seconds": round(time.monotonic() - start, 2),
            "resumed": resumed,
        }
        with (self.workdir / _TIMINGS).open("a") as file:
            file.write(json.dumps(line) + "\n")


def timings(workdir: pathlib.Path) -> dict[str, tuple[float, bool]]:
    """Each stage's last wall seconds, and whether it had been begun before them."""
    return {
        record["stage"]: (record["seconds"], record["resumed"])
        for record in shards.json_lines(workdir / _TIMINGS)
    }


def model_shape(run: config_lib.RunConfig) -> config_lib.ModelConfig:
    """The decoder's shape of a run, read from its base model's folder if it has one."""
    if not run.base_model:
        return run.model
    from xinst_jax.hf import config as hf_config

    shape = hf_config.read(run_file.project_path(run.base_model))
    return shape.computed_as(run.model)
