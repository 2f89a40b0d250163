"""The study: every set drawn, tuned on and measured, in a directory of its own."""

import contextlib
import dataclasses
import json
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import rich.console

from tools.tuning import measured, paired, sets
from xinst_jax import manifest, shards
from xinst_jax.config import RunConfig
from xinst_jax.errors import UserError
from xinst_jax.pipeline import runner, stages
from xinst_jax.pipeline.workspace import Workspace

BASE = "base"
RESULT = "tuning_study.json"

_SETS = (sets.RANDOM, sets.REFINED, sets.DIVERSIFIED)
_DIFFERENCES = (
    (sets.REFINED, sets.RANDOM),
    (sets.DIVERSIFIED, sets.REFINED),
    (sets.DIVERSIFIED, sets.RANDOM),
    (sets.RANDOM, sets.SEED_PAIRS),
    (sets.REFINED, sets.SEED_PAIRS),
    (sets.DIVERSIFIED, sets.SEED_PAIRS),
)


@dataclasses.dataclass(frozen=True)
class Study:
    """A run, and what is to be made of it.

    Attributes:
      run: its configuration.
      source: its workdir, which is only read.
      output: where everything is written.
    """

    run: RunConfig
    source: pathlib.Path
    output: pathlib.Path

    @property
    def last(self) -> str:
        """The name of the last round."""
        return f"round-{self.run.rounds}"

    def workspace(self, name: str, seed: int) -> Workspace:
        """The working directory of one set: the run's stages in it are links.

        Args:
          name: its path under the output.
          seed: the run's seed in it.
        """
        # The rating is done: a floor under scores would take from the random set.
        rate = dataclasses.replace(self.run.rate, min_score=0.0)
        run = dataclasses.replace(self.run, seed=seed, rate=rate)
        workspace = Workspace(run, self.output / name)
        for stage in self.read_stages():
            link = workspace.path(stage)
            link.parent.mkdir(parents=True, exist_ok=True)
            target = (self.source / stage).resolve()
            if link.is_symlink() and link.readlink() != target:
                link.unlink()
            if not link.is_symlink():
                link.symlink_to(target)
        return workspace

    def read_stages(self) -> tuple[str, ...]:
        """The stages of the run that are read."""
        # Every round's generators and scores are told of in the rows of a dataset.
        rounds = [
            f"{part}/round-{number}"
            for number in range(1, self.run.rounds + 1)
            for part in ("generator", "ratings")
        ]
        candidates = f"candidates/{self.last}"
        return ("corpus", "seed", "tokenizer", BASE, *rounds, candidates)

    def check(self, console: rich.console.Console) -> None:
        """Says how the run's stages differ from what would be made today.

        Raises:
          UserError: a stage that is read is not finished or lacks a language, or the
            output is in the workdir.
        """
        if self.output.resolve().is_relative_to(self.source.resolve()):
            raise UserError(
                f"--output {self.output} is in --workdir {self.source}, which is only "
                "read. Choose a directory outside of it."
            )
        Workspace(self.run, self.source).check_owner()
        by_name = {stage.name: stage for stage in stages.graph(self.run)}
        for name in (*self.read_stages(), "diverse", "dataset", "model"):
            record = manifest.read(self.source / name)
            if record is None:
                raise UserError(
                    f"{self.source / name} is not finished: a run is studied when "
                    "'pipeline' has made its 'model'. Finish it, or give the gin file "
                    "and the --gin overrides that the run was made with."
                )
            made = {each["code"] for each in record["config"]["languages"]}
            if made != set(self.run.languages):
                asked = ", ".join(self.run.languages)
                raise UserError(
                    f"{self.source / name} was made for {', '.join(sorted(made))}, not "
                    f"for {asked}: give the run's own languages "
                    "(--gin.LANGUAGES=\"('fi', 'sw')\" in the files of gin/runs)."
                )
            if name in ("corpus", "seed"):
                # Which raw text they were made of is not asked for here.
                continue
            now = manifest.StageDirectory(
                self.source / name, name, by_name[name].config, record["inputs"]
            )
            if not now.finished():
                console.print(
                    f"{name} is taken as it is; {now.why_stale()}",
                    style="dim",
                    highlight=False,
                    markup=False,
                )


def _make(workspace: Workspace, name: str, console: rich.console.Console) -> bool:
    """Makes a stage of the pipeline in a set's directory, if it is not up to date.

    Returns:
      Whether there was anything to do.
    """
    (stage,) = (one for one in stages.graph(workspace.run) if one.name == name)
    directory = runner.stage_directory(workspace, stage)
    if directory.finished():
        return False
    runner.make(workspace, stage, directory, False, console, contextlib.nullcontext)
    return True


def seen_words(record: Mapping[str, Any]) -> str:
    """How much of what was trained on differs between sets: what there is to find."""
    lines = [
        [
            name.replace("_", " "),
            ", ".join(f"{each['examples']:,}" for each in by_seed.values()),
            ", ".join(
                f"{each['of_the_set']:,} ({each['of_the_set'] / each['examples']:.0%})"
                for each in by_seed.values()
            ),
            ", ".join(f"{each['pairs_of_the_set']:,}" for each in by_seed.values()),
        ]
        for name, by_seed in record["seen"].items()
    ]
    heads = ["trained on, by seed", "examples", "of the set", "different pairs of it"]
    return paired.table(heads, lines)


def study(
    given: Study,
    seeds: Sequence[int],
    only_seed_pairs: bool,
    console: rich.console.Console,
) -> dict[str, Any]:
    """Draws, tunes and measures; what is finished is not done again.

    Args:
      given: the run, and where to write.
      seeds: PRNG seeds.
      only_seed_pairs: whether a model is tuned on the seed pairs alone as well.
      console: where progress is said.

    Returns:
      The record that is also written to `tuning_study.json`.
    """
    names = (*_SETS, sets.SEED_PAIRS) if only_seed_pairs else _SETS
    # Diversification says how many pairs the others have.
    order = sorted(names, key=lambda name: name != sets.DIVERSIFIED)
    base = given.workspace(BASE, given.run.seed)
    base.check_devices()
    found: dict[str, Any] = {BASE: measured.losses(base, BASE)}
    sizes: dict[int, dict[str, int]] = {}
    own: dict[int, float] = {}
    trained_on: dict[str, dict[int, dict[str, int]]] = {}
    seconds: list[float] = []
    for number, (seed, name) in enumerate((s, n) for s in seeds for n in order):
        started, total = time.monotonic(), len(seeds) * len(names)
        console.print(f"[bold]{number + 1}/{total}: seed {seed}, {name}[/bold]")
        workspace = given.workspace(f"seed-{seed}/{name}", seed)
        if name == sets.DIVERSIFIED:
            _make(workspace, "diverse", console)
            _make(workspace, "dataset", console)
            sizes[seed], own[seed] = _sizes(workspace, given.source)
        else:
            empty = name == sets.SEED_PAIRS
            wanted = {code: 0 if empty else n for code, n in sizes[seed].items()}
            sets.write_set(workspace, name, given.last, wanted)
        tuned = _make(workspace, "model", console)
        found.setdefault(name, {})[seed] = measured.losses(workspace, "model")
        trained_on.setdefault(name, {})[seed] = measured.seen(workspace)
        if tuned:
            seconds.append(time.monotonic() - started)
        left = np.mean(seconds or [0]) * (total - number - 1) / 60
        loss = found[name][seed]["all"]["loss_per_token"]
        console.print(
            f"  held-out loss {found[BASE]['all']['loss_per_token']:.4f} before, "
            f"{loss:.4f} after; at most {left:.0f} minutes left",
            highlight=False,
        )
    record = {
        "run": given.run.name,
        "seeds": list(seeds),
        "steps": given.run.sft.steps,
        "pairs": {str(seed): each for seed, each in sizes.items()},
        "also_in_the_runs_dataset": {str(seed): part for seed, part in own.items()},
        "seen": {name: trained_on[name] for name in names},
        "losses": found,
        **paired.summary(found, BASE, names, seeds, _DIFFERENCES),
    }
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    shards.write_bytes(given.output / RESULT, text.encode())
    return record


def _sizes(workspace: Workspace, source: pathlib.Path) -> tuple[dict[str, int], float]:
    """Pairs that diversification drew, by language; the share that the run drew too."""
    sizes, same = {}, 0
    for code in workspace.run.languages:
        mine, theirs = (
            {row["id"] for row in shards.read_rows(place / "dataset" / code, ["id"])}
            for place in (workspace.workdir, source)
        )
        sizes[code] = len(mine)
        same += len(mine & theirs)
    return sizes, same / max(1, sum(sizes.values()))
